"""What `benchmarks.captures` says of solved cameras is what they are off by, and its pictures tell no order."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from benchmarks.captures import SUBJECTS, camera_errors, markdown, pictures_of
from recon.capture import Capture, Similarity, frame_from_tensors, orbit_camera
from recon.capture.conversions import rotation_from_quat
from tests.shared_data import shared_path

CAMERAS = [orbit_camera(0.5 * i, 0.2, math.radians(40), 8, 8) for i in range(9)]


def capture(cameras):
    return Capture(tuple(frame_from_tensors(c, torch.ones(8, 8, 4), name=f"{i}") for i, c in enumerate(cameras)))


def test_errors_do_not_depend_on_the_solvers_world_and_are_what_was_done():
    turn = rotation_from_quat(torch.tensor([0.6, 0.8, 0.0, 0.0]))
    world = Similarity(turn, torch.tensor([1.0, -2.0, 3.0]), 4.0)
    exact = capture(CAMERAS).moved(world)
    assert camera_errors(list(exact), list(capture(CAMERAS))) == pytest.approx((0.0, 0.0), abs=0.05)
    small = rotation_from_quat(torch.tensor([math.cos(0.01), 0.0, math.sin(0.01), 0.0]))
    off = []
    for index, camera in enumerate(CAMERAS):
        longer = camera.intrinsics.clone()
        longer[0, 0] *= 1.05
        turned = camera.moved(small if index % 2 else small.T, torch.zeros(3))
        off.append(replace(turned, intrinsics=longer))
    turn_off, focal = camera_errors(list(capture(off).moved(world)), list(capture(CAMERAS)))
    assert turn_off == pytest.approx(math.degrees(0.02), rel=0.15)
    assert focal == pytest.approx(5.0, abs=0.1)


def test_pictures_are_shuffled_and_named_by_their_new_places():
    pictures, held, opaque = pictures_of("castle", shared_path(f"captures/{SUBJECTS['castle']}").parent)
    assert [picture.name for picture in pictures] == [f"{i:03d}" for i in range(11)]
    assert [picture.origin for picture in pictures] != [str(i) for i in range(11)]
    assert {int(pictures[place].origin) for place in held} == {0, 4, 8}
    assert opaque


def test_the_table_has_a_row_a_measurement():
    row = {
        "registered": 11, "pictures": 13, "psnr": 16.9, "ssim": 0.6, "gaussians": 16128, "solve_cpu": 38.0,
        "fit_cpu": 103.0, "fit_wall": 152.0, "peak_mib": 794, "turn_degrees": 0.19, "focal_percent": 1.4,
        "opensplat": None,
    }  # fmt: skip
    text = markdown({"rows": {"buddha, solved": row}})
    assert "| buddha, solved | 11 of 13 | 0.19 | 1.4 | 16.90 |" in text
