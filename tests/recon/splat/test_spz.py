"""Niantic's .spz against a decoder of its own, written from the format's description, files by hand, and bombs."""

from __future__ import annotations

import gzip
import itertools
import struct
import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recon.splat.files import SplatsError
from recon.splat.spz import read_spz, write_spz
from tests.recon.splat.test_formats import plausible_scene, turned_by

gsply = pytest.importorskip("gsply")


def header(version: int, count: int, degree: int, bits: int = 12, last: int = 0) -> bytes:
    return struct.pack("<4sIIBBBB", b"NGSP", version, count, degree, bits, 0, last)


def sections(version: int, degree: int) -> list[bytes]:
    """One Gaussian at (1, -2, 3), a quarter of a turn about +x, of sizes exp(-2), exp(-3), exp(-4)."""
    fixed = b"".join((value << 12).to_bytes(3, "little", signed=True) for value in (1, -2, 3))
    quarter = round((0.5**0.5 + 1) * 127.5)  # w is the square root of what the others leave
    # Version 3: w is the largest, then z, y and x with nine bits of 1/sqrt(2) and a sign.
    rotation = bytes([quarter, 128, 128]) if version < 3 else struct.pack("<I", 3 << 30 | 511 << 20)
    harmonics = bytes(range(3 * ((degree + 1) ** 2 - 1)))
    parts = [fixed, bytes([64]), bytes([255, 0, 128]), bytes([128, 112, 96]), rotation, harmonics]
    return [part for part in parts if part]


def raw_zstd(data: bytes, says: int | None = None) -> bytes:
    """A frame that names its content's length and stores it as it is (RFC 8878)."""
    block = (1 | len(data) << 3).to_bytes(3, "little")
    return b"\x28\xb5\x2f\xfd" + b"\xa0" + struct.pack("<I", len(data) if says is None else says) + block + data


def container(parts: list[bytes], frames: list[bytes], count: int = 1, degree: int = 1) -> bytes:
    """Version 4."""
    table = b"".join(struct.pack("<QQ", len(frame), len(part)) for part, frame in zip(parts, frames))
    return header(4, count, degree, last=len(parts)) + struct.pack("<I", 32) + bytes(12) + table + b"".join(frames)


def by_hand(version: int, degree: int = 1) -> bytes:
    parts = sections(version, degree)
    if version == 4:
        return container(parts, [raw_zstd(part) for part in parts], degree=degree)
    return gzip.compress(header(version, 1, degree) + b"".join(parts), mtime=0)


def decode(data: bytes) -> dict[str, np.ndarray]:
    """Version 3 as the format's description puts it."""
    data = gzip.decompress(data)
    _, version, count, degree, bits, _, _ = struct.unpack_from("<4sIIBBBB", data)
    assert version == 3
    body = np.frombuffer(data, np.uint8, offset=16)
    ends = np.cumsum([0, 9, 1, 3, 3, 4, 3 * ((degree + 1) ** 2 - 1)]) * count
    assert len(body) == ends[-1]
    places, alphas, colors, scales, rotations, rest = (
        body[a:b].reshape(count, -1) for a, b in itertools.pairwise(ends)
    )
    numbers = places.reshape(-1, 3).astype(np.int64) @ [1, 2**8, 2**16]
    quats = np.zeros((count, 4))
    for row, packed in zip(quats, np.ascontiguousarray(rotations).view("<u4")[:, 0].tolist()):
        largest = packed >> 30
        for part in sorted({0, 1, 2, 3} - {largest}, reverse=True):
            row[part] = (packed & 511) / 511 / np.sqrt(2) * (-1 if packed & 512 else 1)
            packed >>= 10
        row[largest] = np.sqrt(1 - (row**2).sum())
    return {
        "means": ((numbers + 2**23) % 2**24 - 2**23).reshape(-1, 3) / 2**bits,
        "opacities": alphas[:, 0] / 255,
        "dc": (colors / 255 - 0.5) / 0.15,
        "log_scales": scales / 16 - 10,
        "quats": quats[:, [3, 0, 1, 2]],
        "rest": (rest.reshape(count, -1, 3).astype(float) - 128) / 128,
    }


@pytest.mark.parametrize("degree", range(4))
def test_what_is_written_means_the_same_to_a_decoder_of_its_own(tmp_path, degree):
    write_spz(plausible_scene(300, degree), tmp_path / "a.spz")
    scene, found = read_spz(tmp_path / "a.spz"), decode((tmp_path / "a.spz").read_bytes())
    assert np.allclose(found["means"], scene.means, atol=1e-7)  # nothing is turned: the format's frame is ours
    assert np.allclose(found["log_scales"], scene.log_scales)
    assert np.allclose(found["opacities"], scene.opacities, atol=2e-6)
    assert np.allclose(found["dc"], scene.sh[:, 0], atol=1e-6)
    assert np.allclose(found["rest"], scene.sh[:, 1:])
    assert turned_by(torch.from_numpy(found["quats"]).float(), scene.quats).max() < 1e-5


@pytest.mark.parametrize("version", [2, 3, 4])
@pytest.mark.parametrize("degree", range(4))
def test_a_file_by_hand_is_understood(tmp_path, version, degree):
    (tmp_path / "a.spz").write_bytes(by_hand(version, degree))
    scene = read_spz(tmp_path / "a.spz")
    assert scene.means.tolist() == [[1.0, -2.0, 3.0]]
    assert scene.log_scales.tolist() == [[-2.0, -3.0, -4.0]]
    assert float(scene.opacities) == pytest.approx(64 / 255, abs=1e-6)
    assert torch.allclose(scene.sh[0, 0], torch.tensor([0.5, -0.5, 128 / 255 - 0.5]) / 0.15, atol=1e-5)
    assert turned_by(scene.quats, torch.tensor([[0.5**0.5, 0.5**0.5, 0, 0]])).max() < 0.01
    if degree:  # the three colours of a harmonic stand together
        assert scene.sh[0, 1:].flatten().tolist() == pytest.approx(
            [(value - 128) / 128 for value in range(scene.sh[0, 1:].numel())]
        )


def test_extensions_after_the_gaussians_are_skipped(tmp_path):
    inside = gzip.decompress(by_hand(3))
    (tmp_path / "a.spz").write_bytes(gzip.compress(inside + b"vendor" * 10))
    assert len(read_spz(tmp_path / "a.spz")) == 1


def test_gsply_keeps_the_backend_that_its_user_chose(tmp_path):
    before = gsply.active_backend()
    write_spz(plausible_scene(), tmp_path / "a.spz")
    read_spz(tmp_path / "a.spz")
    with pytest.raises(SplatsError):
        read_spz(broken(tmp_path, by_hand(3)[:-1]))
    assert gsply.active_backend() == before


def broken(folder, data: bytes):
    (folder / "bad.spz").write_bytes(data)
    return folder / "bad.spz"


def zipped(head: bytes, body: bytes = b"") -> bytes:
    return gzip.compress(head + body, mtime=0)


@settings(max_examples=150, deadline=None)
@given(version=st.sampled_from([3, 4]), position=st.integers(0, 140), replacement=st.binary(min_size=1, max_size=6))
def test_whatever_is_inside_the_answer_is_a_scene_or_a_reason(tmp_path_factory, version, position, replacement):
    data = by_hand(version)
    inside = gzip.decompress(data) if version == 3 else data
    changed = inside[:position] + replacement + inside[position + len(replacement) :]
    path = broken(tmp_path_factory.getbasetemp(), gzip.compress(changed) if version == 3 else changed)
    try:
        scene = read_spz(path)
    except SplatsError:
        return
    assert all(torch.isfinite(tensor).all() for tensor in scene.tensors())


MANY = 10**9
PARTS = sections(4, 1)
FRAMES = [raw_zstd(part) for part in PARTS]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"ply\n", "at the start"),
        (b"\x1f\x8b", "0 bytes of header"),
        (b"\x1f\x8bnonsense", "no gzip stream"),
        (by_hand(3)[:-1], "cut off"),
        (by_hand(3)[:-4] + b"\1\1\1\1", "damaged gzip stream"),
        (by_hand(3) + b"\0", "something after"),
        (by_hand(3) + gzip.compress(bytes(2**20), mtime=0), "something after"),
        (zipped(header(3, 2, 1), b"".join(sections(3, 1))), "45 bytes inside where 74 are promised"),
        (zipped(header(3, MANY, 3), bytes(100)), "promised by a file"),
        (zipped(header(3, 1, 0), bytes(2**23)), "more than 1048612 bytes inside where 36 are promised"),
        (zipped(header(1, 1, 0), bytes(100)), "version 1"),
        (zipped(header(9, 1, 0), bytes(100)), "version 9"),
        (zipped(header(3, 1, 4), bytes(200)), "degree 4"),
        (zipped(header(3, 0, 0), bytes(200)), "0 Gaussians"),
        (zipped(header(3, 1, 0, bits=40), bytes(20)), "40 fractional bits"),
        (zipped(b"NOPE" + header(3, 1, 0)[4:], bytes(20)), "b'NOPE' at the start"),
        (by_hand(4)[:20], "20 bytes of header"),
        (by_hand(4)[:-1], "stream 5"),
        (header(4, MANY, 0, last=5) + struct.pack("<I", 32) + bytes(100), "promised by a file"),
        (by_hand(4).replace(struct.pack("<I", 32) + bytes(12), struct.pack("<I", 2**31) + bytes(12)), "a table"),
        (by_hand(4).replace(struct.pack("<Q", 9), struct.pack("<Q", 2**60)), "stream 0"),
        (container(PARTS, [raw_zstd(PARTS[0], says=2**31), *FRAMES[1:]]), "says another length"),
        (container(PARTS, [b"\0" * 30, *FRAMES[1:]]), "says another length"),
        (container(PARTS, [FRAMES[0][:-4], *FRAMES[1:]]), "stream|decompress|zstd"),
    ],
)
def test_a_broken_or_lying_file_is_refused_with_the_reason_and_takes_no_memory(tmp_path, data, message):
    path = broken(tmp_path, data)
    tracemalloc.start()
    with pytest.raises(SplatsError, match=message) as error:
        read_spz(path)
    assert tracemalloc.get_traced_memory()[1] < 2 << 20
    tracemalloc.stop()
    assert "bad.spz" in str(error.value)
