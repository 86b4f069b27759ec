"""Numba kernels over texels, used by uv.py and texture.py. Serial on purpose: they are short and memory-bound, and
one thread each never fights with whatever else runs. Imported only by the functions that use them."""

from __future__ import annotations

from typing import Any

import numpy as np

from recon._jit import compiled


@compiled()
def rasterize_atlas(uv: Any, faces: Any, size: int) -> Any:
    """Which triangle owns each texel centre.

    Args:
        uv: (V, 2) float64 in texels, v down.
        faces: (F, 3) int64.
        size: side of the square texture.

    Returns:
        face (S, S) int32, -1 outside; bary (S, S, 3) float32; collisions (F,) int64, how many texel centres strictly
        inside the face were also strictly inside another.
    """
    face = np.full((size, size), -1, np.int32)
    strict = np.zeros((size, size), np.uint8)
    bary = np.zeros((size, size, 3), np.float32)
    collisions = np.zeros(len(faces), np.int64)
    for f in range(len(faces)):
        ax, ay = uv[faces[f, 0]]
        bx, by = uv[faces[f, 1]]
        cx, cy = uv[faces[f, 2]]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if abs(area) < 1e-12:
            continue
        x0 = max(int(np.floor(min(ax, bx, cx) - 0.5)), 0)
        x1 = min(int(np.ceil(max(ax, bx, cx) - 0.5)), size - 1)
        y0 = max(int(np.floor(min(ay, by, cy) - 0.5)), 0)
        y1 = min(int(np.ceil(max(ay, by, cy) - 0.5)), size - 1)
        for y in range(y0, y1 + 1):
            py = y + 0.5
            for x in range(x0, x1 + 1):
                px = x + 0.5
                u = ((bx - px) * (cy - py) - (by - py) * (cx - px)) / area
                v = ((cx - px) * (ay - py) - (cy - py) * (ax - px)) / area
                w = 1.0 - u - v
                if u < -1e-9 or v < -1e-9 or w < -1e-9:
                    continue
                inside = u > 1e-6 and v > 1e-6 and w > 1e-6
                if inside and strict[y, x]:
                    collisions[f] += 1
                    collisions[face[y, x]] += 1
                if face[y, x] < 0 or inside:
                    face[y, x] = f
                    bary[y, x, 0] = u
                    bary[y, x, 1] = v
                    bary[y, x, 2] = w
                    if inside:
                        strict[y, x] = 1
    return face, bary, collisions


@compiled()
def interpolate(faces: Any, face: Any, bary: Any, values: Any) -> Any:
    """(T, C) float32 values at texels from values (V, C) at vertices; face (T,), bary (T, 3)."""
    channels = values.shape[1]
    out = np.empty((len(face), channels), np.float32)
    for t in range(len(face)):
        a, b, c = faces[face[t]]
        for k in range(channels):
            out[t, k] = bary[t, 0] * values[a, k] + bary[t, 1] * values[b, k] + bary[t, 2] * values[c, k]
    return out


@compiled()
def gather(faces: Any, face: Any, bary: Any, weight: Any, values: Any, vertices: int) -> Any:
    """Weighted sums at vertices, (V, C) and (V,), of values (T, C) at texels: the transpose of `interpolate`."""
    channels = values.shape[1]
    total = np.zeros((vertices, channels))
    weights = np.zeros(vertices)
    for t in range(len(face)):
        if weight[t] <= 0.0:
            continue
        for corner in range(3):
            v = faces[face[t], corner]
            w = bary[t, corner] * weight[t]
            weights[v] += w
            for k in range(channels):
                total[v, k] += w * values[t, k]
    return total, weights


@compiled(inline="always")
def _smooth(low: float, high: float, x: float) -> float:
    t = min(max((x - low) / (high - low), 0.0), 1.0)
    return t * t * (3.0 - 2.0 * t)


@compiled(fastmath=True)
def accumulate_view(
    points: Any,
    normals: Any,
    w2c: Any,
    k: Any,
    centre: Any,
    image: Any,
    low: Any,
    trust: Any,
    depth: Any,
    tolerance: float,
    resolution: float,
    grazing: Any,
    soft: Any,
    sharp: Any,
) -> None:
    """Adds what one view sees of every texel to two sums.

    Args:
        points, normals: (T, 3) float32.
        w2c: (3, 4), k: (fx, fy, cx, cy) for `image`, centre: (3,).
        image: (H, W, 4) premultiplied; low: (h, w, 3) its slow part, straight; both cover the same picture.
        trust: (h, w) weight of each place of the picture, 0 = do not use.
        depth: (h, w) forward depth of the surface, 0 = none.
        tolerance: how far behind the surface seen at its place a texel may lie.
        resolution: factor on all weights at depth 1; it falls with the depth.
        grazing: (from, to) cosines between which the weight rises.
        soft, sharp: (T, 4) float32 sums of (rgb * w, w), changed in place: of the slow part with the weight squared,
            and of the rest with its sixth power.
    """
    height, width = image.shape[:2]
    map_height, map_width = depth.shape
    to_map_x, to_map_y = map_width / width, map_height / height
    for t in range(len(points)):
        px, py, pz = points[t]
        z = w2c[2, 0] * px + w2c[2, 1] * py + w2c[2, 2] * pz + w2c[2, 3]
        if z < 1e-3:
            continue
        dx, dy, dz = centre[0] - px, centre[1] - py, centre[2] - pz
        facing = normals[t, 0] * dx + normals[t, 1] * dy + normals[t, 2] * dz
        if facing <= 0.0:
            continue
        facing /= np.sqrt(dx * dx + dy * dy + dz * dz)
        if facing <= grazing[0]:
            continue
        u = k[0] * (w2c[0, 0] * px + w2c[0, 1] * py + w2c[0, 2] * pz + w2c[0, 3]) / z + k[2]
        v = k[1] * (w2c[1, 0] * px + w2c[1, 1] * py + w2c[1, 2] * pz + w2c[1, 3]) / z + k[3]
        if not (0.5 <= u <= width - 0.5 and 0.5 <= v <= height - 0.5):
            continue
        # The coarse maps first: most texels stop here.
        mu = min(max(u * to_map_x - 0.5, 0.0), map_width - 1.001)
        mv = min(max(v * to_map_y - 0.5, 0.0), map_height - 1.001)
        mx, my = int(mu), int(mv)
        fx, fy = mu - mx, mv - my
        m00, m01, m10, m11 = (1 - fx) * (1 - fy), fx * (1 - fy), (1 - fx) * fy, fx * fy
        weight = m00 * trust[my, mx] + m01 * trust[my, mx + 1] + m10 * trust[my + 1, mx] + m11 * trust[my + 1, mx + 1]
        if weight <= 1e-4:
            continue
        seen = max(max(depth[my, mx], depth[my, mx + 1]), max(depth[my + 1, mx], depth[my + 1, mx + 1]))
        if z > seen + tolerance:
            continue
        weight *= facing * facing * _smooth(grazing[0], grazing[1], facing)
        weight *= min(resolution / z, 1.0)

        iu, iv = u - 0.5, v - 0.5
        ix, iy = min(int(iu), width - 2), min(int(iv), height - 2)
        fx, fy = iu - ix, iv - iy
        i00, i01, i10, i11 = (1 - fx) * (1 - fy), fx * (1 - fy), (1 - fx) * fy, fx * fy
        alpha = (
            i00 * image[iy, ix, 3] + i01 * image[iy, ix + 1, 3] + i10 * image[iy + 1, ix, 3]
            + i11 * image[iy + 1, ix + 1, 3]
        )  # fmt: skip
        if alpha < 0.3:
            continue
        slow_weight = weight * weight
        fast_weight = slow_weight * slow_weight * slow_weight
        soft[t, 3] += slow_weight
        sharp[t, 3] += fast_weight
        for c in range(3):
            full = (
                i00 * image[iy, ix, c] + i01 * image[iy, ix + 1, c] + i10 * image[iy + 1, ix, c]
                + i11 * image[iy + 1, ix + 1, c]
            ) / alpha  # fmt: skip
            slow = (
                m00 * low[my, mx, c] + m01 * low[my, mx + 1, c] + m10 * low[my + 1, mx, c]
                + m11 * low[my + 1, mx + 1, c]
            )  # fmt: skip
            soft[t, c] += slow_weight * slow
            sharp[t, c] += fast_weight * (full - slow)
