"""Unit quaternions to the entries of rotations, and gradients the other way, a vector of them at a time."""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

import numpy as np

from recon.splat.backend_cpu.jit import kernel
from recon.splat.backend_cpu.simd import fma

_ONE, _TWO = np.float32(1), np.float32(2)


@kernel
def turning(qw, qx, qy, qz):
    """Nine entries, row by row, of the rotation of a unit quaternion."""
    return (
        _ONE - (qy * qy + qz * qz) * _TWO,
        (qx * qy - qw * qz) * _TWO,
        (qx * qz + qw * qy) * _TWO,
        (qx * qy + qw * qz) * _TWO,
        _ONE - (qx * qx + qz * qz) * _TWO,
        (qy * qz - qw * qx) * _TWO,
        (qx * qz - qw * qy) * _TWO,
        (qy * qz + qw * qx) * _TWO,
        _ONE - (qx * qx + qy * qy) * _TWO,
    )


@kernel
def turning_backward(qw, qx, qy, qz, d00, d01, d02, d10, d11, d12, d20, d21, d22):
    """The gradient in a quaternion that was normalised to (qw, qx, qy, qz), times its length, from that in the nine
    entries."""
    dqw = (qx * (d21 - d12) + qy * (d02 - d20) + qz * (d10 - d01)) * _TWO
    dqx = (qy * (d01 + d10) + qz * (d02 + d20) + qw * (d21 - d12) - qx * (d11 + d22) * _TWO) * _TWO
    dqy = (qx * (d01 + d10) + qz * (d12 + d21) + qw * (d02 - d20) - qy * (d00 + d22) * _TWO) * _TWO
    dqz = (qx * (d02 + d20) + qy * (d12 + d21) + qw * (d10 - d01) - qz * (d00 + d11) * _TWO) * _TWO
    radial = fma(dqw, qw, fma(dqx, qx, fma(dqy, qy, dqz * qz)))
    return dqw - qw * radial, dqx - qx * radial, dqy - qy * radial, dqz - qz * radial
