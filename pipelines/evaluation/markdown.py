"""Markdown tables of numbers."""

from __future__ import annotations

from collections.abc import Sequence

from recon.metrics.bootstrap import Interval


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first column is text, the others are numbers."""
    rule = ["---", *["--:"] * (len(header) - 1)]
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in (header, rule, *rows)]
    return "\n".join("| " + " | ".join(row) + " |" for row in escaped)


def show(interval: Interval | None, digits: int, scale: float = 1.0) -> str:
    """`mean [low, high]`; the mean alone where nothing varies, as with one object; or a dash."""
    if interval is None:
        return "–"
    mean, low, high = (f"{scale * value:.{digits}f}" for value in (interval.mean, interval.low, interval.high))
    return mean if low == high else f"{mean} [{low}, {high}]"
