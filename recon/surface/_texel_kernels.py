"""Numba kernels over texels, used by uv.py and texture.py. Serial on purpose: they are short and memory-bound, and
one thread each never fights with whatever else runs. Imported only by the functions that use them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def rasterize_atlas(uv: Any, faces: Any, size: int) -> Any:
    """Which triangle owns each texel centre.

    Args:
        uv: (V, 2) float64 in texels, v down.
        faces: (F, 3) int64.
        size: side of the square texture.

    Returns:
        face (S, S) int32, -1 outside; bary (S, S, 3) float32; collisions (F,) int64, how many texel centres strictly
        inside the face were also strictly inside another.
    """
    face = np.full((size, size), -1, np.int32)
    strict = np.zeros((size, size), np.uint8)
    bary = np.zeros((size, size, 3), np.float32)
    collisions = np.zeros(len(faces), np.int64)
    for f in range(len(faces)):
        ax, ay = uv[faces[f, 0]]
        bx, by = uv[faces[f, 1]]
        cx, cy = uv[faces[f, 2]]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if abs(area) < 1e-12:
            continue
        x0 = max(int(np.floor(min(ax, bx, cx) - 0.5)), 0)
        x1 = min(int(np.ceil(max(ax, bx, cx) - 0.5)), size - 1)
        y0 = max(int(np.floor(min(ay, by, cy) - 0.5)), 0)
        y1 = min(int(np.ceil(max(ay, by, cy) - 0.5)), size - 1)
        for y in range(y0, y1 + 1):
            py = y + 0.5
            for x in range(x0, x1 + 1):
                px = x + 0.5
                u = ((bx - px) * (cy - py) - (by - py) * (cx - px)) / area
                v = ((cx - px) * (ay - py) - (cy - py) * (ax - px)) / area
                w = 1.0 - u - v
                if u < -1e-9 or v < -1e-9 or w < -1e-9:
                    continue
                inside = u > 1e-6 and v > 1e-6 and w > 1e-6
                if inside and strict[y, x]:
                    collisions[f] += 1
                    collisions[face[y, x]] += 1
                if face[y, x] < 0 or inside:
                    face[y, x] = f
                    bary[y, x, 0] = u
                    bary[y, x, 1] = v
                    bary[y, x, 2] = w
                    if inside:
                        strict[y, x] = 1
    return face, bary, collisions
