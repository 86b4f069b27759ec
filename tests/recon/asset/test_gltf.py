"""The .glb writer and its reader."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import struct

import pytest
import torch
import trimesh

from recon.asset import AssetError, GlbError, placement, read_glb, write_glb
from recon.asset.gltf import linear_to_srgb, srgb_to_linear
from recon.surface.mesh import Material, Mesh
from recon.surface.uv import unwrap
from tests.recon.metrics.shapes import box, sphere


def textured() -> Mesh:
    flat = unwrap(sphere(0.5, 2), 64)
    texture = torch.randint(0, 256, (64, 64, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return Mesh(flat.vertices, flat.faces, flat.uvs, flat.normals, materials=(Material(texture=texture, name="skin"),))


def document(path) -> dict:
    data = path.read_bytes()
    (length,) = struct.unpack_from("<I", data, 12)
    return json.loads(data[20 : 20 + length])


def test_what_is_written_is_read_back(tmp_path):
    mesh = textured()
    extras = {"seed": 7, "input_sha256": "ab" * 32, "versions": {"turnabout": "0.1.0"}}
    write_glb(mesh, tmp_path / "ball.glb", size=None, origin="keep", name="ball", extras=extras)
    back = read_glb(tmp_path / "ball.glb")
    assert back.name == "ball"
    assert back.extras == extras
    torch.testing.assert_close(back.mesh.vertices, mesh.vertices)
    assert torch.equal(back.mesh.faces, mesh.faces)
    assert mesh.uvs is not None
    assert back.mesh.uvs is not None
    torch.testing.assert_close(back.mesh.uvs, mesh.uvs)
    assert mesh.materials[0].texture is not None
    assert back.mesh.materials[0].texture is not None
    assert torch.equal(back.mesh.materials[0].texture, mesh.materials[0].texture)


def test_another_reader_finds_the_same_mesh(tmp_path):
    mesh = textured()
    write_glb(mesh, tmp_path / "ball.glb", size=2.0)
    other = trimesh.load(tmp_path / "ball.glb", force="mesh", process=False)
    assert len(other.faces) == len(mesh.faces)
    assert other.extents.max() == pytest.approx(2.0, rel=1e-5)
    assert other.visual.material.baseColorTexture.size == (64, 64)


@pytest.mark.parametrize("origin", ["centre", "base"])
def test_size_and_origin_are_as_asked(tmp_path, origin):
    write_glb(box((0.2, 0.5, 0.1), (3, 4, 5)), tmp_path / "box.glb", size=1.5, origin=origin)
    low, high = read_glb(tmp_path / "box.glb").mesh.bounds()
    torch.testing.assert_close(high - low, torch.tensor([0.6, 1.5, 0.3]))
    middle = torch.zeros(3) if origin == "centre" else torch.tensor([0, 0.75, 0])
    torch.testing.assert_close((low + high) / 2, middle, atol=1e-6, rtol=0)


@pytest.mark.parametrize("how", [{}, {"size": 1.5, "origin": "base"}, {"size": None, "origin": "keep"}])
def test_the_placement_leads_from_the_file_back_to_the_mesh(tmp_path, how):
    mesh = box((0.2, 0.5, 0.1), (3, 4, 5))
    write_glb(mesh, tmp_path / "box.glb", **how)
    written = read_glb(tmp_path / "box.glb").mesh.vertices
    torch.testing.assert_close(placement(mesh, **how).inverse().apply(written), mesh.vertices)


def test_factors_and_vertex_colours_are_linear_in_the_file(tmp_path):
    grey = Material(torch.tensor([0.5, 0.5, 0.5, 1.0]))
    cube = box()
    mesh = Mesh(cube.vertices, cube.faces, colors=torch.full((8, 3), 0.5), materials=(grey,))
    write_glb(mesh, tmp_path / "grey.glb")
    factor = document(tmp_path / "grey.glb")["materials"][0]["pbrMetallicRoughness"]["baseColorFactor"]
    assert factor == pytest.approx([0.214041, 0.214041, 0.214041, 1.0], abs=1e-5)
    back = read_glb(tmp_path / "grey.glb").mesh
    assert back.colors is not None
    torch.testing.assert_close(back.colors, torch.full((8, 3), 0.5))
    torch.testing.assert_close(back.materials[0].base_color, grey.base_color, atol=1e-4, rtol=0)


def test_materials_stay_with_their_faces(tmp_path):
    cube = box()
    kinds = torch.arange(12) % 3
    materials = tuple(
        Material(torch.tensor([i / 3, 0.5, 0.5, 1.0]), name=f"m{i}", alpha_cutoff=0.4 if i else None) for i in range(3)
    )
    write_glb(Mesh(cube.vertices, cube.faces, materials=materials, face_material=kinds), tmp_path / "cube.glb")
    back = read_glb(tmp_path / "cube.glb").mesh
    assert [material.name for material in back.materials] == ["m0", "m1", "m2"]
    assert [material.alpha_cutoff for material in back.materials] == [None, 0.4, 0.4]
    assert back.face_material is not None
    assert back.face_material.bincount().tolist() == [4, 4, 4]
    assert torch.equal(back.faces[back.face_material == 1], cube.faces[kinds == 1])


def test_jpeg_textures_are_small_and_close(tmp_path):
    mesh = textured()
    ramp = torch.linspace(0, 255, 64).byte()[None, :, None].expand(64, 64, 3).contiguous()
    mesh = Mesh(mesh.vertices, mesh.faces, mesh.uvs, materials=(Material(texture=ramp),))
    write_glb(mesh, tmp_path / "ball.glb", image_format="jpeg")
    assert document(tmp_path / "ball.glb")["images"][0]["mimeType"] == "image/jpeg"
    texture = read_glb(tmp_path / "ball.glb").mesh.materials[0].texture
    assert texture is not None
    assert int((texture.int() - ramp.int()).abs().max()) <= 6


def test_the_same_mesh_gives_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        write_glb(textured(), tmp_path / f"{name}.glb", extras={"seed": 1})
    assert (tmp_path / "a.glb").read_bytes() == (tmp_path / "b.glb").read_bytes()


def test_static_files_are_the_bytes_that_they_always_were(tmp_path):
    cube = box((0.25, 0.5, 1.0))
    colors = (cube.vertices > 0).float()
    normals = torch.tensor([0.0, 0.0, 1.0]).expand(8, 3)
    materials = (Material(name="a"), Material(torch.tensor([1.0, 0.0, 0.0, 0.5]), alpha_cutoff=0.5, name="b"))
    mesh = Mesh(cube.vertices, cube.faces, None, normals, colors, materials, torch.arange(12) % 2)
    write_glb(mesh, tmp_path / "cube.glb", extras={"seed": 1}, double_sided=True)
    assert hashlib.sha256((tmp_path / "cube.glb").read_bytes()).hexdigest()[:16] == "58e5f37735b31527"


def test_unlit_is_declared_and_can_be_left_out(tmp_path):
    write_glb(textured(), tmp_path / "unlit.glb")
    write_glb(textured(), tmp_path / "lit.glb", unlit=False)
    assert document(tmp_path / "unlit.glb")["extensionsUsed"] == ["KHR_materials_unlit"]
    assert "extensionsUsed" not in document(tmp_path / "lit.glb")


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "ball.glb"
    write_glb(textured(), path)
    before = path.read_bytes()
    with pytest.raises(AssetError, match="plain JSON"):
        write_glb(textured(), path, extras={"bad": object()})
    with pytest.raises(AssetError, match="NaN"):
        write_glb(Mesh(torch.full((3, 3), torch.nan), torch.tensor([[0, 1, 2]])), path)
    with pytest.raises(AssetError, match="positive size"):
        write_glb(textured(), path, size=0)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("times", "wrap"), [(1.0, 33071), (3.0, 10497)])
def test_only_tiled_textures_repeat(tmp_path, times, wrap):
    mesh = textured()
    write_glb(dataclasses.replace(mesh, uvs=mesh.uvs * times), tmp_path / "a.glb")
    (sampler,) = document(tmp_path / "a.glb")["samplers"]
    assert (sampler["wrapS"], sampler["wrapT"]) == (wrap, wrap)


def test_a_texture_needs_coordinates(tmp_path):
    cube = box()
    with pytest.raises(AssetError, match="unwrap it first"):
        write_glb(Mesh(cube.vertices, cube.faces, materials=textured().materials), tmp_path / "x.glb")


def test_damaged_files_are_refused_and_nothing_else_happens(tmp_path):
    path = tmp_path / "ball.glb"
    write_glb(textured(), path)
    whole = bytearray(path.read_bytes())
    generator = torch.Generator().manual_seed(0)
    (json_length,) = struct.unpack_from("<I", whole, 12)
    for _ in range(150):
        damaged = bytearray(whole)
        for _ in range(3):
            damaged[int(torch.randint(0, 20 + json_length, (1,), generator=generator))] = int(
                torch.randint(0, 256, (1,), generator=generator)
            )
        path.write_bytes(damaged)
        with contextlib.suppress(GlbError):
            read_glb(path)
    for end in (0, 11, 19, 100, len(whole) - 1):
        path.write_bytes(whole[:end])
        with pytest.raises(GlbError):
            read_glb(path)


def test_colour_encodings_are_inverse():
    values = torch.linspace(0, 1, 256)
    torch.testing.assert_close(linear_to_srgb(srgb_to_linear(values)), values, atol=1e-5, rtol=0)
