"""Animations without bones: shapes that follow each other, and meshes that replace each other."""

from __future__ import annotations

import dataclasses
import json
import struct
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recon.asset import AssetError, placement, write_mesh_sequence_glb, write_morph_glb
from recon.surface.mesh import Material, Mesh
from recon.surface.rigged import load_rigged
from recon.surface.uv import unwrap
from tests.recon.asset.skins import tube
from tests.recon.metrics.shapes import box, sphere


def document(path) -> dict[str, Any]:
    data = path.read_bytes()
    (length,) = struct.unpack_from("<I", data, 12)
    return json.loads(data[20 : 20 + length])


def breathing(count: int, *, share: float = 1.0) -> tuple[Mesh, torch.Tensor, torch.Tensor]:
    """A tube of which the upper share grows wider and thinner."""
    mesh = tube()
    times = torch.linspace(0.5, 2.5, count)
    wide = 1 + 0.5 * torch.sin(3 * (times - 0.5))[:, None, None] * (mesh.vertices[:, 1:2] > 1 - share)
    return mesh, mesh.vertices * torch.cat((wide, torch.ones_like(wide), wide), dim=-1), times


@pytest.mark.parametrize("placed", [{}, {"size": 3.0, "origin": "base"}, {"size": None, "origin": "keep"}])
def test_every_shape_is_reached_at_its_time(tmp_path, placed):
    mesh, vertices, times = breathing(9)
    report = write_morph_glb(mesh, vertices, times, tmp_path / "a.glb", tolerance=0, **placed)
    rigged, where = load_rigged(tmp_path / "a.glb"), placement(mesh, **placed)
    for shape, time in zip(vertices, times.tolist()):
        torch.testing.assert_close(rigged.vertices_at(0, time - 0.5), where.apply(shape), atol=1e-5, rtol=0)
    assert (report.keys, report.keys_before, report.duration) == (9, 9, 2)
    assert report.largest_error < 1e-6
    assert report.bytes == (tmp_path / "a.glb").stat().st_size


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 40), st.sampled_from([0.03, 0.003, 0.0003]), st.floats(0.1, 1))
def test_left_out_shapes_stray_as_little_as_is_asked_and_reported(tmp_path_factory, count, tolerance, share):
    path = tmp_path_factory.mktemp("morph") / "a.glb"
    mesh, vertices, times = breathing(count, share=share)
    report = write_morph_glb(mesh, vertices, times, path, tolerance=tolerance)
    assert report.largest_error <= tolerance
    rigged, where = load_rigged(path), placement(mesh)
    if "animations" in document(path):
        for shape, time in zip(vertices, times.tolist()):
            error = (rigged.vertices_at(0, time - 0.5) - where.apply(shape)).norm(dim=1).max()
            assert float(error) <= report.largest_error + 1e-5


def test_vertices_that_stay_take_no_room(tmp_path):
    sizes = []
    for share in (0.1, 1.0):
        mesh, vertices, times = breathing(20, share=share)
        sizes.append(write_morph_glb(mesh, vertices, times, tmp_path / "a.glb", tolerance=0).bytes)
    assert sizes[0] < 0.7 * sizes[1]


def test_light_gets_the_normals_of_every_shape(tmp_path):
    mesh, vertices, times = breathing(3)
    write_morph_glb(mesh, vertices, times, tmp_path / "a.glb", unlit=False)
    (primitive,) = document(tmp_path / "a.glb")["meshes"][0]["primitives"]
    assert all(set(target) == {"POSITION", "NORMAL"} for target in primitive["targets"])
    write_morph_glb(mesh, vertices, times, tmp_path / "a.glb")
    (primitive,) = document(tmp_path / "a.glb")["meshes"][0]["primitives"]
    assert all(set(target) == {"POSITION"} for target in primitive["targets"])


def test_shapes_that_never_change_get_no_animation(tmp_path):
    mesh = tube()
    report = write_morph_glb(mesh, mesh.vertices.expand(4, -1, -1), torch.arange(4), tmp_path / "a.glb")
    assert "animations" not in document(tmp_path / "a.glb")
    assert "targets" not in document(tmp_path / "a.glb")["meshes"][0]["primitives"][0]
    assert report.keys == 1


def test_each_mesh_is_shown_from_its_time_to_the_next(tmp_path):
    meshes = [box((0.5, 0.5, 0.5)), sphere(0.4, 1), tube()]
    times = torch.tensor([1.0, 2.0, 4.0])
    report = write_mesh_sequence_glb(meshes, times, tmp_path / "a.glb", size=None, origin="keep")
    rigged = load_rigged(tmp_path / "a.glb")
    assert report.duration == pytest.approx(4.5)
    counts = [len(mesh.vertices) for mesh in meshes]
    for time, shown in ((0.0, 0), (0.9, 0), (1.0, 1), (2.9, 1), (3.0, 2), (4.5, 2)):
        parts = rigged.vertices_at(0, time).split(counts)
        for place, part in enumerate(parts):
            expected = meshes[place].vertices if place == shown else torch.zeros_like(part)
            torch.testing.assert_close(part, expected)


def test_the_box_around_all_meshes_has_the_size(tmp_path):
    meshes = [box((0.2, 0.2, 0.2), (x, 0, 0)) for x in (0.0, 2.0)]
    write_mesh_sequence_glb(meshes, torch.tensor([0.0, 1.0]), tmp_path / "a.glb", size=1.1)
    rigged = load_rigged(tmp_path / "a.glb")
    assert float(rigged.vertices_at(0, 0.0)[:, 0].min()) == pytest.approx(-0.55)
    assert float(rigged.vertices_at(0, 1.0)[:, 0].max()) == pytest.approx(0.55)


def test_materials_that_meshes_share_are_written_once(tmp_path):
    flat = unwrap(box(), 32)
    mesh = dataclasses.replace(flat, materials=(Material(texture=torch.full((32, 32, 3), 90, dtype=torch.uint8)),))
    other = dataclasses.replace(mesh, materials=(Material(name="other"),), uvs=None)
    write_mesh_sequence_glb([mesh, mesh.moved(0.5), other], torch.arange(3), tmp_path / "a.glb")
    found = document(tmp_path / "a.glb")
    assert len(found["images"]) == 1
    assert [mesh["primitives"][0]["material"] for mesh in found["meshes"]] == [0, 0, 1]


def test_a_sequence_of_one_is_a_file_without_an_animation(tmp_path):
    write_mesh_sequence_glb([box()], torch.zeros(1), tmp_path / "a.glb")
    assert "animations" not in document(tmp_path / "a.glb")


def test_what_does_not_fit_together_is_refused(tmp_path):
    path = tmp_path / "a.glb"
    mesh, vertices, times = breathing(3)
    for shapes, when, match in (
        (vertices[:, :5], times, "shapes"),
        (vertices * torch.nan, times, "finite"),
        (vertices, times[:2], "one time"),
        (vertices, times.flip(0), "rise"),
    ):
        with pytest.raises(AssetError, match=match):
            write_morph_glb(mesh, shapes, when, path)
    empty = Mesh(mesh.vertices, mesh.faces[:0])
    for meshes, when, match in (
        ([mesh], times, "one time"),
        ([], times[:0], "at least one"),
        ([mesh, empty], times[:2], "mesh 1 has no faces"),
        ([mesh, mesh], torch.zeros(2), "rise"),
    ):
        with pytest.raises(AssetError, match=match):
            write_mesh_sequence_glb(meshes, when, path)
    assert list(tmp_path.iterdir()) == []
