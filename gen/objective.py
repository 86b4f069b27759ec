"""What an error costs in training: of the pictures of the scene that the network tells, its geometry and cameras."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from gen.gauge import APPEARANCE, GEOMETRY, encode, encode_appearance, make_gauge
from gen.predict import ask, believe
from gen.splats import draw
from gen.tasks import Example

CLEAN_WEIGHT = 4.0
"""Cap of the 1 / t^2 weight that turns the error of the clean frame into that of the velocity."""
SHOWN_WEIGHT = 0.25
"""Weight of a shown frame's own picture, which the scene must explain, too."""
CAMERA_WEIGHT = 1.0
FIRST_CAMERA_GAIN = 10.0
"""How much more the rays of a hidden first camera weigh: its axes are the gauge's own, so that what is left to tell of
it, how wide it looks and from how far, moves its rays much less than another camera's place moves that one's."""


def flow_loss(
    network: Callable[..., tuple[Tensor, Tensor]], example: Example, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Weighted error of the clean frames, their geometry and the hidden cameras that the network tells.

    Flow matching (arXiv:2210.02747): `x_t = (1 - t) x + t noise`. The weight 1 / t^2, capped, turns the error of `x`
    into that of the velocity. Only the network computes in `dtype`: rays rounded to bfloat16 would miss their pixels.
    """
    batch, tasks = example.batch, example.tasks
    height, width = batch.depth.shape[2:]
    levels, known = tasks.levels, tasks.camera_known
    count = levels.shape[1]
    gauge = make_gauge(batch.c2w, batch.intrinsics, height, width)
    truth = encode(batch.premultiplied, batch.depth, batch.normal, gauge)
    clean, told_gauge = truth[:, :count], gauge.only(slice(count))
    generator = torch.Generator(clean.device).manual_seed(example.noise_seed)
    noise = torch.randn(clean.shape, generator=generator, device=clean.device)
    noised = torch.lerp(clean, noise, levels.repeat_interleave(4, dim=-1)[:, :, None, None])
    noised[example.shown[0], example.shown[1], ..., APPEARANCE] = encode_appearance(example.photos)
    told = ask(network, noised, levels, told_gauge.rays, batch.times[:, :count], known, dtype)
    belief = believe(told, noised, levels, told_gauge, known)

    shown = levels[..., 0] == 0
    same_time = batch.times[:, :, None] == batch.times[:, None, :count]
    some = (same_time & known[:, None]).any(dim=2)  # a time without Gaussians has no pictures
    weight = torch.where(shown, SHOWN_WEIGHT, _velocity_weight(levels[..., 0])) * (known | shown)
    weight = torch.cat((weight, weight.new_ones(len(weight), truth.shape[1] - count)), dim=1) * some
    pictures = draw(belief.gaussians, gauge, height, width, example.moments)
    appearance = (pictures - truth[..., APPEARANCE]).square().mean(dim=(2, 3, 4))
    asked = (known | shown) & (levels[..., 1] > 0)
    geometry = belief.geometry(batch.premultiplied[:, :count, ..., 3:])
    geometry = (geometry - clean[..., GEOMETRY]).square().mean(dim=(2, 3, 4))
    patch = math.isqrt(height * width // told.rays.shape[2])
    rays = (told.rays - told_gauge.patch_rays(patch)).square().mean(dim=(2, 3))
    rays = torch.cat((rays[:, :1] * FIRST_CAMERA_GAIN, rays[:, 1:]), dim=1)
    up = (told.up - gauge.up[:, None]).square().mean(dim=-1)
    return (
        (appearance * weight).sum() / levels[..., 0].numel()
        + (geometry * _velocity_weight(levels[..., 1]) * asked).mean()
        + CAMERA_WEIGHT * ((rays + up) * (shown & ~known)).mean()
    )


def _velocity_weight(levels: Tensor) -> Tensor:
    return (1 / levels.clamp_min(1e-3) ** 2).clamp_max(CLEAN_WEIGHT)
