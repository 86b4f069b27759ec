"""A capture's subject is brought into the unit-diameter sphere, wherever its cameras were solved."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from recon.capture import Capture, Similarity, frame_from_tensors, orbit_camera
from recon.capture.normalise import NormaliseError, normalise


def ball_capture(radius: float = 0.5) -> Capture:
    """Silhouettes of a ball about the origin, seen from eight sides."""
    frames = []
    for i in range(8):
        camera = orbit_camera(i * math.pi / 4, 0.3 * (-1) ** i, math.radians(34), 96, 96)
        origin, directions = camera.rays()
        unit = torch.nn.functional.normalize(directions, dim=-1)
        near = torch.linalg.cross(unit, (-origin).expand_as(unit)).norm(dim=-1) < radius
        rgba = torch.cat((torch.full((96, 96, 3), 0.5), near[..., None].float()), dim=-1)
        frames.append(frame_from_tensors(camera, rgba, name=f"view_{i}"))
    return Capture(tuple(frames))


def test_a_moved_and_scaled_capture_comes_back():
    turn = torch.linalg.matrix_exp(torch.tensor([[0.0, -0.4, 0.2], [0.4, 0.0, 0.1], [-0.2, -0.1, 0.0]]))
    away = Similarity(turn, torch.tensor([3.0, -7.0, 11.0]), 40.0)
    truth = ball_capture()
    found = normalise(Capture(truth.moved(away).frames))
    for ours, theirs in zip(found.cameras, truth.cameras):
        assert float(ours.centre.norm()) == pytest.approx(float(theirs.centre.norm()), rel=0.02)
    centre = away.apply(torch.zeros(3))
    origin_there = found.to_source.apply(torch.zeros(3))
    assert float((origin_there - centre).norm()) < 0.02 * 40
    assert found.to_source.scale == pytest.approx(40, rel=0.02)


def test_a_capture_in_our_frame_is_left_alone():
    capture = ball_capture(0.42)
    assert normalise(capture) is capture


def test_pictures_without_silhouettes_are_refused():
    opaque = [frame_from_tensors(f.camera, torch.ones(96, 96, 4), name=f.name) for f in ball_capture()]
    with pytest.raises(NormaliseError, match="no silhouettes"):
        normalise(Capture(tuple(opaque)))


def test_views_from_one_direction_are_refused():
    away = Similarity(translation=torch.tensor([5.0, 0.0, 0.0]))
    with pytest.raises(NormaliseError, match="one direction"):
        normalise(Capture(ball_capture().frames[:1]).moved(away))


def test_cameras_that_look_away_are_refused():
    turned = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))  # OpenCV's axes, taken for OpenGL's
    frames = [replace(frame, camera=replace(frame.camera, c2w=frame.camera.c2w @ turned)) for frame in ball_capture()]
    with pytest.raises(NormaliseError, match="before the cameras"):
        normalise(Capture(tuple(frames)))


def test_pictures_of_which_no_pixel_counts_are_not_called_uncut():
    frames = [replace(frame, load_weight=lambda: torch.zeros(96, 96)) for frame in ball_capture()]
    with pytest.raises(NormaliseError, match="distortion coefficients"):
        normalise(Capture(tuple(frames)))
