"""`Field`: a surface as signed distances, with colours, on the grid points near it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from recon.field.band import Band, spacing_of
from recon.splat.harmonics import degree_of
from recon.splat.volume import HALF_EXTENT, SignedVolume


@dataclass(frozen=True)
class Field:
    """A scene in the unit-diameter sphere, on a cubic grid over the cube of half side `HALF_EXTENT` around the origin.

    Attributes:
        resolution: grid points a side, R.
        points: (N,) int64 ascending flat indices (x slowest) of the grid points that hold values.
        distances: (N,) float32, signed, in grid spacings, negative inside.
        colors: (N, K, 3) float32 harmonics (`recon.splat.harmonics`): what is seen along d is 0.5 + basis(d) @ colors.
        inside: (R, R, R) bool, on which side of the surface every grid point lies.
        sharpness: of the surface, per grid spacing: light stops where the sigmoid of -sharpness * distance rises.
    """

    resolution: int
    points: Tensor
    distances: Tensor
    colors: Tensor
    inside: Tensor
    sharpness: float

    def __post_init__(self) -> None:
        count, size = len(self.points), self.resolution
        if self.distances.shape != (count,) or self.colors.ndim != 3 or self.colors.shape[::2] != (count, 3):
            raise ValueError(
                f"a field needs points (N,), distances (N,) and colours (N, K, 3), found {tuple(self.points.shape)}, "
                f"{tuple(self.distances.shape)} and {tuple(self.colors.shape)}"
            )
        if size < 3 or self.inside.shape != (size, size, size):
            raise ValueError(f"a field of {size} points a side needs as many signs, found {tuple(self.inside.shape)}")
        degree_of(self.colors.shape[1])

    def __len__(self) -> int:
        return len(self.points)

    @property
    def spacing(self) -> float:
        """Between neighbouring grid points, in world units."""
        return spacing_of(self.resolution)

    @cached_property
    def band(self) -> Band:
        """Its points, linked."""
        return Band(self.resolution, self.points)

    def volume(self) -> SignedVolume:
        """The distances on the whole grid, in world units; beyond the band only their sign means something."""
        widest = float(self.distances.abs().max()) if len(self) else 1.0
        values = torch.where(self.inside, -widest, widest).flatten()
        values[self.points] = self.distances
        shape = (self.resolution,) * 3
        return SignedVolume(self.spacing * values.reshape(shape), torch.full((3,), -HALF_EXTENT), self.spacing)
