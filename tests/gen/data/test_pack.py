from __future__ import annotations

import importlib.util
import io
import json
import lzma
import math
import struct
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from gen.data import pack as module
from gen.data.pack import ObjectPack, PackError
from recon.capture import orbit_camera
from recon.surface.render import render_mesh
from tests.shared_data import shared_path

Q = 16383


def record(vertices, faces, uvs, materials, *, header_changes=None, face_material=None, colors=None) -> bytes:
    """A mesh record as packs hold it, not yet compressed. Faces must use vertices in order of first use."""

    def planes(values, depth):
        return b"".join(((values >> (8 * k)) & 255).astype(np.uint8).tobytes() for k in range(depth))

    def delta(values, scale_low, scale_high):
        codes = np.round((values - scale_low) / (scale_high - scale_low) * Q).astype(np.int32)
        steps = np.diff(codes, prepend=0)
        return planes(((steps << 1) ^ (steps >> 31)).astype(np.uint32), 2)

    flat = np.asarray(faces).reshape(-1)
    seen = -1
    codes = []
    for index in flat:
        codes.append(0 if index == seen + 1 else seen + 1 - index)
        seen = max(seen, index)
    parts = [planes(np.array(codes, np.uint32), 3)]
    vertices, uvs = np.asarray(vertices, float), np.asarray(uvs, float)
    parts += [delta(vertices[:, k], -1, 1) for k in range(3)] + [delta(uvs[:, k], 0, 1) for k in range(2)]
    parts.append(
        np.diff(np.zeros(len(faces)) if face_material is None else face_material, prepend=0).astype(np.uint8).tobytes()
    )
    if colors is not None:
        parts.append(np.diff(np.asarray(colors, int), axis=0, prepend=0).astype(np.uint8).T.tobytes())
    header = {"nv": len(vertices), "nf": len(faces), "uvmin": [0, 0], "uvmax": [1, 1], "mats": materials}
    text = json.dumps(header | {"vcol": colors is not None} | (header_changes or {})).encode()
    return b"OMP1" + struct.pack("<I", len(text)) + text + b"".join(parts)


SQUARE = [[-0.5, 0, 0.5], [-0.5, 0, -0.5], [0.5, 0, -0.5], [0.5, 0, 0.5]]  # upright, facing -Y, in a world of Z up
FACES = [[0, 1, 2], [0, 2, 3]]
UPWARD_UV = [[0, 1], [0, 0], [1, 0], [1, 1]]
PLAIN = [{"c": [0.2, 0.4, 0.6, 1.0], "t": None, "a": 0}]


def write_pack(path, files: dict[str, bytes]):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def one_object(tmp_path, data: bytes, **more: bytes) -> ObjectPack:
    return ObjectPack(write_pack(tmp_path / "p.zip", {"m/thing.xz": lzma.compress(data), **more}))


def webp(image) -> bytes:
    out = io.BytesIO()
    Image.fromarray(image).save(out, "WEBP", lossless=True)
    return out.getvalue()


def test_objects_arrive_y_up_facing_front_with_upright_textures(tmp_path):
    image = np.zeros((8, 8, 4), np.uint8)
    image[..., 3] = 255
    image[:4, :4, 0] = 255
    image[:4, 4:, 1] = 255
    materials = [{"c": [1, 1, 1, 1], "t": "skin", "a": 0}]
    pack = one_object(tmp_path, record(SQUARE, FACES, UPWARD_UV, materials), **{"t/skin.webp": webp(image)})
    mesh = pack.mesh("thing")
    torch.testing.assert_close(
        mesh.vertices,
        torch.tensor([[-0.25, 0.25, 0], [-0.25, -0.25, 0], [0.25, -0.25, 0], [0.25, 0.25, 0]]),
        atol=1e-4,
        rtol=0,
    )
    seen = render_mesh(mesh, orbit_camera(0, 0, math.radians(40), 64, 64))
    assert seen.rgba[28, 28].round().tolist() == [1, 0, 0, 1]
    assert seen.rgba[28, 36].round().tolist() == [0, 1, 0, 1]
    assert seen.normal[32, 32].tolist() == pytest.approx([0, 0, 1], abs=1e-3)


def test_vertex_colours_and_several_materials_are_read(tmp_path):
    colors = [[0, 51, 255], [255, 51, 0], [128, 128, 128], [1, 2, 3]]
    materials = [*PLAIN, {"c": [1, 0, 0, 1], "t": None, "a": 1}]
    mesh = one_object(tmp_path, record(SQUARE, FACES, UPWARD_UV, materials, face_material=[0, 1], colors=colors)).mesh(
        "thing"
    )
    assert mesh.colors is not None
    torch.testing.assert_close(mesh.colors * 255, torch.tensor(colors).float())
    assert mesh.face_material is not None
    assert mesh.face_material.tolist() == [0, 1]
    assert [m.alpha_cutoff for m in mesh.materials] == [None, 0.5]


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"nv": 10**9}, "nv must be"),
        ({"nv": "4"}, "nv must be"),
        ({"nf": 200}, "ends early"),
        ({"nv": 3}, "outside"),
        ({"mats": []}, "materials"),
        ({"mats": [{"c": [1, 1]}]}, "material lacks"),
        ({"mats": [{"c": [1, 1, 1, float("nan")], "t": None, "a": 0}]}, "finite"),
        ({"mats": [{"c": [1, 1, 1, 1], "t": "../../secret", "a": 0}]}, "not in the pack"),
        ({"uvmin": [0, float("inf")]}, "uvmin"),
        ({"vcol": True}, "ends early"),
    ],
)
def test_hostile_headers_are_refused_with_the_reason(tmp_path, changes, complaint):
    pack = one_object(tmp_path, record(SQUARE, FACES, UPWARD_UV, PLAIN, header_changes=changes))
    with pytest.raises(PackError, match=complaint):
        pack.mesh("thing")


def test_a_decompression_bomb_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MAX_RECORD", 1 << 20)
    pack = one_object(tmp_path, b"\0" * (8 << 20))
    with pytest.raises(PackError, match="larger than"):
        pack.mesh("thing")


def test_a_huge_texture_is_refused_before_it_is_decoded(tmp_path):
    materials = [{"c": [1, 1, 1, 1], "t": "skin", "a": 0}]
    out = io.BytesIO()
    Image.new("1", (module.MAX_TEXTURE_SIDE + 1, 8)).save(out, "PNG")
    pack = one_object(tmp_path, record(SQUARE, FACES, UPWARD_UV, materials), **{"t/skin.webp": out.getvalue()})
    with pytest.raises(PackError, match="more than"):
        pack.mesh("thing")


def test_what_is_no_pack_is_refused(tmp_path):
    (tmp_path / "no.zip").write_bytes(b"nothing of the kind")
    with pytest.raises(PackError, match=r"no\.zip"):
        ObjectPack(tmp_path / "no.zip")
    with pytest.raises(PackError, match="none among"):
        ObjectPack(write_pack(tmp_path / "empty.zip", {"readme": b"hello"}))


def test_an_unknown_object_is_named(tmp_path):
    with pytest.raises(PackError, match="'other'"):
        one_object(tmp_path, record(SQUARE, FACES, UPWARD_UV, PLAIN)).mesh("other")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_records_raise_nothing_but_pack_error(tmp_path, data):
    content = bytearray(record(SQUARE, FACES, UPWARD_UV, PLAIN))
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    blob = bytearray(lzma.compress(bytes(content)))
    if data.draw(st.booleans()):
        blob[data.draw(st.integers(0, len(blob) - 1))] = data.draw(st.integers(0, 255))
    pack = ObjectPack(write_pack(tmp_path / "p.zip", {"m/thing.xz": bytes(blob)}))
    try:
        mesh = pack.mesh("thing")
    except PackError:
        return
    render_mesh(mesh, orbit_camera(0, 0, 0.7, 8, 8))


def test_real_objects_decode_as_the_packs_own_tool_decodes_them():
    path = shared_path("objects/objects_train.zip")
    spec = importlib.util.spec_from_file_location("meshpack", shared_path("tools/meshpack.py"))
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    theirs, ours = tool.Pack(path), ObjectPack(path)
    assert ours.ids == theirs.ids
    for object_id in ours.ids[:: len(ours.ids) // 40]:
        expected, mesh = theirs.mesh(object_id), ours.mesh(object_id)
        v = torch.from_numpy(expected["v"]) / 2
        torch.testing.assert_close(mesh.vertices, torch.stack((v[:, 0], v[:, 2], -v[:, 1]), dim=1))
        assert torch.equal(mesh.faces, torch.from_numpy(expected["f"]).long())
        assert mesh.uvs is not None
        torch.testing.assert_close(1 - mesh.uvs[:, 1], torch.from_numpy(expected["uv"][:, 1]), atol=1e-5, rtol=1e-5)
        assert float(mesh.vertices.norm(dim=1).max()) <= 0.5 + 1e-4
