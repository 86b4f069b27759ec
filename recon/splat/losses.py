"""What a fit minimises: comparisons of a drawn view with a frame, each weighted per pixel by the frame's trust."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from recon.capture import Camera

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
    rows, columns = _filter_matrix(image.shape[0]).to(image), _filter_matrix(image.shape[1]).to(image)
    x, y = image.permute(2, 0, 1), target.permute(2, 0, 1)
    stacked = torch.cat((x, y, x * x, y * y, x * y))
    mean_x, mean_y, xx, yy, xy = (rows @ stacked @ columns.T).chunk(5)
    variance_x, variance_y, covariance = xx - mean_x**2, yy - mean_y**2, xy - mean_x * mean_y
    c1, c2 = SSIM_CONSTANTS
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    structure = (2 * covariance + c2) / (variance_x + variance_y + c2)
    return (luminance * structure).mean(0)


@lru_cache(maxsize=32)
def _filter_matrix(size: int) -> Tensor:
    """(size, size) rows of the window around every pixel, cut at the border and renormalised."""
    offset = torch.arange(size)[:, None] - torch.arange(size)[None]
    window = torch.exp(-0.5 * (offset / SSIM_SIGMA) ** 2) * (offset.abs() <= SSIM_WINDOW // 2)
    return window / window.sum(1, keepdim=True)


def photometric_loss(image: Tensor, target: Tensor, weight: Tensor, ssim_share: float = 0.2) -> Tensor:
    """(1 - share) L1 + share (1 - SSIM), as in Kerbl et al. 2023, averaged under the weights.

    In float32 on a processor, value and gradient come from one fused pass over the picture, several times faster than
    the plain version; the target and the weights get no gradient there.

    Args:
        image: (H, W, C) in [0, 1].
        target: (H, W, C).
        weight: (H, W) trust in each pixel, not negative; the loss is 0 where all are 0.
        ssim_share: part of the structural term.
    """
    fused = image.device.type == "cpu" and image.dtype == torch.float32
    if fused and not (target.requires_grad or weight.requires_grad):
        return _FusedPhotometric.apply(image, target, weight, ssim_share)
    return plain_photometric_loss(image, target, weight, ssim_share)


def plain_photometric_loss(image: Tensor, target: Tensor, weight: Tensor, ssim_share: float = 0.2) -> Tensor:
    """`photometric_loss` written out: for every device and dtype, and what the fused one is tested against."""
    absolute = weighted_mean((image - target).abs().mean(-1), weight)
    if ssim_share == 0:
        return absolute
    return (1 - ssim_share) * absolute + ssim_share * weighted_mean(1 - ssim_map(image, target), weight)


class _FusedPhotometric(torch.autograd.Function):
    """`photometric_loss` with its gradient in the picture, both at once."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, target: Tensor, weight: Tensor, ssim_share: float) -> Tensor:
        from recon.splat.fused_loss import loss_and_gradient

        loss, gradient = loss_and_gradient(image.detach(), target, weight, ssim_share)
        ctx.save_for_backward(gradient)
        return loss

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return gradient * upstream[0], None, None, None


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


def ray_directions(camera: Camera) -> Tensor:
    """(H, W, 3) world rays of unit depth through the pixel centres."""
    return camera.rays()[1]
