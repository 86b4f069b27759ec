import dataclasses

import numpy as np
import pytest
import torch

from recon.capture import Source, orbit_camera
from recon.capture.orbit import orbit_cameras
from recon.field.rendering import render_field_frames
from recon.splat.gaussians import Gaussians
from recon.splat.initialise import initial_gaussians, initial_volume
from recon.splat.volume import DepthView, fuse_depth_views, visual_hull
from recon.surface.close import is_watertight
from recon.surface.density import draw_density
from recon.surface.extract import extract_surface
from recon.surface.fusion import FusionOptions, fuse_density, fuse_depth, surface_of, unseen_frames, viewpoints
from tests.recon.field.spheres import ball_field
from tests.recon.splat.balls import ball_capture, distance_to_ball
from tests.recon.surface.test_decimate import distance_to_torus

QUICK = FusionOptions(resolution=64, views=24, size=96)


def ball_of_gaussians() -> Gaussians:
    capture = ball_capture(12, 48, geometry=True)
    volume = initial_volume(capture.frames, 64)
    start = initial_gaussians(volume, capture.frames, 3000, torch.Generator().manual_seed(0))
    return dataclasses.replace(start, logit_opacities=torch.full((3000,), 3.0))


def test_gaussians_on_a_ball_fuse_to_one_closed_ball():
    mesh = fuse_depth(ball_of_gaussians(), options=QUICK)
    assert is_watertight(mesh)
    # Soft splats reach past their centres, so up to a grid spacing lies outside.
    assert distance_to_ball(mesh.vertices).abs().max() < 0.03
    assert 0 < distance_to_ball(mesh.vertices).mean() < 1.1 / 63


def test_the_fitted_views_suffice_and_floaters_are_dropped():
    scene = ball_of_gaussians()
    scene.means[:20] = torch.tensor([0.45, 0.2, 0.1]) + 0.01 * torch.rand(20, 3)
    mesh = fuse_depth(scene, ball_capture(12, 48).cameras, QUICK)
    assert is_watertight(mesh)
    assert distance_to_ball(mesh.vertices).abs().max() < 0.05


def test_only_directions_near_the_given_cameras_are_trusted():
    seen = ball_capture(4, 48).cameras
    chosen = viewpoints(seen, QUICK, 15.0)
    assert len(chosen) < 4 + QUICK.views
    for camera in chosen:
        assert max(float(camera.forward @ other.forward) for other in seen) > np.cos(np.radians(15.1))


def test_parts_that_nothing_visible_joins_all_stay():
    ball = ball_of_gaussians()

    def beside(x: float) -> list[torch.Tensor]:
        means = 0.4 * ball.means + torch.tensor([x, 0.0, 0.0])
        return [means, ball.quats, ball.log_scales + np.log(0.4), ball.logit_opacities, ball.sh]

    pair = Gaussians(*(torch.cat(both) for both in zip(beside(-0.25), beside(0.25), strict=True)))
    mesh = fuse_depth(pair, options=QUICK)
    assert is_watertight(mesh)
    assert mesh.vertices[:, 0].min() < -0.3
    assert mesh.vertices[:, 0].max() > 0.3


def test_transparent_gaussians_are_refused():
    ghost = dataclasses.replace(ball_of_gaussians(), logit_opacities=torch.full((3000,), -9.0))
    with pytest.raises(ValueError, match="empty"):
        fuse_depth(ghost, options=QUICK)


def test_surface_agrees_with_open3d_to_a_small_part_of_a_voxel():
    from recon._open3d import import_open3d

    o3d = import_open3d()
    capture = ball_capture(24, 96, geometry=True)
    hull = visual_hull(capture.cameras, [frame.rgba()[..., 3] for frame in capture], 64)
    ours = extract_surface(fuse_depth_views([DepthView(f.camera, f.depth()) for f in capture], hull))
    integration = o3d.pipelines.integration
    volume = integration.UniformTSDFVolume(
        1.1, 64, 3 * hull.spacing, integration.TSDFVolumeColorType.NoColor, np.full(3, -0.55)
    )
    for frame in capture:
        k = frame.camera.intrinsics.numpy()
        # Open3D puts pixel centres on whole numbers.
        intrinsic = o3d.camera.PinholeCameraIntrinsic(96, 96, k[0, 0], k[1, 1], k[0, 2] - 0.5, k[1, 2] - 0.5)
        depth = o3d.geometry.Image(np.ascontiguousarray(frame.depth().numpy()))
        picture = o3d.geometry.RGBDImage.create_from_color_and_depth(
            o3d.geometry.Image(np.zeros((96, 96, 3), np.uint8)), depth, 1.0, 10.0, False
        )
        volume.integrate(picture, intrinsic, frame.camera.w2c.double().numpy())
    theirs = torch.from_numpy(np.asarray(volume.extract_triangle_mesh().vertices)).float()
    assert distance_to_ball(ours.vertices).abs().mean() < 0.1 * hull.spacing
    assert (distance_to_ball(ours.vertices).mean() - distance_to_ball(theirs).mean()).abs() < 0.2 * hull.spacing


def soft_torus(points):
    return 300 * torch.sigmoid(-distance_to_torus(points) * 500)


def test_a_density_field_fuses_to_its_closed_surface():
    mesh = fuse_density(soft_torus, options=QUICK)
    assert is_watertight(mesh)
    assert distance_to_torus(mesh.vertices).abs().mean() < 0.01
    assert len(mesh.vertices) - len(mesh.faces) // 2 == 0  # one handle


def test_median_depth_of_a_density_lies_where_half_the_light_is_gone():
    camera = orbit_camera(0.3, 0.2, 0.6, 32, 32)
    slab = 4.0  # density of a ball of radius 0.4
    depth, alpha = draw_density(lambda p: slab * (p.norm(dim=-1) < 0.4), camera, 0.002)
    distance = float(camera.centre.norm())
    middle = depth[16, 16], alpha[16, 16]
    assert middle[0] == pytest.approx(distance - 0.4 + np.log(2) / slab, abs=0.01)
    assert middle[1] == pytest.approx(1 - np.exp(-0.8 * slab), abs=0.01)
    assert depth[0, 0] == alpha[0, 0] == 0


def test_left_open_the_surface_ends_where_no_camera_sees_it():
    cameras = ball_capture(12, 48).cameras[:3]
    open_ball = fuse_depth(ball_of_gaussians(), cameras, dataclasses.replace(QUICK, keep_open=True))
    closed = fuse_depth(ball_of_gaussians(), cameras, QUICK)
    assert is_watertight(closed)
    assert not is_watertight(open_ball)
    assert len(open_ball.faces) < 0.9 * len(closed.faces)
    assert distance_to_ball(open_ball.vertices).abs().max() < 0.05


def test_a_fields_surface_is_its_own_closed_and_beside_generated_frames_within_what_was_observed():
    field = ball_field(48, radius=0.4)
    cameras = orbit_cameras(6, 0.3, size=48)
    # Silhouettes of a smaller ball.
    frames = render_field_frames(ball_field(48, radius=0.35), cameras)
    mesh = surface_of(field, frames, QUICK)
    assert is_watertight(mesh)
    assert (mesh.vertices.norm(dim=1) - 0.4).abs().mean() < 0.1 * field.spacing
    sources = (Source.OBSERVED, *[Source.GENERATED] * 5)
    mixed = [dataclasses.replace(frame, source=source) for frame, source in zip(frames, sources, strict=True)]
    cut = surface_of(field, mixed, QUICK)
    assert is_watertight(cut)
    across = cut.vertices @ cameras[0].c2w[:3, 0]
    assert across.abs().max() < 0.38 < mesh.vertices.norm(dim=1).max()


def test_a_field_is_drawn_from_where_no_frame_was_taken():
    field, cameras = ball_field(32), orbit_cameras(3, 0.3, size=32)
    frames = unseen_frames(field, render_field_frames(field, cameras), QUICK)
    assert len(frames) > 0
    assert all(frame.source is Source.RENDERED and frame.rgba()[..., 3].max() > 0.9 for frame in frames)
