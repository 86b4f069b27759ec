"""Bootstrap intervals over objects: how far a mean could have moved with another draw of test objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from recon.metrics.errors import MetricError


@dataclass(frozen=True)
class Interval:
    """A mean with the bounds of its confidence interval."""

    mean: float
    low: float
    high: float


def bootstrap_interval(
    values: Tensor | Sequence[float], *, resamples: int = 2000, confidence: float = 0.95, seed: int = 0
) -> Interval:
    """Percentile bootstrap (Efron 1979) of the mean of one value an object.

    Pass the differences of two methods on the same objects for a paired comparison: the interval then says whether
    one beats the other, which overlapping intervals of each do not.

    Raises:
        MetricError: if there is no value or one is not finite.
    """
    values = torch.as_tensor(values, dtype=torch.float64).reshape(-1)
    if len(values) == 0 or not torch.isfinite(values).all():
        raise MetricError(f"a bootstrap needs at least one value and only finite ones, got {values.tolist()}")
    generator = torch.Generator().manual_seed(seed)
    draws = torch.randint(len(values), (resamples, len(values)), generator=generator)
    means = values[draws].mean(1)
    tail = (1 - confidence) / 2
    low, high = torch.quantile(means, torch.tensor([tail, 1 - tail], dtype=torch.float64)).tolist()
    return Interval(float(values.mean()), low, high)
