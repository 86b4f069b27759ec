"""Numba kernels of the mesh renderer: corner normals, texture pyramids, z-buffer, shading.

Rasterisation is homogeneous (Olano & Greer 1997, "Triangle scan conversion using 2D homogeneous coordinates"): the
inverse of the three projected corners gives barycentric weights over depth as linear functions of the pixel, so
perspective-correct interpolation, the depth test and faces that cross the camera plane need no clipping.
All kernels release the interpreter lock; none is parallel by itself.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

MAX_LEVELS = 16
_LUT_SIZE = 8192
_FAST = {"contract", "arcp", "nsz", "reassoc"}


def _make_luts() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    x = np.linspace(0, 1, _LUT_SIZE)
    to_linear = np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)
    to_srgb = np.where(x <= 0.0031308, x * 12.92, 1.055 * np.maximum(x, 1e-9) ** (1 / 2.4) - 0.055)
    return to_linear.astype(np.float32), to_srgb.astype(np.float32)


SRGB_TO_LINEAR, LINEAR_TO_SRGB = _make_luts()


@njit(cache=True, nogil=True, fastmath=_FAST)
def corner_normals(vertices, faces, cos_crease):
    """(F, 3, 3) float32 unit normals of every corner: the area-weighted mean of the faces around the corner's position
    (vertices at equal places count as one) that bend away from its own face by less than the crease angle."""
    count, corners = len(vertices), 3 * len(faces)
    size = 16
    while size < 2 * count:
        size *= 2
    slots = np.full(size, -1, np.int32)
    welded = np.empty(count, np.int32)
    for i in range(count):
        x, y, z = vertices[i, 0], vertices[i, 1], vertices[i, 2]
        kx, ky, kz = np.int64(np.rint(x * 65536)), np.int64(np.rint(y * 65536)), np.int64(np.rint(z * 65536))
        slot = (kx * 73856093 ^ ky * 19349663 ^ kz * 83492791) & (size - 1)
        while True:
            other = slots[slot]
            if other < 0:
                slots[slot] = i
                welded[i] = i
                break
            if vertices[other, 0] == x and vertices[other, 1] == y and vertices[other, 2] == z:
                welded[i] = other
                break
            slot = (slot + 1) & (size - 1)

    area = np.empty((len(faces), 3), np.float32)
    unit = np.empty((len(faces), 3), np.float32)
    start = np.zeros(count + 1, np.int32)
    for t in range(len(faces)):
        a, b, c = faces[t, 0], faces[t, 1], faces[t, 2]
        ux, uy, uz = vertices[b, 0] - vertices[a, 0], vertices[b, 1] - vertices[a, 1], vertices[b, 2] - vertices[a, 2]
        vx, vy, vz = vertices[c, 0] - vertices[a, 0], vertices[c, 1] - vertices[a, 1], vertices[c, 2] - vertices[a, 2]
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        length = np.sqrt(nx * nx + ny * ny + nz * nz)
        inverse = 1 / length if length > 1e-20 else 0.0
        area[t, 0], area[t, 1], area[t, 2] = nx, ny, nz
        unit[t, 0], unit[t, 1], unit[t, 2] = nx * inverse, ny * inverse, nz * inverse
        for k in range(3):
            start[welded[faces[t, k]] + 1] += 1
    for i in range(count):
        start[i + 1] += start[i]
    fill = start[:-1].copy()
    around = np.empty(corners, np.int32)
    for t in range(len(faces)):
        for k in range(3):
            w = welded[faces[t, k]]
            around[fill[w]] = t
            fill[w] += 1

    out = np.empty((len(faces), 3, 3), np.float32)
    for t in range(len(faces)):
        ux, uy, uz = unit[t, 0], unit[t, 1], unit[t, 2]
        for k in range(3):
            w = welded[faces[t, k]]
            sx = sy = sz = 0.0
            for j in range(start[w], start[w + 1]):
                o = around[j]
                if unit[o, 0] * ux + unit[o, 1] * uy + unit[o, 2] * uz > cos_crease:
                    sx += area[o, 0]
                    sy += area[o, 1]
                    sz += area[o, 2]
            length = np.sqrt(sx * sx + sy * sy + sz * sz)
            if length > 1e-20:
                out[t, k, 0], out[t, k, 1], out[t, k, 2] = sx / length, sy / length, sz / length
            else:
                out[t, k, 0], out[t, k, 1], out[t, k, 2] = ux, uy, uz
    return out


@njit(cache=True, nogil=True)
def build_pyramid(image):
    """Box-filtered levels of an (H, W, 4) uint8 image, colours weighted by alpha.

    Returns all texels (N, 4) uint8, level after level, and (levels, 3) int64 rows of offset, height, width.
    """
    height, width = image.shape[0], image.shape[1]
    table = np.zeros((MAX_LEVELS, 3), np.int64)
    total, levels, h, w = 0, 0, height, width
    while levels < MAX_LEVELS:
        table[levels, 0], table[levels, 1], table[levels, 2] = total, h, w
        total += h * w
        levels += 1
        if h == 1 and w == 1:
            break
        h, w = max(1, h // 2), max(1, w // 2)
    texels = np.empty((total, 4), np.uint8)
    for y in range(height):
        for x in range(width):
            for c in range(4):
                texels[y * width + x, c] = image[y, x, c]
    for level in range(1, levels):
        source, sh, sw = table[level - 1]
        target, h, w = table[level]
        for y in range(h):
            y0, y1 = min(2 * y, sh - 1), min(2 * y + 1, sh - 1)
            for x in range(w):
                x0, x1 = min(2 * x, sw - 1), min(2 * x + 1, sw - 1)
                i, j = source + y0 * sw + x0, source + y0 * sw + x1
                k, m = source + y1 * sw + x0, source + y1 * sw + x1
                ai, aj, ak, am = (
                    np.int32(texels[i, 3]),
                    np.int32(texels[j, 3]),
                    np.int32(texels[k, 3]),
                    np.int32(texels[m, 3]),
                )
                alpha = ai + aj + ak + am
                texels[target + y * w + x, 3] = (alpha + 2) // 4
                if alpha == 0 or alpha == 1020:
                    ai = aj = ak = am = 1
                    alpha = 4
                for c in range(3):
                    mixed = texels[i, c] * ai + texels[j, c] * aj + texels[k, c] * ak + texels[m, c] * am
                    texels[target + y * w + x, c] = (mixed + alpha // 2) // alpha
    return texels, table[:levels].copy()


@njit(cache=True, nogil=True, fastmath=_FAST)
def rasterize(
    vertices, faces, uvs, face_material, material_texture, cutoffs, texels, tables, w2c, k, near, inv_depth, face_ids, weights
):
    """Z-buffer of one view.

    Args:
        w2c: (3, 4) float64; k: (4,) float64 fx, fy, cx, cy in *samples*; near: smallest visible depth.
        inv_depth: (H, W) float32, written: 1 / depth, 0 where nothing is seen.
        face_ids: (H, W) int32, written: visible face, -1 = none.
        weights: (F, 11) float32, scratch: the three linear functions (x, y, 1) of barycentric weight over depth;
            sqrt(|uv area| / |determinant|), from which the texture level follows; 1 for front faces, -1 for back.
    """
    height, width = inv_depth.shape
    inv_depth[:] = 0
    face_ids[:] = -1
    corners = np.empty((len(vertices), 3), np.float64)
    fx, fy, cx, cy = k[0], k[1], k[2], k[3]
    for i in range(len(vertices)):
        x, y, z = vertices[i, 0], vertices[i, 1], vertices[i, 2]
        cz = w2c[2, 0] * x + w2c[2, 1] * y + w2c[2, 2] * z + w2c[2, 3]
        corners[i, 0] = fx * (w2c[0, 0] * x + w2c[0, 1] * y + w2c[0, 2] * z + w2c[0, 3]) + cx * cz
        corners[i, 1] = fy * (w2c[1, 0] * x + w2c[1, 1] * y + w2c[1, 2] * z + w2c[1, 3]) + cy * cz
        corners[i, 2] = cz
    farthest = np.float32(1 / near)

    for t in range(len(faces)):
        i0, i1, i2 = faces[t, 0], faces[t, 1], faces[t, 2]
        x0, y0, z0 = corners[i0, 0], corners[i0, 1], corners[i0, 2]
        x1, y1, z1 = corners[i1, 0], corners[i1, 1], corners[i1, 2]
        x2, y2, z2 = corners[i2, 0], corners[i2, 1], corners[i2, 2]
        left, right, top, bottom = 0, width - 1, 0, height - 1
        if z0 > near and z1 > near and z2 > near:
            sx0, sx1, sx2 = x0 / z0, x1 / z1, x2 / z2
            sy0, sy1, sy2 = y0 / z0, y1 / z1, y2 / z2
            left = max(0, int(np.ceil(max(min(sx0, sx1, sx2), -1.0) - 0.501)))
            right = min(width - 1, int(np.floor(min(max(sx0, sx1, sx2), width + 1.0) - 0.499)))
            if left > right:
                continue
            top = max(0, int(np.ceil(max(min(sy0, sy1, sy2), -1.0) - 0.501)))
            bottom = min(height - 1, int(np.floor(min(max(sy0, sy1, sy2), height + 1.0) - 0.499)))
            if top > bottom:
                continue
        elif z0 <= near and z1 <= near and z2 <= near:
            continue
        a0, b0, c0 = y1 * z2 - z1 * y2, z1 * x2 - x1 * z2, x1 * y2 - y1 * x2
        a1, b1, c1 = y2 * z0 - z2 * y0, z2 * x0 - x2 * z0, x2 * y0 - y2 * x0
        a2, b2, c2 = y0 * z1 - z0 * y1, z0 * x1 - x0 * z1, x0 * y1 - y0 * x1
        det = x0 * a0 + y0 * b0 + z0 * c0
        if abs(det) < 1e-12:
            continue
        inv = 1 / det
        a0, b0, c0, a1, b1, c1, a2, b2, c2 = (
            a0 * inv,
            b0 * inv,
            c0 * inv,
            a1 * inv,
            b1 * inv,
            c1 * inv,
            a2 * inv,
            b2 * inv,
            c2 * inv,
        )
        w = weights[t]
        w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7], w[8] = a0, b0, c0, a1, b1, c1, a2, b2, c2
        w[10] = -1.0 if det > 0 else 1.0  # rows run downward, so counter-clockwise is negative
        material = face_material[t]
        texture = material_texture[material]
        cutoff = cutoffs[material]
        if texture >= 0:
            uv_area = (uvs[i1, 0] - uvs[i0, 0]) * (uvs[i2, 1] - uvs[i0, 1]) - (uvs[i2, 0] - uvs[i0, 0]) * (
                uvs[i1, 1] - uvs[i0, 1]
            )
            w[9] = np.sqrt(abs(uv_area * inv))
        az, bz, cz = a0 + a1 + a2, b0 + b1 + b2, c0 + c1 + c2
        # Neighbours share an edge; widening by the rounding error leaves no sample to neither of them.
        e0 = 1e-9 * (abs(a0) * width + abs(b0) * height + abs(c0))
        e1 = 1e-9 * (abs(a1) * width + abs(b1) * height + abs(c1))
        e2 = 1e-9 * (abs(a2) * width + abs(b2) * height + abs(c2))
        r0 = 1 / a0 if a0 != 0 else 0.0
        r1 = 1 / a1 if a1 != 0 else 0.0
        r2 = 1 / a2 if a2 != 0 else 0.0
        for row in range(top, bottom + 1):
            y = row + 0.5
            k0, k1, k2 = b0 * y + c0 + e0, b1 * y + c1 + e1, b2 * y + c2 + e2
            low, high = left + 0.0, right + 1.0
            if a0 > 0:
                low = max(low, -k0 * r0)
            elif a0 < 0:
                high = min(high, -k0 * r0)
            elif k0 < 0:
                continue
            if a1 > 0:
                low = max(low, -k1 * r1)
            elif a1 < 0:
                high = min(high, -k1 * r1)
            elif k1 < 0:
                continue
            if a2 > 0:
                low = max(low, -k2 * r2)
            elif a2 < 0:
                high = min(high, -k2 * r2)
            elif k2 < 0:
                continue
            first, last = int(np.ceil(low - 0.5)), int(np.floor(high - 0.5))
            kz = bz * y + cz
            if cutoff <= 0 or texture < 0:
                for col in range(first, last + 1):
                    value = np.float32(az * (col + 0.5) + kz)
                    if value > inv_depth[row, col] and value < farthest:
                        inv_depth[row, col] = value
                        face_ids[row, col] = t
            else:
                for col in range(first, last + 1):
                    x = col + 0.5
                    value = np.float32(az * x + kz)
                    if value > inv_depth[row, col] and value < farthest:
                        z = 1 / value
                        u0, u1 = (a0 * x + b0 * y + c0) * z, (a1 * x + b1 * y + c1) * z
                        u2 = 1 - u0 - u1
                        u = u0 * uvs[i0, 0] + u1 * uvs[i1, 0] + u2 * uvs[i2, 0]
                        v = u0 * uvs[i0, 1] + u1 * uvs[i1, 1] + u2 * uvs[i2, 1]
                        alpha = _sample(texels, tables[texture], u, v, w[9] * z * np.sqrt(z))[3]
                        if alpha >= cutoff:
                            inv_depth[row, col] = value
                            face_ids[row, col] = t


@njit(cache=True, nogil=True, fastmath=_FAST, inline="always")
def _bilinear(texels, offset, h, w, u, v):
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


@njit(cache=True, nogil=True, fastmath=_FAST)
def _sample(texels, table, u, v, spread):
    """RGBA in [0, 1] at (u, v), v down; `spread` is the side of one sample in uv units. Blends the two nearest levels."""
    u, v = np.float32(u - np.floor(u)), np.float32(v - np.floor(v))
    side = spread * np.sqrt(np.float32(table[0, 1]) * np.float32(table[0, 2]))
    last = 0
    while last + 1 < MAX_LEVELS and table[last + 1, 1] > 0:
        last += 1
    lod = np.float32(0)
    if side > 1:
        lod = min(np.float32(np.log2(side)), np.float32(last))
    level = int(lod)
    blend = lod - np.float32(level)
    scale = np.float32(1 / 255)
    r, g, b, a = _bilinear(texels, table[level, 0], table[level, 1], table[level, 2], u, v)
    if blend > 0.01:
        r2, g2, b2, a2 = _bilinear(texels, table[level + 1, 0], table[level + 1, 1], table[level + 1, 2], u, v)
        r, g, b, a = r + (r2 - r) * blend, g + (g2 - g) * blend, b + (b2 - b) * blend, a + (a2 - a) * blend
    return r * scale, g * scale, b * scale, a * scale


@njit(cache=True, nogil=True, fastmath=_FAST)
def shade(
    faces,
    normals,
    uvs,
    colors,
    face_material,
    base_colors,
    material_texture,
    texels,
    tables,
    to_linear,
    to_srgb,
    lit,
    albedo_matrix,
    ambient,
    light_directions,
    light_colors,
    focal,
    inv_depth,
    face_ids,
    weights,
    supersample,
    rgba,
    depth,
    normal,
):
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
    height, width = depth.shape
    one = np.float32(1)
    table_top = np.float32(len(to_linear) - 1)
    for py in range(height):
        for px in range(width):
            nearest, farthest, covered = np.float32(0), np.float32(1e30), 0
            for sy in range(py * supersample, (py + 1) * supersample):
                for sx in range(px * supersample, (px + 1) * supersample):
                    value = inv_depth[sy, sx]
                    if value > 0:
                        nearest, farthest = max(nearest, value), min(farthest, value)
                        covered += 1
            if covered == 0:
                rgba[py, px, 0] = rgba[py, px, 1] = rgba[py, px, 2] = rgba[py, px, 3] = 0
                depth[py, px] = 0
                normal[py, px, 0] = normal[py, px, 1] = normal[py, px, 2] = 0
                continue
            # Two layers: the depths differ by more than a surface at a grazing angle would over one pixel.
            z_near, z_far = one / nearest, one / farthest
            limit = farthest
            if z_far - z_near > 8 * supersample * z_near / focal:
                limit = 2 / (z_near + z_far)
            red = green = blue = np.float32(0)
            total_z = total_x = total_y = total_w = np.float32(0)
            layer = 0
            for sy in range(py * supersample, (py + 1) * supersample):
                for sx in range(px * supersample, (px + 1) * supersample):
                    t = face_ids[sy, sx]
                    if t < 0:
                        continue
                    x, y = np.float32(sx + 0.5), np.float32(sy + 0.5)
                    z = one / inv_depth[sy, sx]
                    w = weights[t]
                    w0 = (w[0] * x + w[1] * y + w[2]) * z
                    w1 = (w[3] * x + w[4] * y + w[5]) * z
                    w0 = min(max(w0, np.float32(0)), one)
                    w1 = min(max(w1, np.float32(0)), one - w0)
                    w2 = one - w0 - w1
                    n = normals[t]
                    nx = w0 * n[0, 0] + w1 * n[1, 0] + w2 * n[2, 0]
                    ny = w0 * n[0, 1] + w1 * n[1, 1] + w2 * n[2, 1]
                    nz = w0 * n[0, 2] + w1 * n[1, 2] + w2 * n[2, 2]
                    inverse = w[10] / np.sqrt(max(nx * nx + ny * ny + nz * nz, np.float32(1e-20)))
                    nx, ny, nz = nx * inverse, ny * inverse, nz * inverse
                    if inv_depth[sy, sx] >= limit:
                        total_z += z
                        total_x += nx
                        total_y += ny
                        total_w += nz
                        layer += 1
                    material = face_material[t]
                    r, g, b = base_colors[material, 0], base_colors[material, 1], base_colors[material, 2]
                    i0, i1, i2 = faces[t, 0], faces[t, 1], faces[t, 2]
                    texture = material_texture[material]
                    if texture >= 0:
                        u = w0 * uvs[i0, 0] + w1 * uvs[i1, 0] + w2 * uvs[i2, 0]
                        v = w0 * uvs[i0, 1] + w1 * uvs[i1, 1] + w2 * uvs[i2, 1]
                        tr, tg, tb, _ = _sample(texels, tables[texture], u, v, w[9] * z * np.sqrt(z))
                        r, g, b = r * tr, g * tg, b * tb
                    if len(colors) > 0:
                        r *= w0 * colors[i0, 0] + w1 * colors[i1, 0] + w2 * colors[i2, 0]
                        g *= w0 * colors[i0, 1] + w1 * colors[i1, 1] + w2 * colors[i2, 1]
                        b *= w0 * colors[i0, 2] + w1 * colors[i1, 2] + w2 * colors[i2, 2]
                    if lit:
                        lr = to_linear[int(min(max(r, np.float32(0)), one) * table_top + np.float32(0.5))]
                        lg = to_linear[int(min(max(g, np.float32(0)), one) * table_top + np.float32(0.5))]
                        lb = to_linear[int(min(max(b, np.float32(0)), one) * table_top + np.float32(0.5))]
                        m = albedo_matrix
                        r = m[0, 0] * lr + m[0, 1] * lg + m[0, 2] * lb
                        g = m[1, 0] * lr + m[1, 1] * lg + m[1, 2] * lb
                        b = m[2, 0] * lr + m[2, 1] * lg + m[2, 2] * lb
                        up = np.float32(0.5) + np.float32(0.5) * ny
                        er = ambient[0, 0] + (ambient[1, 0] - ambient[0, 0]) * up
                        eg = ambient[0, 1] + (ambient[1, 1] - ambient[0, 1]) * up
                        eb = ambient[0, 2] + (ambient[1, 2] - ambient[0, 2]) * up
                        for light in range(len(light_directions)):
                            d = light_directions[light]
                            cosine = nx * d[0] + ny * d[1] + nz * d[2]
                            if cosine > 0:
                                er += cosine * light_colors[light, 0]
                                eg += cosine * light_colors[light, 1]
                                eb += cosine * light_colors[light, 2]
                        r = to_srgb[int(min(max(r * er, np.float32(0)), one) * table_top + np.float32(0.5))]
                        g = to_srgb[int(min(max(g * eg, np.float32(0)), one) * table_top + np.float32(0.5))]
                        b = to_srgb[int(min(max(b * eb, np.float32(0)), one) * table_top + np.float32(0.5))]
                    red += r
                    green += g
                    blue += b
            rgba[py, px, 0], rgba[py, px, 1], rgba[py, px, 2] = red / covered, green / covered, blue / covered
            rgba[py, px, 3] = np.float32(covered) / np.float32(supersample * supersample)
            depth[py, px] = total_z / layer
            length = np.sqrt(total_x * total_x + total_y * total_y + total_w * total_w)
            inverse = one / length if length > 1e-12 else np.float32(0)
            normal[py, px, 0] = total_x * inverse
            normal[py, px, 1] = total_y * inverse
            normal[py, px, 2] = total_w * inverse
