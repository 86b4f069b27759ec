"""Numba kernels of `recon.field.band`: how the band's points hang together, and what keeps its values distances."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from recon._jit import compiled

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]


@compiled(error_model="numpy")
def fill_corners(rows: Ints, cells: Ints, corners: Ints) -> int:
    """Numbers the cells whose eight points are all in the band, in the order of their lowest points.

    Args:
        rows: (R, R, R) row of each point, or -1.
        cells: (R, R, R) out, number of the cell, or -1.
        corners: (C, 8) out, with room for all; corner 4 x + 2 y + z.

    Returns:
        How many there are.
    """
    size, count = rows.shape[0], 0
    for i in range(size - 1):
        for j in range(size - 1):
            for k in range(size - 1):
                if rows[i, j, k] < 0:
                    continue
                whole = True
                for corner in range(8):
                    row = rows[i + (corner >> 2), j + (corner >> 1 & 1), k + (corner & 1)]
                    corners[count, corner] = row
                    if row < 0:
                        whole = False
                        break
                if whole:
                    cells[i, j, k] = count
                    count += 1
    return count


@compiled(error_model="numpy")
def regularise(
    begin: int,
    end: int,
    around: Ints,
    distance: Floats,
    laid: Floats,
    weights: Floats,
    in_distance: Floats,
) -> float:
    """Adds the gradients of three penalties on the points [begin, end), and returns the penalties' sum.

    (|grad f| - 1)^2 holds f to a distance (Gropp et al. 2020), and (laplace f)^2 keeps its level sets smooth; both are
    central differences, in grid spacings. m^2 / (1 + m^2), m = f - f0, keeps f where the band was laid, but does not
    hold back what leaves it by much.

    Args:
        around: (N, 6) rows of the neighbours at -x, +x, -y, +y, -z, +z, or -1. Those that lack one do not count.
        distance: (N,) values.
        laid: (N,) what they were when the band was laid.
        weights: of the three, each divided by how many points there are.
        in_distance: (N,) sum, of this slab alone.
    """
    total = 0.0
    half = np.float32(0.5)
    for row in range(begin, end):
        moved = distance[row] - laid[row]
        short = np.float32(1) / (np.float32(1) + moved * moved)
        in_distance[row] += np.float32(2) * weights[2] * moved * short * short
        total += weights[2] * moved * moved * short
        a, b, c = around[row, 0], around[row, 1], around[row, 2]
        d, e, f = around[row, 3], around[row, 4], around[row, 5]
        if a < 0 or b < 0 or c < 0 or d < 0 or e < 0 or f < 0:
            continue
        x, y, z = (
            half * (distance[b] - distance[a]),
            half * (distance[d] - distance[c]),
            half * (distance[f] - distance[e]),
        )
        length = np.float32(math.sqrt(x * x + y * y + z * z)) + np.float32(1e-6)
        off = length - np.float32(1)
        scale = weights[0] * off / length  # half of 2 w off / length, for the central differences
        in_distance[a] -= scale * x
        in_distance[b] += scale * x
        in_distance[c] -= scale * y
        in_distance[d] += scale * y
        in_distance[e] -= scale * z
        in_distance[f] += scale * z
        bend = (
            distance[a] + distance[b] + distance[c] + distance[d] + distance[e] + distance[f]
            - np.float32(6) * distance[row]
        )  # fmt: skip
        pull = np.float32(2) * weights[1] * bend
        in_distance[a] += pull
        in_distance[b] += pull
        in_distance[c] += pull
        in_distance[d] += pull
        in_distance[e] += pull
        in_distance[f] += pull
        in_distance[row] -= np.float32(6) * pull
        total += weights[0] * off * off + weights[1] * bend * bend
    return total
