"""The tables of `benchmarks.motion`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from benchmarks._moving_methods import APART, CEILING, HARNESS, ONE_BASIS, OURS, STATIC
from pipelines.evaluation.markdown import show, table
from recon.metrics.bootstrap import bootstrap_interval

_LABELS = {
    OURS: "ours, skinned",
    ONE_BASIS: "one basis",
    STATIC: "static",
    APART: "every time for itself",
    CEILING: "true motion, one texture",
    HARNESS: "true file, bare colours",
}
_SHOWN = 8
"""Times in a sheet, and in the table over time."""
_TWICE = 2.0
_MEASURES = (("psnr", 2), ("ssim", 3), ("masked_psnr", 2), ("masked_ssim", 3), ("chamfer", 4))
_FIGURES = (("bases", 1), ("keys", 1), ("faces", 1), ("bytes", 1024), ("cpu_seconds", 1))
"""What is said of a file, and by what it is divided."""


def evenly(count: int) -> list[int]:
    """At most `_SHOWN` numbers below `count`, from the first to the last."""
    shown = min(_SHOWN, count)
    return [round(i * (count - 1) / max(1, shown - 1)) for i in range(shown)]


def markdown(document: Mapping[str, Any]) -> str:
    """The tables of saved results: of methods, of clips, and over time."""
    subjects, settings = document["subjects"], document["settings"]
    said = (
        f"{len(subjects)} clips, {settings['times']} times, {settings['views']} views of {settings['size']} px, preset "
        f"`{settings['preset']}`; 95 % intervals over clips."
    )
    return "\n\n".join((said, _methods(subjects), _clips(subjects), _over_time(subjects)))


def _methods(subjects: Mapping[str, Any]) -> str:
    header = ["", "PSNR, dB", "SSIM", "masked PSNR, dB", "masked SSIM", "chamfer", "paths, %", "95th percentile, %"]
    header += ["flicker, %", "bases", "keys", "triangles", "KiB", "CPU s", "clips"]
    lines = []
    for name, label in _LABELS.items():
        tried = sum(name in subject["rows"] for subject in subjects.values())
        found = _rows(subjects, name)
        if not tried:
            continue
        line = [label] + [_interval([fmean(row[key]) for row in found], digits) for key, digits in _MEASURES]
        line += [_interval([row[key] for row in found if row[key] is not None], 2) for key in ("path", "path_high")]
        line.append(_interval([_flicker(row) for row in found], 0))
        for figure, unit in _FIGURES:
            values = [row["figures"][figure] / unit for row in found if figure in row["figures"]]
            line.append(f"{fmean(values):,.0f}" if values else "–")
        lines.append([*line, f"{len(found)} of {tried}"])
    return table(header, lines)


def _clips(subjects: Mapping[str, Any]) -> str:
    """What a single rigid motion leaves of each, and whether many are better."""
    header = ["clip", "best rigid motion, paths, %", "ours, paths, %", "one basis, paths, %", "times worse"]
    header += ["ours, PSNR, dB", "chamfer", "flicker, %"]
    lines, worse, compared = [], 0, 0
    for name, subject in subjects.items():
        line = [f"{name}, {subject['clip'].split('|')[-1]}", f"{subject['rigid_rest']:.2f}"]
        ours, one = (_rows({name: subject}, method) for method in (OURS, ONE_BASIS))
        line += [_interval([row["path"] for row in rows], 2) for rows in (ours, one)]
        ratios = [second["path"] / first["path"] for first, second in zip(ours, one)]
        worse, compared = worse + sum(ratio >= _TWICE for ratio in ratios), compared + len(ratios)
        line += [_interval(ratios, 1), _interval([fmean(row["psnr"]) for row in ours], 2)]
        line += [_interval([fmean(row["chamfer"]) for row in ours], 4), _interval([_flicker(row) for row in ours], 0)]
        lines.append(line)
    return f"{table(header, lines)}\n\nOne basis misses paths at least twice as far on {worse} of {compared} clips."


def _over_time(subjects: Mapping[str, Any]) -> str:
    """Means over the clips at some of the times."""
    lines, keys = [], []
    for name, label in _LABELS.items():
        found = _rows(subjects, name)
        if name == APART or not found:  # that one shows some of the times only
            continue
        keys = evenly(len(found[0]["psnr"]))
        for key, title, digits in (("psnr", "PSNR, dB", 2), ("ssim", "SSIM", 3), ("chamfer", "chamfer", 4)):
            means = (fmean(row[key][time] for row in found) for time in keys)
            lines.append([f"{label}: {title}", *(f"{mean:.{digits}f}" for mean in means)])
    return table(["time", *(str(key) for key in keys)], lines)


def _rows(subjects: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """Those of a method that came to something."""
    rows = [subject["rows"][name] for subject in subjects.values() if name in subject["rows"]]
    return [row for row in rows if "failed" not in row]


def _flicker(row: Mapping[str, Any]) -> float:
    """In percent of the truth's own change."""
    return 100 * float(row["flicker"]) / float(row["truth_change"])


def _interval(values: Sequence[float], digits: int) -> str:
    return show(bootstrap_interval(list(values)), digits) if values else "–"
