"""Up is found in worlds that were turned any way, from rings, arcs and walks."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recon.capture import Capture, Similarity, frame_from_tensors
from recon.capture.camera import orbit_camera
from recon.capture.conversions import rotation_from_quat
from recon.capture.upright import facing_first, find_up, given_up, turned_upright

FOV = math.radians(40)


def capture_of(directions):
    """Frames from (azimuth, elevation) in degrees; pixels do not matter here."""
    cameras = [orbit_camera(math.radians(a), math.radians(e), FOV, 4, 4) for a, e in directions]
    return Capture(tuple(frame_from_tensors(c, torch.ones(4, 4, 4), name=f"{i}") for i, c in enumerate(cameras)))


ROUTES = {
    "ring": [(a, 20) for a in range(0, 360, 30)],
    "level ring": [(a, 0) for a in range(0, 360, 30)],
    "dome": [(a, e) for a in range(0, 360, 45) for e in (0, 30, 60)],
    "quarter": [(a, 15) for a in range(0, 91, 15)],
    "rising arc": [(a, a / 2) for a in range(0, 91, 15)],
}


@pytest.mark.parametrize("route", ROUTES)
@given(quat=st.tuples(*[st.floats(-1, 1)] * 4).filter(lambda q: sum(x * x for x in q) > 0.01))
@settings(max_examples=20, deadline=None)
def test_up_is_found_however_the_world_was_turned(route, quat):
    upright = capture_of(ROUTES[route])
    turn = rotation_from_quat(torch.nn.functional.normalize(torch.tensor(quat), dim=0))
    solved = upright.moved(Similarity(turn, torch.tensor([3.0, -1.0, 2.0]), 2.5))
    found = find_up(solved.cameras)
    assert float(found.direction @ turn[:, 1]) > math.cos(math.radians(0.5))
    assert found.spread < 0.01
    again = turned_upright(solved, found)
    assert torch.allclose(again[0].camera.c2w[1, :3], upright[0].camera.c2w[1, :3], atol=2e-3)
    there = again.to_source.apply(again[2].camera.centre)
    assert torch.allclose(there, solved.to_source.apply(solved[2].camera.centre), atol=1e-4)


def test_a_ring_tells_what_is_level_though_the_camera_was_held_askew():
    cameras = [orbit_camera(math.radians(a), 0.3, FOV, 4, 4, None, 0.2) for a in range(0, 360, 20)]
    found = find_up(cameras)
    assert found.told_by == "ring"
    assert float(found.direction[1]) > math.cos(math.radians(0.5))
    assert found.spread == pytest.approx(math.asin(math.sin(0.2) * math.cos(0.3)), abs=0.01)


def test_a_given_axis_is_taken():
    found = given_up(capture_of(ROUTES["ring"]), "-z")
    assert found.direction.tolist() == [0, 0, -1]
    turned = turned_upright(capture_of(ROUTES["ring"]), found)
    assert torch.allclose(turned.to_source.apply(torch.tensor([0.0, 1.0, 0.0])), torch.tensor([0.0, 0.0, -1.0]))


def test_the_axis_is_the_sources_own_even_where_the_world_was_turned_on_reading():
    source = capture_of(ROUTES["ring"])
    z_up = Similarity(torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]]))
    read = Capture(source.moved(z_up).frames).moved(z_up.inverse())  # its own world had +Z up
    turned = turned_upright(read, given_up(read, "+z"))
    assert torch.allclose(turned[3].camera.c2w, source[3].camera.c2w, atol=1e-5)


@pytest.mark.parametrize("axis", ["+x", "-x", "+y", "-y", "+z", "-z"])
def test_every_axis_can_be_up_and_worlds_stay_right_handed(axis):
    capture = capture_of(ROUTES["ring"])
    turned = turned_upright(capture, given_up(capture, axis))
    assert float(torch.det(turned.to_source.rotation)) == pytest.approx(1, abs=1e-5)


def test_the_first_camera_comes_to_stand_in_front():
    capture = facing_first(capture_of([(140, 20), (180, 20), (220, 20)]))
    assert capture[0].camera.centre[0].abs() < 1e-5
    assert capture[0].camera.centre[2] > 0
    assert torch.allclose(capture[1].camera.c2w, capture_of([(40, 20)])[0].camera.c2w, atol=1e-5)
