"""Renders made to look like photographs: what a lens, a sensor, a file and a cut-out do to the pictures that are shown.

Only the frames that a scene shows as clean context go through this. What is to be drawn stays as it was rendered, so
the network learns to answer a photograph with clean frames.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import grid_sample


@dataclass(frozen=True)
class PhotoOptions:
    """How often each flaw befalls a picture, and how strong it then is. Lengths are shares of the picture's side.

    Attributes:
        share: pictures that have flaws at all; the others stay clean renders.
        distortion: standard deviation of the first radial coefficient (Brown 1966), in units of half the side.
        blur: largest standard deviation of a Gaussian blur.
        noise: largest standard deviation of a sensor's noise, of colours in [0, 1].
        white_balance: standard deviation of the logarithm of each channel's gain.
        exposure: standard deviation of the logarithm of the common gain.
        jpeg: lowest and highest quality.
        matte: largest width by which the cut-out is too wide or too narrow; its edge then lets the background through.
    """

    share: float = 0.5
    distortion: float = 0.04
    blur: float = 0.012
    noise: float = 0.04
    white_balance: float = 0.06
    exposure: float = 0.1
    jpeg: tuple[int, int] = (40, 95)
    matte: float = 0.02


def photographed(premultiplied: Tensor, rng: np.random.Generator, options: PhotoOptions | None = None) -> Tensor:
    """Pictures as a camera, a file and a matting program would have left them; each has flaws of its own.

    Args:
        premultiplied: (N, H, W, 4) RGBA in [0, 1]; left as it is.

    Returns:
        (N, H, W, 4) premultiplied RGBA in [0, 1].
    """
    options = options or PhotoOptions()
    count, height, width, _ = premultiplied.shape
    side = min(height, width)
    befallen = rng.random(count) < options.share
    bent = _bend(premultiplied, rng.normal(0, options.distortion, count) * (rng.random(count) < 0.5))
    result = premultiplied.clone()
    for index in np.flatnonzero(befallen):
        rgba = bent[index].numpy()
        behind = rng.random(3, dtype=np.float32)
        picture = rgba[..., :3] + (1 - rgba[..., 3:]) * behind
        if rng.random() < 0.4:
            picture = cv2.GaussianBlur(picture, (0, 0), 0.1 + rng.random() * options.blur * side)
        gain = np.exp(rng.normal(0, options.white_balance, 3) + rng.normal(0, options.exposure))
        picture = picture * gain.astype(np.float32)
        picture += rng.random(dtype=np.float32) * options.noise * rng.standard_normal(picture.shape, dtype=np.float32)
        if rng.random() < 0.5:
            picture = _through_jpeg(picture, int(rng.integers(options.jpeg[0], options.jpeg[1] + 1)))
        alpha = _careless_matte(rgba[..., 3], rng, options.matte * side) if rng.random() < 0.5 else rgba[..., 3]
        result[index] = torch.from_numpy(np.dstack((picture.clip(0, 1) * alpha[..., None], alpha)))
    return result


def _bend(pictures: Tensor, coefficients: NDArray[np.float64]) -> Tensor:
    """(N, H, W, 4) seen through lenses with radial coefficients (N,): barrels below 0, pincushions above."""
    count, height, width, _ = pictures.shape
    y, x = torch.meshgrid(
        (torch.arange(height) + 0.5) / height * 2 - 1, (torch.arange(width) + 0.5) / width * 2 - 1, indexing="ij"
    )
    long_side = max(height, width)
    radius = (x * width / long_side) ** 2 + (y * height / long_side) ** 2
    # Where the bent picture's pixels are looked up in the straight one: to first order the inverse of Brown's model.
    factor = 1 - torch.from_numpy(coefficients.astype(np.float32))[:, None, None] * radius
    grid = torch.stack((x, y), dim=-1) * factor[..., None]
    return grid_sample(pictures.movedim(-1, 1), grid, padding_mode="border", align_corners=False).movedim(1, -1)


def _through_jpeg(picture: NDArray[np.float32], quality: int) -> NDArray[np.float32]:
    codes = (picture.clip(0, 1) * 255).round().astype(np.uint8)
    _, stream = cv2.imencode(".jpg", codes, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(stream, cv2.IMREAD_COLOR), np.float32) / np.float32(255)


def _careless_matte(alpha: NDArray[np.float32], rng: np.random.Generator, width: float) -> NDArray[np.float32]:
    """The mask cut too wide or too narrow by up to `width` pixels, and rarely with a hole in it."""
    soft = cv2.GaussianBlur(alpha, (0, 0), max(width, 0.3))
    threshold, steepness = rng.uniform(0.2, 0.8), rng.uniform(2, 8)
    cut = (0.5 + steepness * (soft - threshold)).clip(0, 1)
    if rng.random() < 0.2:
        height, broad = alpha.shape
        y, x = rng.uniform(0.2, 0.8) * height, rng.uniform(0.2, 0.8) * broad
        distance = np.hypot(*(np.indices(alpha.shape) + 0.5 - np.array([y, x])[:, None, None]))
        cut *= (distance / (rng.uniform(0.03, 0.1) * min(alpha.shape)) - 0.5).clip(0, 1)
    return cut.astype(np.float32)
