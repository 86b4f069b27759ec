"""Rays through a field: what they show, with gradients into its distances and colours.

The kernels are in `_march_kernels`; `plain_march` is the same written out in torch, slow, and what they are tested
against. Rays are split into two halves, whatever the machine has, and each sums its own gradients: so results are the
same every time.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recon.field._march_kernels import MOST_RECORDS
from recon.field.band import Band
from recon.splat.volume import HALF_EXTENT

HALVES = 2
_AT_ONCE = 8192
"""Rays that are drawn together where all are kept: their records take 13 kB each."""
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Rays:
    """Rays in a grid's own coordinates, in spacings.

    Attributes:
        origins, directions: (B, 3), directions of length 1.
        reach: (B, 2) where on the ray its first sample lies and where it leaves the grid's ball; nothing is asked where
            the second is not larger.
        basis: (B, K) harmonics of the directions.
    """

    origins: Tensor
    directions: Tensor
    reach: Tensor
    basis: Tensor

    def __len__(self) -> int:
        return len(self.origins)

    def part(self, begin: int, end: int) -> Rays:
        """Those from `begin` to before `end`."""
        chosen = slice(begin, end)
        return Rays(self.origins[chosen], self.directions[chosen], self.reach[chosen], self.basis[chosen])


def grid_rays(origins: Tensor, directions: Tensor, basis: Tensor, resolution: int, offset: Tensor) -> Rays:
    """World rays as a grid of `resolution` points a side has them.

    Args:
        origins, directions: (B, 3), directions of length 1.
        basis: (B, K) harmonics of the directions.
        resolution: of the grid.
        offset: (B,) how far, in spacings, the first sample lies behind the entry.
    """
    spacing = 2 * HALF_EXTENT / (resolution - 1)
    middle = -(origins * directions).sum(-1)
    gap = HALF_EXTENT**2 - origins.square().sum(-1) + middle.square()
    half = gap.clamp_min(0).sqrt()
    near, far = (middle - half).clamp_min(0) / spacing + offset, (middle + half) / spacing
    return Rays((origins + HALF_EXTENT) / spacing, directions, torch.stack((near, far), dim=-1), basis)


@dataclass(frozen=True)
class Records:
    """What the kernels note of each ray's intervals; see `_march_kernels.march`."""

    counts: NDArray[np.int32]
    where: Floats
    touched: NDArray[np.int32]
    alphas: Floats
    colors: Floats

    @staticmethod
    def room(rays: int) -> Records:
        most = MOST_RECORDS
        return Records(
            np.zeros(rays, np.int32),
            np.empty((rays, most, 3), np.float32),
            np.empty((rays, most, 3), np.int32),
            np.empty((rays, most), np.float32),
            np.empty((rays, most, 3), np.float32),
        )


def march(band: Band, distances: Tensor, colors: Tensor, rays: Rays, *, step: float, sharpness: float) -> Tensor:
    """(B, 5) premultiplied colours, alpha, and the sum of weights times distance along the ray in spacings.

    Args:
        band: the grid's points.
        distances: (N,) float32 in spacings.
        colors: (N, 3 K) float32 harmonics.
        rays: B of them.
        step: between samples, in spacings.
        sharpness: per spacing.
    """
    drawn: Tensor = _March.apply(distances, colors, band, rays, step, sharpness)
    return drawn


def surface_of_rays(
    band: Band, distances: Tensor, colors: Tensor, rays: Rays, *, step: float, sharpness: float
) -> tuple[Tensor, Tensor]:
    """What `march` draws, and (B, 4) the distance along the ray, in spacings, at which half of the light is stopped
    (0 where less is), with the weighted sum of the distances' gradients. Without gradients."""
    from recon.field._march_kernels import geometry

    pictures, surfaces = [], []
    for begin in range(0, len(rays), _AT_ONCE):
        some = rays.part(begin, begin + _AT_ONCE)
        drawn, records = _forward(band, distances, colors, some, step, sharpness)
        found = np.zeros((len(some), 4), np.float32)
        arrays = (some.origins.numpy(), some.directions.numpy(), band.cells[1], distances.detach().numpy())
        notes = (*arrays, _settings(step, sharpness), records.counts, records.where, records.touched, records.alphas)
        in_halves(len(some), lambda a, b, _, notes=notes, found=found: geometry(a, b, *notes, found))  # type: ignore[misc]
        pictures.append(drawn)
        surfaces.append(torch.from_numpy(found))
    return torch.cat(pictures), torch.cat(surfaces)


def in_halves(count: int, work: Callable[[int, int, int], Any]) -> list[Any]:
    """Calls `work(begin, end, half)` for both halves of `count` things, side by side, and returns what it returns."""
    edges = [count * half // HALVES for half in range(HALVES + 1)]
    jobs = [_pool.submit(work, edges[half], edges[half + 1], half) for half in range(1, HALVES)]
    first = work(edges[0], edges[1], 0)
    return [first, *(job.result() for job in jobs)]


_pool = ThreadPoolExecutor(HALVES - 1)


def _settings(step: float, sharpness: float) -> Floats:
    return np.array([step, sharpness], np.float32)


def _forward(
    band: Band, distances: Tensor, colors: Tensor, rays: Rays, step: float, sharpness: float
) -> tuple[Tensor, Records]:
    from recon.field._march_kernels import march as kernel

    records, drawn = Records.room(len(rays)), np.empty((len(rays), 5), np.float32)
    given = [tensor.numpy() for tensor in (rays.origins, rays.directions, rays.reach, rays.basis)]
    values = distances.detach().numpy(), colors.detach().numpy(), _settings(step, sharpness)
    notes = records.counts, records.where, records.touched, records.alphas, records.colors
    cells = band.cells
    in_halves(len(rays), lambda begin, end, _: kernel(begin, end, *given, *cells, *values, *notes, drawn))
    return torch.from_numpy(drawn), records


class _March(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, distances: Tensor, colors: Tensor, band: Band, rays: Rays, step: float, sharp: float) -> Any:
        drawn, records = _forward(band, distances, colors, rays, step, sharp)
        ctx.save_for_backward(distances, colors)
        ctx.rest = band, rays, step, sharp, records
        return drawn

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> Any:
        from recon.field._march_kernels import march_back

        distances, colors = ctx.saved_tensors
        band, rays, step, sharp, records = ctx.rest
        in_distances = torch.zeros(HALVES, *distances.shape)
        in_colors = torch.zeros(HALVES, *colors.shape)
        arrays = (rays.origins.numpy(), rays.directions.numpy(), rays.basis.numpy(), band.cells[1])
        values = distances.detach().numpy(), _settings(step, sharp)
        notes = records.counts, records.where, records.touched, records.alphas, records.colors
        given = upstream[0].contiguous().numpy()
        sums = in_distances.numpy(), in_colors.numpy()
        in_halves(
            len(rays),
            lambda begin, end, half: march_back(
                begin, end, *arrays, *values, *notes, given, sums[0][half], sums[1][half]
            ),
        )
        return in_distances.sum(0), in_colors.sum(0), None, None, None, None
