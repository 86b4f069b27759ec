"""The losses of a picture with their gradients, by compiled kernels on all threads."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from recon.splat import _loss_kernels as kernels
from recon.splat.backend_cpu import buffers
from recon.splat.backend_cpu.jit import for_each_chunk
from recon.splat.losses import SSIM_CONSTANTS, SSIM_SIGMA

_ROWS_PER_CHUNK = 32


@dataclass(frozen=True)
class FusedLoss:
    """Attributes:
    color, mask: the losses, scalars.
    residual: (H, W); see `losses.PictureLoss`.
    in_rgb: (H, W, C) gradient of `color` in the drawn colours.
    in_alpha: (H, W) the same in the drawn alpha.
    mask_in_alpha: (H, W) gradient of `mask` in the drawn alpha.
    """

    color: Tensor
    mask: Tensor
    residual: Tensor
    in_rgb: Tensor
    in_alpha: Tensor
    mask_in_alpha: Tensor


def fused_loss(
    rgb: Tensor,
    alpha: Tensor,
    target_rgb: Tensor,
    target_alpha: Tensor,
    background: Tensor,
    weight: Tensor,
    ssim_share: float,
    mask_weight: float,
) -> FusedLoss:
    """`losses.picture_loss` and its gradients."""
    planes = [picture.detach().permute(2, 0, 1).contiguous().numpy() for picture in (rgb, target_rgb)]
    masks = [mask.detach().contiguous().numpy() for mask in (alpha, target_alpha)]
    behind = background.detach().contiguous().numpy()
    channels, height, width = planes[0].shape
    lane = kernels.MARGIN
    pitch = 2 * lane + -(-width // lane) * lane
    padded = buffers.empty(2 * channels * height * pitch, np.float32).reshape(2, channels, height, pitch)
    for plane, mask, composed in zip(planes, masks, padded, strict=True):
        kernels.compose(plane, mask, behind, composed)
    trust = np.empty((1, height, pitch), np.float32)
    share = weight.detach() / (weight.detach().sum().clamp_min(1e-6) * channels)
    kernels.pad(share.float().contiguous().numpy()[None], trust)
    flat_x, flat_y, flat_trust = padded[0].reshape(-1), padded[1].reshape(-1), trust.reshape(-1)
    taps, row_scale, column_scale = _window(height, width, pitch)
    shares = np.float32(1 - ssim_share), np.float32(ssim_share)
    constants = [np.float32(constant) for constant in SSIM_CONSTANTS]
    by_mean, by_square, by_product = (buffers.empty(flat_x.size, np.float32) for _ in range(3))
    gradient = buffers.empty_tensor(channels, height, pitch)
    flat_gradient = gradient.view(-1).numpy()
    bands = -(-height // _ROWS_PER_CHUNK)
    losses = np.zeros(channels * bands)

    def place(chunk: int) -> tuple[int, int, int, int, int]:
        channel, band = divmod(chunk, bands)
        first = band * _ROWS_PER_CHUNK
        return first, min(first + _ROWS_PER_CHUNK, height), height, pitch, channel * height * pitch

    def compare(chunk: int) -> None:
        losses[chunk] = kernels.compare(
            *place(chunk), flat_x, flat_y, flat_trust, taps, row_scale, column_scale, *shares, *constants,
            by_mean, by_square, by_product,
        )  # fmt: skip

    def gather(chunk: int) -> None:
        kernels.gather_gradient(
            *place(chunk), flat_x, flat_y, flat_trust, taps, shares[0], by_mean, by_square, by_product, flat_gradient
        )

    for_each_chunk(channels * bands, compare)
    for_each_chunk(channels * bands, gather)
    slopes = buffers.empty_tensor(3, height, width)
    mask_loss = kernels.compare_masks(
        *masks, behind, np.float32(mask_weight), *padded, trust, gradient.numpy(), *slopes.numpy()
    )
    in_alpha, mask_in_alpha, residual = slopes
    in_rgb = gradient[..., lane : lane + width].permute(1, 2, 0)
    color, mask = torch.tensor([losses.sum(), mask_loss], dtype=torch.float32)
    return FusedLoss(color, mask, residual, in_rgb, in_alpha, mask_in_alpha)


@lru_cache(maxsize=32)
def _window(height: int, width: int, pitch: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The taps, and one over what of them lies inside the picture for every row and for every column with margins."""
    offset = np.arange(-kernels.RADIUS, kernels.RADIUS + 1)
    taps = np.exp(-0.5 * (offset / SSIM_SIGMA) ** 2)
    taps /= taps.sum()

    def scale(size: int) -> np.ndarray:
        return 1 / np.convolve(np.ones(size), taps, "full")[kernels.RADIUS : kernels.RADIUS + size]

    columns = np.zeros(pitch)
    columns[kernels.MARGIN : kernels.MARGIN + width] = scale(width)
    return taps.astype(np.float32), scale(height).astype(np.float32), columns.astype(np.float32)
