"""All picture measures of one object's views at once: what one row of the orbit table averages."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from recon.metrics.images import (
    flip,
    flip_available,
    high_frequency_energy,
    mask_iou,
    mean_similarity,
    object_mask,
    over_white,
    psnr,
    ssim_map,
)


@dataclass(frozen=True)
class ViewScores:
    """One value a view, each (V,).

    Attributes:
        psnr, ssim: over the full frame, on white (which flatters: most of it is background).
        masked_psnr, masked_ssim: inside the union of both masks.
        mask_iou: overlap of the masks.
        sharpness: high-frequency energy divided by the truth's; 1 is right, less is blur, more is noise.
        flip: FLIP difference, lower is better, or None without `flip-evaluator`.
    """

    psnr: Tensor
    ssim: Tensor
    masked_psnr: Tensor
    masked_ssim: Tensor
    mask_iou: Tensor
    sharpness: Tensor
    flip: Tensor | None

    def items(self) -> list[tuple[str, Tensor]]:
        """(name, (V,) values) of every measure that was taken."""
        pairs = [(field.name, getattr(self, field.name)) for field in fields(self)]
        return [(name, values) for name, values in pairs if values is not None]


def compare_views(predicted: Tensor, truth: Tensor, *, with_flip: bool = True) -> ViewScores:
    """Compare straight-alpha views (V, H, W, 4) with their truth of the same shape.

    Raises:
        MetricError: if the shapes differ.
    """
    rgb, true_rgb = over_white(predicted), over_white(truth)
    mask, true_mask = object_mask(predicted), object_mask(truth)
    union = mask | true_mask
    similarity = ssim_map(rgb, true_rgb)
    true_energy = high_frequency_energy(true_rgb).clamp_min(1e-9)
    return ViewScores(
        psnr=psnr(rgb, true_rgb),
        ssim=mean_similarity(similarity),
        masked_psnr=psnr(rgb, true_rgb, union),
        masked_ssim=mean_similarity(similarity, union),
        mask_iou=mask_iou(mask, true_mask),
        sharpness=high_frequency_energy(rgb) / true_energy,
        flip=flip(rgb, true_rgb) if with_flip and flip_available() else None,
    )


def sample_spread(first: Tensor, second: Tensor) -> float:
    """Standard deviation between two samples of straight-alpha views (V, H, W, 4), in grey levels of 255, over the
    pixels on which either sees the object; 0 where neither does.
    """
    inside = object_mask(first) | object_mask(second)
    if not inside.any():
        return 0.0
    squared = (over_white(first) - over_white(second)).square().mean(dim=-1)[inside].mean()
    # The unbiased variance of two samples is half of their squared difference.
    return 255 * math.sqrt(float(squared) / 2)


def resize_views(views: Tensor, size: int) -> Tensor:
    """Straight-alpha views (V, H, W, 4) on a (size, size) grid: bilinear, antialiased, colour weighted by alpha."""
    if views.shape[1:3] == (size, size):
        return views
    premultiplied = torch.cat((views[..., :3] * views[..., 3:], views[..., 3:]), dim=-1).movedim(-1, 1)
    scaled = torch.nn.functional.interpolate(
        premultiplied, (size, size), mode="bilinear", align_corners=False, antialias=True
    ).movedim(1, -1)
    alpha = scaled[..., 3:].clamp(0, 1)
    return torch.cat(((scaled[..., :3] / alpha.clamp_min(1e-6)).clamp(0, 1), alpha), dim=-1)
