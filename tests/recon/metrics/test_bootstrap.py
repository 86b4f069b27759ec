"""Bootstrap intervals behave like intervals."""

from __future__ import annotations

import pytest
import torch

from recon.metrics.bootstrap import bootstrap_interval
from recon.metrics.errors import MetricError


def test_the_interval_agrees_with_the_normal_theory_of_a_large_sample():
    values = torch.randn(400, generator=torch.Generator().manual_seed(1))
    interval = bootstrap_interval(values)
    half_width = 1.96 * float(values.std()) / 20
    assert interval.mean == pytest.approx(float(values.mean()), abs=1e-6)
    assert interval.high - interval.mean == pytest.approx(half_width, rel=0.15)
    assert interval.mean - interval.low == pytest.approx(half_width, rel=0.15)


def test_equal_values_leave_no_doubt():
    interval = bootstrap_interval([2.0, 2.0, 2.0])
    assert (interval.low, interval.mean, interval.high) == (2.0, 2.0, 2.0)


def test_the_same_seed_gives_the_same_interval():
    assert bootstrap_interval([1, 2, 5, 9], seed=4) == bootstrap_interval([1, 2, 5, 9], seed=4)


@pytest.mark.parametrize("values", [[], [1.0, float("nan")]])
def test_missing_or_undefined_values_are_refused(values):
    with pytest.raises(MetricError, match="finite"):
        bootstrap_interval(values)
