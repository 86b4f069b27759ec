"""Figures: means, groups, paired differences, tables, and the guard against drops."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from pipelines.evaluation.markdown import show, table
from pipelines.evaluation.protocol import EvaluationError
from pipelines.evaluation.regress import changes, changes_table, read_released
from pipelines.evaluation.results import Results, Row
from pipelines.evaluation.tables import loss_table, report, sector_table
from recon.metrics.bootstrap import Interval

OBJECTS = [f"o{i}" for i in range(6)]
PROTOCOL = {"set": "toys", "set_digest": "0", "objects": OBJECTS, "path": "level", "size": 32, "measure": "all"}
GROUPS = {"tier A": OBJECTS[:2], "tier B": OBJECTS[2:]}


def row(kind, psnr=None, chamfer=None):
    """A row whose objects differ by a unit of the last digit."""
    objects = {}
    for i, name in enumerate(OBJECTS):
        scores: dict[str, Any] = {}
        if psnr is not None:
            scores |= {
                "psnr": [psnr + i, psnr + i + 10],
                "masked_psnr": [psnr + i, psnr + i + 10],
                "mask_iou": [0.5, 0.7],
            }
        if chamfer is not None:
            scores |= {"chamfer": chamfer + 0.001 * i, "watertight": True, "components": 1, "faces": 9, "failed": 0}
        objects[name] = scores
    return Row(kind, {}, (1, 2), (20.0, 100.0), objects, ("abc",), {})


def filled() -> Results:
    rows = {
        "truth": row("ceiling", chamfer=0.01),
        "true views": row("ceiling", chamfer=0.02),
        "ours": row("generated", 15, 0.05),
        "copy": row("trivial", 10),
    }
    return Results(dict(PROTOCOL), GROUPS, rows)


def test_an_objects_value_is_the_mean_over_its_views():
    assert filled().values("ours", "psnr") == [20 + i for i in range(6)]
    assert filled().values("ours", "psnr", "tier A") == [20, 21]


def test_a_measure_that_was_not_taken_is_a_dash():
    assert filled().interval("ours", "flip") is None
    assert show(None, 2) == "–"


def test_differences_are_paired_by_object():
    assert filled().advantage("ours", "copy", "psnr") == Interval(5.0, 5.0, 5.0)


def test_only_views_that_both_methods_count_are_paired():
    results = filled()
    given = results.rows["copy"]
    results.rows["copy"] = replace(given, views=(2, 3))  # its first value is of the other's second view
    assert results.advantage("ours", "copy", "masked_psnr") == Interval(15.0, 15.0, 15.0)


def test_sectors_take_the_views_at_their_azimuths():
    lines = sector_table(filled()).splitlines()
    assert lines[2] == "| **ours** | 17.50 / 0.500 | – | 27.50 / 0.700 | – |"


def test_losses_are_told_apart():
    assert "| **ours** | 0.0125 [" in loss_table(filled())
    assert "| 0.0100 | 0.0300 |" in loss_table(filled())


def test_the_report_shows_every_kind_of_row():
    text = report(filled())
    for name in ("| truth |", "| **ours** |", "| copy |", "6 objects of `toys`"):
        assert name in text
    assert "-" in text[text.index("Object by object") :]


def test_tables_are_markdown():
    assert table(["a", "b"], [["x", "1"]]) == "| a | b |\n| --- | --: |\n| x | 1 |"
    assert show(Interval(0.5, 0.25, 0.75), 2) == "0.50 [0.25, 0.75]"


def released() -> dict:
    return json.loads(json.dumps(filled().as_json()))


def test_equal_figures_are_no_drop():
    found = changes(filled(), released())
    assert found
    assert not any(change.drop for change in found)
    assert changes_table(found).endswith("are the released ones.")


@pytest.mark.parametrize(("shift", "drops"), [(-1.0, True), (-0.01, False), (1.0, False)])
def test_a_small_loss_on_every_object_is_a_drop_unless_it_is_noise(shift, drops):
    results = filled()
    for scores in results.rows["ours"].objects.values():
        scores["masked_psnr"] = [value + shift for value in scores["masked_psnr"]]
    dropped = {(c.method, c.measure) for c in changes(results, released()) if c.drop}
    assert dropped == ({("ours", "masked_psnr")} if drops else set())


def test_a_large_loss_on_one_object_is_a_drop():
    results = filled()
    results.rows["ours"].objects["o3"]["chamfer"] += 0.2
    (drop,) = (c for c in changes(results, released()) if c.drop)
    assert (drop.method, drop.measure) == ("ours", "chamfer")
    name, loss = drop.worst
    assert name == "o3"
    assert loss == pytest.approx(-0.2)


def test_one_mesh_that_is_no_longer_closed_is_a_drop():
    results = filled()
    results.rows["ours"].objects["o3"]["watertight"] = False
    assert [c.measure for c in changes(results, released()) if c.drop] == ["watertight"]


def test_only_the_objects_that_were_measured_are_compared():
    before = released()
    before["methods"]["ours"]["objects"]["o5"]["chamfer"] = 0.0
    fewer = filled()
    for row in fewer.rows.values():
        del row.objects["o5"]
    fewer.protocol["objects"] = OBJECTS[:5]
    assert not any(change.drop for change in changes(fewer, before))


def test_what_is_missing_is_a_drop():
    results = filled()
    for scores in results.rows["ours"].objects.values():
        del scores["chamfer"]
    del results.rows["copy"]
    dropped = {(c.method, c.measure) for c in changes(results, released()) if c.drop}
    assert dropped == {("ours", "chamfer"), *(("copy", m) for m in ("psnr", "masked_psnr", "mask_iou"))}
    assert "missing" in changes_table(changes(results, released()))


def test_a_measure_that_one_object_lacks_is_a_drop():
    results = filled()
    del results.rows["ours"].objects["o2"]["chamfer"]
    assert ("ours", "chamfer") in {(c.method, c.measure) for c in changes(results, released()) if c.drop}


def test_a_released_table_of_other_objects_is_refused():
    before = released()
    del before["methods"]["ours"]["objects"]["o2"]
    with pytest.raises(EvaluationError, match="no 'o2' in row 'ours'"):
        changes(filled(), before)


NO_REPORTS = ["", "[]", '{"methods": {}}', '{"methods": {"a": 1}, "protocol": {}}', '{"methods": {}, "protocol": {}}']


@pytest.mark.parametrize("text", NO_REPORTS)
def test_a_file_that_is_no_report_is_refused(tmp_path, text):
    (tmp_path / "released.json").write_text(text)
    with pytest.raises(EvaluationError, match=r"expected the report\.json"):
        read_released(tmp_path / "released.json")
