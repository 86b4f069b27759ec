"""View-dependent colours of a vector of Gaussians and their derivatives; the same for ellipsoids and disks."""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

import numpy as np

from recon.splat.backend_cpu import sh as harmonics
from recon.splat.backend_cpu.jit import kernel
from recon.splat.backend_cpu.layout import BLUE, GREEN, PAIR, PAIR_BLUE, PAIR_GREEN, PAIR_RED, RED
from recon.splat.backend_cpu.simd import (
    LANES,
    add_rows,
    fma,
    gather,
    load,
    maximum,
    set_rows,
    splat,
    square_root,
    store,
    where_greater,
)

_ZERO, _HALF, _ONE = np.float32(0), np.float32(0.5), np.float32(1)


@kernel
def dot(a0, a1, a2, b0, b1, b2):
    return fma(a0, b0, fma(a1, b1, a2 * b2))


@kernel
def shade(
    block,
    rows,  # (LANES,) the Gaussians' numbers
    sh,  # (N * K * 3,)
    count,  # K
    dx,  # from the camera's centre to the Gaussians, any length
    dy,
    dz,
    values,  # (16 * LANES,) room
    records,  # out
    stride,  # floats of a record
):
    """Writes the colours of Gaussians block..block + LANES into their records; returns the sums of red, green and blue
    before they are clamped, which are not finite where a colour is not."""
    near = splat(_ONE) / square_root(dot(dx, dy, dz, dx, dy, dz))
    harmonics.basis(count, dx * near, dy * near, dz * near, values)
    red, green, blue = splat(_HALF), splat(_HALF), splat(_HALF)
    for k in range(count):
        value = load(values, k * LANES)
        red = fma(value, gather(sh, rows, 3 * count, 3 * k), red)
        green = fma(value, gather(sh, rows, 3 * count, 3 * k + 1), green)
        blue = fma(value, gather(sh, rows, 3 * count, 3 * k + 2), blue)
    nothing = splat(_ZERO)
    set_rows(records, block, stride, RED, maximum(red, nothing))
    set_rows(records, block, stride, GREEN, maximum(green, nothing))
    set_rows(records, block, stride, BLUE, maximum(blue, nothing))
    return red + green + blue


@kernel
def shade_backward(
    block,
    rows,
    lanes,  # (LANES,) 0, 1, 2, ...
    sh,
    count,
    dx,
    dy,
    dz,
    values,
    records,
    stride,
    g,  # (LANES * PAIR,) gradients of the records' values
    sh_grad,  # added to
):
    """Adds the gradients of the harmonics; returns those in (dx, dy, dz)."""
    nothing = splat(_ZERO)
    near = splat(_ONE) / square_root(dot(dx, dy, dz, dx, dy, dz))
    dx, dy, dz = dx * near, dy * near, dz * near
    g_red = where_greater(gather(records, rows, stride, RED), nothing, gather(g, lanes, PAIR, PAIR_RED), nothing)
    g_green = where_greater(gather(records, rows, stride, GREEN), nothing, gather(g, lanes, PAIR, PAIR_GREEN), nothing)
    g_blue = where_greater(gather(records, rows, stride, BLUE), nothing, gather(g, lanes, PAIR, PAIR_BLUE), nothing)
    harmonics.basis(count, dx, dy, dz, values)
    for k in range(count):
        value = load(values, k * LANES)
        add_rows(sh_grad, block, 3 * count, 3 * k, value * g_red)
        add_rows(sh_grad, block, 3 * count, 3 * k + 1, value * g_green)
        add_rows(sh_grad, block, 3 * count, 3 * k + 2, value * g_blue)
    e0, e1, e2 = nothing, nothing, nothing
    if count > 1:
        for k in range(count):
            value = g_red * gather(sh, rows, 3 * count, 3 * k)
            value = fma(g_green, gather(sh, rows, 3 * count, 3 * k + 1), value)
            store(values, k * LANES, fma(g_blue, gather(sh, rows, 3 * count, 3 * k + 2), value))
        e0, e1, e2 = harmonics.basis_gradient(count, dx, dy, dz, values)
        radial = dot(e0, e1, e2, dx, dy, dz)
        e0, e1, e2 = (e0 - radial * dx) * near, (e1 - radial * dy) * near, (e2 - radial * dz) * near
    return e0, e1, e2
