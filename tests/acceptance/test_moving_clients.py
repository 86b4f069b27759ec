"""Our animated .glb in the programs that play them: every one shows, at the same time, what we show; files that were
written by hand, and one that the command made of pictures."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recon.asset import placement, write_mesh_sequence_glb, write_morph_glb, write_skinned_glb
from recon.asset.skinned_gltf import placed
from recon.surface.mesh import Mesh
from recon.surface.rigged import load_rigged
from recon.surface.skinned import SkinnedMesh
from tests.acceptance.test_glb_clients import TOOLS, agreement, baked_chair, blender, installed, run, three, view
from tests.recon.asset.skins import snake, tube

SIZE = 0.6
MOMENTS = (0, 7, 16)
"""Of the 17 times, those that are looked at."""
CLIENTS = pytest.mark.parametrize("client", [blender, three], ids=["blender", "three"])


def writhing_chair() -> SkinnedMesh:
    """Three bones over 17 times in 2 s, the first at 1 s."""
    return snake(3, 17, mesh=baked_chair())


def validated(path: Path) -> None:
    installed("node/node_modules/gltf-validator")
    issues = json.loads(run("node", TOOLS / "validate.mjs", path))["issues"]
    assert (issues["numErrors"], issues["numWarnings"]) == (0, 0), issues["messages"]


def compared(client: Callable[..., Any], path: Path, meshes: dict[float, Mesh], folder: Path) -> float:
    """The furthest vertex at any of the times. Pictures have to agree at each."""
    errors = []
    for time, mesh in meshes.items():
        found, picture = client(path, view(), folder, time=time)
        assert found.get("problems", []) == []
        assert agreement(picture, mesh, view()) >= 20
        errors.append(np.linalg.norm(np.array(found["vertices"]) - mesh.vertices.numpy(), axis=1).max())
    return float(max(errors))


def posed(skinned: SkinnedMesh) -> dict[float, Mesh]:
    """What a file of the given size shows at its own times, which begin at 0."""
    there = placed(skinned, placement(skinned.mesh, size=SIZE))
    times = skinned.motion.times[list(MOMENTS)].tolist()
    return {time - times[0]: there.posed(time) for time in times}


@pytest.mark.parametrize("case", [{}, {"unlit": False}, {"loop": "close"}, {"loop": "pingpong"}, {"tolerance": 0}])
def test_the_validator_finds_nothing_in_a_skinned_file(tmp_path, case):
    write_skinned_glb(writhing_chair(), tmp_path / "a.glb", name="chair", extras={"seed": 1}, **case)
    validated(tmp_path / "a.glb")


@pytest.mark.parametrize("case", [{}, {"unlit": False}])
def test_the_validator_finds_nothing_in_files_without_bones(tmp_path, case):
    skinned = writhing_chair()
    shapes = [skinned.posed(time) for time in skinned.motion.times.tolist()]
    still = skinned.mesh.vertices[:, 1:2] < 0
    vertices = torch.stack([torch.where(still, skinned.mesh.vertices, shape.vertices) for shape in shapes])
    for moved in (vertices, torch.stack([shape.vertices for shape in shapes])):
        write_morph_glb(skinned.mesh, moved, skinned.motion.times, tmp_path / "a.glb", **case)
        validated(tmp_path / "a.glb")
    write_mesh_sequence_glb(shapes, skinned.motion.times, tmp_path / "a.glb", **case)
    validated(tmp_path / "a.glb")


@CLIENTS
def test_a_skinned_file_plays_as_we_show_it(client, tmp_path):
    skinned = writhing_chair()
    write_skinned_glb(skinned, tmp_path / "a.glb", size=SIZE, name="chair", tolerance=0)
    assert compared(client, tmp_path / "a.glb", posed(skinned), tmp_path) < 1e-4


@CLIENTS
def test_fewer_keys_stray_in_every_player_as_little_as_is_reported(client, tmp_path):
    skinned = writhing_chair()
    report = write_skinned_glb(skinned, tmp_path / "a.glb", size=SIZE, name="chair", tolerance=0.01)
    assert report.keys < report.keys_before
    strayed = compared(client, tmp_path / "a.glb", posed(skinned), tmp_path)
    assert strayed < SIZE * report.largest_error + 1e-4 < SIZE * 0.01 + 2e-4


@CLIENTS
def test_shapes_that_follow_each_other_play_as_we_show_them(client, tmp_path):
    skinned = writhing_chair()
    vertices = torch.stack([skinned.vertices_at(time) for time in skinned.motion.times.tolist()])
    write_morph_glb(
        skinned.mesh, vertices, skinned.motion.times, tmp_path / "a.glb", size=SIZE, name="chair", tolerance=0
    )
    assert compared(client, tmp_path / "a.glb", posed(skinned), tmp_path) < 1e-4


@CLIENTS
def test_of_meshes_that_replace_each_other_one_is_shown(client, tmp_path):
    skinned = writhing_chair()
    times = torch.tensor([0.0, 0.5, 1.5])
    shapes = [skinned.posed(1 + time) for time in times.tolist()]
    write_mesh_sequence_glb(shapes, times, tmp_path / "a.glb", size=None, origin="keep", name="chair")
    for time, shown in ((0.25, 0), (0.5, 1), (1.4, 1), (2.0, 2)):
        found, picture = client(tmp_path / "a.glb", view(), tmp_path, time=time)
        assert found.get("problems", []) == []
        assert agreement(picture, shapes[shown], view()) >= 20
        assert len(found["objects"]) == 3


def test_the_clip_has_its_name_and_length_and_its_playing_is_timed(tmp_path, capsys):
    skinned = snake(20, 120, mesh=tube(rings=201, sides=50))
    report = write_skinned_glb(skinned, tmp_path / "a.glb", size=SIZE, name="snake")
    found, _ = three(tmp_path / "a.glb", view(), tmp_path, play=2.0)
    assert found["clips"] == [["motion", pytest.approx(report.duration)]]
    assert found["fps"] > 0
    with capsys.disabled():
        print(f"\n{len(skinned.mesh.faces)} triangles, 20 bones in Chromium: {found['fps']:.0f} frames a second")


@pytest.fixture(scope="module")
def reconstructed(tmp_path_factory):
    """The run of the command on a bending arm, seen from eight sides at five times."""
    from pipelines import video2scene4d
    from recon.capture.io_nerfstudio import write_transforms
    from tests.recon.motion.scenes import arm_capture

    folder = tmp_path_factory.mktemp("arm")
    write_transforms(arm_capture(size=96), folder / "capture")
    asked = ["--preset", "fast", "--target-faces", "2000", "--texture-size", "256", "--size", str(SIZE)]
    assert video2scene4d.main([str(folder / "capture"), "-o", str(folder / "run"), *asked]) == 0
    return folder / "run" / "mesh.glb"


def test_the_validator_finds_nothing_in_a_reconstructed_file(reconstructed):
    validated(reconstructed)


@CLIENTS
def test_a_reconstructed_file_plays_as_we_show_it(client, reconstructed, tmp_path):
    rigged = load_rigged(reconstructed)
    assert compared(client, reconstructed, {time: rigged.posed(0, time) for time in (0.0, 0.4, 1.0)}, tmp_path) < 1e-3


def test_blender_names_the_bones_as_the_skeleton_does(tmp_path):
    skinned = writhing_chair()
    skeleton = dataclasses.replace(skinned.skeleton, names=("legs", "seat", "back"))
    write_skinned_glb(dataclasses.replace(skinned, skeleton=skeleton), tmp_path / "a.glb", name="chair")
    found, _ = blender(tmp_path / "a.glb", view(), tmp_path, time=0.0)
    assert found["bones"] == {"legs": None, "seat": "legs", "back": "seat"}
    assert found["objects"] == ["chair"]
