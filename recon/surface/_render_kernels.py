"""Numba kernels of the mesh renderer that run for every view: z-buffer and shading.

Rasterisation is homogeneous (Olano & Greer 1997, "Triangle scan conversion using 2D homogeneous coordinates"): the
inverse of the three projected corners gives barycentric weights over depth as linear functions of the pixel, so
perspective-correct interpolation, the depth test and faces that cross the camera plane need no clipping.
All kernels release the interpreter lock; none is parallel by itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from recon._jit import compiled
from recon.surface._prepare_kernels import FAST, MAX_LEVELS

_LUT_SIZE = 8192


def _make_luts() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    x = np.linspace(0, 1, _LUT_SIZE)
    to_linear = np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)
    to_srgb = np.where(x <= 0.0031308, x * 12.92, 1.055 * np.maximum(x, 1e-9) ** (1 / 2.4) - 0.055)
    return to_linear.astype(np.float32), to_srgb.astype(np.float32)


SRGB_TO_LINEAR, LINEAR_TO_SRGB = _make_luts()


@compiled(fastmath=FAST)
def rasterize(
    vertices: Any,
    faces: Any,
    uvs: Any,
    face_material: Any,
    material_texture: Any,
    cutoffs: Any,
    texels: Any,
    tables: Any,
    w2c: Any,
    k: Any,
    near: Any,
    inv_depth: Any,
    face_ids: Any,
    weights: Any,
    extent: Any,
) -> None:
    """Z-buffer of one view.

    Args:
        w2c: (3, 4) float64; k: (4,) float64 fx, fy, cx, cy in *samples*; near: smallest visible depth.
        inv_depth: (H, W) float32, written: 1 / depth, 0 where nothing is seen.
        face_ids: (H, W) int32, written: visible face, -1 = none.
        weights: (F, 11) float32, written for visible faces: the three linear functions (x, y, 1) of barycentric weight
            over depth; the texture level at depth 1; 1 for front faces, -1 for back.
        extent: (4,) int64, written: first and last row, first and last column that may hold something.
    """
    height, width = inv_depth.shape
    inv_depth[:] = 0
    face_ids[:] = -1
    extent[0], extent[1], extent[2], extent[3] = height, -1, width, -1
    corners = np.empty((len(vertices), 3), np.float64)
    screen = np.empty((len(vertices), 2), np.float32)
    fx, fy, cx, cy = k[0], k[1], k[2], k[3]
    all_in_front = True
    for i in range(len(vertices)):
        x, y, z = vertices[i, 0], vertices[i, 1], vertices[i, 2]
        cz = w2c[2, 0] * x + w2c[2, 1] * y + w2c[2, 2] * z + w2c[2, 3]
        corners[i, 0] = fx * (w2c[0, 0] * x + w2c[0, 1] * y + w2c[0, 2] * z + w2c[0, 3]) + cx * cz
        corners[i, 1] = fy * (w2c[1, 0] * x + w2c[1, 1] * y + w2c[1, 2] * z + w2c[1, 3]) + cy * cz
        corners[i, 2] = cz
        if cz > near:
            inverse = 1 / cz
            screen[i, 0] = min(max(corners[i, 0] * inverse, -2.0), width + 2.0)
            screen[i, 1] = min(max(corners[i, 1] * inverse, -2.0), height + 2.0)
        else:
            all_in_front = False
    highest = np.float32(1 / near)
    slack = np.float32(1e-3)  # of the pixel bounds only; which samples are inside is decided in double precision
    half = np.float32(0.5)

    for t in range(len(faces)):
        i0, i1, i2 = faces[t, 0], faces[t, 1], faces[t, 2]
        left, right, top, bottom = 0, width - 1, 0, height - 1
        if all_in_front or (corners[i0, 2] > near and corners[i1, 2] > near and corners[i2, 2] > near):
            sx0, sx1, sx2 = screen[i0, 0], screen[i1, 0], screen[i2, 0]
            left = max(0, int(np.ceil(min(sx0, sx1, sx2) - half - slack)))
            right = min(width - 1, int(np.floor(max(sx0, sx1, sx2) - half + slack)))
            if left > right:
                continue
            sy0, sy1, sy2 = screen[i0, 1], screen[i1, 1], screen[i2, 1]
            top = max(0, int(np.ceil(min(sy0, sy1, sy2) - half - slack)))
            bottom = min(height - 1, int(np.floor(max(sy0, sy1, sy2) - half + slack)))
            if top > bottom:
                continue
        elif corners[i0, 2] <= near and corners[i1, 2] <= near and corners[i2, 2] <= near:
            continue
        x0, y0, z0 = corners[i0, 0], corners[i0, 1], corners[i0, 2]
        x1, y1, z1 = corners[i1, 0], corners[i1, 1], corners[i1, 2]
        x2, y2, z2 = corners[i2, 0], corners[i2, 1], corners[i2, 2]
        a0, b0, c0 = y1 * z2 - z1 * y2, z1 * x2 - x1 * z2, x1 * y2 - y1 * x2
        det = x0 * a0 + y0 * b0 + z0 * c0
        if abs(det) < 1e-12:
            continue
        a1, b1, c1 = y2 * z0 - z2 * y0, z2 * x0 - x2 * z0, x2 * y0 - y2 * x0
        a2, b2, c2 = y0 * z1 - z0 * y1, z0 * x1 - x0 * z1, x0 * y1 - y0 * x1
        inv = 1 / det
        a0, b0, c0 = a0 * inv, b0 * inv, c0 * inv
        a1, b1, c1 = a1 * inv, b1 * inv, c1 * inv
        a2, b2, c2 = a2 * inv, b2 * inv, c2 * inv
        az, bz, cz = a0 + a1 + a2, b0 + b1 + b2, c0 + c1 + c2
        # Neighbours share an edge; widening by the rounding error leaves no sample to neither of them.
        c0 += 1e-12 * (abs(a0) * width + abs(b0) * height + abs(c0))
        c1 += 1e-12 * (abs(a1) * width + abs(b1) * height + abs(c1))
        c2 += 1e-12 * (abs(a2) * width + abs(b2) * height + abs(c2))
        texture = material_texture[face_material[t]]
        cutoff = cutoffs[face_material[t]]
        seen = False
        wide = right - left > 3
        if wide:
            r0 = -1 / a0 if a0 != 0 else 0.0
            r1 = -1 / a1 if a1 != 0 else 0.0
            r2 = -1 / a2 if a2 != 0 else 0.0
        for row in range(top, bottom + 1):
            y = row + 0.5
            k0, k1, k2, kz = b0 * y + c0, b1 * y + c1, b2 * y + c2, bz * y + cz
            first, last = left, right
            if wide:
                low, high = left + 0.5, right + 0.5
                if a0 > 0:
                    low = max(low, k0 * r0)
                elif a0 < 0:
                    high = min(high, k0 * r0)
                elif k0 < 0:
                    continue
                if a1 > 0:
                    low = max(low, k1 * r1)
                elif a1 < 0:
                    high = min(high, k1 * r1)
                elif k1 < 0:
                    continue
                if a2 > 0:
                    low = max(low, k2 * r2)
                elif a2 < 0:
                    high = min(high, k2 * r2)
                elif k2 < 0:
                    continue
                # Bounded before they become integers: far outside of the picture they would overflow.
                first = max(left, int(np.ceil(min(low, right + 2.0) - 0.5)))
                last = min(right, int(np.floor(max(high, left - 2.0) - 0.5)))
            else:
                while first <= last:
                    x = first + 0.5
                    if a0 * x + k0 >= 0 and a1 * x + k1 >= 0 and a2 * x + k2 >= 0:
                        break
                    first += 1
                while first < last:
                    x = last + 0.5
                    if a0 * x + k0 >= 0 and a1 * x + k1 >= 0 and a2 * x + k2 >= 0:
                        break
                    last -= 1
            for col in range(first, last + 1):
                x = col + 0.5
                value = np.float32(az * x + kz)
                if value <= inv_depth[row, col] or value >= highest:
                    continue
                if not seen:
                    seen = True
                    extent[0], extent[1] = min(extent[0], top), max(extent[1], bottom)
                    extent[2], extent[3] = min(extent[2], left), max(extent[3], right)
                    weights[t, 0], weights[t, 1], weights[t, 2] = a0, b0, c0
                    weights[t, 3], weights[t, 4], weights[t, 5] = a1, b1, c1
                    weights[t, 6], weights[t, 7], weights[t, 8] = a2, b2, c2
                    weights[t, 10] = -1.0 if det > 0 else 1.0  # rows run downward: counter-clockwise is negative
                    if texture >= 0:
                        ux, uy = uvs[i1, 0] - uvs[i0, 0], uvs[i1, 1] - uvs[i0, 1]
                        vx, vy = uvs[i2, 0] - uvs[i0, 0], uvs[i2, 1] - uvs[i0, 1]
                        texel_area = abs((ux * vy - uy * vx) * inv) * tables[texture, 0, 1] * tables[texture, 0, 2]
                        weights[t, 9] = 0.5 * np.log2(max(texel_area, 1e-12))
                if cutoff > 0 and texture >= 0:
                    z = 1 / value
                    w0, w1 = (a0 * x + k0) * z, (a1 * x + k1) * z
                    w2 = 1 - w0 - w1
                    u = w0 * uvs[i0, 0] + w1 * uvs[i1, 0] + w2 * uvs[i2, 0]
                    v = w0 * uvs[i0, 1] + w1 * uvs[i1, 1] + w2 * uvs[i2, 1]
                    lod = weights[t, 9] - np.float32(1.5 * np.log2(np.float64(value)))
                    if _sample(texels, tables, texture, np.float32(u), np.float32(v), lod)[3] < cutoff:
                        continue
                inv_depth[row, col] = value
                face_ids[row, col] = t


@compiled(fastmath=FAST, inline="always")
def _bilinear(texels: Any, offset: Any, h: Any, w: Any, u: Any, v: Any) -> Any:
    """One level at a place in [0, 1); repeats at the borders."""
    x, y = u * w - np.float32(0.5), v * h - np.float32(0.5)
    x0, y0 = int(np.floor(x)), int(np.floor(y))
    fx, fy = np.float32(x - x0), np.float32(y - y0)
    x1 = x0 + 1 if x0 + 1 < w else 0
    y1 = y0 + 1 if y0 + 1 < h else 0
    if x0 < 0:
        x0 = w - 1
    if y0 < 0:
        y0 = h - 1
    one = np.float32(1)
    i, j, k, m = offset + y0 * w + x0, offset + y0 * w + x1, offset + y1 * w + x0, offset + y1 * w + x1
    wi, wj, wk, wm = (one - fx) * (one - fy), fx * (one - fy), (one - fx) * fy, fx * fy
    return (
        texels[i, 0] * wi + texels[j, 0] * wj + texels[k, 0] * wk + texels[m, 0] * wm,
        texels[i, 1] * wi + texels[j, 1] * wj + texels[k, 1] * wk + texels[m, 1] * wm,
        texels[i, 2] * wi + texels[j, 2] * wj + texels[k, 2] * wk + texels[m, 2] * wm,
        texels[i, 3] * wi + texels[j, 3] * wj + texels[k, 3] * wk + texels[m, 3] * wm,
    )


@compiled(fastmath=FAST, inline="always")
def _sample(texels: Any, tables: Any, texture: Any, u: Any, v: Any, lod: Any) -> Any:
    """RGBA in [0, 1] at (u, v), v down, blending the two levels around `lod`."""
    u, v = u - np.floor(u), v - np.floor(v)
    lod = min(max(lod, np.float32(0)), np.float32(MAX_LEVELS - 2))
    level = int(lod)
    blend = lod - np.float32(level)
    scale = np.float32(1 / 255)
    r, g, b, a = _bilinear(
        texels, tables[texture, level, 0], tables[texture, level, 1], tables[texture, level, 2], u, v
    )
    if blend > np.float32(0.02):
        level += 1
        r2, g2, b2, a2 = _bilinear(
            texels, tables[texture, level, 0], tables[texture, level, 1], tables[texture, level, 2], u, v
        )
        r, g, b, a = r + (r2 - r) * blend, g + (g2 - g) * blend, b + (b2 - b) * blend, a + (a2 - a) * blend
    return r * scale, g * scale, b * scale, a * scale


@compiled(fastmath=FAST)
def shade(
    faces: Any,
    normals: Any,
    uvs: Any,
    colors: Any,
    face_material: Any,
    base_colors: Any,
    material_texture: Any,
    texels: Any,
    tables: Any,
    to_linear: Any,
    to_srgb: Any,
    lit: Any,
    albedo_matrix: Any,
    ambient: Any,
    light_directions: Any,
    light_colors: Any,
    focal: Any,
    inv_depth: Any,
    face_ids: Any,
    weights: Any,
    extent: Any,
    supersample: Any,
    rgba: Any,
    depth: Any,
    normal: Any,
) -> None:
    """Shades the visible samples of `rasterize` and averages them to pixels.

    Colour is the mean over a pixel's covered samples, alpha their share. Depth and normal are averaged over the nearer
    layer only where a pixel sees two, so that outlines do not grow points that float between the surfaces.

    Args:
        normals: (F, 3, 3); colors: (V, 3) or (0, 3); base_colors: (M, 3).
        lit: False leaves the base colour as it is.
        albedo_matrix: (3, 3) applied to the linear base colour (lit only).
        ambient: (2, 3) linear light from below and from above; light_directions: (L, 3) towards the lights;
            light_colors: (L, 3) linear.
        focal: in samples.
        rgba: (H, W, 4), depth: (H, W), normal: (H, W, 3), all float32, written.
    """
    rgba[:] = 0
    depth[:] = 0
    normal[:] = 0
    zero, half, one = np.float32(0), np.float32(0.5), np.float32(1)
    bits = inv_depth.view(np.int32)
    table_top = np.float32(len(to_linear) - 1)
    for py in range(extent[0] // supersample, extent[1] // supersample + 1):
        for px in range(extent[2] // supersample, extent[3] // supersample + 1):
            nearest, farthest, covered = zero, np.float32(1e30), zero
            for sy in range(py * supersample, (py + 1) * supersample):
                for sx in range(px * supersample, (px + 1) * supersample):
                    value = inv_depth[sy, sx]
                    if value > 0:
                        nearest, farthest = max(nearest, value), min(farthest, value)
                        covered += one
            if covered == 0:
                continue
            # Two layers: the depths differ by more than a surface at a grazing angle would over one pixel.
            z_near, z_far = one / nearest, one / farthest
            limit = farthest
            if z_far - z_near > np.float32(8 * supersample) * z_near / focal:
                limit = (one + one) / (z_near + z_far)
            red = green = blue = zero
            total_z = total_x = total_y = total_w = layer = zero
            for sy in range(py * supersample, (py + 1) * supersample):
                for sx in range(px * supersample, (px + 1) * supersample):
                    t = face_ids[sy, sx]
                    if t < 0:
                        continue
                    x, y = np.float32(sx) + half, np.float32(sy) + half
                    z = one / inv_depth[sy, sx]
                    w0 = (weights[t, 0] * x + weights[t, 1] * y + weights[t, 2]) * z
                    w1 = (weights[t, 3] * x + weights[t, 4] * y + weights[t, 5]) * z
                    w0 = min(max(w0, zero), one)
                    w1 = min(max(w1, zero), one - w0)
                    w2 = one - w0 - w1
                    nx = w0 * normals[t, 0, 0] + w1 * normals[t, 1, 0] + w2 * normals[t, 2, 0]
                    ny = w0 * normals[t, 0, 1] + w1 * normals[t, 1, 1] + w2 * normals[t, 2, 1]
                    nz = w0 * normals[t, 0, 2] + w1 * normals[t, 1, 2] + w2 * normals[t, 2, 2]
                    inverse = weights[t, 10] / np.sqrt(max(nx * nx + ny * ny + nz * nz, np.float32(1e-20)))
                    nx, ny, nz = nx * inverse, ny * inverse, nz * inverse
                    if inv_depth[sy, sx] >= limit:
                        total_z += z
                        total_x += nx
                        total_y += ny
                        total_w += nz
                        layer += one
                    material = face_material[t]
                    r, g, b = base_colors[material, 0], base_colors[material, 1], base_colors[material, 2]
                    i0, i1, i2 = faces[t, 0], faces[t, 1], faces[t, 2]
                    texture = material_texture[material]
                    if texture >= 0:
                        u = w0 * uvs[i0, 0] + w1 * uvs[i1, 0] + w2 * uvs[i2, 0]
                        v = w0 * uvs[i0, 1] + w1 * uvs[i1, 1] + w2 * uvs[i2, 1]
                        # The exponent and mantissa of a float are its logarithm to within 0.09, enough for a level.
                        log_inv_depth = np.float32(bits[sy, sx]) * np.float32(1 / 8388608) - np.float32(126.957)
                        lod = weights[t, 9] - np.float32(1.5) * log_inv_depth
                        tr, tg, tb, _ = _sample(texels, tables, texture, u, v, lod)
                        r, g, b = r * tr, g * tg, b * tb
                    if len(colors) > 0:
                        r *= w0 * colors[i0, 0] + w1 * colors[i1, 0] + w2 * colors[i2, 0]
                        g *= w0 * colors[i0, 1] + w1 * colors[i1, 1] + w2 * colors[i2, 1]
                        b *= w0 * colors[i0, 2] + w1 * colors[i1, 2] + w2 * colors[i2, 2]
                    if lit:
                        lr = to_linear[int(min(max(r, zero), one) * table_top + half)]
                        lg = to_linear[int(min(max(g, zero), one) * table_top + half)]
                        lb = to_linear[int(min(max(b, zero), one) * table_top + half)]
                        r = albedo_matrix[0, 0] * lr + albedo_matrix[0, 1] * lg + albedo_matrix[0, 2] * lb
                        g = albedo_matrix[1, 0] * lr + albedo_matrix[1, 1] * lg + albedo_matrix[1, 2] * lb
                        b = albedo_matrix[2, 0] * lr + albedo_matrix[2, 1] * lg + albedo_matrix[2, 2] * lb
                        up = half + half * ny
                        er = ambient[0, 0] + (ambient[1, 0] - ambient[0, 0]) * up
                        eg = ambient[0, 1] + (ambient[1, 1] - ambient[0, 1]) * up
                        eb = ambient[0, 2] + (ambient[1, 2] - ambient[0, 2]) * up
                        for light in range(len(light_directions)):
                            cosine = (
                                nx * light_directions[light, 0]
                                + ny * light_directions[light, 1]
                                + nz * light_directions[light, 2]
                            )
                            if cosine > 0:
                                er += cosine * light_colors[light, 0]
                                eg += cosine * light_colors[light, 1]
                                eb += cosine * light_colors[light, 2]
                        r = to_srgb[int(min(max(r * er, zero), one) * table_top + half)]
                        g = to_srgb[int(min(max(g * eg, zero), one) * table_top + half)]
                        b = to_srgb[int(min(max(b * eb, zero), one) * table_top + half)]
                    red += r
                    green += g
                    blue += b
            share = one / covered
            rgba[py, px, 0], rgba[py, px, 1], rgba[py, px, 2] = red * share, green * share, blue * share
            rgba[py, px, 3] = covered / np.float32(supersample * supersample)
            depth[py, px] = total_z / layer
            length = np.sqrt(total_x * total_x + total_y * total_y + total_w * total_w)
            inverse = one / length if length > 1e-12 else zero
            normal[py, px, 0] = total_x * inverse
            normal[py, px, 1] = total_y * inverse
            normal[py, px, 2] = total_w * inverse
