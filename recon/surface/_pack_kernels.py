"""Numba kernels of pack.py: which grid cells a chart needs, and where it fits."""

from __future__ import annotations

from typing import Any

import numpy as np

from recon._jit import compiled


@compiled()
def cover_cells(points: Any, corner: Any, first: Any, size: Any, margin: float, dice: Any) -> Any:
    """Cells that each chart touches, with a margin around it.

    Args:
        points: (N, 2) chart positions in cells, each chart's box starting at 0.
        corner: (F, 3) faces ordered by chart.
        first: (C + 1,) first face of each chart.
        size: (C, 2) box of each chart in cells (width, height).
        margin: distance in cells to keep free around every face.
        dice: random numbers in [0, 1), one for every cell of every box.

    Returns:
        offset (C + 1,) and cells (M, 2) int32: chart c covers cells[offset[c]:offset[c + 1]], in shuffled order, so
        that a collision is found after few looks.
    """
    charts = len(size)
    total = 0
    for c in range(charts):
        total += size[c, 0] * size[c, 1]
    cells = np.empty((total, 2), np.int32)
    offset = np.zeros(charts + 1, np.int64)
    count = 0
    reach = 0.5 + margin
    for c in range(charts):
        w, h = size[c]
        mask = np.zeros((h, w), np.bool_)
        for f in range(first[c], first[c + 1]):
            ax, ay = points[corner[f, 0]]
            bx, by = points[corner[f, 1]]
            cx, cy = points[corner[f, 2]]
            if (bx - ax) * (cy - ay) - (by - ay) * (cx - ax) < 0:
                bx, by, cx, cy = cx, cy, bx, by
            x0 = max(int(min(ax, bx, cx) - margin), 0)
            x1 = min(int(max(ax, bx, cx) + margin), w - 1)
            y0 = max(int(min(ay, by, cy) - margin), 0)
            y1 = min(int(max(ay, by, cy) + margin), h - 1)
            slack_a = (abs(bx - ax) + abs(by - ay)) * reach
            slack_b = (abs(cx - bx) + abs(cy - by)) * reach
            slack_c = (abs(ax - cx) + abs(ay - cy)) * reach
            for y in range(y0, y1 + 1):
                py = y + 0.5
                for x in range(x0, x1 + 1):
                    px = x + 0.5
                    if (
                        (bx - ax) * (py - ay) - (by - ay) * (px - ax) >= -slack_a
                        and (cx - bx) * (py - by) - (cy - by) * (px - bx) >= -slack_b
                        and (ax - cx) * (py - cy) - (ay - cy) * (px - cx) >= -slack_c
                    ):
                        mask[y, x] = True
        start = count
        for y in range(h):
            for x in range(w):
                if mask[y, x]:
                    cells[count, 0] = x
                    cells[count, 1] = y
                    count += 1
        for i in range(count - 1, start, -1):
            j = start + int(dice[i] * (i - start + 1))
            x, y = cells[i, 0], cells[i, 1]
            cells[i, 0], cells[i, 1] = cells[j, 0], cells[j, 1]
            cells[j, 0], cells[j, 1] = x, y
        offset[c + 1] = count
    return offset, cells[:count]


@compiled()
def _turned(x: int, y: int, w: int, h: int, turn: int) -> tuple[int, int]:
    """Cell (x, y) of a w x h box after `turn` quarter turns."""
    if turn == 0:
        return x, y
    if turn == 1:
        return h - 1 - y, x
    if turn == 2:
        return w - 1 - x, h - 1 - y
    return y, w - 1 - x


@compiled()
def place(offset: Any, cells: Any, size: Any, order: Any, grid: int) -> Any:
    """Position of every chart: (C, 3) cells (x, y) and quarter turns; all -1 if the charts do not fit."""
    charts = len(size)
    where = np.full((charts, 3), -1, np.int64)
    taken = np.zeros((grid, grid), np.bool_)
    if offset[charts] > grid * grid:
        return where
    local = np.empty((4, len(cells), 2), np.int32)
    for c in order:
        w, h = size[c]
        n = offset[c + 1] - offset[c]
        best_top, best_x, best_y, best_turn = grid + 1, -1, -1, -1
        for turn in range(4):
            tw, th = (w, h) if turn % 2 == 0 else (h, w)
            for i in range(n):
                cell = cells[offset[c] + i]
                local[turn, i, 0], local[turn, i, 1] = _turned(cell[0], cell[1], w, h, turn)
            found = False
            for y in range(min(grid - th + 1, best_top - th)):
                for x in range(grid - tw + 1):
                    free = True
                    for i in range(n):
                        if taken[y + local[turn, i, 1], x + local[turn, i, 0]]:
                            free = False
                            break
                    if free:
                        best_top, best_x, best_y, best_turn = y + th, x, y, turn
                        found = True
                        break
                if found:
                    break
        if best_turn < 0:
            where[:] = -1
            return where
        for i in range(n):
            taken[best_y + local[best_turn, i, 1], best_x + local[best_turn, i, 0]] = True
        where[c, 0], where[c, 1], where[c, 2] = best_x, best_y, best_turn
    return where
