"""Spherical harmonics inside kernels: values and their derivatives in the direction (see `recon.splat.harmonics`)."""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

import math

import numpy as np

from recon.splat.backend_cpu.jit import kernel
from recon.splat.backend_cpu.simd import LANES, load, splat, store

_C0 = np.float32(math.sqrt(1 / (4 * math.pi)))
_C1 = np.float32(math.sqrt(3 / (4 * math.pi)))
_C2 = np.float32(math.sqrt(15 / (4 * math.pi)))
_C2Z = np.float32(math.sqrt(5 / (16 * math.pi)))
_C3A = np.float32(math.sqrt(35 / (32 * math.pi)))
_C3B = np.float32(math.sqrt(105 / (4 * math.pi)))
_C3C = np.float32(math.sqrt(21 / (32 * math.pi)))
_C3Z = np.float32(math.sqrt(7 / (16 * math.pi)))
_HALF, _TWO, _THREE, _FOUR = np.float32(0.5), np.float32(2), np.float32(3), np.float32(4)


@kernel
def basis(count, x, y, z, values):
    """Writes the first `count` (1, 4, 9 or 16) harmonics of unit directions (vectors x, y, z) into `values`, a vector
    each."""
    store(values, 0, splat(_C0))
    if count > 1:
        store(values, 1 * LANES, y * -_C1)
        store(values, 2 * LANES, z * _C1)
        store(values, 3 * LANES, x * -_C1)
    if count > 4:
        xx, yy, zz = x * x, y * y, z * z
        store(values, 4 * LANES, x * y * _C2)
        store(values, 5 * LANES, y * z * -_C2)
        store(values, 6 * LANES, (zz * _TWO - xx - yy) * _C2Z)
        store(values, 7 * LANES, x * z * -_C2)
        store(values, 8 * LANES, (xx - yy) * (_HALF * _C2))
        if count > 9:
            store(values, 9 * LANES, y * (xx * _THREE - yy) * -_C3A)
            store(values, 10 * LANES, x * y * z * _C3B)
            store(values, 11 * LANES, y * (zz * _FOUR - xx - yy) * -_C3C)
            store(values, 12 * LANES, z * (zz * _TWO - (xx + yy) * _THREE) * _C3Z)
            store(values, 13 * LANES, x * (zz * _FOUR - xx - yy) * -_C3C)
            store(values, 14 * LANES, z * (xx - yy) * (_HALF * _C3B))
            store(values, 15 * LANES, x * (xx - yy * _THREE) * -_C3A)


@kernel
def basis_gradient(count, x, y, z, g):
    """Gradient in (x, y, z) of the sum over k of g[k], a vector each, times harmonic k."""
    dx, dy, dz = splat(np.float32(0)), splat(np.float32(0)), splat(np.float32(0))
    if count > 1:
        dx, dy, dz = load(g, 3 * LANES) * -_C1, load(g, LANES) * -_C1, load(g, 2 * LANES) * _C1
    if count > 4:
        g4, g5, g6 = load(g, 4 * LANES), load(g, 5 * LANES), load(g, 6 * LANES)
        g7, g8 = load(g, 7 * LANES), load(g, 8 * LANES)
        dx = dx + (g4 * y - g7 * z + g8 * x) * _C2 - g6 * x * (_TWO * _C2Z)
        dy = dy + (g4 * x - g5 * z - g8 * y) * _C2 - g6 * y * (_TWO * _C2Z)
        dz = dz - (g5 * y + g7 * x) * _C2 + g6 * z * (_FOUR * _C2Z)
    if count > 9:
        xx, yy, zz = x * x, y * y, z * z
        g9, g10, g11, g12 = load(g, 9 * LANES), load(g, 10 * LANES), load(g, 11 * LANES), load(g, 12 * LANES)
        g13, g14, g15 = load(g, 13 * LANES), load(g, 14 * LANES), load(g, 15 * LANES)
        dx = dx - (g9 * x * y * _TWO + g15 * (xx - yy)) * (_THREE * _C3A) + z * (g10 * y + g14 * x) * _C3B
        dx = dx + (g11 * x * y * _TWO - g13 * (zz * _FOUR - xx * _THREE - yy)) * _C3C
        dx = dx - g12 * x * z * (_TWO * _THREE * _C3Z)
        dy = dy - (g9 * (xx - yy) - g15 * x * y * _TWO) * (_THREE * _C3A) + z * (g10 * x - g14 * y) * _C3B
        dy = dy + (g13 * x * y * _TWO - g11 * (zz * _FOUR - xx - yy * _THREE)) * _C3C
        dy = dy - g12 * y * z * (_TWO * _THREE * _C3Z)
        dz = dz + (g10 * x * y + g14 * (xx - yy) * _HALF) * _C3B - z * (g11 * y + g13 * x) * (_TWO * _FOUR * _C3C)
        dz = dz + g12 * (zz * _TWO - xx - yy) * (_THREE * _C3Z)
    return dx, dy, dz
