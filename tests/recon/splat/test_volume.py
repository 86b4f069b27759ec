import pytest
import torch

from recon.capture.distances import silhouette_distance
from recon.splat.volume import DepthView, fuse_depth_views, visual_hull
from tests.recon.splat.balls import ball_capture, distance_to_ball


def alphas(capture):
    return [frame.rgba()[..., 3] for frame in capture]


def depth_views(capture):
    return [DepthView(frame.camera, frame.depth()) for frame in capture]


def test_hull_of_a_ball_lies_on_the_ball():
    capture = ball_capture(24, 64)
    points, normals = visual_hull(capture.cameras, alphas(capture), 64).crossings()
    assert distance_to_ball(points).abs().mean() < 0.01
    assert distance_to_ball(points).min() > -0.01  # a hull contains its object
    assert (normals * torch.nn.functional.normalize(points, dim=-1)).sum(-1).mean() > 0.9


def test_depth_maps_place_the_surface_within_a_tenth_of_the_spacing():
    capture = ball_capture(24, 64, geometry=True)
    hull = visual_hull(capture.cameras, alphas(capture), 64)
    points, _ = fuse_depth_views(depth_views(capture), hull).crossings()
    assert distance_to_ball(points).abs().mean() < 0.1 * hull.spacing


def test_one_wrong_mask_carves_unless_dissent_is_allowed():
    capture = ball_capture(12, 48)
    masks = alphas(capture)
    masks[3] = torch.zeros_like(masks[3])
    assert not (visual_hull(capture.cameras, masks, 32).values < 0).any()
    forgiving = visual_hull(capture.cameras, masks, 32, dissent=1)
    assert distance_to_ball(forgiving.crossings()[0]).abs().mean() < 0.04


def test_one_wrong_depth_map_cannot_drill_through_what_others_see_as_covered():
    capture = ball_capture(24, 48, geometry=True)
    hull = visual_hull(capture.cameras, alphas(capture), 48)
    views = depth_views(capture)
    wrong = views[0].depth
    views[0] = DepthView(views[0].camera, torch.where(wrong > 0, wrong + 0.3, 0))
    middle = (slice(22, 26),) * 3
    assert (fuse_depth_views(views, hull).values[middle] < 0).all()


def test_unknown_pixels_do_not_vote():
    capture = ball_capture(12, 48, geometry=True)
    hull = visual_hull(capture.cameras, alphas(capture), 32)
    silent = [
        DepthView(view.camera, torch.zeros_like(view.depth), torch.zeros_like(view.depth, dtype=torch.bool))
        for view in depth_views(capture)
    ]
    fused = fuse_depth_views([*depth_views(capture), *silent], hull)
    assert torch.equal(fused.values, fuse_depth_views(depth_views(capture), hull).values)


def test_soft_edges_place_the_outline_between_pixels():
    ramp = torch.tensor([0.0, 0.0, 0.25, 1.0, 1.0]).expand(4, 5)
    signed = silhouette_distance(ramp)[0]
    assert signed[2] == pytest.approx(0.25)
    assert (signed[:2] > 0).all()
    assert (signed[3:] < 0).all()


def test_refining_a_coarse_hull_changes_no_surface_point():
    from recon.splat.volume import _hull

    capture = ball_capture(8, 48)
    signed = [silhouette_distance(alpha).numpy() for alpha in alphas(capture)]
    direct = _hull(capture.cameras, signed, 64, 0, 0.55, None).crossings()[0]
    assert torch.allclose(direct, visual_hull(capture.cameras, alphas(capture), 64).crossings()[0], atol=1e-6)


def test_a_hull_without_views_is_refused():
    with pytest.raises(ValueError, match="as many masks as cameras"):
        visual_hull([], [], 64)
