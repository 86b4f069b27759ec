"""What of the cameras' stage is quick to check: what the orbit solver is asked."""

import dataclasses
import math

import pytest
import torch

from pipelines._cameras_stage import _by_orbit
from pipelines._run import StageLog
from pipelines._video_options import VideoOptions, resolve_video
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
