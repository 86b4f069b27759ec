"""Splats and meshes of any origin become assets; what cannot is said without a traceback."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
import trimesh

from pipelines import make_asset
from pipelines._sources import find_given
from recon.asset import read_glb, write_glb
from recon.metrics.topology import is_watertight
from recon.splat.formats import write_splats
from recon.splat.ply import write_ply
from recon.surface.mesh import Mesh
from tests.pipelines.small import content
from tests.recon.metrics.shapes import chair
from tests.recon.surface.test_fusion import ball_of_gaussians

SMALL = ["--preset", "fast", "--target-faces", "400", "--texture-size", "128"]


@pytest.fixture(scope="module")
def open_chair(tmp_path_factory):
    """A coloured chair with a hole in it."""
    mesh = chair()
    path = tmp_path_factory.mktemp("given") / "chair.glb"
    write_glb(Mesh(mesh.vertices, mesh.faces[4:], colors=0.5 + mesh.vertices.clamp(-0.4, 0.4)), path, size=1.6)
    return path


@pytest.fixture(scope="module")
def closed(tmp_path_factory, open_chair):
    folder = tmp_path_factory.mktemp("runs") / "closed"
    extra = ["--size", "0.9", "--origin", "base", "--also", "obj", "ply", "stl", "--image-format", "webp"]
    assert make_asset.main([str(open_chair), "-o", str(folder), *SMALL, *extra]) == 0
    return folder


def test_a_mesh_with_a_hole_becomes_a_closed_asset_of_the_size_that_was_asked_for(closed):
    asset = read_glb(closed / "mesh.glb")
    low, high = asset.mesh.bounds()
    assert is_watertight(asset.mesh)
    assert 380 <= len(asset.mesh.faces) <= 400
    assert float((high - low).max()) == pytest.approx(0.9, abs=1e-4)
    assert float(low[1]) == pytest.approx(0, abs=1e-5)
    assert torch.allclose((low + high)[[0, 2]], torch.zeros(2), atol=1e-4)
    report = json.loads((closed / "report.json").read_text())
    assert report["quality"]["mesh"]["watertight"]
    assert report["quality"]["mesh"]["against_observed"]["mask_iou"] > 0.85
    assert report["quality"]["mesh"]["texture"]["texels_per_metre"]["median"] > 50


def test_the_file_says_what_it_was_made_of(closed, open_chair):
    asset = read_glb(closed / "mesh.glb")
    assert asset.name == "chair"
    assert len(asset.extras["inputs"]["source"]["sha256"]) == 64
    assert asset.extras["versions"]["turnabout"]
    assert set(asset.extras["to_source"]) == {"rotation", "scale", "translation"}


@pytest.mark.parametrize("name", ["mesh.obj", "mesh.ply", "mesh.stl"])
def test_other_formats_hold_the_same_mesh(closed, name):
    mesh, other = read_glb(closed / "mesh.glb").mesh, trimesh.load(closed / name, force="mesh")
    assert len(other.faces) == len(mesh.faces)
    assert other.bounds == pytest.approx(torch.stack(mesh.bounds()).numpy(), abs=1e-4)


def test_kept_open_the_hole_stays_and_so_do_the_triangles(tmp_path, open_chair):
    arguments = [str(open_chair), "-o", str(tmp_path / "open"), "--preset", "fast", "--texture-size", "128"]
    assert make_asset.main([*arguments, "--keep-open"]) == 0
    mesh = read_glb(tmp_path / "open" / "mesh.glb").mesh
    assert not is_watertight(mesh)
    assert len(mesh.faces) == len(read_glb(open_chair).mesh.faces)


def test_splats_become_a_closed_asset_and_a_resumed_run_gives_the_same_bytes(tmp_path):
    write_ply(ball_of_gaussians(), tmp_path / "ball.ply")
    arguments = [str(tmp_path / "ball.ply"), "-o", str(tmp_path / "run"), *SMALL]
    assert make_asset.main(arguments) == 0
    assert is_watertight(read_glb(tmp_path / "run" / "mesh.glb").mesh)
    before = content(tmp_path / "run")
    (tmp_path / "run" / "preview.png").unlink()
    assert make_asset.main([*arguments, "--resume"]) == 0
    assert content(tmp_path / "run") == before


@pytest.mark.parametrize("name", ["ball.compressed.ply", "ball.splat", "ball.spz"])
def test_splats_of_other_formats_are_read_before_anything_is_made_of_them(tmp_path, capsys, name):
    pytest.importorskip("gsply")
    ball = ball_of_gaussians()
    clear = dataclasses.replace(ball, logit_opacities=torch.full_like(ball.logit_opacities, -9.0))
    write_splats(clear, tmp_path / name)
    assert make_asset.main([str(tmp_path / name), "-o", str(tmp_path / "run"), *SMALL]) == 2
    assert f"{name}: all of its splats are transparent" in capsys.readouterr().err.replace("\n", "")


def test_another_texture_beside_the_same_mesh_is_another_input(tmp_path):
    (tmp_path / "flat.obj").write_text("mtllib flat.mtl\nv 0 0 0\nv 1 0 0\nv 2 0 0\nf 1 2 3\n")
    (tmp_path / "flat.mtl").write_text("newmtl red\nKd 1 0 0\n")
    before = find_given(tmp_path / "flat.obj")
    assert find_given(tmp_path / "flat.obj") == before
    (tmp_path / "flat.mtl").write_text("newmtl red\nKd 0 1 0\n")
    assert find_given(tmp_path / "flat.obj").sha256 != before.sha256


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("missing.glb", None, "no such file"),
        ("broken.glb", b"glTF" + bytes(40), "broken.glb"),
        ("broken.ply", b"ply\nformat binary_little_endian 1.0\nend_header\n", "broken.ply"),
        ("broken.splat", b"cut off", "broken.splat"),
        ("broken.spz", b"NGSP", "broken.spz"),
        ("picture.png", b"\x89PNG", "expected .ply, .splat, .spz, .glb, .gltf, .obj"),
        ("flat.obj", b"v 0 0 0\nv 1 0 0\nv 2 0 0\nf 1 2 3\n", "no triangle with an area"),
    ],
)
def test_what_cannot_be_read_is_said_plainly(tmp_path, capsys, name, data, message):
    if data is not None:
        (tmp_path / name).write_bytes(data)
    assert make_asset.main([str(tmp_path / name), "-o", str(tmp_path / "out"), *SMALL, "--keep-open"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert not (tmp_path / "out").exists()


def test_a_size_that_is_no_length_is_refused(tmp_path, capsys, open_chair):
    for size in ("0", "-1", "nan", "inf"):
        assert make_asset.main([str(open_chair), "-o", str(tmp_path / "out"), "--size", size]) == 2
        assert "--size must lie between" in capsys.readouterr().err
