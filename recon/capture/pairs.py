"""Which pictures are compared with which when cameras are solved."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

EXHAUSTIVE = 60
"""Ordered pictures up to this many are all compared with each other."""
EXHAUSTIVE_UNORDERED = 150
"""The same of pictures in no order."""
_NEIGHBOURS = 10
_SUBSET = 40
_ALIKE = 20


def pairs_to_match(count: int, *, ordered: bool, likeness: NDArray[np.float64] | None = None) -> list[tuple[int, int]]:
    """Pairs (i, j), i < j, of `count` pictures.

    Where many follow each other: each with its neighbours and with those at doubling distances, and an even subset of
    them all with each other, which closes loops. Where many are in no order, they are taken for ordered all the same,
    as names mostly are, and each is compared with those that it looks most like, too.

    Args:
        likeness: (count, D) what each picture looks like; near each other where pictures are alike.
    """
    if count <= (EXHAUSTIVE if ordered else EXHAUSTIVE_UNORDERED):
        return list(combinations(range(count), 2))
    steps = [*range(1, _NEIGHBOURS + 1), *(2**power for power in range(4, count.bit_length()))]
    near = {(index, index + step) for step in steps for index in range(count - step)}
    subset = sorted({round(index * (count - 1) / (_SUBSET - 1)) for index in range(_SUBSET)})
    alike: set[tuple[int, int]] = set()
    if not ordered and likeness is not None:
        nearest = cKDTree(likeness).query(likeness, _ALIKE + 1)[1]
        alike = {(min(i, j), max(i, j)) for i, row in enumerate(nearest.tolist()) for j in row if i != j}
    return sorted(near | alike | set(combinations(subset, 2)))
