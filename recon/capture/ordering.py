"""Which way round pictures of a turning object belong, told by what they look like."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Floats = NDArray[np.float64]
_CELLS = 24
"""Side of the small pictures that are compared."""
_REACH = 5
"""Cells."""


def differences(pictures: Sequence[Tensor]) -> tuple[Floats, Floats, Floats]:
    """(N, N) how unlike small premultiplied copies of the pictures (H, W, 4) are, measured in three ways: both of the
    following together, which is right most often; pixel by pixel; and row by row with pixels moved sideways within
    `_REACH` (dynamic time warping, Sakoe & Chiba 1978), for turning moves what is seen along rows, more or less.

    Each is in units of its median.
    """
    from recon.capture._turntable_kernels import warp_rows

    small = np.stack([_small(picture) for picture in pictures])
    still = np.stack([np.abs(small - one).mean((1, 2, 3)) for one in small])
    moving = np.zeros_like(still)
    warp_rows(small, _REACH, moving)
    still, moving = (d / max(float(np.median(d)), 1e-9) for d in (still, moving))
    return moving + 0.5 * still, still, moving


def _small(picture: Tensor) -> Floats:
    """(cells, cells, 4)."""
    from scipy.ndimage import gaussian_filter

    array = picture.numpy()
    array = np.concatenate((array[..., :3] * array[..., 3:], array[..., 3:]), 2)
    scale = max(array.shape[:2]) / _CELLS
    blurred = gaussian_filter(array, (scale / 2, scale / 2, 0))
    rows, columns = (np.linspace(0, size - 1, _CELLS).round().astype(int) for size in array.shape[:2])
    return blurred[np.ix_(rows, columns)].astype(float)


def tour(apart: Floats) -> list[int]:
    """A short closed tour through points at such distances (N, N): nearest neighbours from every start, mended by
    reversing and moving pieces (2-opt and Or-opt) until that no longer helps; the shortest found."""
    best: list[int] = []
    least = np.inf
    for start in range(len(apart)):
        path = _mended(_nearest(apart, start), apart)
        length = _length(path, apart)
        if length < least - 1e-12:
            best, least = path, length
    return best


def _nearest(apart: Floats, start: int) -> list[int]:
    path, left = [start], np.ones(len(apart), bool)
    left[start] = False
    while left.any():
        following = int(np.where(left, apart[path[-1]], np.inf).argmin())
        path.append(following)
        left[following] = False
    return path


def _length(path: Sequence[int], apart: Floats) -> float:
    return float(apart[list(path), [*path[1:], path[0]]].sum())


def _mended(path: list[int], apart: Floats) -> list[int]:
    count, improved = len(path), True
    while improved:
        improved = False
        for i in range(count - 1):
            for j in range(i + 2, count if i else count - 1):
                a, b, c, d = path[i], path[i + 1], path[j], path[(j + 1) % count]
                if apart[a, c] + apart[b, d] < apart[a, b] + apart[c, d] - 1e-12:
                    path[i + 1 : j + 1] = path[i + 1 : j + 1][::-1]
                    improved = True
        for i in range(count):
            point = path[i]
            rest = path[:i] + path[i + 1 :]
            before, after = path[i - 1], path[(i + 1) % count]
            saved = apart[before, point] + apart[point, after] - apart[before, after]
            ends = np.array([rest, [*rest[1:], rest[0]]])
            added = apart[ends[0], point] + apart[point, ends[1]] - apart[ends[0], ends[1]]
            place = int(added.argmin())
            if added[place] < saved - 1e-12:
                path = [*rest[: place + 1], point, *rest[place + 1 :]]
                improved = True
    return path
