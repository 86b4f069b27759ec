"""Numba kernel of `recon.surface.stereo`: how well pictures agree about shifted points of a surface."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from recon._jit import compiled

Floats = NDArray[np.float32]

_COVERED = 0.8
"""Coverage from which a pixel shows the object alone."""
_EMPTY = 0.2
"""Coverage below which it shows the background alone; between the two, at outlines, nothing is said."""


@compiled(error_model="numpy", fastmath={"contract", "arcp", "nsz"})
def compare_colors(
    begin: int,
    end: int,
    points: Floats,
    normals: Floats,
    shifts: Floats,
    pictures: Floats,
    depths: Floats,
    sizes: NDArray[np.int64],
    poses: Floats,
    pinholes: Floats,
    limits: Floats,
    variance: Floats,
    seen: Floats,
    empty: Floats,
) -> None:
    """Compares what all views show at the points [begin, end), each at every shift along its normal.

    Args:
        begin, end: the slab.
        points, normals: (V, 3) of the surface.
        shifts: (K,) outward along the normals.
        pictures: (N, H, W, 4) premultiplied colours, and coverage.
        depths: (N, H, W) of the surface in the views, 0 = nothing.
        sizes: (N, 2) height and width of each view within the arrays.
        poses: (N, 3, 4) world to camera.
        pinholes: (N, 4) fx, fy, cx, cy.
        limits: how far behind its depth a point still counts as seen; the least cosine between a normal and the way to
            a camera; the distance of a colour from the others beyond which it counts less and less (0 = never).
        variance: (V, K), written: mean squared distance of the colours from their mean.
        seen: (V, K), written: cosines towards the cameras that see the point, summed.
        empty: (V, K), written: the same of those that see background in its place.
    """
    tolerance, least_cosine, tau = limits[0], limits[1], limits[2]
    count = len(pictures)
    place = np.empty((count, 7), np.float32)
    colors = np.empty((count, 3), np.float32)
    trust = np.empty(count, np.float32)
    views = np.empty(count, np.int64)
    mean = np.empty(3, np.float32)
    for v in range(begin, end):
        facing = 0
        for n in range(count):
            pose = poses[n]
            x = pose[0, 0] * points[v, 0] + pose[0, 1] * points[v, 1] + pose[0, 2] * points[v, 2] + pose[0, 3]
            y = pose[1, 0] * points[v, 0] + pose[1, 1] * points[v, 1] + pose[1, 2] * points[v, 2] + pose[1, 3]
            z = pose[2, 0] * points[v, 0] + pose[2, 1] * points[v, 1] + pose[2, 2] * points[v, 2] + pose[2, 3]
            nx = pose[0, 0] * normals[v, 0] + pose[0, 1] * normals[v, 1] + pose[0, 2] * normals[v, 2]
            ny = pose[1, 0] * normals[v, 0] + pose[1, 1] * normals[v, 1] + pose[1, 2] * normals[v, 2]
            nz = pose[2, 0] * normals[v, 0] + pose[2, 1] * normals[v, 1] + pose[2, 2] * normals[v, 2]
            cosine = -(nx * x + ny * y + nz * z) / math.sqrt(x * x + y * y + z * z)
            if cosine > least_cosine:
                place[facing, 0], place[facing, 1], place[facing, 2] = x, y, z
                place[facing, 3], place[facing, 4], place[facing, 5] = nx, ny, nz
                place[facing, 6] = cosine
                views[facing] = n
                facing += 1
        for k in range(len(shifts)):
            found, background = 0, np.float32(0)
            for f in range(facing):
                n, cosine = views[f], place[f, 6]
                height, width = sizes[n, 0], sizes[n, 1]
                forward = place[f, 2] + shifts[k] * place[f, 5]
                if not forward > 1e-6:
                    continue
                column = pinholes[n, 0] * (place[f, 0] + shifts[k] * place[f, 3]) / forward + pinholes[n, 2] - 0.5
                row = pinholes[n, 1] * (place[f, 1] + shifts[k] * place[f, 4]) / forward + pinholes[n, 3] - 0.5
                if not (column >= 0 and row >= 0 and column < width - 1 and row < height - 1):
                    continue
                i, j = int(column), int(row)
                near, picture = depths[n], pictures[n]
                last = max(max(near[j, i], near[j, i + 1]), max(near[j + 1, i], near[j + 1, i + 1]))
                # What lies behind the surface is looked at through it, along a way that is longer than the shift.
                if last > 0 and forward > last + tolerance + max(-shifts[k], np.float32(0)) / cosine:
                    continue
                right, down = column - i, row - j
                a, b = (1 - right) * (1 - down), right * (1 - down)
                c, d = (1 - right) * down, right * down
                covered = a * picture[j, i, 3] + b * picture[j, i + 1, 3]
                covered += c * picture[j + 1, i, 3] + d * picture[j + 1, i + 1, 3]
                if covered < _COVERED:
                    background += cosine if covered < _EMPTY else np.float32(0)
                    continue
                for channel in range(3):
                    color = a * picture[j, i, channel] + b * picture[j, i + 1, channel]
                    color += c * picture[j + 1, i, channel] + d * picture[j + 1, i + 1, channel]
                    colors[found, channel] = color / covered
                trust[found] = cosine
                found += 1
            variance[v, k], seen[v, k] = _spread(colors, trust, found, mean, tau)
            empty[v, k] = background


@compiled(error_model="numpy", fastmath={"contract", "arcp", "nsz"})
def _spread(colors: Floats, trust: Floats, count: int, mean: Floats, tau: np.float32) -> tuple[np.float32, np.float32]:
    """Variance of the first `count` colours (N, 3) by their trust (N,), and the trust's sum.

    With a positive `tau`, a squared distance e counts as e / (1 + e / tau^2) (Geman & McClure 1987).
    """
    total = np.float32(0)
    for n in range(count):
        total += trust[n]
    if not total > 0:
        return np.float32(0), np.float32(0)
    slack = np.float32(0) if tau <= 0 else 1 / (tau * tau)
    for turn in range(2 if tau > 0 else 1):
        red, green, blue, weight = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
        for n in range(count):
            w = trust[n]
            if turn > 0:
                w /= (1 + _squared(colors[n], mean) * slack) ** 2
            red += w * colors[n, 0]
            green += w * colors[n, 1]
            blue += w * colors[n, 2]
            weight += w
        mean[0], mean[1], mean[2] = red / weight, green / weight, blue / weight
    spread = np.float32(0)
    for n in range(count):
        squared = _squared(colors[n], mean)
        spread += trust[n] * squared / (1 + squared * slack)
    return spread / total, total


@compiled(inline="always")
def _squared(color: Floats, mean: Floats) -> np.float32:
    return (color[0] - mean[0]) ** 2 + (color[1] - mean[1]) ** 2 + (color[2] - mean[2]) ** 2
