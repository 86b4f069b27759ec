"""Capture -> `Field`: a first solid, refined until it looks like the frames from where they were taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from recon.capture import Capture, Frame, Source
from recon.field.band import band_around, distances_from, finer
from recon.field.field import Field
from recon.field.fit_options import FIELD_PRESETS, FieldOptions
from recon.field.optimise import FieldOptimiser
from recon.field.pixels import pixels_of
from recon.splat.corrections import decided
from recon.splat.harmonics import SH_DC
from recon.splat.initialise import initial_volume, sample_colors
from recon.splat.loop import Progress
from recon.splat.threads import one_torch_thread
from recon.splat.volume import SignedVolume

_SETTLED = 0.8
"""Part of a level after which the band stays, so that what is new in it has time to settle."""
_SHARPENED = 0.9
"""Part of a level after which the surface is as sharp as it will be."""


@one_torch_thread()
def fit_field(
    capture: Capture,
    options: FieldOptions = FIELD_PRESETS["fast"],
    *,
    seed: int = 0,
    progress: Progress | None = None,
    solid: SignedVolume | None = None,
) -> Field:
    """Fits a surface and its colours to a capture's pictures and masks and, where frames that were not generated have
    them, depths.

    Like NeuS (Wang et al. 2021) a signed distance is drawn by volume rendering; like Voxurf (Wu et al. 2022) it lies on
    a grid, level after level, here only on the points near the surface. Pixels are compared over random backgrounds.
    The result is the same every time, to the byte.

    Args:
        capture: frames of one object around the world's origin, in the unit-diameter sphere.
        options: length, size and weights of the fit.
        seed: of everything random.
        progress: told about every step.
        solid: what to begin with, instead of the solid that silhouettes and depth maps allow, e.g. what the pictures
            agree on (`recon.surface.stereo`).

    Raises:
        ValueError: if the silhouettes do not meet anywhere, or the solid has no surface.
    """
    options = _between(options, capture)
    generator = torch.Generator().manual_seed(seed)
    frames = [decided(frame) for frame in capture]
    pixels, pool = pixels_of(frames, options)
    volume = initial_volume(frames, options.grid) if solid is None else solid
    optimiser = FieldOptimiser(first_field(volume, frames, options), options)
    done, total = 0, sum(options.steps)
    low, high = options.sharpness
    for level, (resolution, steps) in enumerate(zip(options.resolutions, options.steps, strict=True)):
        if level > 0:
            optimiser.renew(resolution)
        for step in range(steps):
            part = step / steps
            if step > 0 and step % options.renew_every == 0 and part < _SETTLED:
                optimiser.renew()
            chosen = pool[torch.randint(len(pool), (options.rays,), generator=generator)]
            sharpness = low * (high / low) ** min(1.0, part / _SHARPENED)
            figures = optimiser.step(pixels.chosen(chosen), sharpness, options.last_rate**part, generator)
            done += 1
            if progress is not None:
                progress(done, total, figures)
    return optimiser.field(high)


def _between(options: FieldOptions, capture: Capture) -> FieldOptions:
    """With smoothness and rate between those of true and of generated frames, by the square of the latter's share: a
    generated frame among many true ones is no reason for a surface that suits none of these."""
    share = sum(frame.source is Source.GENERATED for frame in capture) / len(capture)
    smooth = options.smooth_weight + share**2 * (options.generated_smooth_weight - options.smooth_weight)
    rate = options.distance_rate + share**2 * (options.generated_distance_rate - options.distance_rate)
    return replace(options, smooth_weight=smooth, distance_rate=rate)


def first_field(volume: SignedVolume, frames: Sequence[Frame], options: FieldOptions) -> Field:
    """A solid on the first level's grid, coloured by the frames that see it from the front.

    Raises:
        ValueError: if it has no surface.
    """
    resolution = options.resolutions[0]
    distances = distances_from(finer(volume.values, resolution))
    band = band_around(distances, options.width)
    slope = torch.stack(torch.gradient(distances), dim=-1).reshape(-1, 3)[band.points]
    normals = torch.nn.functional.normalize(slope, dim=-1)
    colors = torch.zeros(len(band.points), (options.sh_degree + 1) ** 2, 3)
    colors[:, 0] = (sample_colors(band.places, normals, frames) - 0.5) / SH_DC
    values = distances.flatten()[band.points]
    return Field(resolution, band.points, values, colors, distances < 0, options.sharpness[0])
