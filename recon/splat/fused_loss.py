"""L1 and structural dissimilarity with their gradient, by compiled kernels on all threads."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from recon.splat import _loss_kernels as kernels
from recon.splat.backend_cpu.jit import for_each_chunk
from recon.splat.losses import SSIM_CONSTANTS, SSIM_SIGMA

_ROWS_PER_CHUNK = 32


def loss_and_gradient(image: Tensor, target: Tensor, weight: Tensor, ssim_share: float) -> tuple[Tensor, Tensor]:
    """The loss, a scalar, and its gradient in the image (H, W, C); see `losses.photometric_loss`."""
    x, y = (picture.permute(2, 0, 1).contiguous().numpy() for picture in (image, target.to(image)))
    channels, height, width = x.shape
    lane = kernels.MARGIN
    pitch = 2 * lane + -(-width // lane) * lane
    padded = np.empty((2, channels, height, pitch), np.float32)
    kernels.pad(x, padded[0])
    kernels.pad(y, padded[1])
    trust = np.empty((1, height, pitch), np.float32)
    share = weight.detach() / (weight.detach().sum().clamp_min(1e-6) * channels)
    kernels.pad(share.float().contiguous().numpy()[None], trust)
    flat_x, flat_y, flat_trust = padded[0].reshape(-1), padded[1].reshape(-1), trust.reshape(-1)
    taps, row_scale, column_scale = _window(height, width, pitch)
    shares = np.float32(1 - ssim_share), np.float32(ssim_share)
    constants = [np.float32(constant) for constant in SSIM_CONSTANTS]
    by_mean, by_square, by_product = (np.empty(flat_x.size, np.float32) for _ in range(3))
    gradient = torch.empty(channels, height, pitch)
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
    loss = torch.tensor(losses.sum(), dtype=image.dtype)
    return loss, gradient[..., lane : lane + width].permute(1, 2, 0)


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
