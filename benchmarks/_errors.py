"""The one error of the benchmarks."""

from __future__ import annotations


class BenchmarkError(ValueError):
    """A benchmark cannot run: something it measures on is missing, or an earlier result does not fit."""
