"""Gaussians to screen records: the linearised (EWA) projection, view-dependent colour and normals, in doubles.

One Gaussian costs some hundred operations, its pixels thousands: here exactness is nearly free, so the sums are done
in float64 and rounded once. `projection_backward` is the derivative of this file.
"""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

import math

import numpy as np

from recon.splat.backend_cpu import sh as harmonics
from recon.splat.backend_cpu.jit import kernel
from recon.splat.backend_cpu.layout import (
    BLUE,
    DEPTH,
    GREEN,
    HALF_X,
    HALF_Y,
    MEAN_X,
    MEAN_Y,
    NORMAL_X,
    NORMAL_Y,
    NORMAL_Z,
    OPACITY,
    REACH,
    RED,
    TILE_HEIGHT,
    TILE_WIDTH,
    XX,
    XY,
    YY,
)
from recon.splat.backend_torch import FRUSTUM_MARGIN, MIN_ALPHA, NEAR, SCREEN_BLUR

REACH_SLACK = 0.01
"""Added to the reach, so that rounding never keeps a Gaussian from a pixel that the exact test would give it."""


@kernel
def rotation(qw, qx, qy, qz):
    """Nine entries, row by row, of the rotation of a unit quaternion."""
    return (
        1 - 2 * (qy * qy + qz * qz),
        2 * (qx * qy - qw * qz),
        2 * (qx * qz + qw * qy),
        2 * (qx * qy + qw * qz),
        1 - 2 * (qx * qx + qz * qz),
        2 * (qy * qz - qw * qx),
        2 * (qx * qz - qw * qy),
        2 * (qy * qz + qw * qx),
        1 - 2 * (qx * qx + qy * qy),
    )


@kernel
def shortest_axis(s0, s1, s2):
    """Index of the smallest of three, the first of equals."""
    if s0 <= s1 and s0 <= s2:
        return 0
    return 1 if s1 <= s2 else 2


@kernel
def project(
    start,
    stop,
    means,  # (N, 3)
    quats,  # (N, 4)
    log_scales,  # (N, 3)
    logit_opacities,  # (N,)
    sh,  # (N, K, 3)
    camera,  # (CAMERA,) float64
    width,
    height,
    records,  # out (N, RECORD)
    depth_keys,  # out (N,) int32: bits of the depth, which sort like it; 0 = not drawn
    tile_counts,  # out (N,) int32: upper bound of tiles touched
):
    """Writes the records of Gaussians start..stop; those that cannot be seen get key 0 and no tiles."""
    r00, r01, r02, t0 = camera[0], camera[1], camera[2], camera[3]
    r10, r11, r12, t1 = camera[4], camera[5], camera[6], camera[7]
    r20, r21, r22, t2 = camera[8], camera[9], camera[10], camera[11]
    fx, fy, cx, cy = camera[12], camera[13], camera[14], camera[15]
    left, right = -cx - FRUSTUM_MARGIN * width, (1 + FRUSTUM_MARGIN) * width - cx
    top, bottom = -cy - FRUSTUM_MARGIN * height, (1 + FRUSTUM_MARGIN) * height - cy
    count = sh.shape[1]
    values = np.empty(16, np.float64)
    as_float = np.empty(1, np.float32)
    as_bits = as_float.view(np.int32)
    for i in range(start, stop):
        depth_keys[i] = 0
        tile_counts[i] = 0
        mx, my, mz = np.float64(means[i, 0]), np.float64(means[i, 1]), np.float64(means[i, 2])
        x = r00 * mx + r01 * my + r02 * mz + t0
        y = r10 * mx + r11 * my + r12 * mz + t1
        z = r20 * mx + r21 * my + r22 * mz + t2
        if not z >= NEAR:  # also drops NaN
            continue
        opacity = 1 / (1 + math.exp(-np.float64(logit_opacities[i])))
        if not opacity >= MIN_ALPHA:
            continue

        qw, qx = np.float64(quats[i, 0]), np.float64(quats[i, 1])
        qy, qz = np.float64(quats[i, 2]), np.float64(quats[i, 3])
        norm = math.sqrt(qw * qw + qx * qx + qy * qy + qz * qz)
        a00, a01, a02, a10, a11, a12, a20, a21, a22 = rotation(qw / norm, qx / norm, qy / norm, qz / norm)
        s0 = math.exp(np.float64(log_scales[i, 0]))
        s1 = math.exp(np.float64(log_scales[i, 1]))
        s2 = math.exp(np.float64(log_scales[i, 2]))

        # Rows of Jacobian @ camera rotation, then of Jacobian @ camera rotation @ axes @ scales.
        px, py = fx * x / z, fy * y / z
        j0, j1 = fx / z, fy / z
        j02 = -min(max(px, left), right) / z
        j12 = -min(max(py, top), bottom) / z
        p0, p1, p2 = j0 * r00 + j02 * r20, j0 * r01 + j02 * r21, j0 * r02 + j02 * r22
        q0, q1, q2 = j1 * r10 + j12 * r20, j1 * r11 + j12 * r21, j1 * r12 + j12 * r22
        u0 = (p0 * a00 + p1 * a10 + p2 * a20) * s0
        u1 = (p0 * a01 + p1 * a11 + p2 * a21) * s1
        u2 = (p0 * a02 + p1 * a12 + p2 * a22) * s2
        v0 = (q0 * a00 + q1 * a10 + q2 * a20) * s0
        v1 = (q0 * a01 + q1 * a11 + q2 * a21) * s1
        v2 = (q0 * a02 + q1 * a12 + q2 * a22) * s2
        uu, uv, vv = u0 * u0 + u1 * u1 + u2 * u2, u0 * v0 + u1 * v1 + u2 * v2, v0 * v0 + v1 * v1 + v2 * v2
        # uu vv - uv² would cancel for needles; Lagrange's identity is a sum of squares.
        w0, w1, w2 = u1 * v2 - u2 * v1, u2 * v0 - u0 * v2, u0 * v1 - u1 * v0
        determinant = w0 * w0 + w1 * w1 + w2 * w2 + SCREEN_BLUR * (uu + vv) + SCREEN_BLUR * SCREEN_BLUR
        cov_xx, cov_yy = uu + SCREEN_BLUR, vv + SCREEN_BLUR
        if not determinant < math.inf or not math.isfinite(px + py):
            continue

        centre_x, centre_y = px + cx, py + cy
        reach = math.log(opacity / MIN_ALPHA) + REACH_SLACK
        half_x, half_y = math.sqrt(2 * reach * cov_xx), math.sqrt(2 * reach * cov_yy)
        if centre_x + half_x < 0 or centre_x - half_x > width or centre_y + half_y < 0 or centre_y - half_y > height:
            continue
        first_x = int(max(centre_x - half_x, 0.0)) // TILE_WIDTH
        last_x = int(min(centre_x + half_x, width - 0.5)) // TILE_WIDTH
        first_y = int(max(centre_y - half_y, 0.0)) // TILE_HEIGHT
        last_y = int(min(centre_y + half_y, height - 0.5)) // TILE_HEIGHT
        tile_counts[i] = (last_x - first_x + 1) * (last_y - first_y + 1)
        as_float[0] = z
        depth_keys[i] = as_bits[0]

        record = records[i]
        record[MEAN_X] = centre_x
        record[MEAN_Y] = centre_y
        record[XX] = cov_yy / determinant / 16
        record[XY] = -uv / determinant / 8
        record[YY] = cov_xx / determinant / 16
        record[OPACITY] = opacity
        record[DEPTH] = z
        record[REACH] = reach
        record[HALF_X] = half_x
        record[HALF_Y] = half_y

        dx, dy, dz = mx - camera[16], my - camera[17], mz - camera[18]
        distance = math.sqrt(dx * dx + dy * dy + dz * dz)
        harmonics.basis(count, dx / distance, dy / distance, dz / distance, values)
        red, green, blue = 0.5, 0.5, 0.5
        for k in range(count):
            red += values[k] * sh[i, k, 0]
            green += values[k] * sh[i, k, 1]
            blue += values[k] * sh[i, k, 2]
        record[RED] = max(red, 0.0)
        record[GREEN] = max(green, 0.0)
        record[BLUE] = max(blue, 0.0)

        axis = shortest_axis(log_scales[i, 0], log_scales[i, 1], log_scales[i, 2])
        if axis == 0:
            n0, n1, n2 = a00, a10, a20
        elif axis == 1:
            n0, n1, n2 = a01, a11, a21
        else:
            n0, n1, n2 = a02, a12, a22
        if n0 * dx + n1 * dy + n2 * dz > 0:
            n0, n1, n2 = -n0, -n1, -n2
        record[NORMAL_X] = n0
        record[NORMAL_Y] = n1
        record[NORMAL_Z] = n2
