"""Spherical harmonics inside kernels: values and their derivatives in the direction (see `recon.splat.harmonics`)."""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

import math

from recon.splat.backend_cpu.jit import kernel

_C0 = math.sqrt(1 / (4 * math.pi))
_C1 = math.sqrt(3 / (4 * math.pi))
_C2 = math.sqrt(15 / (4 * math.pi))
_C2Z = math.sqrt(5 / (16 * math.pi))
_C3A = math.sqrt(35 / (32 * math.pi))
_C3B = math.sqrt(105 / (4 * math.pi))
_C3C = math.sqrt(21 / (32 * math.pi))
_C3Z = math.sqrt(7 / (16 * math.pi))


@kernel
def basis(count, x, y, z, values):
    """Writes the first `count` (1, 4, 9 or 16) harmonics of the unit direction (x, y, z) into `values`."""
    values[0] = _C0
    if count > 1:
        values[1] = -_C1 * y
        values[2] = _C1 * z
        values[3] = -_C1 * x
    if count > 4:
        xx, yy, zz = x * x, y * y, z * z
        values[4] = _C2 * x * y
        values[5] = -_C2 * y * z
        values[6] = _C2Z * (2 * zz - xx - yy)
        values[7] = -_C2 * x * z
        values[8] = 0.5 * _C2 * (xx - yy)
    if count > 9:
        values[9] = -_C3A * y * (3 * xx - yy)
        values[10] = _C3B * x * y * z
        values[11] = -_C3C * y * (4 * zz - xx - yy)
        values[12] = _C3Z * z * (2 * zz - 3 * xx - 3 * yy)
        values[13] = -_C3C * x * (4 * zz - xx - yy)
        values[14] = 0.5 * _C3B * z * (xx - yy)
        values[15] = -_C3A * x * (xx - 3 * yy)


@kernel
def basis_gradient(count, x, y, z, g):
    """Gradient in (x, y, z) of the sum over k of g[k] times harmonic k."""
    dx, dy, dz = 0.0, 0.0, 0.0
    if count > 1:
        dx, dy, dz = -_C1 * g[3], -_C1 * g[1], _C1 * g[2]
    if count > 4:
        dx += _C2 * (g[4] * y - g[7] * z + g[8] * x) - 2 * _C2Z * g[6] * x
        dy += _C2 * (g[4] * x - g[5] * z - g[8] * y) - 2 * _C2Z * g[6] * y
        dz += -_C2 * (g[5] * y + g[7] * x) + 4 * _C2Z * g[6] * z
    if count > 9:
        xx, yy, zz = x * x, y * y, z * z
        dx += -_C3A * (6 * g[9] * x * y + 3 * g[15] * (xx - yy)) + _C3B * z * (g[10] * y + g[14] * x)
        dx += _C3C * (2 * g[11] * x * y - g[13] * (4 * zz - 3 * xx - yy)) - 6 * _C3Z * g[12] * x * z
        dy += -_C3A * (3 * g[9] * (xx - yy) - 6 * g[15] * x * y) + _C3B * z * (g[10] * x - g[14] * y)
        dy += _C3C * (-g[11] * (4 * zz - xx - 3 * yy) + 2 * g[13] * x * y) - 6 * _C3Z * g[12] * y * z
        dz += _C3B * (g[10] * x * y + 0.5 * g[14] * (xx - yy)) - 8 * _C3C * z * (g[11] * y + g[13] * x)
        dz += 3 * _C3Z * g[12] * (2 * zz - xx - yy)
    return dx, dy, dz
