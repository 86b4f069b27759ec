"""Methods from elsewhere: what their folders may hold, and what is missing there."""

from __future__ import annotations

import pytest
import torch

from pipelines.evaluation.outside import open_outside
from pipelines.evaluation.protocol import EvaluationError, draw_views, path_cameras
from pipelines.evaluation.subject import Subject, Timer
from recon.asset.gltf import write_glb
from recon.capture.images import write_rgba
from recon.surface.loading import normalised
from tests.pipelines.evaluation.sets import gray_views, painted
from tests.recon.metrics.shapes import chair

BOTH = frozenset({"views", "meshes"})
SIZE = 32


@pytest.fixture(scope="module")
def subject() -> Subject:
    cameras = path_cameras("level", SIZE)
    return Subject("chair.glb", cameras, draw_views(painted(normalised(chair())), cameras), 0)


def answer(folder, subject):
    timer = Timer()
    return open_outside(f"theirs={folder}", [subject.id]).method(BOTH).answers(subject, timer), timer


@pytest.mark.parametrize("place", ["chair.glb", "chair/mesh.glb"])
def test_a_mesh_is_found_by_the_objects_name(tmp_path, subject, place):
    (tmp_path / place).parent.mkdir(exist_ok=True)
    write_glb(chair(), tmp_path / place, size=None, origin="keep")
    found, _ = answer(tmp_path, subject)
    assert found.views is None
    assert torch.allclose(found.mesh.vertices.sort(dim=0).values, chair().vertices.sort(dim=0).values, atol=1e-6)


def test_views_of_another_size_are_scaled_and_missing_ones_are_empty(tmp_path, subject):
    (tmp_path / "chair").mkdir()
    for index, view in enumerate(gray_views(21, 64)):
        if index not in (0, 7):
            write_rgba(tmp_path / "chair" / f"{index:03d}.png", view)
    found, _ = answer(tmp_path, subject)
    assert found.views.shape == (20, SIZE, SIZE, 4)
    assert not found.views[6].any()
    assert found.views[5, SIZE // 2, SIZE // 2].tolist() == pytest.approx([0.5, 0.5, 0.5, 1], abs=0.01)
    assert found.notes == {"views missing": "1"}
    assert found.mesh is None


def test_pictures_without_transparency_are_cut_out_of_white(tmp_path, subject):
    (tmp_path / "chair").mkdir()
    for index, view in enumerate(gray_views(21, SIZE)):
        rgb = view[..., :3] * view[..., 3:] + 1 - view[..., 3:]
        write_rgba(tmp_path / "chair" / f"frame_{index}.png", torch.cat((rgb, torch.ones(SIZE, SIZE, 1)), dim=-1))
    found, _ = answer(tmp_path, subject)
    assert torch.equal(found.views[..., 3], gray_views(20, SIZE)[..., 3])
    assert found.notes == {"masks found against": "white"}


def test_a_damaged_mesh_is_reported_and_not_answered(tmp_path, subject):
    (tmp_path / "chair.glb").write_bytes(b"glTF, but no more")
    found, timer = answer(tmp_path, subject)
    assert found.mesh is None
    assert "chair.glb" in timer.warnings[0]


def test_pictures_that_cannot_be_used_are_empty_views_and_it_is_said_why(tmp_path, subject):
    (tmp_path / "chair").mkdir()
    (tmp_path / "chair" / "001.png").write_bytes(b"\x89PNG\r\n\x1a\n, but no more")
    write_rgba(tmp_path / "chair" / "002.png", torch.ones(20, 30, 4))
    found, timer = answer(tmp_path, subject)
    assert not found.views.any()
    assert found.notes == {"views missing": "18", "views unusable": "2"}
    assert "001.png" in timer.warnings[0]


def test_two_meshes_or_pictures_of_one_name_are_refused(tmp_path, subject):
    for name in ("chair.glb", "chair/mesh.glb"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_glb(chair(), tmp_path / name)
    found, timer = answer(tmp_path, subject)
    assert found.mesh is None
    assert "keep one" in timer.warnings[0]
    for name in ("a_1.png", "b_01.png"):
        write_rgba(tmp_path / "chair" / name, torch.ones(8, 8, 4))
    with pytest.raises(EvaluationError, match=r"a_1\.png and b_01\.png have one number"):
        answer(tmp_path, subject)


def test_the_digest_of_an_object_follows_its_files(tmp_path, subject):
    write_glb(chair(), tmp_path / "chair.glb")
    outside = open_outside(f"theirs={tmp_path}", [subject.id])
    before = outside.digest(subject.id)
    write_glb(chair(), tmp_path / "other.glb")
    assert outside.digest(subject.id) == before
    write_glb(chair(), tmp_path / "chair.glb", name="changed")
    assert outside.digest(subject.id) != before


def test_the_digest_of_an_object_follows_the_files_that_its_mesh_needs(tmp_path, subject):
    (tmp_path / "chair.obj").write_text("mtllib chair.mtl\nv 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    (tmp_path / "chair.mtl").write_text("newmtl a\nKd 1 0 0\n")
    outside = open_outside(f"theirs={tmp_path}", [subject.id])
    before = outside.digest(subject.id)
    (tmp_path / "chair.mtl").write_text("newmtl a\nKd 0 1 0\n")
    assert outside.digest(subject.id) != before


@pytest.mark.parametrize("text", ["theirs", "../up=x", "=x", "a b=x"])
def test_names_that_are_none_are_refused(text):
    with pytest.raises(EvaluationError, match="NAME=FOLDER"):
        open_outside(text, ["chair.glb"])


def test_a_folder_that_says_nothing_about_the_objects_is_refused(tmp_path):
    with pytest.raises(EvaluationError, match=r"expected chair\.glb or chair/001\.png"):
        open_outside(f"theirs={tmp_path}", ["chair.glb"])
    with pytest.raises(EvaluationError, match="there is no folder"):
        open_outside(f"theirs={tmp_path / 'nothing'}", ["chair.glb"])
