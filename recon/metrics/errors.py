"""The one error of the measures."""

from __future__ import annotations


class MetricError(ValueError):
    """Something cannot be measured: shapes that differ, a mesh without area, no values to average."""
