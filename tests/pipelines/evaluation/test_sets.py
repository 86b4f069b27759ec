"""Sets of objects: packs with lists, folders of meshes, and what is refused."""

from __future__ import annotations

import shutil

import pytest

from gen.data.format import DatasetError
from gen.data.names import stem
from pipelines.evaluation.protocol import EvaluationError
from pipelines.evaluation.sets import open_set, set_digest
from tests.pipelines.evaluation.sets import write_set
from tests.shared_data import shared_path


def test_no_test_object_is_open_to_training():
    found = open_set(shared_path("objects"))
    assert len(found.objects) == 60
    assert not {o.id for o in found.objects} & set(found.training)
    relatives = {o.group for o in found.objects}
    training = set(found.training)
    assert not [o.id for o in found.source.objects if o.id in training and o.group in relatives]


def test_all_meshes_of_a_folder_are_test_objects(tmp_path):
    found = open_set(write_set(tmp_path / "set"))
    assert [(o.id, o.tier) for o in found.objects] == [("chair.glb", "A"), ("step.glb", "C")]
    assert found.training == ()
    assert found.mesh("chair.glb").vertices.norm(dim=1).max() == pytest.approx(0.5, abs=1e-4)


def test_the_digest_follows_the_contents_and_not_the_place(tmp_path):
    first = write_set(tmp_path / "a")
    copy = shutil.copytree(first, tmp_path / "b")
    assert set_digest(first) == set_digest(copy)
    (copy / "chair.glb").write_bytes((copy / "step.glb").read_bytes())
    assert set_digest(first) != set_digest(copy)


def test_a_folder_without_meshes_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="found none"):
        open_set(tmp_path)
    with pytest.raises(EvaluationError, match="no such folder"):
        open_set(tmp_path / "nothing")


def test_a_pack_without_its_lists_is_refused(tmp_path):
    (tmp_path / "objects_train.zip").write_bytes(b"")
    with pytest.raises(EvaluationError, match=r"found no validation\.txt"):
        open_set(tmp_path)


def test_names_in_files_have_neither_folders_nor_suffixes_of_meshes():
    assert stem("toys/robot.v2.glb") == "toys__robot.v2"
    assert stem("pm_kenney_mug-1") == "pm_kenney_mug-1"
