"""The losses of a picture with their gradients, by compiled kernels on all threads."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from torch import Tensor

from recon.splat import _loss_kernels as kernels
from recon.splat.backend_cpu import buffers
from recon.splat.backend_cpu.jit import for_each_chunk
from recon.splat.losses import SSIM_CONSTANTS, SSIM_SIGMA

_ROWS_PER_CHUNK = 64


@dataclass(frozen=True)
class FusedLoss:
    """Attributes:
    color, mask: the losses.
    residual: (H, W); see `losses.PictureLoss`.
    in_rgb: (H, W, C) gradient of `color` in the drawn colours.
    in_alpha: (H, W) the same in the drawn alpha.
    mask_in_alpha: (H, W) gradient of `mask` in the drawn alpha.
    """

    color: float
    mask: float
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
    colors = [picture.detach().permute(2, 0, 1).contiguous().numpy() for picture in (rgb, target_rgb)]
    masks = [mask.detach().contiguous().numpy() for mask in (alpha, target_alpha)]
    trusted = weight.detach().contiguous().numpy()
    behind = background.detach().contiguous().numpy()
    channels, height, width = colors[0].shape
    lane = kernels.MARGIN
    pitch = 2 * lane + -(-width // lane) * lane
    plane = height * pitch
    room = buffers.empty((5 * channels + 3) * plane, np.float32)
    image, target, trust, by_mean, by_square, by_product = np.split(
        room, np.cumsum([channels + 1, channels + 1, 1, channels, channels]) * plane
    )
    for picture, mask, composed in zip(colors, masks, (image, target), strict=True):
        kernels.compose(picture.reshape(-1), mask.reshape(-1), height, width, behind, composed, pitch)
    share = np.float32(1 / (max(float(trusted.sum()), 1e-6) * channels))
    kernels.pad(trusted.reshape(-1), height, width, share, trust, pitch)
    taps, row_scale, column_scale = _window(height, width, pitch)
    shares = np.float32(1 - ssim_share), np.float32(ssim_share)
    constants = [np.float32(constant) for constant in SSIM_CONSTANTS]
    slopes = buffers.empty_tensor(channels + 3, height, pitch)
    gradient, in_alpha, mask_in_alpha, residual = np.split(slopes.view(-1).numpy(), np.cumsum([channels, 1, 1]) * plane)
    bands = -(-height // _ROWS_PER_CHUNK)
    losses = np.zeros(channels * bands)

    def place(chunk: int) -> tuple[int, int, int, int, int]:
        channel, band = divmod(chunk, bands)
        first = band * _ROWS_PER_CHUNK
        return first, min(first + _ROWS_PER_CHUNK, height), height, pitch, channel * plane

    def compare(chunk: int) -> None:
        losses[chunk] = kernels.compare(
            *place(chunk), image, target, trust, taps, row_scale, column_scale, *shares, *constants,
            by_mean, by_square, by_product,
        )  # fmt: skip

    def gather(chunk: int) -> None:
        kernels.gather_gradient(
            *place(chunk), image, target, trust, taps, shares[0], by_mean, by_square, by_product, gradient
        )

    for_each_chunk(channels * bands, compare)
    for_each_chunk(channels * bands, gather)
    mask_loss = kernels.compare_masks(
        height, pitch, behind, np.float32(mask_weight), image, target, trust, gradient,
        in_alpha, mask_in_alpha, residual,
    )  # fmt: skip
    cropped = slopes[..., lane : lane + width]
    in_rgb = cropped[:channels].permute(1, 2, 0)
    return FusedLoss(float(losses.sum()), mask_loss, cropped[-1], in_rgb, cropped[-3], cropped[-2])


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
