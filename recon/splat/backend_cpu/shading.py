"""View-dependent colours of a vector of Gaussians and their derivatives; the same for ellipsoids and disks."""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

import numpy as np

from recon.splat.backend_cpu import sh as harmonics
from recon.splat.backend_cpu.columns import add_rows, gather
from recon.splat.backend_cpu.jit import kernel
from recon.splat.backend_cpu.simd import (
    LANES,
    fma,
    load,
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
    rows,  # (LANES,) the Gaussians' numbers
    sh,  # (N * K * 3,)
    count,  # K
    dx,  # from the camera's centre to the Gaussians, any length
    dy,
    dz,
    values,  # (16 * LANES,) room
):
    """Colours, before they are clamped."""
    near = splat(_ONE) / square_root(dot(dx, dy, dz, dx, dy, dz))
    harmonics.basis(count, dx * near, dy * near, dz * near, values)
    red, green, blue = splat(_HALF), splat(_HALF), splat(_HALF)
    for k in range(count):
        value = load(values, k * LANES)
        red = fma(value, gather(sh, rows, 3 * count, 3 * k), red)
        green = fma(value, gather(sh, rows, 3 * count, 3 * k + 1), green)
        blue = fma(value, gather(sh, rows, 3 * count, 3 * k + 2), blue)
    return red, green, blue


@kernel
def shade_backward(
    block,
    rows,
    valid,
    sh,
    count,
    dx,
    dy,
    dz,
    values,
    colors,  # (red, green, blue) as drawn
    gradients,  # in these three
    sh_grad,  # added to, where `valid` > 0
):
    """Adds the gradients of the harmonics; returns those in (dx, dy, dz)."""
    nothing = splat(_ZERO)
    (red, green, blue), (g_red, g_green, g_blue) = colors, gradients
    g_red = where_greater(red, nothing, g_red, nothing)
    g_green, g_blue = where_greater(green, nothing, g_green, nothing), where_greater(blue, nothing, g_blue, nothing)
    near = splat(_ONE) / square_root(dot(dx, dy, dz, dx, dy, dz))
    dx, dy, dz = dx * near, dy * near, dz * near
    harmonics.basis(count, dx, dy, dz, values)
    for k in range(count):
        value = where_greater(valid, nothing, load(values, k * LANES), nothing)
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
