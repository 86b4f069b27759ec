"""Numba kernels of `recon.field.march`: rays through a thin band of grid points, and the gradients back into it.

All lengths are in grid spacings. A cell is eight grid points that are all in the band; it is named by its lowest point.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from recon._jit import compiled

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]

BLOCK = 4
"""Cells a side of the blocks that rays pass in one stride where none is in the band."""
MOST_RECORDS = 320
"""Intervals of a ray that can stop light. Rays that graze a surface need a hundred and more of them."""
LEAST_LIGHT = 1e-3
"""Rays end where less than this passes."""
LEAST_ALPHA = 1e-4
"""Intervals that stop less than this are passed over."""


@compiled(inline="always")
def _read(table: Floats, corners: Ints, cell: int, x: np.float32, y: np.float32, z: np.float32) -> np.float32:
    """A value of the band at (x, y, z) in [0, 1] within a cell, trilinear."""
    low = (
        (table[corners[cell, 0]] * (np.float32(1) - z) + table[corners[cell, 1]] * z) * (np.float32(1) - y)
        + (table[corners[cell, 2]] * (np.float32(1) - z) + table[corners[cell, 3]] * z) * y
    )  # fmt: skip
    high = (
        (table[corners[cell, 4]] * (np.float32(1) - z) + table[corners[cell, 5]] * z) * (np.float32(1) - y)
        + (table[corners[cell, 6]] * (np.float32(1) - z) + table[corners[cell, 7]] * z) * y
    )  # fmt: skip
    return low * (np.float32(1) - x) + high * x


@compiled(inline="always")
def _share(corner: int, x: np.float32, y: np.float32, z: np.float32) -> np.float32:
    """Weight of one of a cell's corners at (x, y, z) within the cell."""
    a = x if corner & 4 else np.float32(1) - x
    b = y if corner & 2 else np.float32(1) - y
    c = z if corner & 1 else np.float32(1) - z
    return a * b * c


@compiled(inline="always")
def _sigmoid(value: np.float32) -> np.float32:
    return np.float32(1) / (np.float32(1) + np.float32(math.exp(-value)))


@compiled(error_model="numpy")
def march(
    begin: int,
    end: int,
    origins: Floats,
    directions: Floats,
    reach: Floats,
    basis: Floats,
    cells: Ints,
    corners: Ints,
    blocks: NDArray[np.bool_],
    distance: Floats,
    color: Floats,
    settings: Floats,
    counts: Ints,
    where: Floats,
    touched: Ints,
    alphas: Floats,
    colors: Floats,
    drawn: Floats,
) -> None:
    """Draws the rays [begin, end), and records which intervals stopped light.

    The light that an interval between two samples stops is 1 - s(b f1) / s(b f0), s the sigmoid, b the sharpness, f0
    and f1 the distances at its ends, and 0 where the distance grows (NeuS: Wang et al. 2021, eq. 13).

    Args:
        begin, end: the slab.
        origins, directions: (B, 3) in the grid's coordinates, directions of length 1.
        reach: (B, 2) where on the ray the first sample lies, and where the grid ends.
        basis: (B, K) harmonics of the rays.
        cells: (R, R, R) number of the cell, or -1.
        corners: (C, 8) rows of each cell's points.
        blocks: (S, S, S) whether a block has a cell.
        distance: (N,) signed, negative inside.
        color: (N, 3 K) harmonics.
        settings: step, sharpness.
        counts: (B,) out, records of each ray.
        where: (B, M, 3) out, the interval's ends on the ray, and where its colour was read.
        touched: (B, M, 3) out, the cells of its ends and of its colour.
        alphas: (B, M) out.
        colors: (B, M, 3) out.
        drawn: (B, 5) out, premultiplied colour, alpha, sum of weights times distance along the ray.
    """
    step, sharpness = settings[0], settings[1]
    size, harmonics = cells.shape[0], basis.shape[1]
    half = np.float32(0.5)
    for ray in range(begin, end):
        ox, oy, oz = origins[ray, 0], origins[ray, 1], origins[ray, 2]
        dx, dy, dz = directions[ray, 0], directions[ray, 1], directions[ray, 2]
        t, last = reach[ray, 0], reach[ray, 1]
        light = np.float32(1)
        count = 0
        before, before_t, before_cell = np.float32(0), t, -1
        red = green = blue = far = np.float32(0)
        while t < last and light > LEAST_LIGHT and count < MOST_RECORDS:
            x, y, z = ox + t * dx, oy + t * dy, oz + t * dz
            i, j, k = int(x), int(y), int(z)
            if x < 0 or y < 0 or z < 0 or i >= size or j >= size or k >= size:
                t += step
                before_cell = -1
                continue
            if not blocks[i // BLOCK, j // BLOCK, k // BLOCK]:
                out = np.float32(1e9)
                if dx != 0:
                    out = min(out, ((i // BLOCK + (1 if dx > 0 else 0)) * BLOCK - x) / dx)
                if dy != 0:
                    out = min(out, ((j // BLOCK + (1 if dy > 0 else 0)) * BLOCK - y) / dy)
                if dz != 0:
                    out = min(out, ((k // BLOCK + (1 if dz > 0 else 0)) * BLOCK - z) / dz)
                t += step * np.float32(int(max(out, np.float32(0)) / step) + 1)
                before_cell = -1
                continue
            cell = cells[i, j, k]
            if cell < 0:
                t += step
                before_cell = -1
                continue
            here = _read(distance, corners, cell, x - i, y - j, z - k)
            if before_cell >= 0 and here < before:
                alpha = np.float32(1) - _sigmoid(sharpness * here) / _sigmoid(sharpness * before)
                if alpha > LEAST_ALPHA:
                    at = half * (before_t + t)
                    x, y, z = ox + at * dx, oy + at * dy, oz + at * dz
                    i, j, k = int(x), int(y), int(z)
                    painted = cells[i, j, k]
                    if painted < 0:
                        at = t
                        x, y, z = ox + at * dx, oy + at * dy, oz + at * dz
                        i, j, k = int(x), int(y), int(z)
                        painted = cell
                    r = g = b = half
                    for corner in range(8):
                        share, row = _share(corner, x - i, y - j, z - k), corners[painted, corner]
                        for h in range(harmonics):
                            weight = share * basis[ray, h]
                            r += weight * color[row, 3 * h]
                            g += weight * color[row, 3 * h + 1]
                            b += weight * color[row, 3 * h + 2]
                    weight = light * alpha
                    red += weight * r
                    green += weight * g
                    blue += weight * b
                    far += weight * (half * (before_t + t))
                    light *= np.float32(1) - alpha
                    where[ray, count, 0], where[ray, count, 1], where[ray, count, 2] = before_t, t, at
                    touched[ray, count, 0], touched[ray, count, 1], touched[ray, count, 2] = before_cell, cell, painted
                    alphas[ray, count] = alpha
                    colors[ray, count, 0], colors[ray, count, 1], colors[ray, count, 2] = r, g, b
                    count += 1
            before, before_t, before_cell = here, t, cell
            t += step
        counts[ray] = count
        drawn[ray, 0], drawn[ray, 1], drawn[ray, 2] = red, green, blue
        drawn[ray, 3], drawn[ray, 4] = np.float32(1) - light, far


@compiled(error_model="numpy")
def march_back(
    begin: int,
    end: int,
    origins: Floats,
    directions: Floats,
    basis: Floats,
    corners: Ints,
    distance: Floats,
    settings: Floats,
    counts: Ints,
    where: Floats,
    touched: Ints,
    alphas: Floats,
    colors: Floats,
    upstream: Floats,
    in_distance: Floats,
    in_color: Floats,
) -> None:
    """Adds the gradients of what `march` drew to those of the band.

    Args:
        upstream: (B, 5) gradients of `drawn`.
        in_distance: (N,) sum, of this slab alone.
        in_color: (N, 3 K) the same.
    """
    sharpness = settings[1]
    harmonics = basis.shape[1]
    half, one = np.float32(0.5), np.float32(1)
    lights = np.empty(MOST_RECORDS, np.float32)
    for ray in range(begin, end):
        count = counts[ray]
        if count == 0:
            continue
        light = one
        for index in range(count):
            lights[index] = light
            light *= one - alphas[ray, index]
        ox, oy, oz = origins[ray, 0], origins[ray, 1], origins[ray, 2]
        dx, dy, dz = directions[ray, 0], directions[ray, 1], directions[ray, 2]
        up_r, up_g, up_b = upstream[ray, 0], upstream[ray, 1], upstream[ray, 2]
        up_alpha, up_far = upstream[ray, 3], upstream[ray, 4]
        behind = np.float32(0)
        for index in range(count - 1, -1, -1):
            near, over, at = where[ray, index, 0], where[ray, index, 1], where[ray, index, 2]
            alpha = alphas[ray, index]
            weight = lights[index] * alpha
            value = (
                up_r * colors[ray, index, 0]
                + up_g * colors[ray, index, 1]
                + up_b * colors[ray, index, 2]
                + up_far * (half * (near + over))
                + up_alpha
            )
            in_alpha = lights[index] * value - behind / max(one - alpha, np.float32(1e-6))
            behind += weight * value

            painted = touched[ray, index, 2]
            x, y, z = ox + at * dx, oy + at * dy, oz + at * dz
            x, y, z = x - int(x), y - int(y), z - int(z)
            for corner in range(8):
                share, row = weight * _share(corner, x, y, z), corners[painted, corner]
                for h in range(harmonics):
                    part = share * basis[ray, h]
                    in_color[row, 3 * h] += part * up_r
                    in_color[row, 3 * h + 1] += part * up_g
                    in_color[row, 3 * h + 2] += part * up_b

            first, second = touched[ray, index, 0], touched[ray, index, 1]
            x0, y0, z0 = ox + near * dx, oy + near * dy, oz + near * dz
            x0, y0, z0 = x0 - int(x0), y0 - int(y0), z0 - int(z0)
            x1, y1, z1 = ox + over * dx, oy + over * dy, oz + over * dz
            x1, y1, z1 = x1 - int(x1), y1 - int(y1), z1 - int(z1)
            from_first = _sigmoid(sharpness * _read(distance, corners, first, x0, y0, z0))
            from_second = _sigmoid(sharpness * _read(distance, corners, second, x1, y1, z1))
            slope = in_alpha * sharpness * from_second / from_first
            in_first, in_second = slope * (one - from_first), -slope * (one - from_second)
            for corner in range(8):
                in_distance[corners[first, corner]] += in_first * _share(corner, x0, y0, z0)
                in_distance[corners[second, corner]] += in_second * _share(corner, x1, y1, z1)


@compiled(error_model="numpy")
def geometry(
    begin: int,
    end: int,
    origins: Floats,
    directions: Floats,
    corners: Ints,
    distance: Floats,
    settings: Floats,
    counts: Ints,
    where: Floats,
    touched: Ints,
    alphas: Floats,
    found: Floats,
) -> None:
    """The surface that the recorded rays [begin, end) show.

    Args:
        found: (B, 4) out, the distance along the ray at which half of the light is stopped, 0 where less is; and the
            sum of weights times the distances' gradients.
    """
    sharpness = settings[1]
    for ray in range(begin, end):
        ox, oy, oz = origins[ray, 0], origins[ray, 1], origins[ray, 2]
        dx, dy, dz = directions[ray, 0], directions[ray, 1], directions[ray, 2]
        light = np.float32(1)
        for index in range(counts[ray]):
            near, over, at = where[ray, index, 0], where[ray, index, 1], where[ray, index, 2]
            alpha = alphas[ray, index]
            weight = light * alpha
            passed = light - weight
            if passed <= 0.5 < light:
                first, second = touched[ray, index, 0], touched[ray, index, 1]
                x, y, z = ox + near * dx, oy + near * dy, oz + near * dz
                f0 = _read(distance, corners, first, x - int(x), y - int(y), z - int(z))
                x, y, z = ox + over * dx, oy + over * dy, oz + over * dz
                f1 = _read(distance, corners, second, x - int(x), y - int(y), z - int(z))
                # Where within the interval the sigmoid has fallen so far that half of all light is stopped.
                wanted = np.float32(0.5) / light * _sigmoid(sharpness * f0)
                level = np.float32(math.log(wanted / (np.float32(1) - wanted))) / sharpness
                share = min(max((f0 - level) / max(f0 - f1, np.float32(1e-9)), np.float32(0)), np.float32(1))
                found[ray, 0] = near + share * (over - near)
            cell = touched[ray, index, 2]
            x, y, z = ox + at * dx, oy + at * dy, oz + at * dz
            x, y, z = x - int(x), y - int(y), z - int(z)
            for corner in range(8):
                value = weight * distance[corners[cell, corner]]
                a = x if corner & 4 else np.float32(1) - x
                b = y if corner & 2 else np.float32(1) - y
                c = z if corner & 1 else np.float32(1) - z
                found[ray, 1] += value * (b * c if corner & 4 else -b * c)
                found[ray, 2] += value * (a * c if corner & 2 else -a * c)
                found[ray, 3] += value * (a * b if corner & 1 else -a * b)
            light = passed
