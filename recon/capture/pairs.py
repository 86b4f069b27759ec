"""Which pictures are compared with which when cameras are solved."""

from __future__ import annotations

from itertools import combinations

EXHAUSTIVE = 60
"""Ordered pictures up to this many are all compared with each other; unordered ones always."""
_NEIGHBOURS = 10
_SUBSET = 40


def pairs_to_match(count: int, *, ordered: bool) -> list[tuple[int, int]]:
    """Pairs (i, j), i < j, of `count` pictures.

    Where many follow each other: each with its neighbours and with those at doubling distances, and an even subset of
    them all with each other, which closes loops.
    """
    if not ordered or count <= EXHAUSTIVE:
        return list(combinations(range(count), 2))
    steps = [*range(1, _NEIGHBOURS + 1), *(2**power for power in range(4, count.bit_length()))]
    near = {(index, index + step) for step in steps for index in range(count - step)}
    subset = sorted({round(index * (count - 1) / (_SUBSET - 1)) for index in range(_SUBSET)})
    return sorted(near | set(combinations(subset, 2)))
