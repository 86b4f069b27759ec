"""Cuts a surface into charts that lie flat with little stretch: the step before packing (uv.py).

Faces are labelled by the box direction they look at, with borders kept short by a Potts term, so that what a picture
sees from the front stays in one piece. Each connected region is projected along its direction, which cannot fold
because every face looks that way, and then relaxed as rigidly as possible (Liu et al., A Local/Global Approach to Mesh
Parameterization, 2008). It is vectorised over all charts at once and takes a fraction of a general atlas maker's time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_DIRECTIONS = np.array([[0, 0, 1], [0, 0, -1], [1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]], np.float64)
# Per direction: the axes (right, up) of a picture taken against it; right x up = direction, so outside stays CCW.
_RIGHT = np.array([[1, 0, 0], [-1, 0, 0], [0, 0, -1], [0, 0, 1], [1, 0, 0], [1, 0, 0]], np.float64)
_UP = np.cross(_DIRECTIONS, _RIGHT)

_GRAZING = 0.17
"""Faces may be labelled with a direction only if their normal leans toward it by at least this cosine (80 degrees)."""
_BORDER_COST = 1.5
"""Price of one mean edge of chart border, in mean faces turned by 90 degrees."""
_SMALL_CHART = 0.004
"""Charts below this part of the surface are given to a neighbour if they lie flat there."""


@dataclass(frozen=True)
class Charts:
    """A partition of a mesh's faces into charts and a flat copy of each.

    Attributes:
        chart: (F,) chart of every face, 0 ... C-1.
        corner: (F, 3) index of every face's corners into `flat`; charts never share an index.
        origin: (N,) the mesh vertex that each flat vertex came from.
        flat: (N, 2) positions in the chart's plane, in the mesh's units; charts overlap each other.
    """

    chart: Ints
    corner: Ints
    origin: Ints
    flat: Floats


def cut_charts(vertices: Floats, faces: Ints) -> Charts:
    """Charts of a surface.

    Args:
        vertices: (V, 3); faces that touch must share indices.
        faces: (F, 3).
    """
    normals, areas = _normals(vertices, faces)
    pairs, lengths = _neighbours(vertices, faces)
    direction = _label(normals, areas, pairs, lengths)
    chart = _components(len(faces), pairs[direction[pairs[:, 0]] == direction[pairs[:, 1]]])
    chart, direction = _absorb_small(chart, direction, normals, areas, pairs, lengths)
    return flatten(vertices, faces, chart, direction, pairs)


def split_charts(vertices: Floats, faces: Ints, charts: Charts, which: Ints) -> Charts:
    """The same charts, but those listed in `which` halved across their longest side: the cure for a chart that covers
    itself. Halves are not relaxed further than their projection allows."""
    pairs, _ = _neighbours(vertices, faces)
    normals, areas = _normals(vertices, faces)
    centres = vertices[faces].mean(1)
    chart = charts.chart.copy()
    fresh = chart.max() + 1
    for old in which:
        members = np.flatnonzero(chart == old)
        spread = centres[members] - centres[members].mean(0)
        along = spread @ np.linalg.svd(spread, full_matrices=False)[2][0]
        # By rank: faces at the same place, such as one that is there twice, are parted too.
        chart[members[np.argsort(along, kind="stable")[(len(members) + 1) // 2 :]]] = fresh
        fresh += 1
    mean = np.zeros((fresh, 3))
    np.add.at(mean, chart, normals * areas[:, None])
    direction = (mean @ _DIRECTIONS.T).argmax(1)[chart]
    return flatten(vertices, faces, chart, direction, pairs)


def flatten(vertices: Floats, faces: Ints, chart: Ints, direction: Ints, pairs: Ints) -> Charts:
    """Lays charts flat; faces that would turn over are first cut out into charts of their own.

    Args:
        chart: (F,) any chart numbers; regions that hang together only by vertices are separated.
        direction: (F,) index of the projection direction.
        pairs: (P, 2) faces that share an edge.
    """
    normals, _ = _normals(vertices, faces)
    facing = np.einsum("fk,fk->f", normals, _DIRECTIONS[direction])
    own = normals @ _DIRECTIONS.T
    turned = facing < 0.02
    direction = np.where(turned, own.argmax(1), direction)
    key = chart * 12 + direction * 2 + turned
    chart = _components(len(faces), pairs[key[pairs[:, 0]] == key[pairs[:, 1]]])

    corners = chart[:, None] * np.int64(len(vertices)) + faces
    unique, corner = np.unique(corners, return_inverse=True)
    corner = corner.reshape(faces.shape).astype(np.int64)
    origin = unique % len(vertices)
    flat_direction = np.zeros(len(origin), np.int64)
    flat_direction[corner] = direction[:, None]
    points = vertices[origin]
    projected = np.stack(
        (
            np.einsum("nk,nk->n", points, _RIGHT[flat_direction]),
            np.einsum("nk,nk->n", points, _UP[flat_direction]),
        ),
        1,
    )
    relaxed = _relax(points, corner, projected)
    broken = np.zeros(chart.max() + 1, bool)
    broken[chart[_signed_areas(relaxed, corner) <= 0]] = True
    flat_chart = np.zeros(len(origin), np.int64)
    flat_chart[corner] = chart[:, None]
    return Charts(chart, corner, origin, np.where(broken[flat_chart, None], projected, relaxed))


def _relax(points: Floats, corner: Ints, start: Floats, iterations: int = 6) -> Floats:
    """As-rigid-as-possible relaxation of a planar embedding: (N, 2) from (N, 2)."""
    # Every triangle in its own plane: first edge along x.
    a, b, c = (points[corner[:, i]] for i in range(3))
    first, second = b - a, c - a
    length = np.linalg.norm(first, axis=1)
    x = first / np.maximum(length, 1e-12)[:, None]
    along = np.einsum("fk,fk->f", second, x)
    up = np.linalg.norm(second - along[:, None] * x, axis=1)
    zero = np.zeros_like(length)
    local = np.stack((np.stack((zero, zero), 1), np.stack((length, zero), 1), np.stack((along, up), 1)), 1)

    rows, cols, weights, edges = [], [], [], []
    for i in range(3):
        j, k = (i + 1) % 3, (i + 2) % 3
        to_i, to_j = local[:, i] - local[:, k], local[:, j] - local[:, k]
        cross = np.abs(to_i[:, 0] * to_j[:, 1] - to_i[:, 1] * to_j[:, 0])
        cotangent = np.einsum("fk,fk->f", to_i, to_j) / np.maximum(cross, 1e-12)
        rows.append(corner[:, i])
        cols.append(corner[:, j])
        weights.append(np.clip(cotangent, 0.05, 20.0))
        edges.append(local[:, i] - local[:, j])
    row, col, weight = np.concatenate(rows), np.concatenate(cols), np.concatenate(weights)
    edge = np.stack(edges)  # (3, F, 2)
    count = len(points)
    adjacency = sp.coo_matrix((weight, (row, col)), (count, count)).tocsr()
    adjacency = adjacency + adjacency.T
    degree = np.asarray(adjacency.sum(1)).ravel()
    # The faint pull to the start pins what the energy leaves free: each chart's translation.
    pull = 1e-4 * degree
    solve = sp.linalg.splu(sp.csc_matrix(sp.diags(degree + pull) - adjacency), permc_spec="MMD_AT_PLUS_A")
    weight3 = weight.reshape(3, -1)
    flat = start
    for _ in range(iterations):
        now = np.stack([flat[corner[:, i]] - flat[corner[:, (i + 1) % 3]] for i in range(3)])
        moment = np.einsum("ef,efi,efj->fij", weight3, now, edge)
        # The rotation nearest to a 2x2 matrix has a closed form.
        cos, sin = moment[:, 0, 0] + moment[:, 1, 1], moment[:, 1, 0] - moment[:, 0, 1]
        norm = np.maximum(np.hypot(cos, sin), 1e-20)
        cos, sin = cos / norm, sin / norm
        turned = np.stack((cos * edge[..., 0] - sin * edge[..., 1], sin * edge[..., 0] + cos * edge[..., 1]), -1)
        force = (weight3[..., None] * turned).reshape(-1, 2)
        right = pull[:, None] * start
        for axis in range(2):
            right[:, axis] += np.bincount(row, force[:, axis], count) - np.bincount(col, force[:, axis], count)
        flat = solve.solve(right)
    return flat


def _label(normals: Floats, areas: Floats, pairs: Ints, lengths: Floats, iterations: int = 40) -> Ints:
    """(F,) direction of every face: iterated conditional modes on a Potts model, half of the faces at a time."""
    count = len(normals)
    graph = _graph(count, pairs, lengths / max(lengths.mean(), 1e-20) if len(lengths) else lengths)
    smooth = normals
    spread = _graph(count, pairs, np.ones(len(pairs))) + sp.identity(count)
    for _ in range(3):
        smooth = spread @ (smooth * areas[:, None])
        smooth /= np.maximum(np.linalg.norm(smooth, axis=1, keepdims=True), 1e-20)
    cost = (1 - smooth @ _DIRECTIONS.T) * (areas / max(areas.mean(), 1e-20))[:, None]
    cost[normals @ _DIRECTIONS.T < _GRAZING] += 1e3
    label = cost.argmin(1)
    rng = np.random.default_rng(0)
    for _ in range(iterations):
        same = graph @ np.eye(6)[label]
        best = (cost - _BORDER_COST * same).argmin(1)
        change = (best != label) & (rng.random(count) < 0.5)
        if not change.any() and (best == label).all():
            break
        label = np.where(change, best, label)
    return label


def _absorb_small(
    chart: Ints, direction: Ints, normals: Floats, areas: Floats, pairs: Ints, lengths: Floats
) -> tuple[Ints, Ints]:
    """Gives small charts to the neighbour with the longest common border, where their faces still look its way."""
    for _ in range(4):
        count = int(chart.max()) + 1
        size = np.bincount(chart, areas, count)
        small = size < _SMALL_CHART * areas.sum()
        one, two = chart[pairs[:, 0]], chart[pairs[:, 1]]
        border = one != two
        shared = _graph(count, np.stack((one[border], two[border]), 1), lengths[border]).tocsr()
        chart_direction = np.zeros(count, np.int64)
        chart_direction[chart] = direction
        facing = normals @ _DIRECTIONS.T
        worst = np.full((count, 6), np.inf)
        np.minimum.at(worst, chart, facing)
        target = np.arange(count)
        for index in np.flatnonzero(small):
            row = slice(shared.indptr[index], shared.indptr[index + 1])
            others, common = shared.indices[row], shared.data[row]
            fits = (worst[index, chart_direction[others]] > 0.05) & (size[others] > size[index])
            if fits.any():
                target[index] = others[fits][common[fits].argmax()]
        if (target == np.arange(count)).all():
            break
        for _ in range(8):  # a small chart may have been given to one that is itself given away
            target = np.where(small, target[target], target)
        direction = chart_direction[target][chart]
        chart = _components(len(chart), pairs[direction[pairs[:, 0]] == direction[pairs[:, 1]]])
    return chart, direction


def _normals(vertices: Floats, faces: Ints) -> tuple[Floats, Floats]:
    """Unit normals (F, 3) (zero where a face has no area) and areas (F,)."""
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    cross = np.cross(b - a, c - a)
    length = np.linalg.norm(cross, axis=1)
    return cross / np.maximum(length, 1e-20)[:, None], 0.5 * length


def _neighbours(vertices: Floats, faces: Ints) -> tuple[Ints, Floats]:
    """(P, 2) faces on both sides of every edge that has exactly two, and the edges' lengths (P,)."""
    edges = np.sort(np.concatenate((faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]])), 1)
    owner = np.tile(np.arange(len(faces)), 3)
    key = edges[:, 0] * np.int64(faces.max() + 1) + edges[:, 1]
    order = np.argsort(key, kind="stable")
    _, first, count = np.unique(key[order], return_index=True, return_counts=True)
    first = first[count == 2]
    one, two = order[first], order[first + 1]
    lengths = np.linalg.norm(vertices[edges[one, 0]] - vertices[edges[one, 1]], axis=1)
    return np.stack((owner[one], owner[two]), 1), lengths


def _graph(count: int, pairs: Ints, weights: Floats) -> sp.csr_matrix:
    one = sp.coo_matrix((weights, (pairs[:, 0], pairs[:, 1])), (count, count))
    return (one + one.T).tocsr()


def _components(count: int, pairs: Ints) -> Ints:
    return sp.csgraph.connected_components(_graph(count, pairs, np.ones(len(pairs))), directed=False)[1].astype(
        np.int64
    )


def _signed_areas(flat: Floats, corner: Ints) -> Floats:
    a, b, c = (flat[corner[:, i]] for i in range(3))
    return 0.5 * ((b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0]))
