"""The derivative of `projection`: gradients of the pairs to gradients of the scene and of the camera, in doubles."""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

import math

import numpy as np

from recon.splat.backend_cpu import sh as harmonics
from recon.splat.backend_cpu.jit import kernel
from recon.splat.backend_cpu.layout import BLUE, GREEN, NORMAL_X, NORMAL_Y, NORMAL_Z, OPACITY, RECORD, RED, XX, XY, YY
from recon.splat.backend_cpu.projection import rotation, shortest_axis
from recon.splat.backend_torch import FRUSTUM_MARGIN


@kernel
def project_backward(
    start,
    stop,
    means,
    quats,
    log_scales,
    sh,
    camera,
    width,
    height,
    records,
    starts,  # (N + 1,) first pair of each Gaussian
    counts,  # (N,) number of pairs
    pair_grads,  # (pairs, 16)
    means_grad,  # the gradients are added to these five
    quats_grad,
    log_scales_grad,
    logits_grad,
    sh_grad,
    camera_grad,  # out (CAMERA,) float64: this chunk's share, laid out like the camera
):
    """Chains the gradients of Gaussians start..stop through the projection."""
    r00, r01, r02, t0 = camera[0], camera[1], camera[2], camera[3]
    r10, r11, r12, t1 = camera[4], camera[5], camera[6], camera[7]
    r20, r21, r22, t2 = camera[8], camera[9], camera[10], camera[11]
    fx, fy, cx, cy = camera[12], camera[13], camera[14], camera[15]
    left, right = -cx - FRUSTUM_MARGIN * width, (1 + FRUSTUM_MARGIN) * width - cx
    top, bottom = -cy - FRUSTUM_MARGIN * height, (1 + FRUSTUM_MARGIN) * height - cy
    count = sh.shape[1]
    values = np.empty(16, np.float64)
    g = np.empty(RECORD, np.float64)
    out = np.zeros(camera_grad.shape[0], np.float64)
    for i in range(start, stop):
        if counts[i] == 0:
            continue
        g[:] = 0
        for pair in range(starts[i], starts[i] + counts[i]):
            for k in range(13):
                g[k] += pair_grads[pair, k]
        record = records[i]
        mx, my, mz = np.float64(means[i, 0]), np.float64(means[i, 1]), np.float64(means[i, 2])
        x = r00 * mx + r01 * my + r02 * mz + t0
        y = r10 * mx + r11 * my + r12 * mz + t1
        z = r20 * mx + r21 * my + r22 * mz + t2

        # Opacity, and colour with its dependence on the viewing direction.
        logits_grad[i] -= g[0] * (1 - record[OPACITY])
        dx, dy, dz = mx - camera[16], my - camera[17], mz - camera[18]
        distance = math.sqrt(dx * dx + dy * dy + dz * dz)
        dx, dy, dz = dx / distance, dy / distance, dz / distance
        g_red = g[6] if record[RED] > 0 else 0.0
        g_green = g[7] if record[GREEN] > 0 else 0.0
        g_blue = g[8] if record[BLUE] > 0 else 0.0
        harmonics.basis(count, dx, dy, dz, values)
        for k in range(count):
            sh_grad[i, k, 0] += values[k] * g_red
            sh_grad[i, k, 1] += values[k] * g_green
            sh_grad[i, k, 2] += values[k] * g_blue
            values[k] = g_red * sh[i, k, 0] + g_green * sh[i, k, 1] + g_blue * sh[i, k, 2]
        e0, e1, e2 = harmonics.basis_gradient(count, dx, dy, dz, values)
        radial = e0 * dx + e1 * dy + e2 * dz
        e0, e1, e2 = (e0 - radial * dx) / distance, (e1 - radial * dy) / distance, (e2 - radial * dz) / distance
        out[16] -= e0
        out[17] -= e1
        out[18] -= e2

        # The projection again, up to the two rows u, v of Jacobian @ camera @ axes @ scales.
        qw, qx = np.float64(quats[i, 0]), np.float64(quats[i, 1])
        qy, qz = np.float64(quats[i, 2]), np.float64(quats[i, 3])
        norm = math.sqrt(qw * qw + qx * qx + qy * qy + qz * qz)
        qw, qx, qy, qz = qw / norm, qx / norm, qy / norm, qz / norm
        a00, a01, a02, a10, a11, a12, a20, a21, a22 = rotation(qw, qx, qy, qz)
        s0 = math.exp(np.float64(log_scales[i, 0]))
        s1 = math.exp(np.float64(log_scales[i, 1]))
        s2 = math.exp(np.float64(log_scales[i, 2]))
        px, py = fx * x / z, fy * y / z
        clamped_x, clamped_y = min(max(px, left), right), min(max(py, top), bottom)
        j0, j02, j1, j12 = fx / z, -clamped_x / z, fy / z, -clamped_y / z
        p0, p1, p2 = j0 * r00 + j02 * r20, j0 * r01 + j02 * r21, j0 * r02 + j02 * r22
        q0, q1, q2 = j1 * r10 + j12 * r20, j1 * r11 + j12 * r21, j1 * r12 + j12 * r22
        m00, m10, m20 = a00 * s0, a10 * s0, a20 * s0
        m01, m11, m21 = a01 * s1, a11 * s1, a21 * s1
        m02, m12, m22 = a02 * s2, a12 * s2, a22 * s2
        u0, u1, u2 = p0 * m00 + p1 * m10 + p2 * m20, p0 * m01 + p1 * m11 + p2 * m21, p0 * m02 + p1 * m12 + p2 * m22
        v0, v1, v2 = q0 * m00 + q1 * m10 + q2 * m20, q0 * m01 + q1 * m11 + q2 * m21, q0 * m02 + q1 * m12 + q2 * m22

        # Moments of the exponent's gradient to the screen mean and covariance: dL/dcov = -conic G conic.
        a, b, c = np.float64(record[XX]) * 16, np.float64(record[XY]) * 8, np.float64(record[YY]) * 16
        screen_x, screen_y = -(a * g[1] + b * g[3]), -(b * g[1] + c * g[3])
        ga, gb, gc = 0.5 * g[2], 0.5 * g[4], 0.5 * g[5]
        k00, k01, k10, k11 = a * ga + b * gb, a * gb + b * gc, b * ga + c * gb, b * gb + c * gc
        h_xx, h_xy, h_yy = -(k00 * a + k01 * b), -(k00 * b + k01 * c), -(k10 * b + k11 * c)
        du0, du1, du2 = 2 * (h_xx * u0 + h_xy * v0), 2 * (h_xx * u1 + h_xy * v1), 2 * (h_xx * u2 + h_xy * v2)
        dv0, dv1, dv2 = 2 * (h_xy * u0 + h_yy * v0), 2 * (h_xy * u1 + h_yy * v1), 2 * (h_xy * u2 + h_yy * v2)

        # Axes and scales.
        d00, d10, d20 = (p0 * du0 + q0 * dv0) * s0, (p1 * du0 + q1 * dv0) * s0, (p2 * du0 + q2 * dv0) * s0
        d01, d11, d21 = (p0 * du1 + q0 * dv1) * s1, (p1 * du1 + q1 * dv1) * s1, (p2 * du1 + q2 * dv1) * s1
        d02, d12, d22 = (p0 * du2 + q0 * dv2) * s2, (p1 * du2 + q1 * dv2) * s2, (p2 * du2 + q2 * dv2) * s2
        log_scales_grad[i, 0] += d00 * a00 + d10 * a10 + d20 * a20
        log_scales_grad[i, 1] += d01 * a01 + d11 * a11 + d21 * a21
        log_scales_grad[i, 2] += d02 * a02 + d12 * a12 + d22 * a22
        axis = shortest_axis(log_scales[i, 0], log_scales[i, 1], log_scales[i, 2])
        n0, n1, n2 = record[NORMAL_X], record[NORMAL_Y], record[NORMAL_Z]
        if axis == 0:
            sign = 1.0 if n0 * a00 + n1 * a10 + n2 * a20 > 0 else -1.0
            d00, d10, d20 = d00 + sign * g[10], d10 + sign * g[11], d20 + sign * g[12]
        elif axis == 1:
            sign = 1.0 if n0 * a01 + n1 * a11 + n2 * a21 > 0 else -1.0
            d01, d11, d21 = d01 + sign * g[10], d11 + sign * g[11], d21 + sign * g[12]
        else:
            sign = 1.0 if n0 * a02 + n1 * a12 + n2 * a22 > 0 else -1.0
            d02, d12, d22 = d02 + sign * g[10], d12 + sign * g[11], d22 + sign * g[12]
        dqw = 2 * (qx * (d21 - d12) + qy * (d02 - d20) + qz * (d10 - d01))
        dqx = 2 * (qy * (d01 + d10) + qz * (d02 + d20) + qw * (d21 - d12) - 2 * qx * (d11 + d22))
        dqy = 2 * (qx * (d01 + d10) + qz * (d12 + d21) + qw * (d02 - d20) - 2 * qy * (d00 + d22))
        dqz = 2 * (qx * (d02 + d20) + qy * (d12 + d21) + qw * (d10 - d01) - 2 * qz * (d00 + d11))
        radial = dqw * qw + dqx * qx + dqy * qy + dqz * qz
        quats_grad[i, 0] += (dqw - qw * radial) / norm
        quats_grad[i, 1] += (dqx - qx * radial) / norm
        quats_grad[i, 2] += (dqy - qy * radial) / norm
        quats_grad[i, 3] += (dqz - qz * radial) / norm

        # Jacobian @ camera rotation, then the Jacobian's three entries.
        dp0, dp1, dp2 = (
            du0 * m00 + du1 * m01 + du2 * m02,
            du0 * m10 + du1 * m11 + du2 * m12,
            du0 * m20 + du1 * m21 + du2 * m22,
        )
        dq0, dq1, dq2 = (
            dv0 * m00 + dv1 * m01 + dv2 * m02,
            dv0 * m10 + dv1 * m11 + dv2 * m12,
            dv0 * m20 + dv1 * m21 + dv2 * m22,
        )
        dj0, dj02 = dp0 * r00 + dp1 * r01 + dp2 * r02, dp0 * r20 + dp1 * r21 + dp2 * r22
        dj1, dj12 = dq0 * r10 + dq1 * r11 + dq2 * r12, dq0 * r20 + dq1 * r21 + dq2 * r22
        inside_x, inside_y = px == clamped_x, py == clamped_y
        # px and py are the screen mean less the principal point; unclamped they also sit in the Jacobian.
        dpx = screen_x - (dj02 / z if inside_x else 0.0)
        dpy = screen_y - (dj12 / z if inside_y else 0.0)
        camera_x, camera_y = dpx * fx / z, dpy * fy / z
        camera_z = g[9] - (dpx * px + dpy * py + dj0 * j0 + dj02 * j02 + dj1 * j1 + dj12 * j12) / z

        means_grad[i, 0] += r00 * camera_x + r10 * camera_y + r20 * camera_z + e0
        means_grad[i, 1] += r01 * camera_x + r11 * camera_y + r21 * camera_z + e1
        means_grad[i, 2] += r02 * camera_x + r12 * camera_y + r22 * camera_z + e2

        out[0] += camera_x * mx + j0 * dp0
        out[1] += camera_x * my + j0 * dp1
        out[2] += camera_x * mz + j0 * dp2
        out[3] += camera_x
        out[4] += camera_y * mx + j1 * dq0
        out[5] += camera_y * my + j1 * dq1
        out[6] += camera_y * mz + j1 * dq2
        out[7] += camera_y
        out[8] += camera_z * mx + j02 * dp0 + j12 * dq0
        out[9] += camera_z * my + j02 * dp1 + j12 * dq1
        out[10] += camera_z * mz + j02 * dp2 + j12 * dq2
        out[11] += camera_z
        out[12] += (dpx * x + dj0) / z
        out[13] += (dpy * y + dj1) / z
        out[14] += screen_x + (0.0 if inside_x else dj02 / z)
        out[15] += screen_y + (0.0 if inside_y else dj12 / z)
    camera_grad[:] = out
