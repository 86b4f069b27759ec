from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from gen.data.modelled import kit, patterns
from gen.data.modelled.objects import MODELLED, TIERS, make
from gen.data.sources import FolderSource
from recon.asset.gltf import decode_texture, encode_texture, read_glb
from recon.capture import orbit_camera
from recon.metrics.topology import is_watertight, weld
from recon.surface.mesh import Material, face_normals
from recon.surface.render import prepare_mesh, render_prepared
from tests.shared_data import ROOT

FOLDER = ROOT / "assets" / "eval"
PAINT = Material(texture=patterns.speckle(np.random.default_rng(0), 32, (0.2, 0.5, 0.3), (0.9, 0.9, 0.2), 6))
SQUARE = [(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)]
PIECES = {
    "revolve": kit.revolve([(0, 0), (1, 0), (0.8, 1), (0, 1)], PAINT),
    "hollow": kit.revolve([(0, 0), (1, 0), (1, 1), (0.9, 1), (0.9, 0.1), (0, 0.1)], PAINT),
    "tube": kit.tube([(0, 0, 0), (1, 0, 0), (1, 1, 0)], [(0.1, 0.2), (0.1, 0.2), (0.3, 0.1)], PAINT),
    "loop": kit.tube([(1, 0, 0), (0, 1, 0), (-1, 0, 0), (0, -1, 0)], [0.1] * 4, PAINT, loop=True),
    "ball": kit.ball((1, 2, 3), (0.5, 1, 2), PAINT),
    "lump": kit.lumpy(kit.ball((0, 0, 0), (1, 1, 1), PAINT), np.random.default_rng(0), 0.2, 1.0),
    "box": kit.box((1, 2, 3), PAINT),
    "bevelled box": kit.box((1, 2, 3), PAINT, bevel=0.1),
    "turned": kit.placed(kit.box((1, 2, 3), PAINT), (1, 2, 3), turn=(20, 130, -70), size=(1, 2, 0.5)),
    "decal": kit.decal(kit.box((1, 2, 3), PAINT), Material(name="other"), (0, 0, 1)),
}


@pytest.fixture(scope="module")
def objects():
    return {name: make(name) for name in MODELLED}


def volumes(mesh) -> np.ndarray:
    """Signed volume of every connected piece, by the divergence theorem."""
    faces = weld(mesh)
    edges = np.concatenate((faces[:, :2], faces[:, 1:]))
    size = int(faces.max()) + 1
    piece = connected_components(coo_matrix((np.ones(len(edges)), edges.T), shape=(size, size)), directed=False)[1]
    corners = mesh.vertices[mesh.faces].double()
    a, b, c = corners.unbind(1)
    part = (torch.linalg.cross(a, b) * c).sum(1).numpy() / 6
    kept = (corners != corners.roll(1, 1)).any(-1).all(-1).numpy()  # as weld() keeps them
    return np.bincount(piece[faces[:, 0]], part[kept])[np.unique(piece[faces[:, 0]])]


@pytest.mark.parametrize("name", PIECES)
def test_pieces_are_closed_face_outward_and_show_their_picture_once(name):
    piece = PIECES[name]
    assert is_watertight(piece)
    assert (volumes(piece) > 0).all()
    assert 0 <= piece.uvs.min() < piece.uvs.max() <= 1


def test_pieces_have_the_size_that_was_asked_for():
    box = kit.box((1, 2, 3), PAINT, bevel=0.1)
    torch.testing.assert_close(torch.stack(box.bounds()), torch.tensor([[-0.5, -1, -1.5], [0.5, 1, 1.5]]))
    torch.testing.assert_close(volumes(kit.box((1, 2, 3), PAINT)), np.array([6.0]))
    cylinder = volumes(kit.revolve([(0, 0), (1, 0), (1, 2), (0, 2)], PAINT, segments=400))
    assert abs(cylinder[0] - 2 * math.pi) < 1e-3


def test_an_oval_tube_is_high_along_up():
    straight = kit.tube([(0, 0, 0), (1, 0, 0)], [(0.1, 0.3)] * 2, PAINT, sides=16, up=(0, 1, 0))
    torch.testing.assert_close(torch.stack(straight.bounds()), torch.tensor([[0, -0.3, -0.1], [1, 0.3, 0.1]]))


def test_turning_goes_about_x_then_y_then_z():
    box = kit.placed(kit.box((0.2, 0.2, 0.2), PAINT), (0, 0, 1))
    turned = kit.placed(box, turn=(-90, 0, 90))  # +Z goes up to +Y, then left to -X
    torch.testing.assert_close(turned.vertices.mean(0), torch.tensor([-1.0, 0, 0]), atol=1e-6, rtol=0)


def test_a_decal_is_upright_to_who_looks_at_it():
    mesh = kit.decal(kit.box((1, 2, 3), PAINT), Material(name="other"), (-1, 0, 0))
    seen = mesh.faces[mesh.face_material == 1].reshape(-1)
    position, uv = mesh.vertices[seen], mesh.uvs[seen]
    assert (position[:, 0] == -0.5).all()
    torch.testing.assert_close(uv, torch.stack((position[:, 2] / 3 + 0.5, 0.5 - position[:, 1] / 2), 1))


def test_joined_pieces_share_materials_and_keep_their_creases():
    mesh = kit.joined([PIECES["box"], PIECES["decal"], PIECES["ball"]])
    assert [material.name for material in mesh.materials] == ["material", "other"]
    assert len(mesh.faces) == sum(len(PIECES[name].faces) for name in ("box", "decal", "ball"))
    flat = torch.nn.functional.normalize(face_normals(mesh.vertices, mesh.faces), dim=1)
    agreement = (mesh.normals[mesh.faces] * flat[:, None]).sum(-1)
    count = len(PIECES["box"].faces)
    assert agreement[:count].min() > 0.999
    assert 0.9 < agreement[-len(PIECES["ball"].faces) :].min() < 0.999


def test_patterns_repeat_to_the_sides():
    field = patterns.noise(np.random.default_rng(0), 64, (4, 4))
    inside = np.abs(np.diff(field, axis=1)).max()
    assert np.abs(field[:, 0] - field[:, -1]).max() <= inside
    assert (field.min(), field.max()) == (0, 1)


def test_objects_are_closed_outward_and_within_the_sphere(objects):
    for name, mesh in objects.items():
        assert is_watertight(mesh), name
        assert (volumes(mesh) > 0).all(), name
        assert torch.isfinite(mesh.vertices).all()
        assert abs(float(mesh.vertices.norm(dim=1).max()) - 0.5) < 1e-6, name
        assert 1_000 <= len(mesh.faces) <= 10_000, name


def test_textures_have_detail_within_their_bounds(objects):
    for name, mesh in objects.items():
        assert 0 <= mesh.uvs.min() <= mesh.uvs.max() <= 1, name  # viewers clamp what our writer writes
        largest = max((material.texture for material in mesh.materials), key=lambda texture: texture.numel())
        assert largest.shape[0] >= 256, name
        steps = [largest.float().diff(dim=axis).abs().mean() for axis in (0, 1)]
        assert max(steps) > 3, name  # of 255, from texel to texel


def test_left_differs_from_right_and_back_from_front(objects):
    for name, mesh in objects.items():
        prepared = prepare_mesh(mesh)
        cameras = [orbit_camera(azimuth, 0.17, 0.59, 64, 64) for azimuth in (0, math.pi)]
        front, back = (render_prepared(prepared, camera).rgba for camera in cameras)
        shown = front[..., 3].sum()
        front, back = front[..., :3] * front[..., 3:], back[..., :3] * back[..., 3:]
        for wrong, right in ((front.flip(1), front), (front, back), (front.flip(1), back)):
            assert (wrong - right).abs().mean(-1).sum() / shown > 0.08, name


def test_the_shipped_files_are_what_the_generator_makes(objects):
    assert sorted(path.stem for path in FOLDER.glob("*.glb")) == sorted(MODELLED)
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= 5_000_000
    for name in ("bicycle", "mug"):
        shipped, made = read_glb(FOLDER / f"{name}.glb").mesh, objects[name]
        torch.testing.assert_close(shipped.vertices, made.vertices, atol=1e-6, rtol=0)
        torch.testing.assert_close(shipped.uvs, made.uvs, atol=1e-6, rtol=0)
        torch.testing.assert_close(shipped.normals, made.normals, atol=1e-3, rtol=0)
        assert len(shipped.faces) == len(made.faces)
        for theirs, ours in zip(shipped.materials, made.materials, strict=True):
            again = decode_texture(encode_texture(ours.texture, "jpeg")[0])
            # Other processors round sines otherwise, and other JPEG libraries their blocks.
            assert (theirs.texture.float() - again.float()).abs().mean() < 0.5


def test_the_folder_is_a_source_with_tiers():
    source = FolderSource(FOLDER)
    assert {info.id: info.tier for info in source.objects} == {f"{name}.glb": tier for name, tier in TIERS.items()}
    assert sorted(set(TIERS.values())) == ["A", "B", "C"]
    for info in source.objects:
        assert (info.licence, info.author, info.kind) == ("CC0-1.0", "Turnabout contributors", "modelled")
    listed = [json.loads(line)["id"] for line in (FOLDER / "manifest.jsonl").read_text().splitlines()]
    assert listed == sorted(listed)
    read, shipped = source.mesh("chair.glb"), read_glb(FOLDER / "chair.glb").mesh
    torch.testing.assert_close(read.vertices[read.faces].mean((0, 1)), shipped.vertices[shipped.faces].mean((0, 1)))


def test_objects_do_not_depend_on_each_other_or_on_a_global_seed(objects):
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    again = dataclasses.asdict(make("fish"))
    before = dataclasses.asdict(objects["fish"])
    assert torch.equal(again["vertices"], before["vertices"])
    assert torch.equal(again["materials"][0]["texture"], before["materials"][0]["texture"])
