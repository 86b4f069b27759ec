"""Results files: kept together only when they belong together, summarised with intervals."""

from __future__ import annotations

import json

import pytest

from benchmarks._protocol import BenchmarkError
from benchmarks._results import Results, show, table
from recon.metrics.bootstrap import Interval

PROTOCOL = {"benchmark": "orbit", "size": 64}
GROUPS = {"tier A": ["x"], "tier B": ["y"]}
SCORES = {"x": {"psnr": [10.0, 20.0]}, "y": {"psnr": [30.0, 40.0]}}


def filled() -> Results:
    results = Results(PROTOCOL, GROUPS)
    results.add("ours", SCORES, seconds=1.5, settings={})
    return results


def test_an_objects_value_is_the_mean_over_its_views():
    assert filled().values("ours", "psnr") == [15.0, 35.0]
    assert filled().values("ours", "psnr", "tier B") == [35.0]


def test_a_measure_that_was_not_taken_is_a_dash():
    assert filled().interval("ours", "flip") is None
    assert show(None, 2) == "–"


def test_the_advantage_is_paired_by_object():
    results = filled()
    worse = {key: {"psnr": [v - 1 for v in scores["psnr"]]} for key, scores in SCORES.items()}
    results.add("theirs", worse, seconds=1.0, settings={})
    assert results.advantage("ours", "theirs", "psnr") == Interval(1.0, 1.0, 1.0)


def test_a_later_run_keeps_the_methods_of_an_earlier_one(tmp_path):
    file = tmp_path / "results.json"
    filled().write(file, ["psnr"])
    later = Results.resumed(file, PROTOCOL, GROUPS)
    assert later.values("ours", "psnr") == [15.0, 35.0]
    summary = json.loads(file.read_text())["summary"]["ours"]
    assert summary["all"]["psnr"]["mean"] == 25.0
    assert summary["tier A"]["psnr"]["mean"] == 15.0


def test_results_of_another_protocol_are_refused(tmp_path):
    file = tmp_path / "results.json"
    filled().write(file, ["psnr"])
    with pytest.raises(BenchmarkError, match="another protocol"):
        Results.resumed(file, PROTOCOL | {"size": 256}, GROUPS)


def test_a_file_that_is_no_result_is_refused(tmp_path):
    file = tmp_path / "results.json"
    file.write_text("[]")
    with pytest.raises(BenchmarkError, match="something else"):
        Results.resumed(file, PROTOCOL, GROUPS)


def test_tables_are_markdown():
    assert table(["a", "b"], [["x", "1"]]) == "| a | b |\n| --- | --: |\n| x | 1 |"
    assert show(Interval(0.5, 0.25, 0.75), 2) == "0.50 [0.25, 0.75]"
