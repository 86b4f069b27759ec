"""The two benchmarks run on real objects and put the methods in a sensible order."""

from __future__ import annotations

import json

import pytest

from benchmarks import mesh, orbit
from benchmarks._protocol import BenchmarkError
from tests.shared_data import shared_path


@pytest.fixture(scope="module")
def objects():
    folder = shared_path("objects")
    shared_path("objects/objects_train.zip")
    return folder


def test_copying_the_input_is_measured_on_every_view_but_the_input(objects, tmp_path):
    options = orbit.OrbitBenchmarkOptions(objects, tmp_path / "orbit.json", methods=("copy",), count=3, size=32)
    results = orbit.run(options)
    record = results.methods["copy"]["objects"]
    assert len(record) == 3
    for scores in record.values():
        assert all(len(values) == 20 for values in scores.values())
        assert max(scores["psnr"]) < 60
    text = orbit.markdown(results)
    assert "masked PSNR" in text
    assert "135–180°" in text


def test_the_mesh_table_ranks_truth_hull_and_sphere(objects, tmp_path):
    file = tmp_path / "mesh.json"
    names: tuple[mesh.MethodName, ...] = ("truth", "sphere", "visual hull")
    results = mesh.run(mesh.MeshBenchmarkOptions(objects, file, methods=names, count=3, size=64))
    chamfers = [sum(results.values(name, "chamfer") or []) for name in ("truth", "visual hull", "sphere")]
    assert chamfers == sorted(chamfers)
    assert json.loads(file.read_text())["protocol"]["path"] == "level"
    assert "visual hull" in mesh.markdown(results)


def test_generator_rows_without_weights_are_refused(objects, tmp_path):
    with pytest.raises(BenchmarkError, match="--model"):
        orbit.run(orbit.OrbitBenchmarkOptions(objects, tmp_path / "o.json", methods=("generator",), count=1))
    with pytest.raises(BenchmarkError, match="--model"):
        mesh.run(mesh.MeshBenchmarkOptions(objects, tmp_path / "m.json", methods=("generated",), count=1))


@pytest.mark.parametrize("benchmark", [mesh, orbit])
def test_a_folder_without_objects_ends_with_a_message_and_exit_code_two(benchmark, tmp_path, capsys):
    assert benchmark.main([str(tmp_path), "-o", str(tmp_path / "out.json")]) == 2
    assert capsys.readouterr().err.startswith(f"error: {tmp_path}: expected objects_train.zip")
