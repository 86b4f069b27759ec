"""antimatter15's records, against bytes that were put together by hand."""

from __future__ import annotations

import math
import struct

import numpy as np
import pytest
import torch

from recon.splat.files import SplatsError
from recon.splat.gaussians import Gaussians
from recon.splat.splat_file import read_splat, write_splat

HALF_TURN_ABOUT_X = (128, 255, 128, 128)  # wxyz; what antimatter15's converter makes of (0, 1, 0, 0)


def record(place=(1.0, -2.0, 3.0), size=(0.1, 0.2, 0.4), rgba=(255, 0, 128, 64), quat=HALF_TURN_ABOUT_X) -> bytes:
    return struct.pack("<6f4B4B", *place, *size, *rgba, *quat)


def test_a_record_means_what_the_viewer_draws(tmp_path):
    (tmp_path / "a.splat").write_bytes(record() + record(quat=(0, 128, 128, 128)))
    scene = read_splat(tmp_path / "a.splat")
    assert scene.means[0].tolist() == [1.0, -2.0, 3.0]
    assert torch.allclose(scene.scales[0], torch.tensor([0.1, 0.2, 0.4]))
    assert torch.allclose(scene.base_colors[0], torch.tensor([1.0, 0.0, 128 / 255]), atol=1e-6)
    assert float(scene.opacities[0]) == pytest.approx(64 / 255, abs=1e-6)
    assert scene.quats[0].tolist() == [0.0, 1.0, 0.0, 0.0]
    assert scene.quats[1].tolist() == [-1.0, 0.0, 0.0, 0.0]


def test_records_that_are_written_are_those_made_by_hand(tmp_path):
    (tmp_path / "a.splat").write_bytes(
        record(size=(1, 1, 1)) + record(size=(1, 1, 1), rgba=(1, 2, 3, 254), quat=(219, 37, 128, 128))
    )
    write_splat(read_splat(tmp_path / "a.splat"), tmp_path / "b.splat")
    assert (tmp_path / "a.splat").read_bytes() == (tmp_path / "b.splat").read_bytes()


def test_full_and_no_opacity_and_no_thickness_stay_finite(tmp_path):
    (tmp_path / "a.splat").write_bytes(record(rgba=(0, 0, 0, 255), size=(0.1, 0.1, 0.0)) + record(rgba=(0, 0, 0, 0)))
    scene = read_splat(tmp_path / "a.splat")
    assert float(scene.opacities[0]) == pytest.approx(1, abs=1 / 510)
    assert float(scene.opacities[1]) == pytest.approx(0, abs=1 / 510)
    assert float(scene.scales[0, 2]) < 1e-9
    write_splat(scene, tmp_path / "b.splat")
    assert np.frombuffer((tmp_path / "b.splat").read_bytes(), np.uint8)[[27, 59]].tolist() == [255, 0]


def test_view_dependence_is_left_out_and_colour_is_clamped(tmp_path):
    sh = torch.zeros(1, 4, 3)
    sh[0, 0], sh[0, 1:] = torch.tensor([9.0, -9.0, 0.0]), 1.0
    write_splat(
        Gaussians(torch.zeros(1, 3), torch.eye(4)[:1], torch.zeros(1, 3), torch.zeros(1), sh), tmp_path / "a.splat"
    )
    assert (tmp_path / "a.splat").read_bytes() == record((0, 0, 0), (1, 1, 1), (255, 0, 128, 128), (255, 128, 128, 128))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (record()[:-1], "31 bytes"),
        (record() + b"\0", "33 bytes"),
        (b"ply\n" * 5, "32 for each Gaussian"),
        (record(place=(math.nan, 0, 0)), "1 Gaussians with NaN"),
        (record(size=(math.inf, 1, 1)), "1 Gaussians with NaN"),
        (record(size=(-1, 1, 1)), "1 Gaussians with NaN"),
        (record() + record(quat=(128, 128, 128, 128)), "1 Gaussians with NaN, infinity or no rotation"),
    ],
)
def test_a_broken_file_is_refused_with_the_reason(tmp_path, data, message):
    (tmp_path / "bad.splat").write_bytes(data)
    with pytest.raises(SplatsError, match=message) as error:
        read_splat(tmp_path / "bad.splat")
    assert "bad.splat" in str(error.value)
