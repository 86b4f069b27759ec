"""`DatasetMix`: what one training run draws from: a dataset, or several, of objects that stand still and that move."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from gen.data.dataset import OrbitDataset
from gen.data.format import DatasetError


class DatasetMix:
    """Datasets and how often a batch is drawn from each. A batch is of one dataset: its scenes then show equally many
    times, and the sizes of pictures may differ between datasets.

    Attributes:
        parts: the datasets.
        sha256: of what all pictures and their shares follow from; of a dataset alone, that dataset's.

    Raises:
        DatasetError: if there is no dataset, or the shares are not one a dataset and positive.
    """

    def __init__(self, parts: Sequence[OrbitDataset], shares: Sequence[float] = ()) -> None:
        weights = np.array(tuple(shares) or (1.0,) * len(parts), np.float64)
        if not parts or len(weights) != len(parts) or not (np.isfinite(weights) & (weights > 0)).all():
            raise DatasetError(f"expected a positive share for each of {len(parts)} datasets, found {list(shares)}")
        self.parts = tuple(parts)
        self._cumulative = np.cumsum(weights / weights.sum())
        listed = "".join(f"{part.sha256} {weight!r}\n" for part, weight in zip(parts, weights.tolist()))
        self.sha256 = parts[0].sha256 if len(parts) == 1 else hashlib.sha256(listed.encode()).hexdigest()

    def __str__(self) -> str:
        return ", ".join(str(part.folder) for part in self.parts)

    def pick(self, rng: np.random.Generator) -> OrbitDataset:
        """The dataset of a batch."""
        if len(self.parts) == 1:
            return self.parts[0]
        place = int(np.searchsorted(self._cumulative, rng.random(), side="right"))
        return self.parts[min(place, len(self.parts) - 1)]
