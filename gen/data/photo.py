"""Renders made to look like photographs: what a lens, a sensor, a file and a cut-out do to the pictures that are shown.

Only the frames that a scene shows as clean context go through this. What is to be drawn stays as it was rendered, so
the network learns to answer a photograph with clean frames.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import grid_sample

from gen.data.sending import send


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

    What befalls which picture is drawn on the processor; the pictures are worked on where they lie.

    Args:
        premultiplied: (N, H, W, 4) RGBA in [0, 1]; left as it is.

    Returns:
        (N, H, W, 4) premultiplied RGBA in [0, 1].
    """
    # Imported here: it takes a second, and only training needs it.
    from kornia.enhance import jpeg_codec_differentiable
    from kornia.filters import gaussian_blur2d

    options = options or PhotoOptions()
    count, height, width, _ = premultiplied.shape
    if count == 0:
        return premultiplied
    device, side = premultiplied.device, min(height, width)

    def numbers(values: NDArray[Any], *tail: int) -> Tensor:
        """(N, ...) on the pictures' device, ready to meet (N, H, W, C)."""
        return send(np.asarray(values, np.float32).reshape(count, *(tail or (1, 1, 1))), device)

    def happens(share: float) -> Tensor:
        return numbers(rng.random(count) < share) > 0

    befallen = happens(options.share)
    bent = _bend(premultiplied, numbers(rng.normal(0, options.distortion, count) * (rng.random(count) < 0.5), 1, 1))
    color, alpha = bent[..., :3], bent[..., 3:]
    picture = color + (1 - alpha) * numbers(rng.random((count, 3)), 1, 1, 3)
    widths = np.where(rng.random(count) < 0.4, _SHARP + rng.random(count) * options.blur * side, _SHARP)
    widest = _SHARP + options.blur * side
    picture = gaussian_blur2d(picture.movedim(-1, 1), _reach(widest), numbers(widths[:, None].repeat(2, 1), 2))
    gain = np.exp(rng.normal(0, options.white_balance, (count, 3)) + rng.normal(0, options.exposure, (count, 1)))
    picture = picture.movedim(1, -1) * numbers(gain, 1, 1, 3)
    generator = torch.Generator(device).manual_seed(int(rng.integers(2**62)))
    grain = torch.randn(picture.shape, generator=generator, device=device)
    picture = (picture + numbers(rng.random(count) * options.noise) * grain).clamp(0, 1)
    quality = torch.from_numpy(rng.integers(options.jpeg[0], options.jpeg[1] + 1, count).astype(np.float32))
    compressed = jpeg_codec_differentiable(picture.movedim(-1, 1), quality).movedim(1, -1)
    picture = torch.where(happens(0.5), compressed, picture)

    width_of_cut = options.matte * side
    soft = gaussian_blur2d(alpha.movedim(-1, 1), _reach(max(width_of_cut, 0.3)), (max(width_of_cut, 0.3),) * 2)
    threshold, steepness = numbers(rng.uniform(0.2, 0.8, count)), numbers(rng.uniform(2, 8, count))
    cut = (0.5 + steepness * (soft.movedim(1, -1) - threshold)).clamp(0, 1)
    x, y = numbers(rng.uniform(0.2, 0.8, count) * width), numbers(rng.uniform(0.2, 0.8, count) * height)
    columns = torch.arange(width, device=device)[None, None, :, None] + 0.5
    rows = torch.arange(height, device=device)[None, :, None, None] + 0.5
    hole = torch.hypot(columns - x, rows - y) / numbers(rng.uniform(0.03, 0.1, count) * side) - 0.5
    cut = torch.where(happens(0.2), cut * hole.clamp(0, 1), cut)
    alpha = torch.where(happens(0.5), cut, alpha)
    return torch.where(befallen, torch.cat((picture * alpha, alpha), dim=-1), premultiplied)


_SHARP = 0.1
"""Standard deviation in pixels of a blur that leaves a picture as it is."""


def _reach(sigma: float) -> int:
    """Pixels, an odd number, that a blur of such a standard deviation needs."""
    return 2 * math.ceil(3 * sigma) + 1


def _bend(pictures: Tensor, coefficients: Tensor) -> Tensor:
    """(N, H, W, 4) seen through lenses with radial coefficients (N, 1, 1): barrels below 0, pincushions above."""
    _, height, width, _ = pictures.shape
    device = pictures.device
    y, x = torch.meshgrid(
        (torch.arange(height, device=device) + 0.5) / height * 2 - 1,
        (torch.arange(width, device=device) + 0.5) / width * 2 - 1,
        indexing="ij",
    )
    long_side = max(height, width)
    radius = (x * width / long_side) ** 2 + (y * height / long_side) ** 2
    # Where the bent picture's pixels are looked up in the straight one: to first order the inverse of Brown's model.
    factor = 1 - coefficients * radius
    grid = torch.stack((x, y), dim=-1) * factor[..., None]
    return grid_sample(pictures.movedim(-1, 1), grid, padding_mode="border", align_corners=False).movedim(1, -1)
