"""Measures of one picture against its truth: PSNR, SSIM, both inside the union of the two masks, mask overlap,
high-frequency energy and FLIP. All take any number of leading batch dimensions, colours sRGB in [0, 1].
"""

from __future__ import annotations

import importlib
import importlib.util

import numpy as np
import torch
from torch import Tensor

from recon.metrics.errors import MetricError

MSE_FLOOR = 1e-6
"""Squared errors below this count as this: identical pictures score 60 dB, about what 8 bits can tell."""
MASK_THRESHOLD = 0.5
"""A pixel belongs to the object where alpha reaches this."""
SSIM_RADIUS = 5
SSIM_SIGMA = 1.5
HIGH_FREQUENCY = 0.25
"""Cycles per pixel above which a spatial frequency is "high": half of what the pixel grid can carry."""


def over_white(rgba: Tensor) -> Tensor:
    """Straight-alpha pictures (..., H, W, 4) laid over white: (..., H, W, 3)."""
    alpha = rgba[..., 3:]
    return rgba[..., :3] * alpha + (1 - alpha)


def object_mask(rgba: Tensor) -> Tensor:
    """(..., H, W) bool: where the object is, from the alpha of (..., H, W, 4)."""
    return rgba[..., 3] >= MASK_THRESHOLD


def mask_iou(predicted: Tensor, truth: Tensor) -> Tensor:
    """Intersection over union (...) of two boolean masks (..., H, W); 1 where both are empty."""
    _check_same_shape(predicted, truth)
    intersection = (predicted & truth).sum((-2, -1)).float()
    union = (predicted | truth).sum((-2, -1)).float()
    return torch.where(union > 0, intersection / union.clamp_min(1), torch.ones_like(union))


def psnr(predicted: Tensor, truth: Tensor, mask: Tensor | None = None) -> Tensor:
    """Peak signal-to-noise ratio (...) in dB of (..., H, W, C) pictures with peak 1, at most 60.

    Args:
        mask: (..., H, W) bool; only its pixels count. An empty mask leaves no error to find.
    """
    _check_same_shape(predicted, truth)
    squared = (predicted - truth).square().mean(-1)
    mse = squared.mean((-2, -1)) if mask is None else _masked_mean(squared, mask, empty=0.0)
    return -10 * torch.log10(mse.clamp_min(MSE_FLOOR))


def ssim(predicted: Tensor, truth: Tensor, mask: Tensor | None = None) -> Tensor:
    """Structural similarity (...) of (..., H, W, C) pictures (Wang et al. 2004), mean over channels.

    Gaussian window of sigma 1.5 px and 11 px width, population covariance, data range 1. Over the full frame,
    the outermost five pixels are left out, as scikit-image does; with a mask the mean is over the mask's pixels.

    Raises:
        MetricError: if the picture is smaller than the window.
    """
    return mean_similarity(ssim_map(predicted, truth), mask)


def mean_similarity(similarity: Tensor, mask: Tensor | None = None) -> Tensor:
    """The mean (...) of a `ssim_map` (..., H, W), as `ssim` takes it."""
    if mask is not None:
        return _masked_mean(similarity, mask, empty=1.0)
    inner = slice(SSIM_RADIUS, -SSIM_RADIUS)
    return similarity[..., inner, inner].mean((-2, -1))


def ssim_map(predicted: Tensor, truth: Tensor) -> Tensor:
    """(..., H, W) structural similarity around every pixel, mean over channels; edges repeat outward."""
    _check_same_shape(predicted, truth)
    height, width = predicted.shape[-3:-1]
    if min(height, width) <= 2 * SSIM_RADIUS:
        raise MetricError(f"SSIM needs pictures above {2 * SSIM_RADIUS} px on each side, got {height}x{width}")
    mean_x, mean_y = _window_mean(predicted), _window_mean(truth)
    variance_x = _window_mean(predicted * predicted) - mean_x * mean_x
    variance_y = _window_mean(truth * truth) - mean_y * mean_y
    covariance = _window_mean(predicted * truth) - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    structure = (2 * covariance + c2) / (variance_x + variance_y + c2)
    return ((2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1) * structure).mean(-1)


def high_frequency_energy(rgb: Tensor) -> Tensor:
    """Mean energy per pixel (...) of a picture's luma (..., H, W, 3) above a quarter cycle per pixel.

    To be read beside the truth's: blurred pictures have less, noisy ones more. Parseval's sum over the plain
    periodic spectrum; pictures with one colour all round their border have no seam that could leak into it.
    """
    luma = rgb @ torch.tensor([0.299, 0.587, 0.114]).to(rgb)
    height, width = luma.shape[-2:]
    spectrum = torch.fft.fft2(luma).abs().square() / (height * width) ** 2
    vertical = torch.fft.fftfreq(height)[:, None]
    horizontal = torch.fft.fftfreq(width)[None, :]
    high = (vertical**2 + horizontal**2).sqrt() > HIGH_FREQUENCY
    return (spectrum * high.to(spectrum)).sum((-2, -1))


def flip_available() -> bool:
    """Whether the optional package `flip-evaluator` is installed."""
    return importlib.util.find_spec("flip_evaluator") is not None


def flip(predicted: Tensor, truth: Tensor) -> Tensor:
    """Mean FLIP difference (...) in [0, 1], lower is better (Andersson et al. 2020), at 67 pixels per degree.

    Raises:
        ImportError: if `flip-evaluator` is not installed; ask `flip_available` first.
    """
    _check_same_shape(predicted, truth)
    evaluator = importlib.import_module("flip_evaluator")

    def one(test: np.ndarray, reference: np.ndarray) -> float:
        return float(evaluator.evaluate(reference, test, "LDR", applyMagma=False)[1])

    size = predicted.shape[-3:]
    tests = np.ascontiguousarray(predicted.clamp(0, 1).reshape(-1, *size).float().numpy())
    references = np.ascontiguousarray(truth.clamp(0, 1).reshape(-1, *size).float().numpy())
    values = [one(test, reference) for test, reference in zip(tests, references, strict=True)]
    return torch.tensor(values).reshape(predicted.shape[:-3])


def _window_mean(image: Tensor) -> Tensor:
    """(..., H, W, C) averaged under the Gaussian window, in double precision; edges repeat outward."""
    from scipy.ndimage import correlate1d  # torch's convolutions in double precision take twenty times as long

    offsets = np.arange(-SSIM_RADIUS, SSIM_RADIUS + 1)
    kernel = np.exp(-0.5 * (offsets / SSIM_SIGMA) ** 2)
    kernel = kernel / kernel.sum()
    rows = correlate1d(image.double().numpy(), kernel, axis=-3, mode="nearest")
    return torch.from_numpy(correlate1d(rows, kernel, axis=-2, mode="nearest"))


def _masked_mean(values: Tensor, mask: Tensor, *, empty: float) -> Tensor:
    """Mean (...) of (..., H, W) over a mask's pixels; `empty` where it has none."""
    count = mask.sum((-2, -1))
    total = (values * mask).sum((-2, -1))
    return torch.where(count > 0, total / count.clamp_min(1), torch.full_like(total, empty))


def _check_same_shape(predicted: Tensor, truth: Tensor) -> None:
    if predicted.shape != truth.shape:
        raise MetricError(f"pictures differ in shape: {tuple(predicted.shape)} against {tuple(truth.shape)}")
