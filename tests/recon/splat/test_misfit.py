"""Right cameras leave less of their pictures than wrong ones do, wherever the solver's world is."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from recon.capture import Capture, Similarity, frame_from_tensors, orbit_camera
from recon.splat.misfit import misfit
from tests.recon.capture.turning import shipped_object, turned

COUNT, SIZE = 12, 64


@pytest.fixture(scope="module")
def house() -> Capture:
    """Its four sides look alike."""
    azimuths = 2 * math.pi * np.arange(COUNT) / COUNT
    seen = turned(shipped_object("house"), azimuths, size=SIZE)
    cameras = [orbit_camera(float(a), seen.elevation, seen.fov, SIZE, SIZE) for a in azimuths]
    pairs = zip(cameras, seen.pictures, strict=True)
    return Capture(tuple(frame_from_tensors(c, p, name=f"{i}") for i, (c, p) in enumerate(pairs)))


def folded(capture: Capture) -> Capture:
    """The second half of the cameras put where the first half is, as if the other side were this one."""
    half = len(capture) // 2
    frames = [replace(frame, camera=capture[i % half].camera) for i, frame in enumerate(capture)]
    return Capture(tuple(frames))


def test_folded_cameras_leave_more_than_right_ones(house):
    right, wrong = misfit(house), misfit(folded(house))
    assert right < 0.5 * wrong
    turn = torch.linalg.matrix_exp(torch.tensor([[0.0, -0.4, 0.2], [0.4, 0.0, 0.1], [-0.2, -0.1, 0.0]]))
    away = Similarity(turn, torch.tensor([3.0, -7.0, 11.0]), 40.0)
    assert misfit(Capture(house.moved(away).frames)) == pytest.approx(right, rel=0.2)


def test_cameras_whose_silhouettes_meet_nowhere_explain_nothing(house):
    frames = [
        replace(f, camera=replace(f.camera, c2w=f.camera.c2w @ torch.diag(torch.tensor([1.0, -1, -1, 1]))))
        for f in house
    ]
    assert misfit(Capture(tuple(frames))) == math.inf
