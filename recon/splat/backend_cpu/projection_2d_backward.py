"""The derivative of `projection_2d`: gradients of the pairs to gradients of the scene and of the camera."""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

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
from recon.splat.backend_cpu.layout import CAMERA, DISK_RECORD, PAIR
from recon.splat.backend_cpu.projection import times
from recon.splat.backend_cpu.projection_2d import scale
from recon.splat.backend_cpu.projection_backward import clear, sum_pairs
from recon.splat.backend_cpu.rotating import turning, turning_backward
from recon.splat.backend_cpu.shading import dot, shade_backward
from recon.splat.backend_cpu.simd import (
    LANES,
    fma,
    load,
    splat,
    square_root,
    sum_lanes,
    where_greater,
)

_ZERO, _ONE = np.float32(0), np.float32(1)


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
    records,
    starts,  # (N,) first pair of each disk
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
    """Chains the gradients of disks start..stop through the projection; `start` is a multiple of LANES."""
    r00, r01, r02, t0 = camera[0], camera[1], camera[2], camera[3]
    r10, r11, r12, t1 = camera[4], camera[5], camera[6], camera[7]
    r20, r21, r22, t2 = camera[8], camera[9], camera[10], camera[11]
    fx, fy = camera[12], camera[13]
    nothing, one = splat(_ZERO), splat(_ONE)
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
        (
            g_1,
            screen_x,
            screen_y,
            g_pp,
            g_py,
            g_yy,
            g_red,
            g_green,
            g_blue,
            g_depth,
            g_nx,
            g_ny,
            g_nz,
            g_tilt_x,
            g_tilt_y,
            _,
        ) = columns_16(g, 0, PAIR)
        _, _, _, _, _, opacity, red, green, blue, _, shown_0, shown_1, shown_2, _, _, _ = columns_16(
            records, block * DISK_RECORD, DISK_RECORD
        )
        mx, my, mz = read_3(means, block, room)
        x = times(r00, r01, r02, mx, my, mz) + t0
        y = times(r10, r11, r12, mx, my, mz) + t1
        z = times(r20, r21, r22, mx, my, mz) + t2
        dx, dy, dz = mx - camera[16], my - camera[17], mz - camera[18]
        shown, wanted = (red, green, blue), (g_red, g_green, g_blue)
        e0, e1, e2 = shade_backward(block, rows, valid, sh, count, dx, dy, dz, values, shown, wanted, sh_grad)
        add_valid(out, LANES * 16, valid, nothing - e0)
        add_valid(out, LANES * 17, valid, nothing - e1)
        add_valid(out, LANES * 18, valid, nothing - e2)
        add_valid(logits_grad, block, valid, (opacity - one) * g_1)

        # The projection again, up to U and the normal in the camera.
        qw, qx, qy, qz = read_4(quats, block, room)
        shrink = one / square_root(fma(qw, qw, fma(qx, qx, fma(qy, qy, qz * qz))))
        qw, qx, qy, qz = qw * shrink, qx * shrink, qy * shrink, qz * shrink
        a00, a01, a02, a10, a11, a12, a20, a21, a22 = turning(qw, qx, qy, qz)
        l0, l1, _ = read_3(log_scales, block, room)
        s0, s1 = scale(l0), scale(l1)
        inverse = one / z
        j0, j1 = inverse * fx, inverse * fy
        px, py = x * j0, y * j1
        j02, j12 = nothing - px * inverse, nothing - py * inverse
        p0, p1, p2 = j0 * r00 + j02 * r20, j0 * r01 + j02 * r21, j0 * r02 + j02 * r22
        q0, q1, q2 = j1 * r10 + j12 * r20, j1 * r11 + j12 * r21, j1 * r12 + j12 * r22
        m00, m10, m20 = a00 * s0, a10 * s0, a20 * s0
        m01, m11, m21 = a01 * s1, a11 * s1, a21 * s1
        u0, u1 = dot(p0, p1, p2, m00, m10, m20), dot(p0, p1, p2, m01, m11, m21)
        v0, v1 = dot(q0, q1, q2, m00, m10, m20), dot(q0, q1, q2, m01, m11, m21)
        c00, c01 = times(r00, r01, r02, a00, a10, a20), times(r00, r01, r02, a01, a11, a21)
        c10, c11 = times(r10, r11, r12, a00, a10, a20), times(r10, r11, r12, a01, a11, a21)
        c20, c21 = times(r20, r21, r22, a00, a10, a20), times(r20, r21, r22, a01, a11, a21)
        n0, n1, n2 = c10 * c21 - c20 * c11, c20 * c01 - c00 * c21, c00 * c11 - c10 * c01
        facing = dot(n0, n1, n2, x, y, z)

        # With U = L Q, L triangular with the diagonal (1 / a, 1 / b) and Q a turn, the gradient in U is -L'⁻¹ S Q,
        # where S are the sums of products of the coordinates (a p, b dy). So no large terms cancel for thin disks.
        vv = fma(v0, v0, v1 * v1)
        slope = fma(u0, v0, u1 * v1) / vv
        b = one / square_root(vv)
        a = one / (b * s0 * s1 * facing * j0 * j1 * inverse)
        turn_00, turn_01, turn_10, turn_11 = v1 * b, nothing - v0 * b, v0 * b, v1 * b
        s_aa, s_ab, s_bb = g_pp * a * a, g_py * a * b, g_yy * b * b
        f_00, f_01 = s_aa * turn_00 + s_ab * turn_10, s_aa * turn_01 + s_ab * turn_11
        f_10, f_11 = s_ab * turn_00 + s_bb * turn_10, s_ab * turn_01 + s_bb * turn_11
        du0, du1 = nothing - a * f_00, nothing - a * f_01
        dv0, dv1 = nothing - slope * du0 - b * f_10, nothing - slope * du1 - b * f_11
        in_l0, in_l1 = nothing - fma(turn_00, f_00, turn_10 * f_10), nothing - fma(turn_01, f_01, turn_11 * f_11)
        add_columns_3(log_scales_grad, block * 3, valid, (in_l0, in_l1, nothing))

        # tilt = (n_0 / j0, n_1 / j1) / facing; `facing` is n · m, and n the cross product of the axes in the camera.
        one_facing = one / facing
        inner_x, inner_y = g_tilt_x / j0 * one_facing, g_tilt_y / j1 * one_facing
        of_facing = nothing - (inner_x * n0 + inner_y * n1) * one_facing
        dn0, dn1, dn2 = fma(of_facing, x, inner_x), fma(of_facing, y, inner_y), of_facing * z
        dc00, dc10, dc20 = c11 * dn2 - c21 * dn1, c21 * dn0 - c01 * dn2, c01 * dn1 - c11 * dn0
        dc01, dc11, dc21 = dn1 * c20 - dn2 * c10, dn2 * c00 - dn0 * c20, dn0 * c10 - dn1 * c00

        # Axes.
        d00, d10, d20 = (p0 * du0 + q0 * dv0) * s0, (p1 * du0 + q1 * dv0) * s0, (p2 * du0 + q2 * dv0) * s0
        d01, d11, d21 = (p0 * du1 + q0 * dv1) * s1, (p1 * du1 + q1 * dv1) * s1, (p2 * du1 + q2 * dv1) * s1
        d00, d01 = d00 + times(r00, r10, r20, dc00, dc10, dc20), d01 + times(r00, r10, r20, dc01, dc11, dc21)
        d10, d11 = d10 + times(r01, r11, r21, dc00, dc10, dc20), d11 + times(r01, r11, r21, dc01, dc11, dc21)
        d20, d21 = d20 + times(r02, r12, r22, dc00, dc10, dc20), d21 + times(r02, r12, r22, dc01, dc11, dc21)
        sign = where_greater(dot(shown_0, shown_1, shown_2, a02, a12, a22), nothing, one, nothing - one)
        d02, d12, d22 = g_nx * sign, g_ny * sign, g_nz * sign
        dqw, dqx, dqy, dqz = turning_backward(qw, qx, qy, qz, d00, d01, d02, d10, d11, d12, d20, d21, d22)
        add_columns_4(quats_grad, block * 4, valid, (dqw * shrink, dqx * shrink, dqy * shrink, dqz * shrink))

        # Jacobian @ camera rotation, then the Jacobian's entries, then the centre.
        dp0, dp1, dp2 = du0 * m00 + du1 * m01, du0 * m10 + du1 * m11, du0 * m20 + du1 * m21
        dq0, dq1, dq2 = dv0 * m00 + dv1 * m01, dv0 * m10 + dv1 * m11, dv0 * m20 + dv1 * m21
        dj0 = times(r00, r01, r02, dp0, dp1, dp2) - inner_x * n0 / j0
        dj1 = times(r10, r11, r12, dq0, dq1, dq2) - inner_y * n1 / j1
        dj02, dj12 = times(r20, r21, r22, dp0, dp1, dp2), times(r20, r21, r22, dq0, dq1, dq2)
        dpx, dpy = screen_x - dj02 * inverse, screen_y - dj12 * inverse
        slid = dpx * px + dpy * py + dj0 * j0 + dj02 * j02 + dj1 * j1 + dj12 * j12
        camera_x, camera_y = fma(of_facing, n0, dpx * j0), fma(of_facing, n1, dpy * j1)
        camera_z = fma(of_facing, n2, g_depth - slid * inverse)

        in_x = times(r00, r10, r20, camera_x, camera_y, camera_z) + e0
        in_y = times(r01, r11, r21, camera_x, camera_y, camera_z) + e1
        in_z = times(r02, r12, r22, camera_x, camera_y, camera_z) + e2
        add_columns_3(means_grad, block * 3, valid, (in_x, in_y, in_z))

        add_valid(out, LANES * 0, valid, camera_x * mx + j0 * dp0 + dc00 * a00 + dc01 * a01)
        add_valid(out, LANES * 1, valid, camera_x * my + j0 * dp1 + dc00 * a10 + dc01 * a11)
        add_valid(out, LANES * 2, valid, camera_x * mz + j0 * dp2 + dc00 * a20 + dc01 * a21)
        add_valid(out, LANES * 3, valid, camera_x)
        add_valid(out, LANES * 4, valid, camera_y * mx + j1 * dq0 + dc10 * a00 + dc11 * a01)
        add_valid(out, LANES * 5, valid, camera_y * my + j1 * dq1 + dc10 * a10 + dc11 * a11)
        add_valid(out, LANES * 6, valid, camera_y * mz + j1 * dq2 + dc10 * a20 + dc11 * a21)
        add_valid(out, LANES * 7, valid, camera_y)
        add_valid(out, LANES * 8, valid, camera_z * mx + j02 * dp0 + j12 * dq0 + dc20 * a00 + dc21 * a01)
        add_valid(out, LANES * 9, valid, camera_z * my + j02 * dp1 + j12 * dq1 + dc20 * a10 + dc21 * a11)
        add_valid(out, LANES * 10, valid, camera_z * mz + j02 * dp2 + j12 * dq2 + dc20 * a20 + dc21 * a21)
        add_valid(out, LANES * 11, valid, camera_z)
        add_valid(out, LANES * 12, valid, (dpx * x + dj0) * inverse)
        add_valid(out, LANES * 13, valid, (dpy * y + dj1) * inverse)
        add_valid(out, LANES * 14, valid, screen_x)
        add_valid(out, LANES * 15, valid, screen_y)
    for k in range(CAMERA):
        camera_grad[k] = sum_lanes(load(out, k * LANES))
