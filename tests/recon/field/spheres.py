"""Fields whose surface is a ball."""

from __future__ import annotations

import torch

from recon.field.band import band_around, spacing_of
from recon.field.field import Field
from recon.splat.harmonics import SH_DC
from recon.splat.volume import HALF_EXTENT


def ball_field(
    resolution: int = 48, radius: float = 0.35, *, width: float = 4.0, sharpness: float = 6.0, degree: int = 0
) -> Field:
    """A ball around the origin whose colour is 0.5 + 0.5 normal."""
    axis = torch.linspace(-HALF_EXTENT, HALF_EXTENT, resolution)
    grid = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1)
    distances = (grid.norm(dim=-1) - radius) / spacing_of(resolution)
    band = band_around(distances, width)
    colors = torch.zeros(len(band.points), (degree + 1) ** 2, 3)
    colors[:, 0] = 0.5 * torch.nn.functional.normalize(band.places, dim=-1) / SH_DC
    return Field(resolution, band.points, distances.flatten()[band.points], colors, distances < 0, sharpness)
