"""Numba kernels of `recon.capture.turntable`: rays of all frames ask all other frames whether they can be true."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recon._jit import compiled

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]
_HALVINGS = 3
_NEVER = np.float32(-1e6)


@compiled(inline="always")
def _sample(picture: Floats, u: np.float32, v: np.float32) -> np.float32:
    """Bilinear value of (H, W) at pixel coordinates; the border's beyond it."""
    height, width = picture.shape
    x = min(max(u - np.float32(0.5), np.float32(0)), np.float32(width - 1))
    y = min(max(v - np.float32(0.5), np.float32(0)), np.float32(height - 1))
    left, top = min(int(x), width - 2), min(int(y), height - 2)
    s, t = x - np.float32(left), y - np.float32(top)
    upper = picture[top, left] + (picture[top, left + 1] - picture[top, left]) * s
    lower = picture[top + 1, left] + (picture[top + 1, left + 1] - picture[top + 1, left]) * s
    return upper + (lower - upper) * t


@compiled(error_model="numpy", fastmath={"contract", "arcp", "nsz"})
def _depth_inside(
    frame: int,
    start: Floats,
    step: Floats,
    along: np.float32,
    signed: Floats,
    poses: Floats,
    lens: Floats,
    order: Integers,
    enough: np.float32,
) -> tuple[np.float32, int]:
    """The least signed distance that the other frames give to the ray's point at `along`, and which frame gives it;
    stops below `enough`."""
    x, y, z = start[0] + along * step[0], start[1] + along * step[1], start[2] + along * step[2]
    least, limiting = np.float32(1e6), -1
    for place in range(order.shape[1]):
        j = order[frame, place]
        pose = poses[j]
        w = pose[2, 0] * x + pose[2, 1] * y + pose[2, 2] * z + pose[2, 3]
        if w <= np.float32(1e-3):
            continue
        u = lens[0] * (pose[0, 0] * x + pose[0, 1] * y + pose[0, 2] * z + pose[0, 3]) / w + lens[1]
        v = lens[0] * (pose[1, 0] * x + pose[1, 1] * y + pose[1, 2] * z + pose[1, 3]) / w + lens[2]
        value = _sample(signed[j], u, v)
        if value < least:
            least, limiting = value, j
            if least <= enough:
                break
    return least, limiting


@compiled(error_model="numpy", fastmath={"contract", "arcp", "nsz"})
def _difference(
    start: Floats,
    step: Floats,
    along: np.float32,
    color: Floats,
    pictures: Floats,
    poses: Floats,
    lens: Floats,
    neighbours: Integers,
    ceiling: np.float32,
    found: Floats,
) -> np.float32:
    """Mean difference between a color and those that the ray's point at `along` has in the neighbours, over the better
    half of them, as the others may not see the point; `found` is room for one number a neighbour."""
    x, y, z = start[0] + along * step[0], start[1] + along * step[1], start[2] + along * step[2]
    total, seen = np.float32(0), 0
    for q in range(len(neighbours)):
        j = neighbours[q]
        pose = poses[j]
        w = pose[2, 0] * x + pose[2, 1] * y + pose[2, 2] * z + pose[2, 3]
        if w <= np.float32(1e-3):
            continue
        u = lens[0] * (pose[0, 0] * x + pose[0, 1] * y + pose[0, 2] * z + pose[0, 3]) / w + lens[1]
        v = lens[0] * (pose[1, 0] * x + pose[1, 1] * y + pose[1, 2] * z + pose[1, 3]) / w + lens[2]
        difference = np.float32(0)
        for c in range(3):
            difference += abs(_sample(pictures[j, c], u, v) - color[c])
        found[seen] = min(difference * np.float32(1 / 3), ceiling)
        seen += 1
    kept = (seen + 1) // 2
    for i in range(kept):
        smallest = i
        for o in range(i + 1, seen):
            if found[o] < found[smallest]:
                smallest = o
        found[i], found[smallest] = found[smallest], found[i]
        total += found[i]
    return total / np.float32(max(kept, 1))


@compiled(error_model="numpy", fastmath={"contract", "arcp", "nsz"})
def judge_rays(
    begin: int,
    end: int,
    frames: Integers,
    starts: Floats,
    steps: Floats,
    colors: Floats,
    count: int,
    signed: Floats,
    pictures: Floats,
    poses: Floats,
    lens: Floats,
    order: Integers,
    neighbours: Integers,
    tolerance: np.float32,
    ceiling: np.float32,
    deficits: Floats,
    costs: Floats,
    places: Floats,
    limiting: Integers,
) -> None:
    """How badly the rays [begin, end) fit the other frames.

    A ray through the object must have a point that all other silhouettes contain (silhouette coherence, Hernandez et
    al. 2007), and a point of the ray's colour in the frames nearby.

    Args:
        frames: (M,) of which frame a ray is.
        starts, steps: (M, 3) world; points are start + k step, 0 <= k < count.
        colors: (M, 3) that the ray shows; negative where it shall not be compared.
        signed: (N, H, W) pixels to the outline, positive inside.
        pictures: (N, 3, H, W).
        poses: (N, 3, 4) world to camera.
        lens: focal, cx, cy.
        order: (N, N - 1) the other frames, the likeliest to object first.
        neighbours: (N, Q) frames that a ray's colour is compared with.
        tolerance: pixels by which a compared point may lie outside.
        ceiling: largest difference of a colour that counts.
        deficits: (M,) out, pixels by which the best point is outside, 0 if it is not.
        costs: (M,) out, least mean difference of colours along the ray; 0 where not compared.
        places: (M,) out, where between the first and the last point inside it is, 0 to 1.
        limiting: (M, 2) out, the frames that keep the best point from being further inside, before and behind it.
    """
    inside = np.empty(count, np.float32)
    found = np.empty(neighbours.shape[1], np.float32)
    for ray in range(begin, end):
        frame, start, step = frames[ray], starts[ray], steps[ray]
        compared = colors[ray, 0] >= 0
        best, where = np.float32(-1e6), np.float32(0)
        for k in range(count):
            enough = min(best, -tolerance) if compared else best
            inside[k], _ = _depth_inside(frame, start, step, np.float32(k), signed, poses, lens, order, enough)
            if inside[k] > best:
                best, where = inside[k], np.float32(k)
                if best >= 0 and not compared:
                    break
        reach = np.float32(0.5)
        if best < 0:
            for _ in range(_HALVINGS):
                centre = where
                for side in (-reach, reach):
                    value, _ = _depth_inside(frame, start, step, centre + side, signed, poses, lens, order, best)
                    if value > best:
                        best, where = value, centre + side
                reach *= np.float32(0.5)
        deficits[ray] = max(np.float32(0), -best)
        for end_of in range(2):
            along = where + reach * np.float32(2 * end_of - 1)
            _, limiting[ray, end_of] = _depth_inside(frame, start, step, along, signed, poses, lens, order, _NEVER)
        costs[ray], places[ray] = np.float32(0), np.float32(0)
        if not compared:
            continue
        least, first, last, at = ceiling, -1, -1, 0
        for k in range(count):
            if inside[k] < -tolerance:
                continue
            if first < 0:
                first = k
            last = k
            cost = _difference(
                start, step, np.float32(k), colors[ray], pictures, poses, lens, neighbours[frame], ceiling, found
            )
            if cost < least:
                least, at = cost, k
        costs[ray] = least
        if last > first:
            places[ray] = np.float32(at - first) / np.float32(last - first)


@compiled(error_model="numpy")
def warp_rows(pictures: NDArray[np.float64], reach: int, apart: NDArray[np.float64]) -> None:
    """Least mean differences of rows whose pixels are matched in order.

    Args:
        pictures: (N, R, C, K).
        reach: columns by which matched pixels may be apart.
        apart: (N, N) out.
    """
    count, rows, columns, channels = pictures.shape
    table = np.empty((columns + 1, columns + 1), np.float64)
    for i in range(count):
        for j in range(i + 1, count):
            total = 0.0
            for row in range(rows):
                table[:] = np.inf
                table[0, 0] = 0.0
                for a in range(1, columns + 1):
                    for b in range(max(1, a - reach), min(columns, a + reach) + 1):
                        distance = 0.0
                        for k in range(channels):
                            distance += abs(pictures[i, row, a - 1, k] - pictures[j, row, b - 1, k])
                        before = min(table[a - 1, b - 1], min(table[a - 1, b], table[a, b - 1]))
                        table[a, b] = before + distance
                total += float(table[columns, columns])
            apart[i, j] = total / (rows * columns)
            apart[j, i] = apart[i, j]
