"""Signed volume -> closed triangle mesh, by marching tetrahedra.

Every grid cell is cut into the six tetrahedra around its main diagonal (Kuhn 1960; Doi & Koide 1991). Unlike marching
cubes this has no ambiguous case: the result is always an oriented 2-manifold, closed where the
volume's border is empty.
"""

from __future__ import annotations

from functools import cache
from itertools import permutations

import numpy as np
import torch

from recon.splat.volume import SignedVolume
from recon.surface.mesh import Mesh

NEIGHBOURS = np.zeros((3, 3, 3), bool)
"""Which of a point's 26 neighbours share a tetrahedron's edge with it: the connectivity of the extracted surface."""
for _corner in range(8):
    _step = np.array([_corner & 1, _corner >> 1 & 1, _corner >> 2])
    NEIGHBOURS[tuple(1 + _step)] = NEIGHBOURS[tuple(1 - _step)] = True

_SNAP = 0.02
"""Vertices keep this share of an edge's length from its ends, so that no triangle collapses."""


def extract_surface(volume: SignedVolume) -> Mesh:
    """The zero level as a closed mesh whose faces look outward; empty where nothing is inside.

    Raises:
        ValueError: if the volume touches the grid's border, where the surface could not be closed.
    """
    values = volume.values.numpy()
    inside = values < 0
    for axis in range(3):
        if inside.take((0, -1), axis).any():
            raise ValueError("the solid touches the border of its grid: leave at least one empty layer around it")
    shape = np.array(values.shape)
    strides = np.array([shape[1] * shape[2], shape[2], 1])
    offsets = np.array([(c & 1, c >> 1 & 1, c >> 2) for c in range(8)]) @ strides

    counts = np.zeros(shape - 1, np.int8)
    for corner in range(8):
        x, y, z = corner & 1, corner >> 1 & 1, corner >> 2
        counts += inside[x : shape[0] - 1 + x, y : shape[1] - 1 + y, z : shape[2] - 1 + z]
    cells = np.argwhere((counts > 0) & (counts < 8)) @ strides
    flat_inside = inside.ravel()

    corners: list[np.ndarray] = []
    for tetrahedron, table in _tetrahedra():
        case = np.zeros(len(cells), np.int8)
        for bit, corner in enumerate(tetrahedron):
            case |= flat_inside[cells + offsets[corner]].astype(np.int8) << bit
        for number, triangles in table.items():
            at = cells[case == number]
            for triangle in triangles:
                # An edge is named by its lower end and the corner (as three bits) it leads to.
                corners.append(np.stack([(at + offsets[low]) * 8 + (high - low) for low, high in triangle], axis=1))
    if not corners:
        return Mesh(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.long))
    edges, faces = np.unique(np.concatenate(corners), return_inverse=True)
    low, step = edges // 8, edges % 8
    first, second = values.ravel()[low], values.ravel()[low + offsets[step]]
    t = np.clip(first / (first - second), _SNAP, 1 - _SNAP)
    index = np.stack(np.unravel_index(low, values.shape), axis=1)
    points = index + t[:, None] * np.stack((step & 1, step >> 1 & 1, step >> 2), axis=1)
    vertices = volume.origin + volume.spacing * torch.from_numpy(points.astype(np.float32))
    return Mesh(vertices, torch.from_numpy(faces.reshape(-1, 3).astype(np.int64)))


@cache
def _tetrahedra() -> tuple[tuple[tuple[int, ...], dict[int, list[list[tuple[int, int]]]]], ...]:
    """The six tetrahedra as four cell corners each, with the triangles of each of their 14 mixed cases.

    A triangle is three edges (low corner, high corner), counter-clockwise seen from outside.
    """
    result = []
    for order in permutations((1, 2, 4)):
        tetrahedron = (0, order[0], order[0] + order[1], 7)
        table = {}
        for case in range(1, 15):
            inner = [c for bit, c in enumerate(tetrahedron) if case >> bit & 1]
            outer = [c for bit, c in enumerate(tetrahedron) if not case >> bit & 1]
            if len(inner) == 2:
                (a, b), (c, d) = inner, outer
                ring = [(a, c), (a, d), (b, d), (b, c)]
                triangles = [[ring[0], ring[1], ring[2]], [ring[0], ring[2], ring[3]]]
            else:
                triangles = [[(i, o) for i in inner for o in outer]]
            table[case] = [_outward(triangle, inner, outer) for triangle in triangles]
        result.append((tetrahedron, table))
    return tuple(result)


def _outward(triangle: list[tuple[int, int]], inner: list[int], outer: list[int]) -> list[tuple[int, int]]:
    """The triangle turned so that its normal points from the inner to the outer corners; edges run upward."""

    def place(corners: list[int]) -> np.ndarray:
        return np.array([(c & 1, c >> 1 & 1, c >> 2) for c in corners], float).mean(0)

    p, q, r = (place(list(edge)) for edge in triangle)
    if np.dot(np.cross(q - p, r - p), place(outer) - place(inner)) < 0:
        triangle = triangle[::-1]
    return [(min(edge), max(edge)) for edge in triangle]
