"""The derivative of `projection`: gradients of the pairs to gradients of the scene and of the camera."""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

import math

import numpy as np

from recon.splat.backend_cpu.columns import (
    add_columns_3,
    add_columns_4,
    add_valid,
    columns_16,
    number_rows,
    read_3,
    read_4,
)
from recon.splat.backend_cpu.jit import kernel
from recon.splat.backend_cpu.layout import CAMERA, PAIR, RECORD
from recon.splat.backend_cpu.projection import shortest, times
from recon.splat.backend_cpu.rotating import turning, turning_backward
from recon.splat.backend_cpu.shading import dot, shade_backward
from recon.splat.backend_cpu.simd import (
    LANES,
    exp2,
    fma,
    load,
    maximum,
    minimum,
    splat,
    square_root,
    store,
    sum_lanes,
    where_greater,
    where_less,
)
from recon.splat.backend_torch import FRUSTUM_MARGIN, SCREEN_BLUR

_ZERO, _HALF, _ONE, _TWO = np.float32(0), np.float32(0.5), np.float32(1), np.float32(2)
_LOG2E = np.float32(1 / math.log(2))
_BLUR, _MARGIN = np.float32(SCREEN_BLUR), np.float32(FRUSTUM_MARGIN)


@kernel
def sum_pairs(block, stop, starts, counts, pair_grads, found, sums):
    """Sums the pairs of each lane's Gaussian into `sums` (LANES * PAIR,), and notes in `found` (LANES,) how many they
    are; returns whether there is any.

    What lanes without pairs compute is not finite where it must not be drawn, and not to be used.
    """
    any_found = False
    for lane in range(LANES):
        i = block + lane
        target = lane * PAIR
        for k in range(0, PAIR, LANES):
            store(sums, target + k, splat(_ZERO))
        found[lane] = _ZERO
        if i >= stop or counts[i] == 0:
            continue
        found[lane] = np.float32(counts[i])
        any_found = True
        for pair in range(starts[i], starts[i] + counts[i]):
            for k in range(0, PAIR, LANES):
                store(sums, target + k, load(sums, target + k) + load(pair_grads, pair * PAIR + k))
    return any_found


@kernel
def clear(block, count, means_grad, quats_grad, log_scales_grad, logits_grad, sh_grad):
    """Sets the gradients of a vector of Gaussians, with `count` harmonics, to 0."""
    nothing = splat(_ZERO)
    store(logits_grad, block, nothing)
    for k in range(3):
        store(means_grad, block * 3 + k * LANES, nothing)
        store(log_scales_grad, block * 3 + k * LANES, nothing)
    for k in range(4):
        store(quats_grad, block * 4 + k * LANES, nothing)
    for k in range(3 * count):
        store(sh_grad, block * 3 * count + k * LANES, nothing)


@kernel
def project_backward(
    start,
    stop,
    means,
    quats,
    log_scales,
    sh,
    count,
    camera,
    width,
    height,
    antialias,
    records,
    starts,  # (N,) first pair of each Gaussian
    counts,  # (N,) number of pairs
    pair_grads,  # (pairs * PAIR,)
    first,  # whether the next five are written, not added to
    means_grad,  # (padded N * 3,): gradients
    quats_grad,
    log_scales_grad,
    logits_grad,
    sh_grad,
    camera_grad,  # out (CAMERA,) float64: this chunk's share, laid out like the camera
):
    """Chains the gradients of Gaussians start..stop through the projection; `start` is a multiple of LANES."""
    r00, r01, r02, t0 = camera[0], camera[1], camera[2], camera[3]
    r10, r11, r12, t1 = camera[4], camera[5], camera[6], camera[7]
    r20, r21, r22, t2 = camera[8], camera[9], camera[10], camera[11]
    fx, fy, cx, cy = camera[12], camera[13], camera[14], camera[15]
    wide, high = np.float32(width), np.float32(height)
    left, right = splat(-cx - _MARGIN * wide), splat((_ONE + _MARGIN) * wide - cx)
    top, bottom = splat(-cy - _MARGIN * high), splat((_ONE + _MARGIN) * high - cy)
    nothing, one, minus_one, blur = splat(_ZERO), splat(_ONE), splat(-_ONE), splat(_BLUR)
    rows, last = np.empty(LANES, np.int64), counts.shape[0] - 1
    values, room = np.empty(16 * LANES, np.float32), np.empty(4 * LANES, np.float32)
    found = np.empty(LANES, np.float32)
    g = np.empty(LANES * PAIR, np.float32)
    out = np.zeros(CAMERA * LANES, np.float32)
    for block in range(start, stop, LANES):
        if first:
            clear(block, count, means_grad, quats_grad, log_scales_grad, logits_grad, sh_grad)
        if not sum_pairs(block, stop, starts, counts, pair_grads, found, g):
            continue
        number_rows(block, last, rows)
        valid = load(found, 0)
        g_1, g_p, g_pp, g_y, g_py, g_yy, g_red, g_green, g_blue, g_depth, g_nx, g_ny, g_nz, _, _, _ = columns_16(
            g, 0, PAIR
        )
        _, _, _, _, _, opacity, red, green, blue, _, n0, n1, n2, _, _, _ = columns_16(records, block * RECORD, RECORD)
        mx, my, mz = read_3(means, block, room)
        x = times(r00, r01, r02, mx, my, mz) + t0
        y = times(r10, r11, r12, mx, my, mz) + t1
        z = times(r20, r21, r22, mx, my, mz) + t2

        # Colour, with its dependence on the viewing direction.
        dx, dy, dz = mx - camera[16], my - camera[17], mz - camera[18]
        shown, wanted = (red, green, blue), (g_red, g_green, g_blue)
        e0, e1, e2 = shade_backward(block, rows, valid, sh, count, dx, dy, dz, values, shown, wanted, sh_grad)
        add_valid(out, LANES * 16, valid, nothing - e0)
        add_valid(out, LANES * 17, valid, nothing - e1)
        add_valid(out, LANES * 18, valid, nothing - e2)

        # The projection again, up to the two rows u, v of Jacobian @ camera @ axes @ scales.
        qw, qx, qy, qz = read_4(quats, block, room)
        shrink = one / square_root(fma(qw, qw, fma(qx, qx, fma(qy, qy, qz * qz))))
        qw, qx, qy, qz = qw * shrink, qx * shrink, qy * shrink, qz * shrink
        a00, a01, a02, a10, a11, a12, a20, a21, a22 = turning(qw, qx, qy, qz)
        l0, l1, l2 = read_3(log_scales, block, room)
        s0, s1, s2 = exp2(l0 * _LOG2E), exp2(l1 * _LOG2E), exp2(l2 * _LOG2E)
        inverse = one / z
        px, py = x * inverse * fx, y * inverse * fy
        clamped_x, clamped_y = minimum(maximum(px, left), right), minimum(maximum(py, top), bottom)
        j0, j02 = inverse * fx, nothing - clamped_x * inverse
        j1, j12 = inverse * fy, nothing - clamped_y * inverse
        p0, p1, p2 = j0 * r00 + j02 * r20, j0 * r01 + j02 * r21, j0 * r02 + j02 * r22
        q0, q1, q2 = j1 * r10 + j12 * r20, j1 * r11 + j12 * r21, j1 * r12 + j12 * r22
        m00, m10, m20 = a00 * s0, a10 * s0, a20 * s0
        m01, m11, m21 = a01 * s1, a11 * s1, a21 * s1
        m02, m12, m22 = a02 * s2, a12 * s2, a22 * s2
        u0, u1, u2 = dot(p0, p1, p2, m00, m10, m20), dot(p0, p1, p2, m01, m11, m21), dot(p0, p1, p2, m02, m12, m22)
        v0, v1, v2 = dot(q0, q1, q2, m00, m10, m20), dot(q0, q1, q2, m01, m11, m21), dot(q0, q1, q2, m02, m12, m22)
        uu, uv, vv = dot(u0, u1, u2, u0, u1, u2), dot(u0, u1, u2, v0, v1, v2), dot(v0, v1, v2, v0, v1, v2)
        w0, w1, w2 = u1 * v2 - u2 * v1, u2 * v0 - u0 * v2, u0 * v1 - u1 * v0
        sharp = dot(w0, w1, w2, w0, w1, w2)
        determinant = sharp + (uu + vv + blur) * blur
        cov_yy = vv + blur

        # The exponent's gradient to the screen mean, and to the rows u and v. The covariance's gradient is
        # -1/2 sum g e e' with e = (a p, across dy - slope a p), and what e takes out of the k-th column of the rows is
        # a p r_k + across dy v_k, where r = u - slope v. For needles r is far smaller than u: no difference of theirs.
        narrow = one / cov_yy
        a, slope = cov_yy / determinant, uv * narrow
        g_p, g_pp = g_p * a, g_pp * a * a
        g_y, g_py, g_yy = g_y * narrow, g_py * a * narrow, g_yy * narrow * narrow
        screen_x, screen_y = nothing - g_p, slope * g_p - g_y
        across_0, across_1, across_2 = cross(v0, v1, v2, w0, w1, w2)
        full_0, full_1, full_2 = fma(u0, blur, across_0), fma(u1, blur, across_1), fma(u2, blur, across_2)
        r0, r1, r2 = full_0 * narrow, full_1 * narrow, full_2 * narrow
        du0, du1, du2 = (
            nothing - g_pp * r0 - g_py * v0,
            nothing - g_pp * r1 - g_py * v1,
            nothing - g_pp * r2 - g_py * v2,
        )
        dv0, dv1 = nothing - slope * du0 - g_py * r0 - g_yy * v0, nothing - slope * du1 - g_py * r1 - g_yy * v1
        dv2 = nothing - slope * du2 - g_py * r2 - g_yy * v2
        ds0 = nothing - fma(g_pp * r0, r0, fma(g_py * _TWO * r0, v0, g_yy * v0 * v0))
        ds1 = nothing - fma(g_pp * r1, r1, fma(g_py * _TWO * r1, v1, g_yy * v1 * v1))
        ds2 = nothing - fma(g_pp * r2, r2, fma(g_py * _TWO * r2, v2, g_yy * v2 * v2))
        if antialias:
            # The opacity carries a factor sqrt(sharp / determinant).
            opacity = opacity / square_root(sharp / determinant)
            inside, outside = nothing - g_1 / sharp, g_1 / determinant
            back_0, back_1, back_2 = cross(w0, w1, w2, u0, u1, u2)
            fu0, fu1 = inside * across_0 + outside * full_0, inside * across_1 + outside * full_1
            fu2 = inside * across_2 + outside * full_2
            fv0, fv1 = (
                inside * back_0 + outside * fma(v0, blur, back_0),
                inside * back_1 + outside * fma(v1, blur, back_1),
            )
            fv2 = inside * back_2 + outside * fma(v2, blur, back_2)
            du0, du1, du2, dv0, dv1, dv2 = du0 + fu0, du1 + fu1, du2 + fu2, dv0 + fv0, dv1 + fv1, dv2 + fv2
            ds0, ds1, ds2 = ds0 + fu0 * u0 + fv0 * v0, ds1 + fu1 * u1 + fv1 * v1, ds2 + fu2 * u2 + fv2 * v2
        add_valid(logits_grad, block, valid, (opacity - one) * g_1)
        add_columns_3(log_scales_grad, block * 3, valid, (ds0, ds1, ds2))

        # Axes.
        d00, d10, d20 = (p0 * du0 + q0 * dv0) * s0, (p1 * du0 + q1 * dv0) * s0, (p2 * du0 + q2 * dv0) * s0
        d01, d11, d21 = (p0 * du1 + q0 * dv1) * s1, (p1 * du1 + q1 * dv1) * s1, (p2 * du1 + q2 * dv1) * s1
        d02, d12, d22 = (p0 * du2 + q0 * dv2) * s2, (p1 * du2 + q1 * dv2) * s2, (p2 * du2 + q2 * dv2) * s2
        axis_0, axis_1 = shortest(l0, l1, l2, a00, a01, a02), shortest(l0, l1, l2, a10, a11, a12)
        axis_2 = shortest(l0, l1, l2, a20, a21, a22)
        sign = where_greater(dot(n0, n1, n2, axis_0, axis_1, axis_2), nothing, one, minus_one)
        g_nx, g_ny, g_nz = g_nx * sign, g_ny * sign, g_nz * sign
        is_0 = shortest(l0, l1, l2, one, nothing, nothing)
        is_1 = shortest(l0, l1, l2, nothing, one, nothing)
        is_2 = shortest(l0, l1, l2, nothing, nothing, one)
        d00, d10, d20 = fma(is_0, g_nx, d00), fma(is_0, g_ny, d10), fma(is_0, g_nz, d20)
        d01, d11, d21 = fma(is_1, g_nx, d01), fma(is_1, g_ny, d11), fma(is_1, g_nz, d21)
        d02, d12, d22 = fma(is_2, g_nx, d02), fma(is_2, g_ny, d12), fma(is_2, g_nz, d22)
        dqw, dqx, dqy, dqz = turning_backward(qw, qx, qy, qz, d00, d01, d02, d10, d11, d12, d20, d21, d22)
        add_columns_4(quats_grad, block * 4, valid, (dqw * shrink, dqx * shrink, dqy * shrink, dqz * shrink))

        # Jacobian @ camera rotation, then the Jacobian's three entries.
        dp0, dp1 = dot(du0, du1, du2, m00, m01, m02), dot(du0, du1, du2, m10, m11, m12)
        dp2 = dot(du0, du1, du2, m20, m21, m22)
        dq0, dq1 = dot(dv0, dv1, dv2, m00, m01, m02), dot(dv0, dv1, dv2, m10, m11, m12)
        dq2 = dot(dv0, dv1, dv2, m20, m21, m22)
        dj0, dj02 = times(r00, r01, r02, dp0, dp1, dp2), times(r20, r21, r22, dp0, dp1, dp2)
        dj1, dj12 = times(r10, r11, r12, dq0, dq1, dq2), times(r20, r21, r22, dq0, dq1, dq2)
        # px and py are the screen mean less the principal point; unclamped they also sit in the Jacobian.
        slid_x, slid_y = dj02 * inverse, dj12 * inverse
        inner_x, inner_y = _inside(px, left, right, slid_x), _inside(py, top, bottom, slid_y)
        dpx, dpy = screen_x - inner_x, screen_y - inner_y
        camera_x, camera_y = dpx * inverse * fx, dpy * inverse * fy
        slid = dpx * px + dpy * py + dj0 * j0 + dj02 * j02 + dj1 * j1 + dj12 * j12
        camera_z = g_depth - slid * inverse

        in_x = times(r00, r10, r20, camera_x, camera_y, camera_z) + e0
        in_y = times(r01, r11, r21, camera_x, camera_y, camera_z) + e1
        in_z = times(r02, r12, r22, camera_x, camera_y, camera_z) + e2
        add_columns_3(means_grad, block * 3, valid, (in_x, in_y, in_z))

        add_valid(out, LANES * 0, valid, camera_x * mx + j0 * dp0)
        add_valid(out, LANES * 1, valid, camera_x * my + j0 * dp1)
        add_valid(out, LANES * 2, valid, camera_x * mz + j0 * dp2)
        add_valid(out, LANES * 3, valid, camera_x)
        add_valid(out, LANES * 4, valid, camera_y * mx + j1 * dq0)
        add_valid(out, LANES * 5, valid, camera_y * my + j1 * dq1)
        add_valid(out, LANES * 6, valid, camera_y * mz + j1 * dq2)
        add_valid(out, LANES * 7, valid, camera_y)
        add_valid(out, LANES * 8, valid, camera_z * mx + j02 * dp0 + j12 * dq0)
        add_valid(out, LANES * 9, valid, camera_z * my + j02 * dp1 + j12 * dq1)
        add_valid(out, LANES * 10, valid, camera_z * mz + j02 * dp2 + j12 * dq2)
        add_valid(out, LANES * 11, valid, camera_z)
        add_valid(out, LANES * 12, valid, (dpx * x + dj0) * inverse)
        add_valid(out, LANES * 13, valid, (dpy * y + dj1) * inverse)
        add_valid(out, LANES * 14, valid, screen_x + slid_x - inner_x)
        add_valid(out, LANES * 15, valid, screen_y + slid_y - inner_y)
    for k in range(CAMERA):
        camera_grad[k] = sum_lanes(load(out, k * LANES))


@kernel
def cross(a0, a1, a2, b0, b1, b2):
    return a1 * b2 - a2 * b1, a2 * b0 - a0 * b2, a0 * b1 - a1 * b0


@kernel
def _inside(value, low, high, then):
    """`then` where `value` lies within the bounds, 0 elsewhere."""
    then = where_less(value, low, splat(_ZERO), then)
    return where_greater(value, high, splat(_ZERO), then)
