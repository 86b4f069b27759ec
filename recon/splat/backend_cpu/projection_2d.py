"""Disks to screen records: what compositing needs to intersect rays with them, and an outline of what is drawn, a
vector of disks at a time. `projection_2d_backward` is the derivative of this file.

With the tangents t_1, t_2 (axes times scales, in the camera), the mean m and the normal n, let U be the derivative of
the pixel in (u, v) at the centre, a 2 x 2 matrix. The homography from the disk to the screen, undone relative to the
projected centre, is (u, v) = w U⁻¹ d at depth w z, where w = 1 / (1 + tilt · d) and tilt = z (n_x / fx, n_y / fy) /
(n · m). So nothing is left that cancels but n · m, which is what being seen edge-on is. Since u² + v² does not change
when the axes turn within the disk, U⁻¹ is kept as a triangular matrix: the squares of `layout`.
"""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

import math

import numpy as np

from recon.splat.backend_cpu.columns import gather, number_rows, read_3, read_4, set_columns_16
from recon.splat.backend_cpu.jit import kernel
from recon.splat.backend_cpu.layout import DISK_RECORD, DISK_X
from recon.splat.backend_cpu.projection import LARGEST, LOG_MIN_ALPHA, REACH_SLACK, WIDEST, times
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
from recon.splat.backend_torch import MIN_ALPHA, NEAR
from recon.splat.backend_torch_2d import EDGE_ON

_ZERO, _HALF, _ONE, _TWO = np.float32(0), np.float32(0.5), np.float32(1), np.float32(2)
_LOG2E = np.float32(1 / math.log(2))
_LN2 = np.float32(math.log(2))
_NEAR, _MIN_ALPHA, _EDGE_ON = np.float32(NEAR), np.float32(MIN_ALPHA), np.float32(EDGE_ON)
_THINNEST = np.float32(-20 * _LOG2E)
"""Smaller log-scales (base 2) are taken for this one, so that squares of squares stay in range: far under a pixel,
where only the low-pass filter shows."""


@kernel
def scale(log_scale):
    """Standard deviations from natural logarithms, never so small that their powers vanish."""
    return exp2(maximum(splat(_THINNEST), log_scale * _LOG2E))  # in this order NaN stays NaN


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
    records,  # out (padded N * DISK_RECORD,)
    half_widths,  # out (padded N,): half the width in pixels of the box around what is drawn; 0 = cannot be seen
):
    """Writes the records of disks start..stop; `start` is a multiple of LANES, and whole vectors are written."""
    r00, r01, r02, t0 = camera[0], camera[1], camera[2], camera[3]
    r10, r11, r12, t1 = camera[4], camera[5], camera[6], camera[7]
    r20, r21, r22, t2 = camera[8], camera[9], camera[10], camera[11]
    fx, fy, cx, cy = camera[12], camera[13], camera[14], camera[15]
    nothing, one = splat(_ZERO), splat(_ONE)
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
        l0, l1, _ = read_3(log_scales, block, room)
        s0, s1 = scale(l0), scale(l1)

        # U, its rows (u0, u1) and (v0, v1), and its determinant by way of n · m.
        inverse = one / z
        j0, j1 = inverse * fx, inverse * fy
        px, py = x * j0, y * j1
        j02, j12 = nothing - px * inverse, nothing - py * inverse
        p0, p1, p2 = j0 * r00 + j02 * r20, j0 * r01 + j02 * r21, j0 * r02 + j02 * r22
        q0, q1, q2 = j1 * r10 + j12 * r20, j1 * r11 + j12 * r21, j1 * r12 + j12 * r22
        u0, u1 = dot(p0, p1, p2, a00, a10, a20) * s0, dot(p0, p1, p2, a01, a11, a21) * s1
        v0, v1 = dot(q0, q1, q2, a00, a10, a20) * s0, dot(q0, q1, q2, a01, a11, a21) * s1
        n0, n1 = times(r00, r01, r02, a02, a12, a22), times(r10, r11, r12, a02, a12, a22)
        n2 = times(r20, r21, r22, a02, a12, a22)
        facing = dot(n0, n1, n2, x, y, z)
        area = s0 * s1 * facing * j0 * j1 * inverse
        uu, uv, vv = fma(u0, u0, u1 * u1), fma(u0, v0, u1 * v1), fma(v0, v0, v1 * v1)
        narrow, shape = one / vv, one / (area * area)
        centre_x, centre_y = px + cx, py + cy
        log_opacity = log2(maximum(opacity, splat(_MIN_ALPHA)))
        level = (log_opacity - LOG_MIN_ALPHA) * (_TWO * _LN2)
        disk = (
            centre_x,
            centre_y,
            uv * narrow,
            n0 / (facing * j0),
            n1 / (facing * j1),
            nothing,
            nothing,
            nothing,
            nothing,
            nothing,
            nothing,
            nothing,
            nothing,
            nothing,
            nothing,
            nothing,
        )
        set_columns_16(records, block * DISK_RECORD + DISK_X, DISK_RECORD, disk)

        # The circle of squared radius r is seen as an ellipse around centre + o with the matrix k U U' + o o', where
        # k = r / (1 - r |b|²), b the relative slopes in depth of the two axes, o = -k U b. The low-pass filter's disk,
        # wherever in it the centre is, is covered by adding a circle.
        b0 = times(r20, r21, r22, a00, a10, a20) * s0 * inverse
        b1 = times(r20, r21, r22, a01, a11, a21) * s1 * inverse
        steep = fma(b0, b0, b1 * b1)
        reach = minimum(level + REACH_SLACK, (one - inverse * _NEAR) / steep)
        k = reach / (one - reach * steep)
        o_x, o_y = nothing - k * fma(u0, b0, u1 * b1), nothing - k * fma(v0, b0, v1 * b1)
        radius = square_root((level + REACH_SLACK) * _HALF) + square_root(fma(o_x, o_x, o_y * o_y))
        circle = radius * radius
        out_xx, out_xy = fma(k, uu, o_x * o_x) + circle, fma(k, uv, o_x * o_y)
        out_yy = fma(k, vv, o_y * o_y) + circle
        # By Lagrange's identity, as in `projection`.
        w0, w1, w2 = k * area, u0 * o_y - v0 * o_x, u1 * o_y - v1 * o_x
        determinant = fma(w0, w0, k * fma(w1, w1, w2 * w2)) + (out_xx + out_yy - circle) * circle
        half_x, half_y, out_narrow = square_root(out_xx), square_root(out_yy), one / out_yy
        outline_x, outline_y = centre_x + o_x, centre_y + o_y

        # Every comparison with a NaN is false, and the last ones have to be true.
        shown = where_less(opacity, splat(_MIN_ALPHA), nothing, half_x)
        shown = where_less(z, splat(_NEAR), nothing, shown)
        shown = where_less(z - z * square_root(level * steep), splat(_NEAR), nothing, shown)
        upright = square_root(dot(x, y, z, x, y, z)) * _EDGE_ON
        shown = where_less(facing * facing, upright * upright, nothing, shown)
        shown = where_less(opacity, splat(_TWO), shown, nothing)
        shown = where_less(determinant, splat(WIDEST), shown, nothing)
        shown = where_less(vv * shape, splat(WIDEST), shown, nothing)
        shown = where_greater(outline_x + half_x, nothing, shown, nothing)
        shown = where_less(outline_x - half_x, splat(np.float32(width)), shown, nothing)
        shown = where_greater(outline_y + half_y, nothing, shown, nothing)
        shown = where_less(outline_y - half_y, splat(np.float32(height)), shown, nothing)

        dx, dy, dz = mx - camera[16], my - camera[17], mz - camera[18]
        red, green, blue = shade(rows, sh, count, dx, dy, dz, values)
        brightness = red + green + blue  # not finite where a colour is not
        shown = where_less(brightness, splat(LARGEST), shown, nothing)
        shown = where_greater(brightness, splat(-LARGEST), shown, nothing)
        store(half_widths, block, shown)
        toward = where_greater(dot(a02, a12, a22, dx, dy, dz), nothing, nothing - one, one)
        record = (
            outline_x,
            outline_y,
            vv * shape * (_HALF * _LOG2E),
            out_xy * out_narrow,
            narrow * (_HALF * _LOG2E),
            opacity,
            maximum(red, nothing),
            maximum(green, nothing),
            maximum(blue, nothing),
            z,
            a02 * toward,
            a12 * toward,
            a22 * toward,
            log_opacity,
            square_root(determinant * out_narrow),
            half_y,
        )
        set_columns_16(records, block * DISK_RECORD, DISK_RECORD, record)
