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
    Guarded("psnr", 1, 0.05),
    Guarded("ssim", 1, 0.005),
    Guarded("masked_psnr", 1, 0.05),
    Guarded("masked_ssim", 1, 0.005),
    Guarded("mask_iou", 1, 0.005),
    Guarded("chamfer", -1, 0.0005),
    Guarded("f_0.02", 1, 0.01),
    Guarded("f_0.05", 1, 0.01),
    Guarded("iou", 1, 0.01),
    Guarded("normal_consistency", 1, 0.01),
    Guarded("aligned_chamfer", -1, 0.0005),
    Guarded("watertight", 1, 0.0),
    Guarded("failed", -1, 0.0),
    Guarded("look_masked_psnr", 1, 0.1),
    Guarded("look_masked_ssim", 1, 0.01),
)
_PROTOCOL = ("set_digest", "objects", "path", "size", "measure")


@dataclass(frozen=True)
class Change:
    """A row's measure now and then, on the same objects.

    Attributes:
        method, measure: what changed.
        gain: mean gain with its interval, above 0 is better; None if the measure is missing now.
        worst: the object that lost most, and its gain.
        drop: whether it is worse beyond the interval and beyond the noise, or missing.
    """

    method: str
    measure: str
    gain: Interval | None
    worst: tuple[str, float] | None
    drop: bool


def read_released(file: Path) -> dict[str, Any]:
    """A released `report.json`.

    Raises:
        EvaluationError: if the file is something else.
    """
    try:
        released: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        whole = all(name in released["protocol"] for name in _PROTOCOL) and len(released["methods"]) > 0
        whole &= all(isinstance(row["objects"], dict) and "kind" in row for row in released["methods"].values())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise EvaluationError(f"{file}: expected the report.json of an evaluation, found something else") from error
    if not whole:
        raise EvaluationError(f"{file}: expected the report.json of an evaluation, found a part of one")
    return released


def changes(results: Results, released: Mapping[str, Any]) -> list[Change]:
    """Every guarded measure that the released report has of the objects that were measured now.

    A drop is larger than the measure's noise, and either the whole 95 % interval of the paired differences lies on the
    worse side (all objects lose a little), or the mean leaves the released one's interval (one loses much). What the
    released report has and is missing now is a drop, too.

    Raises:
        EvaluationError: if the released report lacks one of the objects.
    """
    found = []
    for name, before in released["methods"].items():
        for guarded in GUARDED:
            then = {key: before["objects"].get(key) for key in results.protocol["objects"]}
            if absent := [key for key, scores in then.items() if scores is None]:
                raise EvaluationError(f"the released table has no {absent[0]!r} in row {name!r}; release a new one")
            if not all(guarded.measure in scores for scores in then.values()):
                continue
            now = results.rows[name].objects if name in results.rows else {}
            if any(guarded.measure not in now.get(key, {}) for key in then):
                found.append(Change(name, guarded.measure, None, None, drop=True))
                continue
            gains = {
                key: guarded.sign * round(_value(now[key][guarded.measure]) - float(scores[guarded.measure]), _DIGITS)
                for key, scores in then.items()
            }
            gain = bootstrap_interval(list(gains.values()))
            earlier = bootstrap_interval([guarded.sign * float(scores[guarded.measure]) for scores in then.values()])
            beyond = gain.high < 0 or earlier.mean + gain.mean < earlier.low
            worst = min(gains.items(), key=lambda item: item[1])
            found.append(Change(name, guarded.measure, gain, worst, beyond and -gain.mean > guarded.noise))
    return found


def changes_table(found: list[Change]) -> str:
    """What changed; figures without any change are one line."""
    moved = [c for c in found if c.gain is None or c.worst is None or c.gain.mean != 0 or c.worst[1] != 0]
    rows = []
    for change in moved:
        gain = "missing" if change.gain is None else show(change.gain, 4)
        worst = "–" if change.worst is None else f"{change.worst[0]}: {change.worst[1]:.4f}"
        rows.append([change.method, change.measure, gain, worst, "**drop**" if change.drop else ""])
    text = f"{len(found) - len(moved)} of {len(found)} figures are the released ones."
    header = ["method", "measure", "gain (above 0: better)", "worst object", ""]
    return f"{text}\n\n" + table(header, rows) if rows else text


def _value(value: Any) -> float:
    return sum(value) / len(value) if isinstance(value, list) else float(value)
