"""What of the cameras' stage is quick to check: what the orbit solver is asked, and whose cameras are taken."""

import dataclasses
import json
import math
from types import SimpleNamespace

import pytest
import torch

from pipelines import _cameras_stage
from pipelines._cameras_stage import _better, _by_orbit, _SolvedOrbit
from pipelines._run import StageLog
from pipelines._video_options import VideoOptions, resolve_video
from recon.capture import Capture, frame_from_tensors, orbit_camera
from recon.capture.sfm import Solved, SolveError
from recon.capture.unposed import UnposedFrame
from recon.splat import solve_poses
from tests.pipelines.test_run_failures import Quiet


@pytest.mark.parametrize("fov", ["auto", 47.0])
def test_a_given_field_of_view_reaches_the_orbit_solver_in_radians(tmp_path, monkeypatch, fov):
    asked = []

    def solve(pictures, **options):
        asked.append(options["fov"])
        raise ValueError("enough")

    monkeypatch.setattr(solve_poses, "solve_orbit", solve)
    frames = [UnposedFrame(str(i), lambda: torch.ones(24, 32, 4), 32, 24, focal=20.0) for i in range(6)]
    options = VideoOptions(tmp_path / "photos", tmp_path / "run", fov=fov)
    settings = resolve_video(dataclasses.replace(options, cameras="orbit"), is_video=False, has_cameras=False)
    with pytest.raises(ValueError, match="enough"):
        _by_orbit(frames, settings, True, StageLog(Quiet()))
    assert asked == [None if fov == "auto" else pytest.approx(math.radians(47))]


def test_an_orbit_is_not_asked_of_pictures_by_several_lenses(tmp_path):
    frames = [UnposedFrame(str(i), lambda: torch.ones(24, 32, 4), 32, 24, focal=20.0 + 20 * (i % 2)) for i in range(6)]
    settings = resolve_video(
        VideoOptions(tmp_path / "photos", tmp_path / "run", cameras="orbit"), is_video=False, has_cameras=False
    )
    with pytest.raises(SolveError, match="20 to 40 pixels"):
        _by_orbit(frames, settings, True, StageLog(Quiet()))


@pytest.mark.parametrize(
    ("by_sfm", "by_orbit", "taken"), [(0.04, 0.02, "orbit"), (0.04, 0.035, "sfm"), (0.009, 0.0, "sfm")]
)
def test_an_orbit_is_taken_where_it_explains_the_pictures_clearly_better(
    by_sfm, by_orbit, taken, tmp_path, monkeypatch
):
    """The solvers' answers and how badly they fit are made up; what they really are is tested where they are made."""
    frames = tuple(
        frame_from_tensors(orbit_camera(a, 0.3, 0.6, 16, 16), torch.ones(16, 16, 4), name=str(a)) for a in range(6)
    )
    solved, orbit = Capture(frames), Capture(frames)
    monkeypatch.setattr(_cameras_stage, "_misfit", lambda capture, *_: by_sfm if capture is solved else by_orbit)
    monkeypatch.setattr(_cameras_stage, "_by_orbit", lambda *_: _SolvedOrbit(orbit, {"by": "orbit"}, ""))
    settings = resolve_video(VideoOptions(tmp_path / "photos", tmp_path / "run"), is_video=False, has_cameras=False)
    log, found = StageLog(Quiet()), Solved(solved, (True,) * 6, torch.zeros(9, 3), torch.zeros(9, 3), 0.3, 4.0, 50)
    capture, points = _better(found, [], settings, True, log)
    assert log.figures["solved"]["by"] == taken
    assert capture is (orbit if taken == "orbit" else solved)
    assert (points is None) == (taken == "orbit")
    assert any("explains the pictures better" in warning for warning in log.warnings) == (taken == "orbit")


def test_cameras_that_explain_their_pictures_badly_are_called_poor(tmp_path, monkeypatch):
    def no_orbit(*_):
        raise SolveError("frames", found="nothing", expected="an orbit", remedy="Give up.")

    frames = tuple(
        frame_from_tensors(orbit_camera(a, 0.3, 0.6, 16, 16), torch.ones(16, 16, 4), name=str(a)) for a in range(6)
    )
    monkeypatch.setattr(_cameras_stage, "_misfit", lambda *_: math.inf)
    monkeypatch.setattr(_cameras_stage, "_by_orbit", no_orbit)
    settings = resolve_video(VideoOptions(tmp_path / "photos", tmp_path / "run"), is_video=False, has_cameras=False)
    log = StageLog(Quiet())
    found = Solved(Capture(frames), (True,) * 6, torch.zeros(9, 3), torch.zeros(9, 3), 0.3, 4.0, 50)
    _better(found, [], settings, True, log)
    assert log.figures["solved"]["confidence"] == "poor"
    assert any("badly" in warning for warning in log.warnings)
    json.dumps(log.figures, allow_nan=False)


@pytest.mark.parametrize(("in_order", "asked"), [(0.9, [True]), (0.2, [True, False])])
def test_photos_are_first_taken_for_an_orbit_in_the_order_of_their_names(in_order, asked, tmp_path, monkeypatch):
    orders = []

    def solve(pictures, *, ordered, **_):
        orders.append(ordered)
        cameras = tuple(orbit_camera(float(a), 0.3, 0.6, 24, 24) for a in range(6))
        explained = in_order if ordered else 0.7
        shared = {
            "cameras": cameras,
            "azimuths": torch.arange(6.0),
            "elevation": 0.3,
            "fov": 0.6,
            "confidence": explained,
        }
        return SimpleNamespace(**shared, reasons={"explained": explained})

    monkeypatch.setattr(solve_poses, "solve_orbit", solve)
    frames = [UnposedFrame(str(i), lambda: torch.ones(24, 24, 4), 24, 24) for i in range(6)]
    settings = resolve_video(VideoOptions(tmp_path / "photos", tmp_path / "run"), is_video=False, has_cameras=False)
    solved = _by_orbit(frames, settings, False, StageLog(Quiet()))
    assert orders == asked
    assert solved.figures["confidence"] == max(in_order, 0.7 if len(asked) > 1 else 0)
