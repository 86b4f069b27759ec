"""Filled shapes on a voxel lattice and their overlap.

A voxel is filled when the surface passes within half a voxel of its centre, or when no way of face-neighbours leads
from it to the outside. The half voxel makes sheets without thickness (leaves, cloth) solid and closes pinholes, and it
is the smallest shell that no such way can cross; it grows every shape, truth and prediction alike, by half a voxel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from recon.metrics.raycasting import Surface
from recon.surface.mesh import Mesh

RESOLUTION = 64
"""Voxels along the longest side of the truth's box."""
_REACH = RESOLUTION // 2
"""Voxels beyond the truth's box that still count: the lattice is at most twice as wide as the box."""
_LARGEST_BLOCK = 8
_CORNERS = np.indices((2, 2, 2)).reshape(3, -1).T


@dataclass(frozen=True)
class Voxels:
    """Filled cells of the lattice whose cell (0, 0, 0) has its lowest corner at (-0.5, -0.5, -0.5).

    Attributes:
        filled: (X, Y, Z) bool.
        start: lattice index of the array's first cell along each axis.
    """

    filled: np.ndarray
    start: tuple[int, int, int]

    def count(self) -> int:
        return int(self.filled.sum())


def fill(mesh: Mesh) -> Voxels:
    """Voxels filled by a mesh given in box-normalised coordinates (see `recon.metrics.meshes.BoxFrame`)."""
    from scipy.ndimage import label

    low, high = (bound.double().clamp(-10, 10).numpy() for bound in mesh.bounds())  # what is farther has no cell
    start = np.clip(np.floor((low + 0.5) * RESOLUTION).astype(int) - 2, -_REACH, RESOLUTION + _REACH - 1)
    stop = np.clip(np.ceil((high + 0.5) * RESOLUTION).astype(int) + 2, start + 1, RESOLUTION + _REACH)
    shell = _near_surface(Surface(mesh), start, stop - start)
    regions, _ = label(np.pad(~shell, 1, constant_values=True))
    outside = (regions == regions[0, 0, 0])[1:-1, 1:-1, 1:-1]
    return Voxels(~outside, (int(start[0]), int(start[1]), int(start[2])))


def voxel_iou(a: Voxels, b: Voxels) -> float:
    """Intersection over union of two filled shapes; 0 where they do not meet."""
    low = np.maximum(a.start, b.start)
    high = np.minimum(np.add(a.start, a.filled.shape), np.add(b.start, b.filled.shape))
    common = 0
    if (high > low).all():
        common = int((_window(a, low, high) & _window(b, low, high)).sum())
    union = a.count() + b.count() - common
    return common / union if union else 0.0


def _window(voxels: Voxels, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    first, last = low - voxels.start, high - voxels.start
    return voxels.filled[first[0] : last[0], first[1] : last[1], first[2] : last[2]]


def _near_surface(surface: Surface, start: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """(X, Y, Z) bool: cells whose centre is at most half a voxel from the surface, found by halving blocks of cells
    and dropping those too far away to hold one."""
    size = _LARGEST_BLOCK
    counts = -(-shape // size)
    blocks = np.stack(np.meshgrid(*(np.arange(n) for n in counts), indexing="ij"), axis=-1).reshape(-1, 3) * size
    while True:
        centres = (start + blocks + size / 2) / RESOLUTION - 0.5
        distance = surface.distance(torch.from_numpy(centres.astype(np.float32))).numpy() * RESOLUTION
        blocks = blocks[distance <= 0.5 + (size - 1) / 2 * np.sqrt(3)]
        if size == 1:
            break
        size //= 2
        blocks = (blocks[:, None] + _CORNERS * size).reshape(-1, 3)
    near = np.zeros(shape, dtype=bool)
    blocks = blocks[(blocks < shape).all(1)]
    near[tuple(blocks.T)] = True
    return near
