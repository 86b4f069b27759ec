"""Is the chain still as good as it was? Object by object against a released report."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.evaluation.markdown import show, table
from pipelines.evaluation.protocol import EvaluationError
from pipelines.evaluation.results import Results
from recon.metrics.bootstrap import Interval, bootstrap_interval

_DIGITS = 5
"""Of figures in reports."""


@dataclass(frozen=True)
class Guarded:
    """A measure that may not get worse.

    Attributes:
        sign: 1 where higher is better, -1 where lower is.
        noise: a change of the mean that processors and library versions make; smaller ones are none.
    """

    measure: str
    sign: int
    noise: float


GUARDED = (
    Guarded("masked_psnr", 1, 0.05),
    Guarded("masked_ssim", 1, 0.005),
    Guarded("mask_iou", 1, 0.005),
    Guarded("chamfer", -1, 0.0005),
    Guarded("f_0.05", 1, 0.01),
    Guarded("iou", 1, 0.01),
    Guarded("normal_consistency", 1, 0.01),
    Guarded("watertight", 1, 0.0),
    Guarded("failed", -1, 0.0),
    Guarded("look_masked_psnr", 1, 0.1),
)


@dataclass(frozen=True)
class Change:
    """A row's measure now and then, on the same objects.

    Attributes:
        method, measure: what changed.
        gain: mean gain with its interval, above 0 is better.
        drop: whether it is worse beyond the interval and beyond the noise.
    """

    method: str
    measure: str
    gain: Interval
    drop: bool


def read_released(file: Path) -> dict[str, Any]:
    """A released `report.json`.

    Raises:
        EvaluationError: if the file is something else.
    """
    try:
        released: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        for row in released["methods"].values():
            assert isinstance(row["objects"], dict)
        assert isinstance(released["protocol"], dict)
    except (ValueError, KeyError, TypeError, AttributeError, AssertionError) as error:
        raise EvaluationError(f"{file}: expected the report.json of an evaluation, found something else") from error
    return released


def changes(results: Results, released: Mapping[str, Any]) -> list[Change]:
    """Every guarded measure of every row that both hold, on the objects that both hold.

    A drop is larger than the measure's noise, and either the whole 95 % interval of the paired differences lies on the
    worse side (all objects lose a little), or the mean leaves the released one's interval (one loses much).
    """
    found = []
    for name, row in results.rows.items():
        before = released["methods"].get(name, {"objects": {}})["objects"]
        for guarded in GUARDED:
            pairs = [
                (_value(scores[guarded.measure]), float(before[key][guarded.measure]))
                for key, scores in sorted(row.objects.items())
                if guarded.measure in scores and guarded.measure in before.get(key, {})
            ]
            if not pairs:
                continue
            gain = bootstrap_interval([guarded.sign * round(now - then, _DIGITS) for now, then in pairs])
            released_interval = bootstrap_interval([guarded.sign * then for _, then in pairs])
            beyond = gain.high < 0 or released_interval.mean + gain.mean < released_interval.low
            found.append(Change(name, guarded.measure, gain, beyond and -gain.mean > guarded.noise))
    return found


def changes_table(found: list[Change]) -> str:
    """What changed; rows without any change are one line."""
    moved = [c for c in found if c.gain.mean != 0]
    rows = [[c.method, c.measure, show(c.gain, 4), "**drop**" if c.drop else ""] for c in moved]
    text = f"{len(found) - len(moved)} of {len(found)} figures are the released ones."
    return f"{text}\n\n" + table(["method", "measure", "gain (above 0: better)", ""], rows) if rows else text


def _value(value: Any) -> float:
    return sum(value) / len(value) if isinstance(value, list) else float(value)
