"""Numba kernels of `recon.splat.volume`: every grid point asks one view; slabs of the grid run in parallel threads."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recon._jit import compiled

Floats = NDArray[np.float32]
Vector = tuple[np.float32, np.float32, np.float32]


@compiled(inline="always")
def _row_start(pose: Floats, x: np.float32, y: np.float32) -> Vector:
    """Camera coordinates of the world's (x, y, 0), from which the row of grid points along z is reached."""
    return (
        pose[0, 0] * x + pose[0, 1] * y + pose[0, 3],
        pose[1, 0] * x + pose[1, 1] * y + pose[1, 3],
        pose[2, 0] * x + pose[2, 1] * y + pose[2, 3],
    )


@compiled(inline="always")
def _pixel(
    pose: Floats, lens: tuple[np.float32, np.float32, np.float32, np.float32], start: Vector, along: np.float32
) -> Vector:
    """Pixel (u, v) and depth of the row's point at the world's z = `along`; (-1, -1) where it is not before the camera.

    `lens` is fx, fy, cx, cy.
    """
    z = start[2] + pose[2, 2] * along
    if z <= np.float32(1e-6):
        return np.float32(-1), np.float32(-1), z
    u = lens[0] * (start[0] + pose[0, 2] * along) / z + lens[2]
    v = lens[1] * (start[1] + pose[1, 2] * along) / z + lens[3]
    return u, v, z


@compiled(error_model="numpy", fastmath={"contract", "arcp", "nsz"})
def vote_depth(
    begin: int,
    end: int,
    total: Floats,
    weight: Floats,
    asked: NDArray[np.bool_],
    depth: Floats,
    gap: Floats,
    pose: Floats,
    pinhole: Floats,
    grid: Floats,
    votes: Floats,
) -> None:
    """Adds one view's votes to the points [begin, end) of the first axis.

    Args:
        begin, end: the slab.
        total, weight: (X, Y, Z) sums over views.
        asked: (X, Y, Z), False where the point needs no vote.
        depth: (H, W), 0 = empty, negative = no vote.
        gap: (H, W) pixels to the nearest covered pixel.
        pose: (3, 4) world to camera.
        pinhole: fx, fy, cx, cy.
        grid: first coordinate on all axes, spacing.
        votes: width of the band, weight of an occluded point, trust in the view.
    """
    height, width = depth.shape
    lens = (pinhole[0], pinhole[1], pinhole[2], pinhole[3])
    low, spacing = grid[0], grid[1]
    band, occluded, trust = votes[0], votes[1], votes[2]
    for i in range(begin, end):
        x = low + spacing * np.float32(i)
        for j in range(total.shape[1]):
            y = low + spacing * np.float32(j)
            start = _row_start(pose, x, y)
            for k in range(total.shape[2]):
                if not asked[i, j, k]:
                    continue
                u, v, z = _pixel(pose, lens, start, low + spacing * np.float32(k))
                if not (0 <= u < width and 0 <= v < height):
                    continue
                column, row = int(u), int(v)
                seen = depth[row, column]
                if seen < 0:
                    continue
                share = trust
                if seen == 0:
                    distance = min(gap[row, column] * z / lens[0], band)
                elif seen - z > 2 * band:
                    distance = band
                elif seen - z < -2 * band:
                    distance, share = -band, trust * occluded
                else:
                    distance = _between(depth, u, v, seen, band) - z
                    if distance < -band:
                        distance, share = -band, trust * occluded
                    distance = min(distance, band)
                total[i, j, k] += share * distance
                weight[i, j, k] += share


@compiled(error_model="numpy")
def _between(depth: Floats, u: np.float32, v: np.float32, nearest: np.float32, band: np.float32) -> np.float32:
    """Depth between the four pixel centres around (u, v); the nearest pixel's where they belong to other surfaces."""
    height, width = depth.shape
    half = np.float32(0.5)
    left, top = int(np.floor(u - half)), int(np.floor(v - half))
    if left < 0 or top < 0 or left + 1 >= width or top + 1 >= height:
        return nearest
    a, b = depth[top, left], depth[top, left + 1]
    c, d = depth[top + 1, left], depth[top + 1, left + 1]
    if min(a, b, c, d) <= 0 or max(a, b, c, d) - min(a, b, c, d) > 2 * band:
        return nearest
    s, t = u - half - np.float32(left), v - half - np.float32(top)
    upper = a + (b - a) * s
    return upper + (c + (d - c) * s - upper) * t


@compiled(error_model="numpy", fastmath={"contract", "arcp", "nsz"})
def vote_silhouette(
    begin: int,
    end: int,
    largest: Floats,
    asked: NDArray[np.bool_],
    signed: Floats,
    pose: Floats,
    pinhole: Floats,
    grid: Floats,
) -> None:
    """Keeps the largest distances that views give to the points [begin, end) of the first axis.

    Points outside of the picture get no vote.

    Args:
        begin, end: the slab.
        largest: (X, Y, Z, D) distances in falling order.
        asked: (X, Y, Z), False where the point needs no vote.
        signed: (H, W) pixels to the outline, negative inside.
        pose, pinhole, grid: as in `vote_depth`.
    """
    height, width = signed.shape
    lens = (pinhole[0], pinhole[1], pinhole[2], pinhole[3])
    low, spacing = grid[0], grid[1]
    half, one, zero = np.float32(0.5), np.float32(1), np.float32(0)
    kept = largest.shape[3]
    for i in range(begin, end):
        x = low + spacing * np.float32(i)
        for j in range(largest.shape[1]):
            y = low + spacing * np.float32(j)
            start = _row_start(pose, x, y)
            for k in range(largest.shape[2]):
                if not asked[i, j, k]:
                    continue
                u, v, z = _pixel(pose, lens, start, low + spacing * np.float32(k))
                if not (0 <= u < width and 0 <= v < height):
                    continue
                left = min(max(int(np.floor(u - half)), 0), width - 2)
                top = min(max(int(np.floor(v - half)), 0), height - 2)
                s = min(max(u - half - np.float32(left), zero), one)
                r = min(max(v - half - np.float32(top), zero), one)
                upper = signed[top, left] * (one - s) + signed[top, left + 1] * s
                lower = signed[top + 1, left] * (one - s) + signed[top + 1, left + 1] * s
                distance = (upper * (one - r) + lower * r) * z / lens[0]
                for place in range(kept):
                    if distance > largest[i, j, k, place]:
                        distance, largest[i, j, k, place] = largest[i, j, k, place], distance
