"""The state of a field's fit: the band and its values, Adam's steps, and the laying of the band anew."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from recon.field.band import band_around, distances_from, finer, nearest_rows, spacing_of
from recon.field.field import Field
from recon.field.fit_options import FieldOptions
from recon.field.march import HALVES, grid_rays, in_halves, march
from recon.field.pixels import Pixels
from recon.splat.adam import BETAS, AdamStep, adam_steps
from recon.splat.harmonics import evaluate_basis

_TRUSTED = 1.5
"""Spacings from the surface within which a fitted distance is kept when the band is laid anew."""


class FieldOptimiser:
    """A field that is stepped.

    Args:
        field: the first one; its band is laid anew when `renew` is called.
        options: weights and rates.
    """

    def __init__(self, field: Field, options: FieldOptions) -> None:
        self._options = options
        self._begin(field)

    def field(self, sharpness: float) -> Field:
        """As it is now."""
        inside = self._inside.flatten().clone()
        inside[self._band.points] = self._distances.detach() < 0
        return Field(
            self._band.resolution,
            self._band.points,
            self._distances.detach().clone(),
            self._colors.detach().clone().reshape(len(self._distances), -1, 3),
            inside.reshape(self._inside.shape),
            sharpness,
        )

    def renew(self, resolution: int | None = None) -> None:
        """Lays the band around the surface as it is now, on a grid of `resolution` points a side, if that changes."""
        self._begin(laid_anew(self.field(1.0), resolution or self._band.resolution, self._options.width))

    def step(self, pixels: Pixels, sharpness: float, rate: float, generator: torch.Generator) -> dict[str, float]:
        """One step toward what some pixels show.

        Args:
            pixels: what to look at.
            sharpness: of the surface, per spacing.
            rate: factor on Adam's step sizes.
            generator: of backgrounds, and of where on the rays the first samples lie.
        """
        options, resolution = self._options, self._band.resolution
        offset = options.step * torch.rand(len(pixels), generator=generator)
        basis = evaluate_basis(pixels.directions, options.sh_degree)
        rays = grid_rays(pixels.origins, pixels.directions, basis, resolution, offset)
        drawn = march(self._band, self._distances, self._colors, rays, step=options.step, sharpness=sharpness)
        share = pixels.weight / pixels.weight.sum().clamp_min(1e-6)
        # Over random backgrounds, so that colour cannot pass for coverage.
        background = torch.rand(len(pixels), 3, generator=generator)
        missing = drawn[:, 3] - pixels.alpha
        color = ((drawn[:, :3] - pixels.color - missing[:, None] * background).abs().mean(-1) * share).sum()
        mask = (missing.abs() * share).sum()
        loss = color + options.mask_weight * mask
        known = pixels.depth > 0
        if bool(known.any()):
            far = pixels.depth / spacing_of(resolution)
            gap = (drawn[:, 4] - drawn[:, 3] * far).abs() * (spacing_of(resolution) / options.depth_reach)
            loss = loss + options.depth_weight * (gap / (1 + gap) * share * known).sum()
        in_distances, in_colors = torch.autograd.grad(loss, (self._distances, self._colors))
        in_distances += self._regularised()
        self._taken += 1
        size = rate * math.sqrt(1 - BETAS[1] ** self._taken) / (1 - BETAS[0] ** self._taken)
        rates = size * options.distance_rate, size * options.color_rate
        values, gradients = (self._distances.detach(), self._colors.detach()), (in_distances, in_colors)
        adam_steps([AdamStep(*row) for row in zip(values, gradients, self._firsts, self._seconds, rates)])
        return {"color": float(color.detach()), "mask": float(mask.detach())}

    def _begin(self, field: Field) -> None:
        self._band, self._inside, self._taken = field.band, field.inside, 0
        self._laid, self._distances = field.distances, field.distances.clone().requires_grad_()
        self._colors = field.colors.flatten(1).clone().requires_grad_()
        self._firsts = [torch.zeros_like(values.detach()) for values in (self._distances, self._colors)]
        self._seconds = [torch.zeros_like(values) for values in self._firsts]

    def _regularised(self) -> Tensor:
        """(N,) gradients of what keeps distances distances, and the surface smooth."""
        from recon.field._band_kernels import regularise

        count = len(self._distances)
        options = self._options
        weights = torch.tensor([options.distance_weight, options.smooth_weight, options.start_weight]) / count
        sums = torch.zeros(HALVES, count)
        arrays = self._band.around, self._distances.detach().numpy(), self._laid.numpy(), weights.numpy()
        in_halves(count, lambda begin, end, half: regularise(begin, end, *arrays, sums.numpy()[half]))
        return sums.sum(0)


def laid_anew(field: Field, resolution: int, width: float) -> Field:
    """The same surface on a grid of `resolution` points a side, with a band that reaches `width` spacings from it.

    Distances near the surface stay, the others are measured. New points take the colour of the nearest old one.
    """
    scale = (resolution - 1) / (field.resolution - 1)
    values = finer(field.volume().values / field.spacing, resolution) * scale
    known = torch.zeros(field.inside.shape)
    known.flatten()[field.points] = 1
    kept = (finer(known, resolution) > 1 - 1e-3) & (values.abs() < _TRUSTED)
    distances = distances_from(values, kept)
    band = band_around(distances, width)
    colors = field.colors[nearest_rows(field.band, band)]
    return Field(resolution, band.points, distances.flatten()[band.points], colors, distances < 0, field.sharpness)
