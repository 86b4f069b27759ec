"""The order of a Z-curve, which keeps what is near in space near in memory."""

from __future__ import annotations

import numpy as np


def morton_order(points: np.ndarray) -> np.ndarray:
    """(N,) indices along the Z-order curve through points (N, 3), ten bits an axis (Morton 1966)."""
    low, extent = points.min(0), np.ptp(points, axis=0)
    cells = ((points - low) / (extent + 1e-9) * 1023).astype(np.uint32)
    code = np.zeros(len(points), np.uint32)
    for bit in range(10):
        for axis in range(3):
            code |= ((cells[:, axis] >> np.uint32(bit)) & np.uint32(1)) << np.uint32(3 * bit + axis)
    return np.argsort(code, kind="stable")
