"""Numba kernels of the mesh renderer that run once a mesh: corner normals and texture pyramids."""

from __future__ import annotations

from typing import Any

import numpy as np

from recon._jit import compiled

MAX_LEVELS = 16
"""Most levels of a pyramid."""
FAST = {"contract", "arcp", "nsz", "reassoc"}
"""Float liberties that keep NaN and infinity what they are."""


@compiled(fastmath=FAST)
def corner_normals(vertices: Any, faces: Any, cos_crease: Any) -> Any:
    """(F, 3, 3) float32 unit normals of every corner: the area-weighted mean of the faces around the corner's position
    (vertices at equal places count as one) that bend away from its own face by less than the crease angle."""
    count, corners = len(vertices), 3 * len(faces)
    size = 16
    while size < 2 * count:
        size *= 2
    slots = np.full(size, -1, np.int32)
    welded = np.empty(count, np.int32)
    for i in range(count):
        x, y, z = vertices[i, 0], vertices[i, 1], vertices[i, 2]
        kx, ky, kz = np.int64(np.rint(x * 65536)), np.int64(np.rint(y * 65536)), np.int64(np.rint(z * 65536))
        slot = (kx * 73856093 ^ ky * 19349663 ^ kz * 83492791) & (size - 1)
        while True:
            other = slots[slot]
            if other < 0:
                slots[slot] = i
                welded[i] = i
                break
            if vertices[other, 0] == x and vertices[other, 1] == y and vertices[other, 2] == z:
                welded[i] = other
                break
            slot = (slot + 1) & (size - 1)

    area = np.empty((len(faces), 3), np.float32)
    unit = np.empty((len(faces), 3), np.float32)
    start = np.zeros(count + 1, np.int32)
    for t in range(len(faces)):
        a, b, c = faces[t, 0], faces[t, 1], faces[t, 2]
        ux, uy, uz = vertices[b, 0] - vertices[a, 0], vertices[b, 1] - vertices[a, 1], vertices[b, 2] - vertices[a, 2]
        vx, vy, vz = vertices[c, 0] - vertices[a, 0], vertices[c, 1] - vertices[a, 1], vertices[c, 2] - vertices[a, 2]
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        length = np.sqrt(nx * nx + ny * ny + nz * nz)
        inverse = 1 / length if length > 1e-20 else 0.0
        area[t, 0], area[t, 1], area[t, 2] = nx, ny, nz
        unit[t, 0], unit[t, 1], unit[t, 2] = nx * inverse, ny * inverse, nz * inverse
        for k in range(3):
            start[welded[faces[t, k]] + 1] += 1
    for i in range(count):
        start[i + 1] += start[i]
    fill = start[:-1].copy()
    around = np.empty(corners, np.int32)
    for t in range(len(faces)):
        for k in range(3):
            w = welded[faces[t, k]]
            around[fill[w]] = t
            fill[w] += 1

    out = np.empty((len(faces), 3, 3), np.float32)
    for t in range(len(faces)):
        ux, uy, uz = unit[t, 0], unit[t, 1], unit[t, 2]
        for k in range(3):
            w = welded[faces[t, k]]
            sx = sy = sz = 0.0
            for j in range(start[w], start[w + 1]):
                o = around[j]
                if unit[o, 0] * ux + unit[o, 1] * uy + unit[o, 2] * uz > cos_crease:
                    sx += area[o, 0]
                    sy += area[o, 1]
                    sz += area[o, 2]
            length = np.sqrt(sx * sx + sy * sy + sz * sz)
            if length > 1e-20:
                out[t, k, 0], out[t, k, 1], out[t, k, 2] = sx / length, sy / length, sz / length
            else:
                out[t, k, 0], out[t, k, 1], out[t, k, 2] = ux, uy, uz
    return out


@compiled()
def build_pyramid(image: Any) -> Any:
    """Box-filtered levels of an (H, W, 4) uint8 image, colours weighted by alpha.

    Returns all texels (N, 4) uint8, level after level, and (levels, 3) int64 rows of offset, height, width.
    """
    height, width = image.shape[0], image.shape[1]
    table = np.zeros((MAX_LEVELS, 3), np.int64)
    total, levels, h, w = 0, 0, height, width
    while levels < MAX_LEVELS:
        table[levels, 0], table[levels, 1], table[levels, 2] = total, h, w
        total += h * w
        levels += 1
        if h == 1 and w == 1:
            break
        h, w = max(1, h // 2), max(1, w // 2)
    texels = np.empty((total, 4), np.uint8)
    for y in range(height):
        for x in range(width):
            for c in range(4):
                texels[y * width + x, c] = image[y, x, c]
    opaque = texels[: height * width, 3].min() == 255
    for level in range(1, levels):
        source, sh, sw = table[level - 1]
        target, h, w = table[level]
        for y in range(h):
            y0, y1 = min(2 * y, sh - 1), min(2 * y + 1, sh - 1)
            for x in range(w):
                x0, x1 = min(2 * x, sw - 1), min(2 * x + 1, sw - 1)
                i, j = source + y0 * sw + x0, source + y0 * sw + x1
                k, m = source + y1 * sw + x0, source + y1 * sw + x1
                out = target + y * w + x
                if opaque:
                    for c in range(4):
                        mixed = np.int32(texels[i, c]) + np.int32(texels[j, c]) + np.int32(texels[k, c])
                        texels[out, c] = (mixed + np.int32(texels[m, c]) + 2) >> 2
                    continue
                wi, wj = np.int64(texels[i, 3]), np.int64(texels[j, 3])
                wk, wm = np.int64(texels[k, 3]), np.int64(texels[m, 3])
                alpha = wi + wj + wk + wm
                texels[out, 3] = (alpha + 2) >> 2
                if alpha == 0:  # invisible, but a bilinear neighbour may still look here
                    wi = wj = wk = wm = np.int64(1)
                    alpha = np.int64(4)
                for c in range(3):
                    mixed = texels[i, c] * wi + texels[j, c] * wj + texels[k, c] * wk + texels[m, c] * wm
                    texels[out, c] = (mixed + (alpha >> 1)) // alpha
    return texels, table[:levels].copy()
