"""Results of a benchmark: one JSON file to which methods are added run by run, and the tables made of it."""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks._protocol import BenchmarkError
from pipelines._run import peak_memory_mib
from recon.metrics.bootstrap import Interval, bootstrap_interval

ObjectScores = dict[str, dict[str, Any]]
"""Object id -> measure -> value, or list of values with one a view."""


@dataclass
class Results:
    """Attributes:
    protocol: what was measured on; results are only kept together when it is equal.
    groups: sub-table -> ids of its objects.
    methods: name -> its record: "objects" (`ObjectScores`), "seconds" an object, "settings", "commit".
    """

    protocol: dict[str, Any]
    groups: dict[str, list[str]]
    methods: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def resumed(cls, file: Path, protocol: dict[str, Any], groups: dict[str, list[str]]) -> Results:
        """Empty results, or those of an earlier run in `file` on the same protocol.

        Raises:
            BenchmarkError: if the file holds something else.
        """
        results = cls(protocol, groups)
        if not file.exists():
            return results
        try:
            earlier = json.loads(file.read_text(encoding="utf-8"))
            same, methods = earlier["protocol"] == protocol, dict(earlier["methods"])
        except (ValueError, KeyError, TypeError) as error:
            raise BenchmarkError(f"{file}: expected results of this benchmark, found something else") from error
        if not same:
            raise BenchmarkError(f"{file}: holds results of another protocol (objects, size, path); write elsewhere")
        results.methods.update(methods)
        return results

    def add(self, name: str, objects: ObjectScores, *, seconds: float, settings: Mapping[str, Any]) -> None:
        """Put a method's scores in, replacing its earlier ones."""
        self.methods[name] = {
            "commit": _commit(),
            "settings": dict(settings),
            "seconds": round(seconds, 3),
            "peak_memory_mb": peak_memory_mib(),
            "objects": {key: {m: _rounded(v) for m, v in scores.items()} for key, scores in objects.items()},
        }

    def values(self, method: str, measure: str, group: str = "all") -> list[float] | None:
        """One value an object (the mean over its views), in the order of the ids; None where it was not measured."""
        objects = self.methods[method]["objects"]
        wanted = sorted(objects) if group == "all" else self.groups[group]
        if any(measure not in objects[key] for key in wanted):
            return None
        return [_mean(objects[key][measure]) for key in wanted]

    def interval(self, method: str, measure: str, group: str = "all") -> Interval | None:
        values = self.values(method, measure, group)
        return None if values is None else bootstrap_interval(values)

    def advantage(self, method: str, other: str, measure: str) -> Interval | None:
        """Mean paired difference (method - other) over the objects, with its interval."""
        ours, theirs = self.values(method, measure), self.values(other, measure)
        if ours is None or theirs is None:
            return None
        return bootstrap_interval([a - b for a, b in zip(ours, theirs, strict=True)])

    def write(self, file: Path, measures: Sequence[str]) -> None:
        """The JSON file, with the summary of `measures` for readers that do not want to average."""
        summary = {
            method: {
                group: {
                    measure: vars(interval)
                    for measure in measures
                    if (interval := self.interval(method, measure, group)) is not None
                }
                for group in ("all", *self.groups)
            }
            for method in self.methods
        }
        document = {
            "protocol": self.protocol,
            "environment": environment(),
            "groups": self.groups,
            "summary": summary,
            "methods": self.methods,
        }
        write_json(file, document)


def write_json(file: Path, document: Any) -> None:
    """The file appears whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(file.name + ".part")
    temporary.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    os.replace(temporary, file)


def environment() -> dict[str, Any]:
    """What a reader needs to know to repeat the run."""
    import torch

    return {
        "commit": _commit(),
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "machine": platform.machine(),
        "processors": os.cpu_count(),
    }


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first column is text, the others are numbers."""
    rule = ["---", *["--:"] * (len(header) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, rule, *rows))


def show(interval: Interval | None, digits: int, scale: float = 1.0) -> str:
    """`mean [low, high]`, or a dash."""
    if interval is None:
        return "–"
    mean, low, high = (f"{scale * value:.{digits}f}" for value in (interval.mean, interval.low, interval.high))
    return f"{mean} [{low}, {high}]"


def _commit() -> str:
    try:
        run = subprocess.run(
            ["git", "describe", "--always", "--dirty"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return run.stdout.strip()


def _mean(value: float | Sequence[float]) -> float:
    return fmean(value) if isinstance(value, list) else float(value)  # type: ignore[arg-type]


def _rounded(value: Any) -> Any:
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    if isinstance(value, float) and math.isfinite(value):
        return round(value, 5)
    return value
