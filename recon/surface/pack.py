"""Packs flat charts into a square texture.

Charts are turned to their smallest box, drawn on a coarse grid (padding included) and put, largest first and in four
orientations, at the lowest place where no cell is taken; holes are used. The scale is searched for the largest that
fits. General packers spend seconds on this; here it is a fraction of one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_GRID = 256
"""Cells along a side: fine enough for hundreds of charts, coarse enough to search exhaustively."""
_SHRINK = 0.97


class PackError(ValueError):
    """The charts do not fit on the texture at any useful scale."""


def pack_charts(flat: Floats, corner: Ints, chart: Ints, texture_size: int, padding: int) -> Floats:
    """(N, 2) positions in texels within the square; all charts at one scale.

    Args:
        flat: (N, 2) chart coordinates; charts share no vertex.
        corner: (F, 3) faces.
        chart: (F,) chart of every face.
        padding: texels between any two charts.

    Raises:
        PackError: if there is no area, or the charts are too many for the texture.
    """
    from recon.surface._pack_kernels import cover_cells, place

    charts = int(chart.max()) + 1
    owner = np.zeros(len(flat), np.int64)
    owner[corner] = chart[:, None]
    area = _areas(flat, corner)
    if not area.sum() > 0:
        raise PackError("cannot pack charts without area")
    turned = _upright(flat, owner, charts)
    low, high = _boxes(turned, owner, charts)
    turned = turned - low[owner]
    extent = high - low
    order = np.argsort(-np.bincount(chart, area, charts), kind="stable")
    faces = np.argsort(chart, kind="stable")
    first = np.searchsorted(chart[faces], np.arange(charts + 1))

    cell = texture_size / _GRID
    scale = 0.9 * texture_size / np.sqrt(area.sum())
    rng = np.random.default_rng(0)
    for _ in range(60):
        # Half the padding on each side, in cells; charts start half a padding inside their first cell.
        shifted = (turned * scale + padding / 2) / cell
        size = np.maximum(np.ceil((extent * scale + padding) / cell).astype(np.int64), 1)
        if size.max() <= _GRID:
            dice = rng.random(int(size.prod(1).sum()))
            offset, cells = cover_cells(shifted, corner[faces], first, size, padding / 2 / cell, dice)
            where = place(offset, cells, size, order, _GRID)
            if where[0, 0] >= 0:
                return _move(shifted, owner, size, where) * cell
        scale *= _SHRINK
    raise PackError(f"{charts} islands do not fit on a {texture_size} px texture; use a larger texture or fewer faces")


def _move(shifted: Floats, owner: Ints, size: Ints, where: Ints) -> Floats:
    """Applies quarter turns and offsets, in cells."""
    turn = where[owner, 2]
    width, height = size[owner, 0], size[owner, 1]
    x, y = shifted[:, 0], shifted[:, 1]
    turned_x = np.choose(turn, (x, height - y, width - x, y))
    turned_y = np.choose(turn, (y, x, height - y, width - x))
    return np.stack((turned_x, turned_y), 1) + where[owner, :2]


def _upright(flat: Floats, owner: Ints, charts: int, steps: int = 24) -> Floats:
    """Every chart turned by the angle, of a quarter turn in `steps`, that gives it the smallest bounding box."""
    angles = np.arange(steps) * (np.pi / 2 / steps)
    boxes = np.stack([np.prod(np.subtract(*_boxes(_turn(flat, a), owner, charts)[::-1]), 1) for a in angles])
    return _turn(flat, angles[boxes.argmin(0)][owner])


def _turn(flat: Floats, angle: Floats | float) -> Floats:
    c, s = np.cos(angle), np.sin(angle)
    return np.stack((c * flat[:, 0] - s * flat[:, 1], s * flat[:, 0] + c * flat[:, 1]), 1)


def _boxes(flat: Floats, owner: Ints, charts: int) -> tuple[Floats, Floats]:
    order = np.argsort(owner, kind="stable")
    first = np.searchsorted(owner[order], np.arange(charts))
    ordered = flat[order]
    return np.minimum.reduceat(ordered, first), np.maximum.reduceat(ordered, first)


def _areas(flat: Floats, corner: Ints) -> Floats:
    a, b, c = (flat[corner[:, i]] for i in range(3))
    return np.abs((b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])) / 2
