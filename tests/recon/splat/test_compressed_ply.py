"""Compressed PLY against a decoder of its own, written from the format's description, and against files by hand."""

from __future__ import annotations

import re
import struct
import tracemalloc

import numpy as np
import pytest
import torch

from recon.splat._gsply import to_gsdata
from recon.splat.compressed_ply import read_compressed_ply, write_compressed_ply
from recon.splat.files import SplatsError
from recon.splat.formats import read_splats
from recon.splat.harmonics import SH_DC
from tests.recon.splat.test_formats import plausible_scene, turned_by

gsply = pytest.importorskip("gsply")

PLACES = ["min_x", "min_y", "min_z", "max_x", "max_y", "max_z"]
SIZES = ["min_scale_x", "min_scale_y", "min_scale_z", "max_scale_x", "max_scale_y", "max_scale_z"]
COLORS = ["min_r", "min_g", "min_b", "max_r", "max_g", "max_b"]
PACKED = ["packed_position", "packed_rotation", "packed_scale", "packed_color"]


def header(chunks: int, count: int, bounds: list[str], harmonics: int | None) -> bytes:
    lines = ["ply", "format binary_little_endian 1.0", "comment by hand", f"element chunk {chunks}"]
    lines += [f"property float {name}" for name in bounds]
    lines += [f"element vertex {count}", *(f"property uint {name}" for name in PACKED)]
    if harmonics is not None:
        lines += [f"element sh {count}", *(f"property uchar f_rest_{i}" for i in range(harmonics))]
    return "\n".join([*lines, "end_header\n"]).encode()


def by_hand(bounds: int = 18, harmonics: int | None = None) -> bytes:
    """Two Gaussians: the first at all lower bounds, the second at all upper ones."""
    limits = [-1, -2, -3, 1, 2, 3, -4, -5, -6, -1, -2, -3, 0.25, 0, 0.5, 0.75, 1, 0.5][:bounds]
    middle = 512 << 20 | 512 << 10 | 512  # three parts of 0.0007, which is as near to 0 as ten bits come
    rows = struct.pack("<8I", 0, 0 << 30 | middle, 0, 0x000000_40, 2**32 - 1, 3 << 30 | middle, 2**32 - 1, 0xFFFFFF_C0)
    body = struct.pack(f"<{bounds}f", *limits) + rows
    rest = bytes(range(2 * harmonics)) if harmonics else b""
    return header(1, 2, (PLACES + SIZES + COLORS)[:bounds], harmonics) + body + rest


def decode(data: bytes) -> dict[str, np.ndarray]:
    """The format as its description puts it."""
    text, body = data.split(b"end_header\n", 1)
    chunks, count = (int(re.search(rf"element {name} (\d+)".encode(), text)[1]) for name in ("chunk", "vertex"))
    bounds = np.frombuffer(body, "<f4", chunks * 18).reshape(-1, 18)[np.arange(count) // 256].astype(float)
    position, rotation, scale, color = np.frombuffer(body, "<u4", count * 4, chunks * 72).reshape(-1, 4).T
    rest = np.frombuffer(body, "u1", offset=chunks * 72 + count * 16).reshape(count, -1)

    def between(packed: np.ndarray, first: int, bits: tuple[int, int, int]) -> np.ndarray:
        shifts = (bits[1] + bits[2], bits[2], 0)
        parts = [(packed >> shift & (2**b - 1)) / (2**b - 1) for shift, b in zip(shifts, bits)]
        low, high = bounds[:, first : first + 3], bounds[:, first + 3 : first + 6]
        return low + (high - low) * np.stack(parts, axis=1)

    smaller = np.stack([((rotation >> s & 1023) / 1023 - 0.5) * np.sqrt(2) for s in (20, 10, 0)], axis=1)
    largest = np.sqrt(np.maximum(0, 1 - (smaller**2).sum(1)))
    quats = [np.insert(part, which, big) for part, which, big in zip(smaller, rotation >> 30, largest)]
    return {
        "means": between(position, 0, (11, 10, 11)),
        "log_scales": between(scale, 6, (11, 10, 11)),
        "colors": between(color >> 8, 12, (8, 8, 8)),
        "opacities": (color & 255) / 255,
        "quats": np.array(quats),
        "rest": (rest.astype(float) + 0.5 - 128) / 32,
    }


@pytest.mark.parametrize("degree", range(4))
def test_what_is_written_means_the_same_to_a_decoder_of_its_own(tmp_path, degree):
    write_compressed_ply(plausible_scene(300, degree), tmp_path / "a.ply")
    scene, found = read_compressed_ply(tmp_path / "a.ply"), decode((tmp_path / "a.ply").read_bytes())
    assert np.allclose(found["means"], scene.means, atol=1e-6)
    assert np.allclose(found["log_scales"], scene.log_scales, atol=3e-6)
    assert np.allclose(found["colors"], 0.5 + SH_DC * scene.sh[:, 0], atol=1e-6)
    assert np.allclose(found["opacities"], scene.opacities, atol=1e-4)
    assert turned_by(torch.from_numpy(found["quats"]).float(), scene.quats).max() < 1e-5
    assert np.allclose(found["rest"].reshape(300, 3, -1).transpose(0, 2, 1), scene.sh[:, 1:], atol=1e-6)


@pytest.mark.parametrize("bounds", [18, 12])
@pytest.mark.parametrize("harmonics", [None, 0, 9, 45])
def test_a_file_by_hand_is_understood_with_and_without_bounds_of_colour(tmp_path, bounds, harmonics):
    (tmp_path / "a.ply").write_bytes(by_hand(bounds, harmonics))
    scene = read_splats(tmp_path / "a.ply")
    assert scene.means.tolist() == [[-1, -2, -3], [1, 2, 3]]
    assert scene.log_scales.tolist() == [[-4, -5, -6], [-1, -2, -3]]
    colors = [[0.25, 0, 0.5], [0.75, 1, 0.5]] if bounds == 18 else [[0.0, 0, 0], [1.0, 1, 1]]
    assert torch.allclose(0.5 + SH_DC * scene.sh[:, 0], torch.tensor(colors), atol=1e-6)
    assert torch.allclose(scene.opacities, torch.tensor([64 / 255, 192 / 255]), atol=1e-6)
    assert turned_by(scene.quats, torch.eye(4)[[0, 3]]).max() < 2e-3
    if harmonics:  # all of red stands before all of green
        assert float(scene.sh[0, 1, 1]) == pytest.approx((harmonics / 3 + 0.5 - 128) / 32)


def test_neighbours_share_a_chunk_so_that_places_are_kept_better_than_in_any_order(tmp_path):
    scene = plausible_scene(4000, 0)
    write_compressed_ply(scene, tmp_path / "a.ply")
    (tmp_path / "b.ply").write_bytes(gsply.compress_to_bytes(to_gsdata(gsply, scene, tmp_path)))
    sorted_, unsorted = (read_compressed_ply(tmp_path / name).means for name in ("a.ply", "b.ply"))
    nearest = torch.cdist(sorted_.double(), scene.means.double()).min(dim=1).values
    assert nearest.mean() < 0.6 * (unsorted - scene.means).norm(dim=1).mean()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (by_hand()[:-1], "cut off"),
        (by_hand(harmonics=9)[:-1], "cut off"),
        (by_hand().replace(b"vertex 2", b"vertex 999999999999"), "another layout"),
        (by_hand().replace(b"chunk 1", b"chunk 3906250000").replace(b"vertex 2", b"vertex 999999999999"), "cut off"),
        (by_hand().replace(b"chunk 1", b"chunk 2"), "another layout"),
        (by_hand().replace(b"chunk 1", b"chunk 0").replace(b"vertex 2", b"vertex 0"), "another layout"),
        (by_hand().replace(b"chunk 1", b"chunk -1"), "one count"),
        (by_hand().replace(b"float min_y", b"double min_y"), "another layout"),
        (by_hand().replace(b"packed_scale", b"packed_size"), "another layout"),
        (by_hand().replace(b"uint packed_scale", b"list uchar uint packed_scale"), "another layout"),
        (by_hand(harmonics=9).replace(b"sh 2", b"sh 3"), "another layout"),
        (by_hand(harmonics=10), "another layout"),
        (by_hand().replace(b"little", b"big"), "another layout"),
        (
            b"ply\nformat binary_little_endian 1.0\nelement chunk 1\nproperty float min_x\nend_header\n",
            "another layout",
        ),
        (by_hand().replace(struct.pack("<f", -3), struct.pack("<f", np.nan)), "2 Gaussians with NaN"),
        (by_hand().replace(struct.pack("<f", 1), struct.pack("<f", np.inf)), "Gaussians with NaN"),
    ],
)
def test_a_broken_file_is_refused_with_the_reason(tmp_path, data, message):
    (tmp_path / "bad.ply").write_bytes(data)
    tracemalloc.start()
    with pytest.raises(SplatsError, match=message) as error:
        read_splats(tmp_path / "bad.ply")
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()
    assert "bad.ply" in str(error.value)
