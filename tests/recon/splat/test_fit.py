import dataclasses
import math

import numba
import pytest
import torch

from recon.capture import Capture, Source, frame_from_tensors, orbit_camera
from recon.splat.adam import BETAS, EPSILON, AdamStep, adam_steps
from recon.splat.backend_cpu import jit
from recon.splat.backend_cuda import CudaBackendError, gsplat_is_here
from recon.splat.fit import fit_gaussians, visits
from recon.splat.fit_options import FIT_PRESETS, FitOptions
from recon.splat.gaussians import from_points
from recon.splat.initialise import grid_masks, initial_gaussians, initial_volume
from recon.splat.optimise import LearningRates, SplatOptimiser
from recon.splat.rasterize import rasterize
from tests.recon.splat.balls import CENTRE, RADIUS, ball_capture, ball_frame, distance_to_ball

QUICK = FitOptions(iterations=60, initial_gaussians=600, max_gaussians=800, max_size=48, grid=48, renew_every=20)


def colour_error(gaussians, capture):
    frame = capture[0]
    drawn = rasterize(gaussians, [frame.camera], background=torch.ones(3)).rgb[0]
    wanted = frame.premultiplied()
    return float((drawn - wanted[..., :3] - (1 - wanted[..., 3:])).abs().mean())


@pytest.mark.parametrize("preset", ["fast", "views"])
def test_a_start_in_double_precision_or_of_another_order_is_taken(preset):
    capture = ball_capture(size=32)
    start = initial_gaussians(initial_volume(capture.frames, 48), capture.frames, 300, torch.Generator().manual_seed(0))
    options = dataclasses.replace(FIT_PRESETS[preset], iterations=4)
    turned = dataclasses.replace(start, sh=start.sh.permute(2, 0, 1).contiguous().permute(1, 2, 0))
    expected = fit_gaussians(capture, options, start=start)
    for other in (start.map(torch.Tensor.double), turned):
        fitted = fit_gaussians(capture, options, start=other)
        assert all(torch.equal(a, b) for a, b in zip(fitted.tensors(), expected.tensors(), strict=True))
    broken = dataclasses.replace(start, means=start.means * torch.nan)
    for bad in (broken, start.select(torch.zeros(0, dtype=torch.long))):
        with pytest.raises(ValueError, match="finite"):
            fit_gaussians(capture, options, start=bad)


def test_the_start_covers_the_surface_with_flat_gaussians_of_the_right_colour():
    capture = ball_capture(12, 48, geometry=True)
    start = initial_gaussians(initial_volume(capture.frames, 64), capture.frames, 500, torch.Generator().manual_seed(0))
    assert len(start) == 500
    assert distance_to_ball(start.means).abs().mean() < 0.01
    normals = torch.nn.functional.normalize(start.means, dim=-1)
    assert (start.base_colors - (0.5 + 0.5 * normals)).abs().mean() < 0.1
    assert (start.scales[:, 2] < start.scales[:, 0]).all()


def test_what_no_frame_sees_from_the_front_starts_thicker_if_asked():
    cameras = [orbit_camera(turn, 0.0, 0.6, 48, 48) for turn in (0.0, 0.8, 1.6, 2.4, 3.1, 3.9, 4.7, 5.5)]
    frames = [ball_frame(camera, "level") for camera in cameras]
    generator = torch.Generator().manual_seed(0)
    start = initial_gaussians(
        initial_volume(frames, 64), frames, 2000, generator, thickness=0.25, thickness_edge_on=1.0
    )
    thickness = start.scales[:, 2] / start.scales[:, 0]
    height = ((start.means - CENTRE)[:, 1] / RADIUS).abs()
    assert thickness[height < 0.2].mean() == pytest.approx(0.25, abs=0.05)
    assert thickness[height > 0.95].mean() > 0.7
    assert thickness.max() < 1.001


@pytest.mark.parametrize("geometry", [False, True])
def test_a_volume_of_pictures_far_finer_than_the_grid_has_the_surface_of_coarser_ones(geometry):
    coarse, fine = (initial_volume(ball_capture(8, size, geometry=geometry).frames, 32) for size in (256, 640))
    errors = [float(distance_to_ball(volume.crossings()[0]).abs().mean()) for volume in (coarse, fine)]
    assert errors[0] == pytest.approx(errors[1], abs=0.01 * fine.spacing)


def test_masks_hold_no_more_than_the_grid_has_use_for_and_nothing_of_the_colours():
    for size in (48, 640):
        (camera, *_), (mask, *_) = grid_masks(ball_capture(2, size).frames, 32)
        assert mask.shape == (camera.height, camera.width) == (min(size, 256),) * 2
        assert mask.untyped_storage().nbytes() == 4 * mask.numel()


def test_a_fit_brings_the_pictures_closer_and_stays_on_the_surface():
    capture = ball_capture(8, 32)
    start = initial_gaussians(initial_volume(capture.frames, 48), capture.frames, 600, torch.Generator().manual_seed(0))
    fitted = fit_gaussians(capture, QUICK)
    assert colour_error(fitted, capture) < 0.6 * colour_error(start, capture)
    assert 600 < len(fitted) <= 800
    solid = fitted.opacities > 0.3
    assert distance_to_ball(fitted.means[solid]).abs().mean() < 0.02


def test_the_same_seed_gives_the_same_gaussians_and_another_does_not():
    capture = ball_capture(6, 32, geometry=True)
    options = dataclasses.replace(QUICK, iterations=10)
    first, second = (fit_gaussians(capture, options, seed=3) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first.tensors(), second.tensors()))
    assert not torch.equal(first.means, fit_gaussians(capture, options, seed=4).means)


def test_progress_hears_of_every_step():
    heard = []
    capture = ball_capture(6, 32)
    options = dataclasses.replace(QUICK, iterations=5)
    fit_gaussians(capture, options, progress=lambda done, total, figures: heard.append((done, total, sorted(figures))))
    assert [step[:2] for step in heard] == [(i, 5) for i in range(1, 6)]
    assert "color" in heard[0][2]


def test_a_watcher_sees_the_scene_after_every_step():
    seen = []
    options = dataclasses.replace(QUICK, iterations=4)
    fitted = fit_gaussians(ball_capture(6, 32), options, watch=lambda done, scene: seen.append((done, scene.means)))
    assert [done for done, _ in seen] == [1, 2, 3, 4]
    assert not seen[-1][1].requires_grad
    torch.testing.assert_close(seen[-1][1], fitted.means)


def test_a_fit_that_compares_no_geometry_draws_none_and_still_gets_closer():
    options = dataclasses.replace(QUICK, consistency_weight=0.0, depth_weight=0.0, normal_weight=0.0)
    capture = ball_capture(8, 32, geometry=True)
    heard = []
    fitted = fit_gaussians(capture, options, progress=lambda done, total, figures: heard.append(set(figures)))
    assert not heard[0] & {"depth", "normal", "consistency"}
    start = initial_gaussians(initial_volume(capture.frames, 48), capture.frames, 600, torch.Generator().manual_seed(0))
    assert colour_error(fitted, capture) < 0.6 * colour_error(start, capture)


def test_nothing_starts_where_no_picture_looks():
    frames = ball_capture(6, 48).frames
    # Narrow windows on the ball's middle: beyond them nobody says that space is empty.
    windows = [
        frame_from_tensors(frame.camera.cropped(16, 16, 16, 16), frame.rgba()[16:32, 16:32], name=frame.name)
        for frame in frames
    ]
    start = initial_gaussians(initial_volume(windows, 48), windows, 500, torch.Generator().manual_seed(0))
    inside = torch.zeros(len(start), dtype=torch.bool)
    for frame in windows:
        pixels, _ = frame.camera.project(start.means)
        inside |= ((pixels > -2) & (pixels < 18)).all(-1)
    assert inside.all()


def test_frames_of_different_sizes_and_without_depth_mix():
    frames = (*ball_capture(6, 32, geometry=True), *ball_capture(5, 40))
    renamed = [dataclasses.replace(frame, name=f"frame-{i}") for i, frame in enumerate(frames)]
    fitted = fit_gaussians(Capture(tuple(renamed)), dataclasses.replace(QUICK, iterations=12))
    assert torch.isfinite(fitted.means).all()


def test_generated_frames_that_disagree_still_start_from_a_solid():
    capture = ball_capture(16, 48, geometry=True, source=Source.GENERATED)
    blank = frame_from_tensors(capture[4].camera, torch.zeros(48, 48, 4), name="blank", source=Source.GENERATED)
    frames = tuple(blank if i == 4 else frame for i, frame in enumerate(capture))
    points, _ = initial_volume(frames, 48).crossings()
    assert distance_to_ball(points).abs().mean() < 0.02


def test_few_pixels_get_few_gaussians():
    capture = ball_capture(4, 32)
    options = dataclasses.replace(QUICK, iterations=2, initial_gaussians=5000, max_gaussians=5000)
    assert len(fit_gaussians(capture, options)) == 500


def test_silhouettes_that_never_meet_are_refused_with_the_reason():
    capture = ball_capture(4, 32)
    empty = [frame_from_tensors(frame.camera, torch.zeros(32, 32, 4), name=frame.name) for frame in capture]
    with pytest.raises(ValueError, match="do not meet anywhere"):
        fit_gaussians(Capture(tuple(empty)), QUICK)


def test_options_that_cannot_work_are_refused():
    with pytest.raises(ValueError, match="initial_gaussians"):
        FitOptions(initial_gaussians=10, max_gaussians=5)
    with pytest.raises(ValueError, match="views_per_step"):
        FitOptions(views_per_step=0)
    with pytest.raises(ValueError, match="steps_at_once"):
        FitOptions(steps_at_once=0)


def test_a_lower_limit_lowers_the_start_and_a_higher_one_leaves_it():
    assert (QUICK.limited(300).initial_gaussians, QUICK.limited(300).max_gaussians) == (300, 300)
    assert (QUICK.limited(5000).initial_gaussians, QUICK.limited(5000).max_gaussians) == (600, 5000)


def test_several_views_a_step_are_as_many_views_in_fewer_steps():
    heard = []
    capture = Capture((*ball_capture(5, 32), dataclasses.replace(ball_capture(1, 40)[0], name="larger")))
    options = dataclasses.replace(QUICK, iterations=62, views_per_step=4)
    fitted = fit_gaussians(capture, options, progress=lambda done, total, _: heard.append((done, total)))
    assert heard == [(i, 62) for i in range(1, 63)]
    start = initial_gaussians(initial_volume(capture.frames, 48), capture.frames, 600, torch.Generator().manual_seed(0))
    assert colour_error(fitted, capture) < 0.8 * colour_error(start, capture)


@pytest.mark.parametrize("views_per_step", [1, 3])
def test_a_fit_does_not_depend_on_the_number_of_threads(monkeypatch, views_per_step):
    """Steps are found side by side, and the views of a step too, where there are threads for them."""
    capture = ball_capture(5, 32, geometry=True, source=Source.GENERATED)
    options = dataclasses.replace(QUICK, iterations=31, steps_at_once=2, views_per_step=views_per_step)
    fits = []
    for threads in (1, 2, 5):
        monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", threads)
        monkeypatch.setattr(jit, "_pool", None)  # it has as many threads as there were when it was made
        fits.append(fit_gaussians(capture, options))
    for fit in fits[1:]:
        assert all(torch.equal(a, b) for a, b in zip(fit.tensors(), fits[0].tensors()))


def test_steps_taken_at_once_follow_each_other():
    """Every one moves the scene, and the scene is as good as where each waits for the one before."""
    capture = ball_capture(6, 48)
    errors, scenes = [], []
    for at_once in (1, 2):
        seen: list[tuple[int, torch.Tensor]] = []
        options = dataclasses.replace(QUICK, steps_at_once=at_once)

        def watch(done, scene, seen=seen):
            seen.append((done, scene.means.clone()))

        errors.append(colour_error(fit_gaussians(capture, options, watch=watch), capture))
        assert [done for done, _ in seen] == list(range(1, 61))
        scenes.append(seen)
    assert not torch.equal(scenes[1][0][1], scenes[1][1][1])
    assert torch.equal(scenes[0][0][1], scenes[1][0][1])
    assert errors[1] < 1.1 * errors[0]


def optimiser(opacities):
    points = torch.linspace(-0.2, 0.2, len(opacities))[:, None] * torch.tensor([1.0, 0.5, 0.2])
    gaussians = from_points(points, torch.rand(len(points), 3), 0.02)
    gaussians = dataclasses.replace(gaussians, logit_opacities=torch.logit(torch.tensor(opacities)))
    return SplatOptimiser(gaussians, LearningRates(), 100, torch.Generator().manual_seed(0))


def test_dead_gaussians_move_to_living_ones():
    moved = optimiser([0.001, 0.8, 0.7, 0.6])
    assert len(moved.renew(4)) == 4
    assert (moved.gaussians.opacities > 0.1).all()


def test_growth_stops_at_the_limit():
    growing = optimiser([0.5] * 10)
    assert len(growing.renew(11, growth=1.5)) == 11
    assert len(growing.renew(11, growth=1.5)) == 11


def test_a_split_pair_looks_like_the_gaussian_it_came_from():
    from recon.capture import orbit_camera

    single = optimiser([0.6])
    camera = [orbit_camera(0.0, 0.0, 0.6, 64, 64)]
    before = rasterize(single.gaussians.detach(), camera).alpha
    single.renew(2, growth=2.0)
    after = rasterize(single.gaussians.detach(), camera).alpha
    assert len(single.gaussians) == 2
    assert after.sum() == pytest.approx(float(before.sum()), rel=0.25)


def _with_masks(frames, scale):
    """The frames with masks scaled about the middle of the picture, as a generator gets them wrong."""

    def scaled(frame):
        rgba = frame.rgba()
        size = max(2, round(rgba.shape[0] * scale))
        picture = torch.nn.functional.interpolate(rgba.permute(2, 0, 1)[None], (size, size), mode="area")[0]
        pad = rgba.shape[0] - size
        picture = torch.nn.functional.pad(picture, (pad // 2, pad - pad // 2, pad // 2, pad - pad // 2))
        return frame_from_tensors(frame.camera, picture.permute(1, 2, 0), name=frame.name, source=Source.GENERATED)

    return [scaled(frame) for frame in frames]


@pytest.mark.parametrize("scale", [0.5, 1.3])
def test_an_observed_silhouette_is_neither_left_nor_carved_away_by_generated_frames(scale):
    frames = ball_capture(12, 48, source=Source.OBSERVED).frames
    mixed = [frames[0], *_with_masks(frames[1:], scale)]
    points, _ = initial_volume(mixed, 64).crossings()
    column, row = mixed[0].camera.project(points)[0].long().unbind(-1)
    mask = mixed[0].rgba()[..., 3]
    assert (mask[row, column] > 0).float().mean() > 0.98
    drawn = torch.zeros_like(mask)
    drawn[row, column] = 1
    assert drawn[mask > 0.9].mean() > 0.6


def test_the_photo_is_compared_more_often_than_any_generated_frame():
    frames = ball_capture(12, 32, source=Source.GENERATED).frames
    capture = Capture((dataclasses.replace(frames[0], source=Source.OBSERVED), *frames[1:]))
    assert visits(capture.frames).count(0) in (5, 6)
    assert sorted(set(visits(capture.frames))) == list(range(12))
    assert visits(frames) == list(range(12))


def test_the_compiled_step_of_adam_is_that_of_torch():
    generator = torch.Generator().manual_seed(0)
    ours = torch.randn(1003, generator=generator)
    theirs = ours.clone().requires_grad_()
    first, second = torch.zeros(1003), torch.zeros(1003)
    reference = torch.optim.Adam([theirs], lr=0.01, betas=BETAS, eps=EPSILON)
    for step in range(1, 6):
        grad = torch.randn(1003, generator=generator)
        theirs.grad = grad.clone()
        reference.step()
        correction = math.sqrt(1 - BETAS[1] ** step) / (1 - BETAS[0] ** step)
        adam_steps([AdamStep(ours, grad, first, second, 0.01 * correction)])
    assert torch.allclose(ours, theirs, atol=1e-6)


@pytest.mark.parametrize("count", [1, 50, 3000])
def test_entries_of_a_row_may_step_by_different_sizes(count):
    """As base colours and higher harmonics do; also where the rows are in several chunks."""
    generator = torch.Generator().manual_seed(0)
    start, grad = torch.randn(2, count, 4, 3, generator=generator)
    sizes = torch.rand(4, 3, generator=generator)
    ours, theirs = start.clone(), start.double()
    for parameter in (ours, theirs):
        moments = torch.zeros_like(parameter), torch.zeros_like(parameter)
        adam_steps([AdamStep(parameter, grad.to(parameter.dtype), *moments, sizes)])
    assert torch.allclose(ours.double(), theirs, atol=1e-6)


def test_steps_of_tensors_that_differ_in_shape_are_refused():
    values = torch.zeros(8)
    with pytest.raises(ValueError, match="one shape"):
        adam_steps([AdamStep(values, values[:4], values.clone(), values.clone(), 0.1)])


@pytest.mark.parametrize(
    "option",
    ["renew_every", "pixels_per_gaussian", "max_size", "grid", "initial_thickness", "initial_thickness_edge_on"],
)
def test_options_of_nothing_are_refused(option):
    with pytest.raises(ValueError, match=option):
        FitOptions(**{option: 0})  # type: ignore[arg-type]


@pytest.mark.parametrize("field", range(5))
def test_gaussians_that_are_not_finite_are_replaced(field):
    start = from_points(torch.rand(20, 3), torch.rand(20, 3), 0.05, opacity=0.5)
    optimiser = SplatOptimiser(start, LearningRates(), 10, torch.Generator().manual_seed(0))
    optimiser.gaussians.tensors()[field][3] = torch.nan
    optimiser.renew(max_gaussians=20)
    assert all(bool(torch.isfinite(tensor).all()) for tensor in optimiser.gaussians.tensors())


def test_without_a_gpu_a_fit_on_one_says_so_at_once():
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(CudaBackendError, match="no CUDA device"):
        fit_gaussians(ball_capture(2, 16), QUICK, device="cuda")


def test_a_fit_on_a_gpu_is_as_good_as_one_on_the_processor():
    if not torch.cuda.is_available():
        pytest.skip("fits on a GPU need an NVIDIA GPU, which this machine does not have")
    if not gsplat_is_here():
        pytest.skip("fits on a GPU need gsplat, which is not installed")
    capture = ball_capture(size=48, geometry=True)
    for preset in ("fast", "views"):
        options = dataclasses.replace(FIT_PRESETS[preset], iterations=120, initial_gaussians=600, max_gaussians=800)
        here, there = (fit_gaussians(capture, options, device=device) for device in ("cpu", "cuda"))
        assert there.means.device.type == "cpu"
        assert colour_error(there, capture) == pytest.approx(colour_error(here, capture), rel=0.2)
        assert distance_to_ball(there.means).abs().mean() < 1.3 * distance_to_ball(here.means).abs().mean()
