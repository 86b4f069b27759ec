"""What a fit minimises: comparisons of a drawn view with a frame, each weighted per pixel by the frame's trust."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

SSIM_WINDOW = 11
SSIM_SIGMA = 1.5
SSIM_CONSTANTS = 0.01**2, 0.03**2
"""What keeps both ratios of the structural similarity from dividing by zero."""


def weighted_mean(values: Tensor, weight: Tensor) -> Tensor:
    """Mean of values (H, W) under weights (H, W); 0 where all weights are 0."""
    return (values * weight).sum() / weight.sum().clamp_min(1e-6)


def ssim_map(image: Tensor, target: Tensor) -> Tensor:
    """(H, W) structural similarity (Wang et al. 2004) of two pictures (H, W, C) in [0, 1], averaged over channels.

    The 11-pixel Gaussian window is renormalised at the border. Separable filters as two small matrix products are
    several times faster on a processor than grouped convolutions, forward and backward. That, and pictures smaller
    than the window, are what a fit needs; the measure that is reported, `recon.metrics.images.ssim`, follows
    scikit-image instead, in double precision.
    """
    rows, columns = (_filter_matrix(side, image.device).to(image.dtype) for side in image.shape[:2])
    x, y = image.permute(2, 0, 1), target.permute(2, 0, 1)
    stacked = torch.cat((x, y, x * x, y * y, x * y))
    mean_x, mean_y, xx, yy, xy = (rows @ stacked @ columns.T).chunk(5)
    variance_x, variance_y, covariance = xx - mean_x**2, yy - mean_y**2, xy - mean_x * mean_y
    c1, c2 = SSIM_CONSTANTS
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    structure = (2 * covariance + c2) / (variance_x + variance_y + c2)
    return (luminance * structure).mean(0)


@lru_cache(maxsize=32)
def _filter_matrix(size: int, device: torch.device) -> Tensor:
    """(size, size) rows of the window around every pixel, cut at the border and renormalised."""
    offset = torch.arange(size)[:, None] - torch.arange(size)[None]
    window = torch.exp(-0.5 * (offset / SSIM_SIGMA) ** 2) * (offset.abs() <= SSIM_WINDOW // 2)
    return (window / window.sum(1, keepdim=True)).to(device)


def photometric_loss(image: Tensor, target: Tensor, weight: Tensor, ssim_share: float = 0.2) -> Tensor:
    """(1 - share) L1 + share (1 - SSIM), as in Kerbl et al. 2023, averaged under the weights.

    Args:
        image: (H, W, C) in [0, 1].
        target: (H, W, C).
        weight: (H, W) trust in each pixel, not negative; the loss is 0 where all are 0.
        ssim_share: part of the structural term.
    """
    absolute = weighted_mean((image - target).abs().mean(-1), weight)
    if ssim_share == 0:
        return absolute
    return (1 - ssim_share) * absolute + ssim_share * weighted_mean(1 - ssim_map(image, target), weight)


@dataclass(frozen=True)
class PictureLoss:
    """How far a drawing is from a frame, both over the same background.

    Attributes:
        color: `photometric_loss` of the pictures.
        mask: weighted mean of the difference of alphas, times the mask's weight.
        residual: (H, W) mean difference of colours, plus that of alphas times the mask's weight; without gradient.
    """

    color: Tensor
    mask: Tensor
    residual: Tensor


def picture_loss(
    rgb: Tensor,
    alpha: Tensor,
    target_rgb: Tensor,
    target_alpha: Tensor,
    background: Tensor,
    weight: Tensor,
    ssim_share: float = 0.2,
    mask_weight: float = 0.5,
) -> PictureLoss:
    """Compares a drawing with a frame, in colour and in coverage. Gradients reach `rgb` and `alpha`.

    In float32 on a processor, values and gradients come from one fused pass over the picture, several times faster
    than the plain version.

    Args:
        rgb: (H, W, C) drawn colours over black: alpha is multiplied into them.
        alpha: (H, W) drawn.
        target_rgb: (H, W, C) the frame's, over black too.
        target_alpha: (H, W) the frame's.
        background: (C,) colour put behind both.
        weight: (H, W) trust in each pixel, not negative; the losses are 0 where all are 0.
        ssim_share: part of the structural term in the colours' loss.
        mask_weight: factor of the masks' loss.

    Raises:
        ValueError: if the shapes are not these.
    """
    tensors = (rgb, alpha, target_rgb, target_alpha, background, weight)
    shape, found = tuple(rgb.shape), [tuple(tensor.shape) for tensor in tensors]
    if len(shape) != 3 or found != [shape, shape[:2], shape, shape[:2], shape[2:], shape[:2]]:
        raise ValueError(
            "expected colours (H, W, C), alpha (H, W), the same of the frame, a background (C,) and weights (H, W), "
            f"found {found}"
        )
    if all(tensor.device.type == "cpu" and tensor.dtype == torch.float32 for tensor in tensors):
        return PictureLoss(*_FusedPictureLoss.apply(*tensors, ssim_share, mask_weight))
    return plain_picture_loss(*tensors, ssim_share, mask_weight)


def plain_picture_loss(
    rgb: Tensor,
    alpha: Tensor,
    target_rgb: Tensor,
    target_alpha: Tensor,
    background: Tensor,
    weight: Tensor,
    ssim_share: float = 0.2,
    mask_weight: float = 0.5,
) -> PictureLoss:
    """`picture_loss` written out: for every device and dtype, and what the fused one is tested against."""
    image = rgb + (1 - alpha[..., None]) * background
    target = target_rgb + (1 - target_alpha[..., None]) * background
    off = mask_weight * (alpha - target_alpha).abs()
    residual = ((image - target).abs().mean(-1) + off).detach()
    return PictureLoss(photometric_loss(image, target, weight, ssim_share), weighted_mean(off, weight), residual)


class _FusedPictureLoss(torch.autograd.Function):
    """(color, mask, residual) of `picture_loss`, with the gradients found on the way."""

    @staticmethod
    def forward(ctx: Any, *args: Any) -> tuple[Tensor, Tensor, Tensor]:
        from recon.splat.fused_loss import fused_loss

        loss = fused_loss(*args)
        ctx.save_for_backward(loss.in_rgb, loss.in_alpha, loss.mask_in_alpha)
        ctx.mark_non_differentiable(loss.residual)
        return torch.tensor(loss.color), torch.tensor(loss.mask), loss.residual

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        in_rgb, in_alpha, mask_in_alpha = ctx.saved_tensors
        color, mask, _ = upstream
        return in_rgb * color, in_alpha * color + mask_in_alpha * mask, *[None] * 6


def depth_loss(depth: Tensor, target: Tensor, weight: Tensor, reach: float) -> Tensor:
    """Absolute difference of depths (H, W) in units of `reach`, with a gradient that fades beyond it (Geman-McClure on
    the absolute value), so that a pixel on the wrong side of an outline does not tear at the surface.

    Pixels whose target is 0 do not count. The sum is divided by the weight of the whole picture.
    """
    difference = (depth - target).abs() / reach
    return (difference / (1 + difference) * weight * (target > 0)).sum() / weight.sum().clamp_min(1e-6)


def normal_loss(normal: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """1 - cosine between unit normals (H, W, 3); pixels whose target is 0 do not count."""
    known = target.square().sum(-1) > 0.25
    return ((1 - (normal * target).sum(-1)) * weight * known).sum() / weight.sum().clamp_min(1e-6)


def normals_from_depth(depth: Tensor, directions: Tensor) -> Tensor:
    """(H, W, 3) unit normals of the surface `depth * directions`, facing the camera; 0 at the border.

    Args:
        depth: (H, W) forward depth.
        directions: (H, W, 3) world rays of unit depth, from `Camera.rays`.
    """
    points = depth[..., None] * directions
    across = points[1:-1, 2:] - points[1:-1, :-2]
    down = points[2:, 1:-1] - points[:-2, 1:-1]
    normal = torch.nn.functional.normalize(torch.linalg.cross(down, across), dim=-1, eps=1e-9)
    return torch.nn.functional.pad(normal, (0, 0, 1, 1, 1, 1))
