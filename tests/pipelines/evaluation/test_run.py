"""`pipelines.evaluate` from its options to its report, on two small objects."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest

from gen.data.sources import ObjectInfo
from pipelines import evaluate
from pipelines._run import content_hash
from pipelines.evaluate import EvaluateOptions
from pipelines.evaluation.plan import _check_names
from pipelines.evaluation.protocol import EvaluationError, draw_views, path_cameras
from pipelines.evaluation.sets import open_set
from recon.asset.gltf import write_glb
from recon.capture.images import write_rgba
from recon.capture.orbit import read_camera_path
from tests.pipelines.evaluation.sets import write_set
from tests.pipelines.small import save_generator

SIZE = 32


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_set(tmp_path_factory.mktemp("evaluation") / "set")


@pytest.fixture(scope="module")
def theirs(folder, tmp_path_factory):
    """A method from elsewhere that knows the chair's truth and nothing of the other object."""
    place = tmp_path_factory.mktemp("theirs")
    mesh = open_set(folder).mesh("chair.glb")
    write_glb(mesh, place / "chair.glb", size=None, origin="keep", unlit=False)
    (place / "chair").mkdir()
    for index, view in enumerate(draw_views(mesh, path_cameras("level", SIZE))):
        write_rgba(place / "chair" / f"{index:03d}.png", view)
    return place


@pytest.fixture(scope="module")
def options(folder, theirs, tmp_path_factory) -> EvaluateOptions:
    output = tmp_path_factory.mktemp("run") / "out"
    return EvaluateOptions(output=output, set=folder, method=(f"theirs={theirs}",), size=SIZE, workers=1)


@pytest.fixture(scope="module")
def report(options):
    """The report of a whole run, and its folder."""
    assert evaluate.evaluate(options)
    return json.loads((options.output / "report.json").read_text()), options.output


def test_all_three_kinds_of_rows_are_there(report):
    document, _ = report
    kinds = {name: row["kind"] for name, row in document["methods"].items()}
    assert kinds == {
        "truth": "ceiling", "true views": "ceiling", "theirs": "generated", "copy": "trivial",
        "sphere": "trivial", "visual hull": "trivial", "inflated": "trivial",
    }  # fmt: skip


def test_rows_rank_as_they_must(report):
    document, _ = report

    def mean(method, measure):
        return document["methods"][method]["summary"]["all"][measure]["mean"]

    chamfers = [mean(name, "chamfer") for name in ("truth", "true views", "inflated", "sphere")]
    assert chamfers == sorted(chamfers)
    chair = document["methods"]["theirs"]["objects"]["chair.glb"]
    assert chair["masked_psnr"] > 45
    assert chair["chamfer"] == pytest.approx(document["methods"]["truth"]["objects"]["chair.glb"]["chamfer"], abs=1e-3)


def test_what_a_method_leaves_out_counts_as_failed(report):
    document, _ = report
    step = document["methods"]["theirs"]["objects"]["step.glb"]
    assert step["failed"] == 1
    assert step["mask_iou"] == 0
    assert step["chamfer"] == document["methods"]["sphere"]["objects"]["step.glb"]["chamfer"]
    assert document["methods"]["theirs"]["notes"]["step.glb"] == {"views missing": "20"}


def test_the_folder_holds_what_people_look_at(report):
    _, folder = report
    names = {path.name for path in folder.iterdir()}
    pictures = {"views.png", "meshes.png", "worst_views_theirs.png", "worst_meshes_theirs.png"}
    assert {"report.md", "report.json", "timings.md", "timings.json", "inputs", "rows"} | pictures <= names
    text = (folder / "report.md").read_text()
    for section in ("## Views", "## Meshes, where they were put", "## Meshes, aligned", "## Textured meshes"):
        assert section in text
    assert "| true views |" in (folder / "timings.md").read_text()


def test_inputs_are_what_others_need(report):
    _, folder = report
    cameras = read_camera_path(folder / "inputs" / "cameras.json", SIZE)
    for camera, true in zip(cameras, path_cameras("level", SIZE), strict=True):
        assert (camera.c2w - true.c2w).abs().max() < 1e-4
        assert (camera.intrinsics - true.intrinsics).abs().max() < 1e-3
    assert sorted(p.name for p in (folder / "inputs").glob("*.png")) == ["chair.png", "step.png"]


def test_what_a_row_left_is_a_method_of_its_own(report, options, tmp_path):
    document, folder = report
    again = replace(options, output=tmp_path / "out", method=(f"again={folder / 'rows' / 'theirs'}",), measure="views")
    evaluate.evaluate(again)
    repeated = json.loads((tmp_path / "out" / "report.json").read_text())["methods"]["again"]["objects"]
    for key, scores in document["methods"]["theirs"]["objects"].items():
        assert repeated[key]["masked_psnr"] == pytest.approx(scores["masked_psnr"], abs=0.05)  # of bytes in PNG


def test_the_generators_figures_do_not_depend_on_the_number_of_processes(options, tmp_path):
    views = replace(
        options, measure="views", method=("generator", "generator-4"), model=save_generator(tmp_path / "weights")
    )
    for name, workers in (("one", 1), ("two", 2)):
        evaluate.evaluate(replace(views, output=tmp_path / name, workers=workers))
    for name in ("report.json", "report.md", "views.png", "worst_views_generator.png", "worst_views_generator-4.png"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    row = json.loads((tmp_path / "one" / "report.json").read_text())["methods"]["generator"]
    assert row["objects"]["chair.glb"]["seed_spread"] > 0


def test_a_finished_run_is_neither_overwritten_nor_measured_again(report, options, capsys):
    _, folder = report
    before = content_hash(folder / "rows")
    arguments = ["-o", str(folder), "--set", str(options.set), "--size", str(SIZE), "--workers", "1"]
    arguments += ["--method", *options.method]
    assert evaluate.main(arguments) == 2
    assert "--resume" in capsys.readouterr().err
    assert evaluate.main([*arguments, "--resume"]) == 0
    assert content_hash(folder / "rows") == before


def test_an_interrupted_run_goes_on_with_what_is_missing(report, options, tmp_path):
    _, folder = report
    copy = shutil.copytree(folder, tmp_path / "out")
    whole = (copy / "report.json").read_bytes()
    shutil.rmtree(copy / "rows" / "copy" / "step")
    (copy / "report.json").unlink()
    assert evaluate.evaluate(replace(options, output=copy, resume=True))
    assert (copy / "report.json").read_bytes() == whole


@pytest.mark.parametrize("name", ["..", "a\\b", "line\nbreak"])
def test_objects_whose_names_are_no_file_names_are_refused(name):
    with pytest.raises(EvaluationError, match="cannot be the name of a file"):
        _check_names([ObjectInfo(name)])


def test_objects_that_would_share_a_file_name_are_refused():
    with pytest.raises(EvaluationError, match="one name in files"):
        _check_names([ObjectInfo("a/b.glb"), ObjectInfo("a__b.obj")])


def test_another_protocol_is_another_run(report, options):
    with pytest.raises(ValueError, match="another run"):
        evaluate.evaluate(replace(options, size=48, resume=True))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": ("nonsense",)}, "NAME=FOLDER"),
        ({"method": ("generator", "generator")}, "stands for another row"),
        ({"count": 9}, "1 to 2"),
        ({"size": 8}, "--size"),
        ({"resume": True, "overwrite": True}, "give one of them"),
    ],
)
def test_options_that_cannot_be_met_are_refused_before_the_work(options, tmp_path, change, message):
    with pytest.raises(EvaluationError, match=message):
        evaluate.evaluate(replace(options, output=tmp_path / "out", **change))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["visual_hull", "Generator", "truth"])
def test_names_of_rows_are_not_given_twice(options, theirs, name):
    with pytest.raises(EvaluationError, match="stands for another row"):
        evaluate.evaluate(replace(options, method=(f"{name}={theirs}",)))


def test_a_method_that_makes_nothing_of_what_is_measured_is_refused(options, theirs, tmp_path):
    shutil.copy(theirs / "chair.glb", tmp_path / "chair.glb")
    with pytest.raises(EvaluationError, match="makes no views"):
        evaluate.evaluate(replace(options, method=(f"meshes={tmp_path}",), measure="views"))


def test_what_a_released_table_decides_is_not_asked_for_again():
    with pytest.raises(EvaluationError, match="leave --path, --size out"):
        evaluate.evaluate(EvaluateOptions(regress=True, path="wave", size=64))


def test_a_run_of_other_sources_is_another_run(report, options, monkeypatch):
    """Figures of a program that has changed since must not be kept as this one's."""
    monkeypatch.setattr("pipelines.evaluation.run.code_digest", lambda: "other")
    with pytest.raises(ValueError, match="program"):
        evaluate.evaluate(replace(options, resume=True))
