"""The band of grid points around a surface, in which a field lives: chosen, linked, and given distances."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recon.field._march_kernels import BLOCK
from recon.splat.volume import HALF_EXTENT

Ints = NDArray[np.int32]


def spacing_of(resolution: int) -> float:
    """Between neighbouring points of a grid of `resolution` points a side, in world units."""
    return 2 * HALF_EXTENT / (resolution - 1)


@dataclass(frozen=True)
class Band:
    """Which points of a cubic grid hold values.

    Attributes:
        resolution: grid points a side, R.
        points: (N,) int64 ascending flat indices (x slowest) of those in the band.
    """

    resolution: int
    points: Tensor

    @property
    def index(self) -> tuple[Tensor, Tensor, Tensor]:
        """(N,) each: the points' places along x, y and z."""
        x = self.points // self.resolution**2
        return x, self.points // self.resolution % self.resolution, self.points % self.resolution

    @property
    def places(self) -> Tensor:
        """(N, 3) the points in the world."""
        return torch.stack(self.index, dim=-1) * spacing_of(self.resolution) - HALF_EXTENT

    @cached_property
    def rows(self) -> Ints:
        """(R, R, R) row of each grid point, or -1."""
        rows = np.full(self.resolution**3, -1, np.int32)
        rows[self.points.numpy()] = np.arange(len(self.points), dtype=np.int32)
        return rows.reshape((self.resolution,) * 3)

    @cached_property
    def cells(self) -> tuple[Ints, Ints, NDArray[np.bool_]]:
        """(R, R, R) numbers of the whole cells, or -1; (C, 8) rows of their corners; (S, S, S) blocks that have one."""
        from recon.field._band_kernels import fill_corners

        numbers = np.full_like(self.rows, -1)
        corners = np.empty((len(self.points) + 1, 8), np.int32)
        count = fill_corners(self.rows, numbers, corners)
        blocks = -(-self.resolution // BLOCK)
        padded = np.zeros((blocks * BLOCK,) * 3, np.bool_)
        padded[: self.resolution, : self.resolution, : self.resolution] = numbers >= 0
        whole = padded.reshape(blocks, BLOCK, blocks, BLOCK, blocks, BLOCK).any(axis=(1, 3, 5))
        return numbers, np.ascontiguousarray(corners[:count]), np.asarray(whole, np.bool_)

    @cached_property
    def around(self) -> Ints:
        """(N, 6) rows of each point's neighbours at -x, +x, -y, +y, -z, +z, or -1."""
        padded = np.pad(self.rows, 1, constant_values=-1)
        x, y, z = (axis.numpy() + 1 for axis in self.index)
        neighbours = [padded[x - 1, y, z], padded[x + 1, y, z], padded[x, y - 1, z], padded[x, y + 1, z]]
        return np.stack([*neighbours, padded[x, y, z - 1], padded[x, y, z + 1]], axis=1)


def band_around(distances: Tensor, width: float) -> Band:
    """The band within `width` spacings of the surface of (R, R, R) distances in spacings; the grid's border is left
    out."""
    chosen = distances.abs() < width
    border = torch.zeros_like(chosen)
    border[1:-1, 1:-1, 1:-1] = True
    return Band(len(distances), (chosen & border).flatten().nonzero()[:, 0])


def distances_from(values: Tensor, kept: Tensor | None = None) -> Tensor:
    """(R, R, R) signed distances, in grid spacings, to the surface where `values` (R, R, R) change their sign.

    Beside the surface they are the values divided by their slope, elsewhere the way to the nearest such point.

    Args:
        values: negative inside.
        kept: (R, R, R) bool, points whose values are distances already and stay as they are.
    """
    from scipy.ndimage import distance_transform_edt

    inside = values < 0
    near = torch.zeros_like(inside)
    for axis in range(3):
        changes = inside.narrow(axis, 1, len(inside) - 1) != inside.narrow(axis, 0, len(inside) - 1)
        near.narrow(axis, 1, len(inside) - 1).logical_or_(changes)
        near.narrow(axis, 0, len(inside) - 1).logical_or_(changes)
    slope = torch.stack(torch.gradient(values), dim=-1).norm(dim=-1)
    beside = (values / slope.clamp_min(1e-3)).clamp(-1, 1)
    if kept is not None:
        near = near | kept
        beside = torch.where(kept, values, beside)
    if not bool(near.any()):
        raise ValueError("there is no surface in the grid")
    away, nearest = distance_transform_edt(~near.numpy(), return_indices=True)
    at_nearest = beside.numpy()[tuple(nearest)]
    sign = np.where(inside.numpy(), -1, 1)
    # What is nearest lies on this side of the surface or on the other.
    far = sign * np.maximum(away.astype(np.float32) + sign * at_nearest, 0.5)
    return torch.where(near, beside, torch.from_numpy(far.astype(np.float32)))


def finer(values: Tensor, resolution: int) -> Tensor:
    """(R, R, R) values on a grid of `resolution` points a side over the same cube, trilinear."""
    shape = (resolution,) * 3
    return torch.nn.functional.interpolate(values[None, None], shape, mode="trilinear", align_corners=True)[0, 0]


def nearest_rows(band: Band, other: Band) -> Tensor:
    """(M,) for each point of the other band the row of the nearest point of this one."""
    from scipy.spatial import cKDTree

    return torch.from_numpy(cKDTree(band.places.numpy()).query(other.places.numpy())[1])
