"""Numba kernel of `recon.surface.decimate`: quadric edge collapse that never breaks a manifold, closed or with borders.

Every vertex keeps a singly linked list of its triangle corners (corner 3 f + k is place k of face f). Collapsing an
edge joins two lists. The queue is lazy: an entry is stale once one of its ends has changed.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush

import numpy as np
from numpy.typing import NDArray

from recon._jit import compiled

_kernel = compiled(error_model="numpy")
_MIN_COSINE = 0.2
"""A collapse may turn no triangle's normal further than this."""


@_kernel
def collapse(
    vertices: NDArray[np.float64],
    faces: NDArray[np.int64],
    border: NDArray[np.bool_],
    target: int,
    anchor: float,
    border_weight: float,
) -> int:
    """Collapses edges, cheapest first, until `target` faces remain or none can go; returns the count of faces left.

    Changes the arrays in place; deleted faces are marked by -1.

    Args:
        vertices: (V, 3).
        faces: (F, 3) of an oriented manifold.
        border: (F, 3), whether the edge from corner k to the next has no other face.
        target: wanted number of faces.
        anchor: weight of a vertex's distance to where it was, against its distance to the planes around it.
        border_weight: weight of the distance to border edges, against the same.
    """
    count = len(faces)
    head = np.full(len(vertices), -1, np.int64)
    tail = np.full(len(vertices), -1, np.int64)
    following = np.full(3 * count, -1, np.int64)
    quadrics = np.zeros((len(vertices), 10))
    on_border = np.zeros(len(vertices), np.bool_)
    for f in range(count):
        for k in range(3):
            if border[f, k]:
                _add_border_quadric(vertices, faces, f, k, border_weight, quadrics)
                on_border[faces[f, k]] = True
                on_border[faces[f, (k + 1) % 3]] = True
        _add_plane_quadric(vertices, faces, f, anchor, quadrics)
        for k in range(3):
            v = faces[f, k]
            if head[v] < 0:
                head[v] = 3 * f + k
            else:
                following[tail[v]] = 3 * f + k
            tail[v] = 3 * f + k
    stamp = np.zeros(len(vertices), np.int64)
    mark = np.zeros(len(vertices), np.int64)
    turn = 0
    place = np.empty(3)
    queue = [(0.0, np.int64(0), np.int64(0), np.int64(0), np.int64(0)) for _ in range(0)]
    for f in range(count):
        for k in range(3):
            a, b = faces[f, k], faces[f, (k + 1) % 3]
            if a < b or border[f, k]:
                queue.append((_best_place(vertices, quadrics, a, b, place), a, b, np.int64(0), np.int64(0)))
    heapify(queue)
    while count > target and len(queue) > 0:
        _, a, b, stamp_a, stamp_b = heappop(queue)
        if stamp[a] != stamp_a or stamp[b] != stamp_b:
            continue
        turn += 2
        if not _keeps_manifold(faces, head, following, on_border, mark, turn, a, b):
            continue
        _best_place(vertices, quadrics, a, b, place)
        if _flips(vertices, faces, head, following, a, b, place) or _flips(
            vertices, faces, head, following, b, a, place
        ):
            continue
        vertices[a] = place
        quadrics[a] += quadrics[b]
        on_border[a] |= on_border[b]
        stamp[a] += 1
        stamp[b] = -1
        count -= _merge(faces, head, tail, following, a, b)
        turn += 2
        corner = head[a]
        while corner >= 0:
            f = corner // 3
            for k in range(3):
                n = faces[f, k]
                if n != a and mark[n] != turn:
                    mark[n] = turn
                    cost = _best_place(vertices, quadrics, a, n, place)
                    heappush(queue, (cost, a, n, stamp[a], stamp[n]))
            corner = following[corner]
    return count


@_kernel
def _add_plane_quadric(
    vertices: NDArray[np.float64], faces: NDArray[np.int64], f: int, anchor: float, quadrics: NDArray[np.float64]
) -> None:
    """Adds to a face's corners the squared distance to its plane and, weakly, to its middle, weighted by its area.

    Order: xx xy xz yy yz zz x y z 1."""
    a, b, c = vertices[faces[f, 0]], vertices[faces[f, 1]], vertices[faces[f, 2]]
    ux, uy, uz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
    vx, vy, vz = c[0] - a[0], c[1] - a[1], c[2] - a[2]
    nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
    length = np.sqrt(nx * nx + ny * ny + nz * nz)
    area, inverse = length / 2, 1 / max(length, 1e-300)
    nx, ny, nz = nx * inverse, ny * inverse, nz * inverse
    mx, my, mz = (a[0] + b[0] + c[0]) / 3, (a[1] + b[1] + c[1]) / 3, (a[2] + b[2] + c[2]) / 3
    d = -(nx * mx + ny * my + nz * mz)
    for k in range(3):
        q = quadrics[faces[f, k]]
        q[0] += area * (nx * nx + anchor)
        q[1] += area * nx * ny
        q[2] += area * nx * nz
        q[3] += area * (ny * ny + anchor)
        q[4] += area * ny * nz
        q[5] += area * (nz * nz + anchor)
        q[6] += area * (nx * d - anchor * mx)
        q[7] += area * (ny * d - anchor * my)
        q[8] += area * (nz * d - anchor * mz)
        q[9] += area * (d * d + anchor * (mx * mx + my * my + mz * mz))


@_kernel
def _add_border_quadric(
    vertices: NDArray[np.float64],
    faces: NDArray[np.int64],
    f: int,
    k: int,
    weight: float,
    quadrics: NDArray[np.float64],
) -> None:
    """Adds to both ends of a border edge the squared distance to the plane through it, upright on its face."""
    start, end = faces[f, k], faces[f, (k + 1) % 3]
    a, b, c = vertices[start], vertices[end], vertices[faces[f, (k + 2) % 3]]
    edge = b - a
    upright = np.cross(edge, np.cross(edge, c - a))
    n = upright / max(np.sqrt(np.sum(upright**2)), 1e-300)
    d = -np.sum(n * a)
    out = np.empty(10)
    place = 0
    for i in range(3):
        for j in range(i, 3):
            out[place] = n[i] * n[j]
            place += 1
        out[6 + i] = n[i] * d
    out[9] = d * d
    out *= weight * np.sum(edge**2)
    quadrics[start] += out
    quadrics[end] += out


@_kernel
def _best_place(
    vertices: NDArray[np.float64], quadrics: NDArray[np.float64], a: int, b: int, place: NDArray[np.float64]
) -> float:
    """Writes the point of least squared distance for the collapsed edge; returns that distance."""
    q, r, p, o = quadrics[a], quadrics[b], vertices[a], vertices[b]
    # Scalars throughout: this runs a million times, and temporary arrays would be most of its cost.
    xx, xy, xz, yy, yz, zz = q[0] + r[0], q[1] + r[1], q[2] + r[2], q[3] + r[3], q[4] + r[4], q[5] + r[5]
    bx, by, bz = q[6] + r[6], q[7] + r[7], q[8] + r[8]
    x, y, z = (p[0] + o[0]) / 2, (p[1] + o[1]) / 2, (p[2] + o[2]) / 2
    # Around the middle, with a little damping that keeps flat neighbourhoods solvable.
    damping = 1e-6 * (xx + yy + zz)
    m00, m11, m22 = xx + damping, yy + damping, zz + damping
    g0, g1, g2 = xx * x + xy * y + xz * z + bx, xy * x + yy * y + yz * z + by, xz * x + yz * y + zz * z + bz
    c00, c01, c02 = m11 * m22 - yz * yz, xz * yz - xy * m22, xy * yz - xz * m11
    determinant = m00 * c00 + xy * c01 + xz * c02
    if abs(determinant) > 1e-300:
        c11, c12, c22 = m00 * m22 - xz * xz, xy * xz - yz * m00, m00 * m11 - xy * xy
        s0 = (c00 * g0 + c01 * g1 + c02 * g2) / determinant
        s1 = (c01 * g0 + c11 * g1 + c12 * g2) / determinant
        s2 = (c02 * g0 + c12 * g1 + c22 * g2) / determinant
        reach = (p[0] - o[0]) ** 2 + (p[1] - o[1]) ** 2 + (p[2] - o[2]) ** 2
        if s0 * s0 + s1 * s1 + s2 * s2 <= reach:
            x, y, z = x - s0, y - s1, z - s2
    place[0], place[1], place[2] = x, y, z
    cost = xx * x * x + yy * y * y + zz * z * z + 2 * (xy * x * y + xz * x * z + yz * y * z + bx * x + by * y + bz * z)
    return max(cost + q[9] + r[9], 0.0)


@_kernel
def _keeps_manifold(
    faces: NDArray[np.int64],
    head: NDArray[np.int64],
    following: NDArray[np.int64],
    on_border: NDArray[np.bool_],
    mark: NDArray[np.int64],
    turn: int,
    a: int,
    b: int,
) -> bool:
    """The link condition (Dey et al. 1999): the ends share no neighbours but those across the edge, an inner edge does
    not join two borders, and more than a tetrahedron or a last triangle stays."""
    corner, valence, across = head[a], 0, 0
    while corner >= 0:
        f = corner // 3
        for k in range(3):
            mark[faces[f, k]] = turn
            if faces[f, k] == b:
                across += 1
        valence += 1
        corner = following[corner]
    corner, shared, other = head[b], 0, 0
    while corner >= 0:
        f = corner // 3
        for k in range(3):
            n = faces[f, k]
            if n != a and n != b and mark[n] == turn:
                mark[n] = turn + 1
                shared += 1
        other += 1
        corner = following[corner]
    if across == 1:
        return shared == 1 and valence + other > 2
    return shared == 2 and valence + other > 7 - (on_border[a] or on_border[b]) and not (on_border[a] and on_border[b])


@_kernel
def _flips(
    vertices: NDArray[np.float64],
    faces: NDArray[np.int64],
    head: NDArray[np.int64],
    following: NDArray[np.int64],
    a: int,
    b: int,
    place: NDArray[np.float64],
) -> bool:
    """Whether moving vertex `a` to `place` turns or flattens one of its faces that does not contain `b`."""
    corner = head[a]
    while corner >= 0:
        f, k = corner // 3, corner % 3
        n, m = faces[f, (k + 1) % 3], faces[f, (k + 2) % 3]
        if b not in (n, m):
            p, q, old = vertices[n], vertices[m], vertices[a]
            ex, ey, ez = q[0] - p[0], q[1] - p[1], q[2] - p[2]
            ox, oy, oz = old[0] - p[0], old[1] - p[1], old[2] - p[2]
            wx, wy, wz = place[0] - p[0], place[1] - p[1], place[2] - p[2]
            ax, ay, az = ey * oz - ez * oy, ez * ox - ex * oz, ex * oy - ey * ox
            bx, by, bz = ey * wz - ez * wy, ez * wx - ex * wz, ex * wy - ey * wx
            before, after = ax * ax + ay * ay + az * az, bx * bx + by * by + bz * bz
            dot = ax * bx + ay * by + az * bz
            if dot <= _MIN_COSINE * np.sqrt(before * after) or after <= 1e-30:
                return True
        corner = following[corner]
    return False


@_kernel
def _merge(
    faces: NDArray[np.int64],
    head: NDArray[np.int64],
    tail: NDArray[np.int64],
    following: NDArray[np.int64],
    a: int,
    b: int,
) -> int:
    """Gives b's corners to a and deletes the faces on the edge; returns how many. Dead corners are unlinked from `a`
    here and from their third vertex too."""
    following[tail[a]] = head[b]
    tail[a] = tail[b]
    head[b] = -1
    deleted = 0
    corner = head[a]
    while corner >= 0:
        f = corner // 3
        if faces[f, 0] >= 0:
            ends = 0
            for k in range(3):
                if faces[f, k] == a or faces[f, k] == b:
                    ends += 1
            if ends == 2:
                for k in range(3):
                    v = faces[f, k]
                    if v not in (a, b):
                        _unlink(head, tail, following, v, 3 * f + k)
                for k in range(3):
                    faces[f, k] = -1
                deleted += 1
            else:
                faces[f, corner % 3] = a
        corner = following[corner]
    # Drop the corners of deleted faces from a's own list.
    previous, corner = -1, head[a]
    while corner >= 0:
        if faces[corner // 3, 0] < 0:
            if previous < 0:
                head[a] = following[corner]
            else:
                following[previous] = following[corner]
        else:
            previous = corner
        corner = following[corner]
    tail[a] = previous
    return deleted


@_kernel
def _unlink(
    head: NDArray[np.int64], tail: NDArray[np.int64], following: NDArray[np.int64], vertex: int, gone: int
) -> None:
    """Takes one corner out of a vertex's list."""
    previous, corner = -1, head[vertex]
    while corner != gone:
        previous, corner = corner, following[corner]
    if previous < 0:
        head[vertex] = following[gone]
    else:
        following[previous] = following[gone]
    if tail[vertex] == gone:
        tail[vertex] = previous
