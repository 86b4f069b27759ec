"""PLY files of splats: round trips, other writers' layouts, and files that lie."""

from __future__ import annotations

import os
import re
import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recon.splat.files import SplatsError
from recon.splat.gaussians import Gaussians
from recon.splat.ply import read_ply, write_ply


def some_gaussians(count: int = 7, degree: int = 3, seed: int = 0) -> Gaussians:
    generator = torch.Generator().manual_seed(seed)
    shapes = [(count, 3), (count, 4), (count, 3), (count,), (count, (degree + 1) ** 2, 3)]
    return Gaussians(*(torch.randn(*shape, generator=generator) for shape in shapes))


@pytest.mark.parametrize("degree", range(4))
@pytest.mark.parametrize("count", [0, 1, 7])
def test_a_scene_reads_back_bit_for_bit(tmp_path, degree, count):
    scene = some_gaussians(count, degree)
    write_ply(scene, tmp_path / "a.ply")
    back = read_ply(tmp_path / "a.ply")
    assert all(torch.equal(a, b) for a, b in zip(scene.tensors(), back.tensors()))
    assert [path.name for path in tmp_path.iterdir()] == ["a.ply"]


def test_the_columns_are_those_of_other_splat_tools(tmp_path):
    scene = some_gaussians(2)
    write_ply(scene, tmp_path / "a.ply")
    header, body = (tmp_path / "a.ply").read_bytes().split(b"end_header\n")
    names = re.findall(r"property float (\w+)", header.decode())
    assert names[:9] == ["x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2"]
    assert names[9:54] == [f"f_rest_{i}" for i in range(45)]
    assert names[54:] == ["opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"]
    rows = np.frombuffer(body, "<f4").reshape(2, 62)
    assert rows[1, names.index("f_rest_15")] == scene.sh[1, 1, 1]  # all of red stands before all of green


@pytest.mark.parametrize("order", ["<", ">"])
def test_columns_may_stand_in_any_order_type_and_company(tmp_path, order):
    scene = some_gaussians(5, 0)
    names = ["rot_3", "opacity", "x", "y", "z", "f_dc_0", "f_dc_1", "f_dc_2", "segment", "scale_0", "scale_1"]
    names += ["scale_2", "rot_0", "rot_1", "rot_2"]
    kinds = {"segment": ("uchar", "u1"), "x": ("double", "f8")}
    dtype = np.dtype([(name, order + kinds.get(name, ("float", "f4"))[1]) for name in names])
    rows = np.zeros(5, dtype)
    for column, tensor in (("xyz", scene.means), ("scale_", scene.log_scales), ("rot_", scene.quats)):
        for axis in range(tensor.shape[1]):
            rows[column[axis] if column == "xyz" else f"{column}{axis}"] = tensor[:, axis]
    for axis in range(3):
        rows[f"f_dc_{axis}"] = scene.sh[:, 0, axis]
    rows["opacity"] = scene.logit_opacities
    ending = "little" if order == "<" else "big"
    header = f"ply\r\nformat binary_{ending}_endian 1.0\r\ncomment by hand\r\nelement vertex 5\r\n"
    header += "".join(f"property {kinds.get(name, ('float',))[0]} {name}\r\n" for name in names)
    header += "element camera 1\r\nproperty list uchar int views\r\nend_header\r\n"
    (tmp_path / "b.ply").write_bytes(header.encode() + rows.tobytes() + b"\x00")
    back = read_ply(tmp_path / "b.ply")
    assert all(torch.equal(a, b) for a, b in zip(scene.tensors(), back.tensors()))


def written(tmp_path, scene: Gaussians | None = None) -> bytes:
    write_ply(scene or some_gaussians(3, 1), tmp_path / "good.ply")
    return (tmp_path / "good.ply").read_bytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[:-1], "cut off"),
        (lambda data: data.replace(b"vertex 3", b"vertex 4"), "cut off"),
        (lambda data: data.replace(b"vertex 3", b"vertex 999999999999999"), "cut off"),
        (lambda data: data.replace(b"vertex 3", b"vertex " + b"9" * 40), "one count of vertices"),
        (lambda data: data.replace(b"vertex 3", b"vertex -3"), "one count of vertices"),
        (lambda data: data.replace(b"binary_little_endian", b"ascii"), "lines of 26 numbers"),
        (lambda data: data.replace(b"rot_3", b"rot_9"), "rot_3"),
        (lambda data: data.replace(b"f_rest_8", b"f_rest_0"), "two properties of one name"),
        (lambda data: data.replace(b"property float f_rest_8\n", b""), "f_rest"),
        (lambda data: data.replace(b"property float x", b"property list uchar int x"), "a property of one number"),
        (lambda data: data.replace(b"element vertex", b"element face 1\nelement vertex"), "Export the splats alone"),
        (lambda data: data[:-4] + np.float32(np.nan).tobytes(), "1 Gaussians with NaN"),
        (lambda data: data[:-40] + np.float32(np.inf).tobytes() + data[-36:], "1 Gaussians with NaN"),
        (lambda data: data[:-16] + bytes(16), "no rotation"),
        (lambda data: b"", "no PLY header"),
        (lambda data: b"\x89PNG" + data, "no PLY header"),
        (lambda data: b"ply\n" + b"comment a\n" * 100_000 + data[4:], "no PLY header"),
    ],
)
def test_a_broken_file_is_refused_with_the_reason(tmp_path, change, message):
    path = tmp_path / "bad.ply"
    path.write_bytes(change(written(tmp_path)))
    with pytest.raises(SplatsError, match=message) as error:
        read_ply(path)
    assert str(path) in str(error.value)


def test_a_huge_count_takes_no_memory(tmp_path):
    path = tmp_path / "bad.ply"
    path.write_bytes(written(tmp_path).replace(b"vertex 3", b"vertex 40000000000"))
    tracemalloc.start()
    with pytest.raises(SplatsError, match="cut off"):
        read_ply(path)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


@settings(max_examples=150, deadline=None)
@given(position=st.integers(0, 700), replacement=st.binary(min_size=1, max_size=6), cut=st.integers(0, 300))
def test_whatever_happens_to_the_bytes_the_answer_is_a_scene_or_a_reason(tmp_path_factory, position, replacement, cut):
    folder = tmp_path_factory.getbasetemp()
    data = written(folder)
    data = data[:position] + replacement + data[position + len(replacement) : len(data) - cut]
    path = folder / "mutated.ply"
    path.write_bytes(data)
    try:
        scene = read_ply(path)
    except SplatsError:
        return
    assert all(torch.isfinite(tensor).all() for tensor in scene.tensors())


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path, monkeypatch):
    before = written(tmp_path)

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_ply(some_gaussians(9), tmp_path / "good.ply")
    assert (tmp_path / "good.ply").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["good.ply"]
