"""Pictures of something that bends, to a scene that bends as it does."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Any

import pytest
import torch

from recon.capture import Capture, orbit_camera
from recon.motion.bases import BasisOptions
from recon.motion.explaining import explained
from recon.motion.fit import by_time, fit_moving, time_of, widest_time
from recon.motion.fit_options import MovingFitOptions
from recon.motion.tracking import TrackOptions
from recon.splat.corrections import NO_CORRECTIONS
from recon.splat.fit_options import FitOptions
from recon.splat.rasterize import rasterize
from recon.surface.render import render_mesh
from tests.recon.motion.scenes import FOV, arm, arm_capture, bend_at


def plain(**more: Any) -> FitOptions:
    """A fit of colours and masks, of small pictures."""
    return FitOptions(depth_weight=0.0, normal_weight=0.0, consistency_weight=0.0, max_size=48, grid=48, **more)


SMALL = MovingFitOptions(
    still=plain(iterations=200, initial_gaussians=600, max_gaussians=900, pixels_per_gaussian=1.0),
    nodes=40,
    tracking=TrackOptions(passes=6, max_size=48),
    bases=BasisOptions(tolerance=0.008),
    together=plain(iterations=500, views_per_step=2, initial_gaussians=900, max_gaussians=1200, renew_every=100),
    corrections=NO_CORRECTIONS,
)


@pytest.fixture(scope="module")
def capture():
    return arm_capture()


@pytest.fixture(scope="module")
def fit(capture):
    return fit_moving(capture, SMALL)


def psnr(gaussians, time):
    camera = orbit_camera(0.35, 0.3, FOV, 64, 64)  # where no frame was taken from
    truth = render_mesh(arm(bend_at(time)), camera).rgba
    drawn = rasterize(gaussians, [camera], geometry=False)
    wrong = (drawn.rgb[0] - truth[..., :3] * truth[..., 3:]).square().mean(-1)
    return -10 * math.log10(float(wrong.mean()))


def test_the_arm_is_few_rigid_parts(fit):
    assert 2 <= fit.moving.motion.bases <= 6
    assert fit.residual < 0.02
    assert fit.residual_of_one > 4 * fit.residual


def test_new_views_are_right_at_every_time(fit):
    still = fit.moving.at(fit.reference)
    for time in (0.0, 0.25, 0.5, 0.75, 1.0):
        assert psnr(fit.moving.at(time), time) > 22
    assert psnr(fit.moving.at(0.0), 0.0) > psnr(still, 0.0) + 4 or psnr(fit.moving.at(1.0), 1.0) > psnr(still, 1.0) + 4


def test_times_between_those_of_the_frames_are_right_too(fit):
    assert psnr(fit.moving.at(0.375), 0.375) > 20


def test_a_fit_repeats_to_the_bit(capture, fit):
    quick = dataclasses.replace(
        SMALL,
        still=dataclasses.replace(SMALL.still, iterations=40),
        tracking=TrackOptions(passes=1, max_size=48),
        together=dataclasses.replace(SMALL.together, iterations=40),
    )
    first, second = (fit_moving(capture, quick, seed=3).moving for _ in range(2))
    assert torch.equal(first.canonical.means, second.canonical.means)
    assert torch.equal(first.motion.shifts, second.motion.shifts)
    assert torch.equal(first.weights, second.weights)


def test_what_bends_needs_no_shapes_of_its_own(capture, fit):
    found = explained(fit.moving, by_time(capture.frames), SMALL.still, count=2)
    assert found.gain < 0.1
    assert min(found.moving) > 0.75


def test_what_comes_apart_does(capture):
    """Two boxes out of nothing: shapes that the bending arm cannot become."""
    from recon.capture import frame_from_tensors
    from tests.recon.metrics.shapes import box, joined

    def other(frame):
        mesh = joined(box((0.2, 0.2, 0.2), (-0.3, 0.1, 0)), box((0.2, 0.2, 0.2), (0.3, -0.1, 0.0)))
        rgba = render_mesh(mesh, frame.camera).rgba
        return frame_from_tensors(frame.camera, rgba, time=frame.time, name=frame.name)

    changed = Capture(tuple(other(f) if f.time > 0.6 else f for f in capture))
    fit = fit_moving(changed, SMALL)
    assert explained(fit.moving, by_time(changed.frames), SMALL.still, count=2).gain > 0.2


def test_a_clip_that_stands_still_is_one_basis():
    still = arm_capture(times=2)
    frames = tuple(f for f in still if f.time == 0)
    again = tuple(dataclasses.replace(f, time=1.0, name=f"again_{f.name}") for f in frames)
    assert fit_moving(Capture((*frames, *again)), SMALL).moving.motion.bases == 1


def test_one_time_is_no_motion(capture):
    with pytest.raises(ValueError, match="two times"):
        fit_moving(Capture(tuple(f for f in capture if f.time == 0)), SMALL)


def test_frames_are_grouped_by_their_times(capture):
    groups = by_time(tuple(reversed(capture.frames)))
    assert [len(group) for group in groups] == [8] * 5
    assert [time_of(group) for group in groups] == pytest.approx([0, 0.25, 0.5, 0.75, 1])


def test_times_of_one_view_each_are_taken_together(capture):
    single = [dataclasses.replace(f, time=i / 40) for i, f in enumerate(capture)]
    groups = by_time(single)
    assert sum(len(group) for group in groups) == 40
    assert all(len(group) >= 4 for group in groups)
    assert all(first[-1].time < second[0].time for first, second in itertools.pairwise(groups))


def test_a_time_that_few_cameras_saw_is_no_reference(capture):
    frames = [frame for frame in capture if frame.time != 0.5 or frame.name.endswith(("v0", "v1"))]
    groups = by_time(frames)
    assert sorted(map(len, groups)) == [2, 8, 8, 8, 8]
    assert len(groups[widest_time(groups)]) == 8
    wide = [[f for f in g if i or f.name.endswith("v0")] for i, g in enumerate(groups)]  # the widest alone
    assert widest_time(wide) != 0


def test_the_reference_is_where_parts_are_apart(capture):
    from recon.capture import frame_from_tensors
    from tests.recon.metrics.shapes import box, joined

    def legs(frame):
        gap = 0.1 + 0.4 * frame.time
        mesh = joined(box((0.1, 0.6, 0.1), (-gap / 2, 0, 0)), box((0.1, 0.6, 0.1), (gap / 2, 0, 0)))
        return frame_from_tensors(frame.camera, render_mesh(mesh, frame.camera).rgba, time=frame.time, name=frame.name)

    assert widest_time(by_time([legs(frame) for frame in capture])) in (3, 4)


def test_a_fit_on_a_gpu_is_as_good(capture, fit):
    if not torch.cuda.is_available():
        pytest.skip("fits on a GPU need an NVIDIA GPU, which this machine does not have")
    pytest.importorskip("gsplat")
    there = fit_moving(capture, SMALL, device="cuda").moving
    assert there.canonical.means.device.type == "cpu"
    for time in (0.0, 1.0):
        assert psnr(there.at(time), time) > psnr(fit.moving.at(time), time) - 1
