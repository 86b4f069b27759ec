"""Gaussians to screen records: the linearised (EWA) projection, view-dependent colour and normals, a vector of
Gaussians at a time. `projection_backward` is the derivative of this file.

Sums that could cancel are avoided rather than computed in doubles: the determinant of the screen covariance by
Lagrange's identity, the exponent as a sum of two squares (see `layout`).
"""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

import math

import numpy as np

from recon.splat.backend_cpu.columns import gather, number_rows, read_3, read_4, set_columns_16
from recon.splat.backend_cpu.jit import kernel
from recon.splat.backend_cpu.layout import RECORD
from recon.splat.backend_cpu.rotating import turning
from recon.splat.backend_cpu.shading import dot, shade
from recon.splat.backend_cpu.simd import (
    LANES,
    exp2,
    fma,
    log2,
    maximum,
    minimum,
    splat,
    square_root,
    store,
    where_greater,
    where_less,
)
from recon.splat.backend_torch import FRUSTUM_MARGIN, MIN_ALPHA, NEAR, SCREEN_BLUR

_ZERO, _HALF, _ONE, _TWO = np.float32(0), np.float32(0.5), np.float32(1), np.float32(2)
_LOG2E = np.float32(1 / math.log(2))
_LN2 = np.float32(math.log(2))
_BLUR, _MARGIN = np.float32(SCREEN_BLUR), np.float32(FRUSTUM_MARGIN)
_NEAR, _MIN_ALPHA = np.float32(NEAR), np.float32(MIN_ALPHA)
LOG_MIN_ALPHA = np.float32(math.log2(MIN_ALPHA))
WIDEST, LARGEST = np.float32(1e30), np.float32(1e20)
"""Bounds of determinants and of colours; what exceeds them is not drawn, nor what is not a number."""
REACH_SLACK = np.float32(0.02)
"""Widens the outlines that pixels are looked for in, so that rounding never hides one from the exact test."""


@kernel
def times(row0, row1, row2, x, y, z):
    """A row of three float32 times a column of three vectors."""
    return x * row0 + y * row1 + z * row2


@kernel
def project(
    start,
    stop,
    means,  # (N * 3,)
    quats,  # (N * 4,)
    log_scales,  # (N * 3,)
    logit_opacities,  # (N,)
    sh,  # (N * K * 3,)
    count,  # K
    camera,  # (CAMERA,)
    width,
    height,
    antialias,
    records,  # out (padded N * RECORD,)
    half_widths,  # out (padded N,): half the width in pixels of the box around what is drawn; 0 = cannot be seen
):
    """Writes the records of Gaussians start..stop; `start` is a multiple of LANES, and whole vectors are written."""
    r00, r01, r02, t0 = camera[0], camera[1], camera[2], camera[3]
    r10, r11, r12, t1 = camera[4], camera[5], camera[6], camera[7]
    r20, r21, r22, t2 = camera[8], camera[9], camera[10], camera[11]
    fx, fy, cx, cy = camera[12], camera[13], camera[14], camera[15]
    wide, high = np.float32(width), np.float32(height)
    left, right = splat(-cx - _MARGIN * wide), splat((_ONE + _MARGIN) * wide - cx)
    top, bottom = splat(-cy - _MARGIN * high), splat((_ONE + _MARGIN) * high - cy)
    nothing, one, blur = splat(_ZERO), splat(_ONE), splat(_BLUR)
    values, room = np.empty(16 * LANES, np.float32), np.empty(4 * LANES, np.float32)
    rows = np.empty(LANES, np.int64)
    last = log_scales.shape[0] // 3 - 1
    for block in range(start, stop, LANES):
        number_rows(block, last, rows)
        mx, my, mz = read_3(means, block, room)
        x = times(r00, r01, r02, mx, my, mz) + t0
        y = times(r10, r11, r12, mx, my, mz) + t1
        z = times(r20, r21, r22, mx, my, mz) + t2
        opacity = one / (one + exp2(gather(logit_opacities, rows, 1, 0) * -_LOG2E))

        qw, qx, qy, qz = read_4(quats, block, room)
        shrink = one / square_root(fma(qw, qw, fma(qx, qx, fma(qy, qy, qz * qz))))
        a00, a01, a02, a10, a11, a12, a20, a21, a22 = turning(qw * shrink, qx * shrink, qy * shrink, qz * shrink)
        l0, l1, l2 = read_3(log_scales, block, room)
        s0, s1, s2 = exp2(l0 * _LOG2E), exp2(l1 * _LOG2E), exp2(l2 * _LOG2E)

        # Rows of Jacobian @ camera rotation, then of Jacobian @ camera rotation @ axes @ scales.
        inverse = one / z
        px, py = x * inverse * fx, y * inverse * fy
        j0, j1 = inverse * fx, inverse * fy
        j02 = nothing - minimum(maximum(px, left), right) * inverse
        j12 = nothing - minimum(maximum(py, top), bottom) * inverse
        p0, p1, p2 = j0 * r00 + j02 * r20, j0 * r01 + j02 * r21, j0 * r02 + j02 * r22
        q0, q1, q2 = j1 * r10 + j12 * r20, j1 * r11 + j12 * r21, j1 * r12 + j12 * r22
        u0, u1 = dot(p0, p1, p2, a00, a10, a20) * s0, dot(p0, p1, p2, a01, a11, a21) * s1
        u2 = dot(p0, p1, p2, a02, a12, a22) * s2
        v0, v1 = dot(q0, q1, q2, a00, a10, a20) * s0, dot(q0, q1, q2, a01, a11, a21) * s1
        v2 = dot(q0, q1, q2, a02, a12, a22) * s2
        uu, uv, vv = dot(u0, u1, u2, u0, u1, u2), dot(u0, u1, u2, v0, v1, v2), dot(v0, v1, v2, v0, v1, v2)
        # uu vv - uv² would cancel for needles; Lagrange's identity is a sum of squares.
        w0, w1, w2 = u1 * v2 - u2 * v1, u2 * v0 - u0 * v2, u0 * v1 - u1 * v0
        sharp = dot(w0, w1, w2, w0, w1, w2)
        determinant = sharp + (uu + vv + blur) * blur
        cov_xx, cov_yy = uu + blur, vv + blur
        if antialias:
            opacity = opacity * square_root(sharp / determinant)

        centre_x, centre_y = px + cx, py + cy
        log_opacity = log2(maximum(opacity, splat(_MIN_ALPHA)))
        level = (log_opacity - LOG_MIN_ALPHA) * (_TWO * _LN2) + REACH_SLACK
        half_x, half_y = square_root(level * cov_xx), square_root(level * cov_yy)
        # Every comparison with a NaN is false, and the last ones have to be true.
        shown = where_less(z, splat(_NEAR), nothing, half_x)
        shown = where_less(opacity, splat(_MIN_ALPHA), nothing, shown)
        shown = where_less(opacity, splat(_TWO), shown, nothing)
        shown = where_less(determinant, splat(WIDEST), shown, nothing)
        shown = where_greater(centre_x + half_x, nothing, shown, nothing)
        shown = where_less(centre_x - half_x, splat(wide), shown, nothing)
        shown = where_greater(centre_y + half_y, nothing, shown, nothing)
        shown = where_less(centre_y - half_y, splat(high), shown, nothing)

        dx, dy, dz = mx - camera[16], my - camera[17], mz - camera[18]
        red, green, blue = shade(rows, sh, count, dx, dy, dz, values)
        brightness = red + green + blue  # not finite where a colour is not
        shown = where_less(brightness, splat(LARGEST), shown, nothing)
        shown = where_greater(brightness, splat(-LARGEST), shown, nothing)
        store(half_widths, block, shown)

        n0, n1 = shortest(l0, l1, l2, a00, a01, a02), shortest(l0, l1, l2, a10, a11, a12)
        n2 = shortest(l0, l1, l2, a20, a21, a22)
        toward = where_greater(dot(n0, n1, n2, dx, dy, dz), nothing, nothing - one, one)
        narrow = one / cov_yy
        record = (
            centre_x,
            centre_y,
            cov_yy / determinant * (_HALF * _LOG2E),
            uv * narrow,
            narrow * (_HALF * _LOG2E),
            opacity,
            maximum(red, nothing),
            maximum(green, nothing),
            maximum(blue, nothing),
            z,
            n0 * toward,
            n1 * toward,
            n2 * toward,
            log_opacity,
            square_root(level * determinant * narrow),
            half_y,
        )
        set_columns_16(records, block * RECORD, RECORD, record)


@kernel
def shortest(l0, l1, l2, of_0, of_1, of_2):
    """of_i for the smallest l_i, the first of equals."""
    of_12 = where_less(l2, l1, of_2, of_1)
    smaller = where_less(l2, l1, l2, l1)
    return where_less(smaller, l0, of_12, of_0)
