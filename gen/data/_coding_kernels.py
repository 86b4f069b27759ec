"""Numba kernel that writes drawn pictures as the integers of `gen.data.format`."""

from __future__ import annotations

from typing import Any

import numpy as np

from recon._jit import compiled


@compiled()
def encode_view(
    rgba: Any,
    depth: Any,
    normal: Any,
    eye_distance: Any,
    depth_range: Any,
    out_rgba: Any,
    out_depth: Any,
    out_normal: Any,
) -> None:
    """(S, S, 4), (S, S), (S, S, 3) float32 to uint8, uint16 and int8 of the same shapes."""
    half, one, steps = np.float32(0.5), np.float32(1), np.float32(65534)
    for y in range(depth.shape[0]):
        for x in range(depth.shape[1]):
            for c in range(4):
                out_rgba[y, x, c] = np.uint8(rgba[y, x, c] * np.float32(255) + half)
            z = depth[y, x]
            if z > 0:
                relative = (z - eye_distance) / depth_range + half
                out_depth[y, x] = np.uint16(one + np.floor(steps * min(max(relative, np.float32(0)), one) + half))
            else:
                out_depth[y, x] = 0
            for c in range(3):
                out_normal[y, x, c] = np.int8(np.floor(normal[y, x, c] * np.float32(127) + half))
