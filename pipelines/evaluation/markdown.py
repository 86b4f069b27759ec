"""Markdown tables of numbers."""

from __future__ import annotations

from collections.abc import Sequence

from recon.metrics.bootstrap import Interval


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
