"""Skinned .glb files: what they hold, and what a player makes of them."""

from __future__ import annotations

import dataclasses
import json
import struct
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recon.asset import AssetError, placement, write_skinned_glb
from recon.asset.skinned_gltf import skin_attributes
from recon.motion.skeleton import Skeleton
from recon.motion.trajectories import Trajectories
from recon.surface.mesh import Material
from recon.surface.rigged import load_rigged
from recon.surface.skinned import SkinnedMesh
from recon.surface.uv import unwrap
from tests.recon.asset.skins import bent, snake, tube
from tests.recon.metrics.shapes import box


def document(path) -> dict[str, Any]:
    data = path.read_bytes()
    (length,) = struct.unpack_from("<I", data, 12)
    return json.loads(data[20 : 20 + length])


def furthest(skinned: SkinnedMesh, path, *, start: float = 1.0, **placed: Any) -> float:
    """Between the file's vertices and the mesh's, at the motion's own times, as a share of the mesh's longest side."""
    rigged, where = load_rigged(path), placement(skinned.mesh, **placed)
    low, high = skinned.mesh.bounds()
    errors = [
        (rigged.vertices_at(0, time - start) - where.apply(skinned.vertices_at(time))).norm(dim=1).max()
        for time in skinned.motion.times.tolist()
    ]
    return float(max(errors)) / (float((high - low).max()) * where.scale)


@pytest.mark.parametrize("placed", [{}, {"size": 0.4, "origin": "base"}, {"size": None, "origin": "keep"}])
def test_a_player_moves_the_vertices_as_the_motion_does(tmp_path, placed):
    skinned = snake()
    report = write_skinned_glb(skinned, tmp_path / "a.glb", tolerance=0, **placed)
    assert furthest(skinned, tmp_path / "a.glb", **placed) < 1e-5
    assert report.largest_error < 1e-5
    assert report.duration == pytest.approx(2)
    assert report.bytes == (tmp_path / "a.glb").stat().st_size


@pytest.mark.parametrize("tolerance", [1e-2, 1e-3, 1e-4])
def test_fewer_keys_stray_as_little_as_is_asked_and_reported(tmp_path, tolerance):
    skinned = snake(4, 60)
    report = write_skinned_glb(skinned, tmp_path / "a.glb", tolerance=tolerance)
    assert report.keys < report.keys_before
    # The report also knows players that do not turn along arcs.
    assert furthest(skinned, tmp_path / "a.glb") <= report.largest_error + 1e-6 <= tolerance + 1e-5


def test_the_file_rests_in_the_canonical_pose(tmp_path):
    skinned = snake()
    write_skinned_glb(skinned, tmp_path / "a.glb", size=None, origin="keep")
    torch.testing.assert_close(load_rigged(tmp_path / "a.glb").mesh.vertices, skinned.mesh.vertices)


def test_bones_are_named_and_hang_on_each_other_and_the_mesh_stands_apart(tmp_path):
    write_skinned_glb(snake(), tmp_path / "a.glb", name="snake", extras={"seed": 1})
    found = document(tmp_path / "a.glb")
    assert [node["name"] for node in found["nodes"]] == ["snake", "snake_bones", "bone0", "bone1", "bone2"]
    assert [node.get("children") for node in found["nodes"]] == [None, [2], [3], [4], None]
    assert found["scenes"][0]["nodes"] == [0, 1]
    assert found["nodes"][0] == {"mesh": 0, "skin": 0, "name": "snake", "extras": {"seed": 1}}
    (skin,) = found["skins"]
    assert (skin["skeleton"], skin["joints"]) == (1, [2, 3, 4])
    (animation,) = found["animations"]
    assert animation["name"] == "motion"
    assert {sampler["interpolation"] for sampler in animation["samplers"]} == {"LINEAR"}
    inputs = [found["accessors"][sampler["input"]] for sampler in animation["samplers"]]
    assert all((times["min"], times["max"]) == ([0.0], [2.0]) for times in inputs)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10_000), st.integers(1, 4))
def test_weights_sum_to_one_exactly_and_unused_places_are_empty(seed, influences):
    generator = torch.Generator().manual_seed(seed)
    weights = torch.rand(30, 4, generator=generator) ** 4
    weights[:, influences:] = 0
    weights /= weights.sum(1, keepdim=True)
    bones = torch.stack([torch.randperm(300, generator=generator)[:4] for _ in range(30)])
    joints, rounded = skin_attributes(bones, weights)
    assert (rounded.astype(int).sum(1) == 65535).all()
    assert np.abs(rounded / 65535 - weights.numpy()).max() < 1.01 / 65535
    assert (joints[rounded == 0] == 0).all()
    assert (joints[rounded > 0] == bones.numpy()[rounded > 0]).all()


def test_bones_are_bytes_while_they_fit():
    weights = torch.tensor([[1.0, 0, 0, 0]])
    assert skin_attributes(torch.tensor([[255, 0, 0, 0]]), weights)[0].dtype == np.uint8
    assert skin_attributes(torch.tensor([[256, 0, 0, 0]]), weights)[0].dtype == np.uint16


def test_more_than_256_bones_move_what_they_carry(tmp_path):
    mesh = tube(rings=301, sides=3)
    joints = torch.zeros(300, 3)
    joints[:, 1] = torch.linspace(0, 1, 300)
    skeleton = Skeleton((-1,) * 300, joints, tuple(map(str, range(300))))
    shifts = torch.zeros(2, 300, 3)
    shifts[1, :, 0] = torch.linspace(0, 1, 300)
    quats = torch.tensor([1.0, 0, 0, 0]).expand(2, 300, 4)
    skinned = bent(mesh, Trajectories(torch.tensor([0.0, 1.0]), joints, quats, shifts), skeleton)
    write_skinned_glb(skinned, tmp_path / "a.glb", tolerance=0)
    assert furthest(skinned, tmp_path / "a.glb", start=0.0) < 1e-4


@pytest.mark.parametrize(("loop", "end"), [("close", 2.0), ("pingpong", 4.0)])
def test_loops_end_where_they_begin(tmp_path, loop, end):
    skinned = snake(count=33)
    report = write_skinned_glb(skinned, tmp_path / "a.glb", loop=loop)
    rigged = load_rigged(tmp_path / "a.glb")
    assert report.duration == pytest.approx(end)
    torch.testing.assert_close(rigged.vertices_at(0, end), rigged.vertices_at(0, 0.0), atol=2e-3, rtol=0)
    middle = rigged.vertices_at(0, 1.0) - placement(skinned.mesh).apply(skinned.vertices_at(2.0))
    assert float(middle.norm(dim=1).max()) < 2e-3


def test_what_stands_still_gets_no_animation(tmp_path):
    motion = Trajectories(torch.zeros(1), torch.zeros(1, 3), torch.tensor([[[1.0, 0, 0, 0]]]), torch.zeros(1, 1, 3))
    skinned = bent(tube(), motion, Skeleton((-1,), torch.zeros(1, 3), ("root",)))
    report = write_skinned_glb(skinned, tmp_path / "a.glb")
    assert "animations" not in document(tmp_path / "a.glb")
    assert (report.keys, report.keys_before, report.duration) == (0, 2, 0)


def test_textures_travel_with_the_skin(tmp_path):
    flat = unwrap(box(), 32)
    mesh = dataclasses.replace(flat, materials=(Material(texture=torch.full((32, 32, 3), 90, dtype=torch.uint8)),))
    write_skinned_glb(snake(mesh=mesh), tmp_path / "a.glb")
    assert torch.equal(load_rigged(tmp_path / "a.glb").mesh.materials[0].texture, mesh.materials[0].texture)


def test_a_motion_that_is_still_being_fitted_can_be_written(tmp_path):
    skinned = snake()
    write_skinned_glb(skinned, tmp_path / "a.glb")
    motion = dataclasses.replace(skinned.motion, shifts=skinned.motion.shifts.clone().requires_grad_())
    write_skinned_glb(dataclasses.replace(skinned, motion=motion), tmp_path / "b.glb")
    assert (tmp_path / "a.glb").read_bytes() == (tmp_path / "b.glb").read_bytes()


def test_the_same_mesh_gives_the_same_bytes(tmp_path):
    for name in ("a.glb", "b.glb"):
        write_skinned_glb(snake(), tmp_path / name)
    assert (tmp_path / "a.glb").read_bytes() == (tmp_path / "b.glb").read_bytes()


def test_what_cannot_be_a_skin_is_refused_and_leaves_the_old_file(tmp_path):
    path, good = tmp_path / "a.glb", snake()
    write_skinned_glb(good, path)
    before = path.read_bytes()
    twice = torch.zeros_like(good.bones)
    lost = torch.full_like(good.bones, 3)
    broken = dataclasses.replace(good.motion, shifts=good.motion.shifts * torch.nan)
    times = torch.cat((torch.zeros(1), 1e6 + good.motion.times[1:].double() * 1e-6))
    close = dataclasses.replace(good.motion, times=times)
    for bad, match in (
        (dataclasses.replace(good, weights=good.weights * 0.9), "sum to 1"),
        (dataclasses.replace(good, bones=twice), "twice"),
        (dataclasses.replace(good, bones=lost), "one of the 3"),
        (dataclasses.replace(good, motion=broken), "NaN"),
        (dataclasses.replace(good, motion=close), "too close"),
    ):
        with pytest.raises(AssetError, match=match):
            write_skinned_glb(bad, path)
    with pytest.raises(AssetError, match="tolerance"):
        write_skinned_glb(good, path, tolerance=-1)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
