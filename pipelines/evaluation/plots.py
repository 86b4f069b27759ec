"""Plots of an evaluation; needs matplotlib, which the extra `evaluate` brings."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from statistics import fmean
from typing import Any

from pipelines.evaluation.protocol import EvaluationError
from pipelines.evaluation.results import Results, Row

_DPI = 110
_THRESHOLDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
_STYLES = {"ceiling": ":", "generated": "-", "trivial": "--"}


def require_matplotlib() -> None:
    """Raises:
    EvaluationError: if matplotlib is not installed.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise EvaluationError("the plots need matplotlib; run pip install 'turnabout[evaluate]'")


def write_views_plot(results: Results, path: Path) -> None:
    """Masked PSNR and mask IoU over the azimuth between a view and the input."""
    figure, axes = _figure(2)
    for axis, measure, title in zip(axes, ("masked_psnr", "mask_iou"), ("masked PSNR, dB", "mask IoU")):
        for name in results.with_measure(measure):
            row = results.rows[name]
            degrees, means = _curve(row, measure)
            axis.plot(degrees, means, _STYLES[row.kind], label=name, linewidth=2 if row.kind == "generated" else 1.2)
        axis.set(xlabel="degrees away from the input view", ylabel=title, xlim=(0, 180), xticks=range(0, 181, 45))
    axes[1].legend(fontsize=8)
    _save(figure, path)


def write_meshes_plot(results: Results, path: Path) -> None:
    """Chamfer distance with its intervals, and the F-score over its threshold."""
    figure, axes = _figure(2)
    names = results.with_measure("chamfer")
    intervals = [results.interval(name, "chamfer") for name in names]
    means = [i.mean for i in intervals if i]
    spans = [[i.mean - i.low for i in intervals if i], [i.high - i.mean for i in intervals if i]]
    colors = ["C0" if results.rows[name].kind == "generated" else "0.6" for name in names]
    for name, mean, low, high, color in zip(names, means, *spans, colors):
        axes[0].errorbar([mean], [name], xerr=[[low], [high]], fmt="o", color=color, capsize=3)
    axes[0].invert_yaxis()
    axes[0].set(xlabel="chamfer, longest box side 1 (left is better)", xscale="log")
    for name in names:
        values = [fmean(results.values(name, f"f_{threshold:g}") or [0]) for threshold in _THRESHOLDS]
        kind = results.rows[name].kind
        axes[1].plot(_THRESHOLDS, values, _STYLES[kind], label=name, linewidth=2 if kind == "generated" else 1.2)
    axes[1].set(xlabel="threshold", ylabel="F-score", xscale="log", ylim=(0, 1.02))
    axes[1].legend(fontsize=8)
    _save(figure, path)


def _curve(row: Row, measure: str) -> tuple[list[float], list[float]]:
    """Means over the objects at each azimuth; views left and right of the input at the same azimuth are one."""
    by_degrees: dict[float, list[float]] = {}
    for k, away in enumerate(row.azimuths):
        by_degrees.setdefault(round(away, 1), []).extend(scores[measure][k] for scores in row.objects.values())
    degrees = sorted(by_degrees)
    return degrees, [fmean(by_degrees[d]) for d in degrees]


def _figure(columns: int) -> tuple[Any, Any]:
    from matplotlib.figure import Figure  # the figure alone: pyplot would look for a display

    figure = Figure(figsize=(5.2 * columns, 3.8), layout="constrained")
    axes = figure.subplots(1, columns)
    for axis in axes:
        axis.grid(alpha=0.3)
    return figure, axes


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, dpi=_DPI, metadata={"Software": None})  # without a version the bytes repeat
