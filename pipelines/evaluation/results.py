"""The figures of an evaluation: one value an object and measure, their means, intervals and paired differences."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from recon.metrics.bootstrap import Interval, bootstrap_interval

_ROOT = Path(__file__).resolve().parents[2]

ObjectScores = dict[str, dict[str, Any]]
"""Object id -> measure -> value, or list of values with one a view."""


@dataclass(frozen=True)
class Row:
    """A method's figures.

    Attributes:
        kind: "ceiling", "generated" or "trivial".
        settings: what they depend on besides the protocol.
        views: indices in the path of the counted views.
        azimuths: degrees away from the input of each of them.
        objects: the figures.
        commits: versions of this program that measured them.
        notes: object id -> what a reader should know.
    """

    kind: str
    settings: dict[str, Any]
    views: tuple[int, ...]
    azimuths: tuple[float, ...]
    objects: ObjectScores
    commits: tuple[str, ...]
    notes: dict[str, dict[str, str]]


@dataclass(frozen=True)
class Results:
    """Attributes:
    protocol: what was measured on.
    groups: sub-table -> ids of its objects.
    rows: by method, in the order of the tables.
    """

    protocol: dict[str, Any]
    groups: dict[str, list[str]]
    rows: dict[str, Row]

    def values(self, method: str, measure: str, group: str = "all") -> list[float] | None:
        """One value an object (the mean over its views), in the order of the ids; None where any was not measured."""
        objects = self.rows[method].objects
        wanted = sorted(objects) if group == "all" else self.groups[group]
        if any(measure not in objects[key] for key in wanted):
            return None
        return [_mean(objects[key][measure]) for key in wanted]

    def interval(self, method: str, measure: str, group: str = "all") -> Interval | None:
        """Mean over the objects with its 95 % interval."""
        values = self.values(method, measure, group)
        return None if not values else bootstrap_interval(values)

    def advantage(self, method: str, other: str, measure: str) -> Interval | None:
        """Mean paired difference (method - other) over the objects, with its interval."""
        pairs = self.pairs(method, other, measure)
        return None if pairs is None else bootstrap_interval([a - b for a, b in pairs])

    def pairs(self, method: str, other: str, measure: str) -> list[tuple[float, float]] | None:
        """An object's values of two methods, in the order of the ids; measures of views over those that both count."""
        if self.values(method, measure) is None or self.values(other, measure) is None:
            return None
        ours, theirs = self.rows[method], self.rows[other]
        common = set(ours.views) & set(theirs.views)

        def value(row: Row, key: str) -> float:
            found = row.objects[key][measure]
            return _mean([v for i, v in zip(row.views, found) if i in common] if isinstance(found, list) else found)

        return [(value(ours, key), value(theirs, key)) for key in sorted(ours.objects)]

    def with_measure(self, measure: str) -> list[str]:
        """The methods that were measured so."""
        return [name for name in self.rows if self.values(name, measure)]

    def named(self, kind: str) -> list[str]:
        """The methods of a kind."""
        return [name for name, row in self.rows.items() if row.kind == kind]

    def as_json(self) -> dict[str, Any]:
        """Protocol, means with intervals by group, and every object's values, as JSON values."""
        return {
            "protocol": self.protocol,
            "groups": self.groups,
            "methods": {name: self._row_json(name, row) for name, row in self.rows.items()},
        }

    def _row_json(self, name: str, row: Row) -> dict[str, Any]:
        measures = sorted({measure for scores in row.objects.values() for measure in scores})
        summary = {
            group: {m: vars(interval) for m in measures if (interval := self.interval(name, m, group)) is not None}
            for group in ("all", *self.groups)
        }
        return {
            "kind": row.kind,
            "settings": row.settings,
            "commits": list(row.commits),
            "notes": row.notes,
            "summary": summary,
            "objects": {
                key: {m: round(_mean(value), 5) for m, value in scores.items()} for key, scores in row.objects.items()
            },
        }


def code_version() -> str:
    """The commit of this program, marked "-dirty" if its files have changed since; outside of a checkout of its own the
    begin of `code_digest`."""
    if not (_ROOT / ".git").exists():  # an installed copy may lie inside somebody else's repository
        return f"program {code_digest()[:8]}"
    command = ["git", "describe", "--always", "--dirty"]
    try:
        run = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return f"program {code_digest()[:8]}"
    return run.stdout.strip()


def code_digest() -> str:
    """SHA-256 of the program's sources: figures of other sources must not be taken for this one's."""
    digest = hashlib.sha256()
    for package in ("gen", "pipelines", "recon"):
        for file in sorted((_ROOT / package).rglob("*.py")):
            digest.update(file.relative_to(_ROOT).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def _mean(value: float | Sequence[float]) -> float:
    return fmean(value) if isinstance(value, list) else float(value)  # type: ignore[arg-type]
