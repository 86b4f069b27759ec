"""From a coarse silhouette to a matte at the picture's own resolution, and colours free of the old background.

In a narrow band around the outline each pixel is a mixture of the subject's and the background's local colours; the
mixture is solved by projection onto the line between the two (the compositing equation, Porter and Duff 1984).
"""

from __future__ import annotations

import numpy as np

_MAX_SIDE = 1536
_BLUR_PIXELS = 3.0


def refine(rgb: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(H, W) float32 alpha in [0, 1] for a (H, W, 3) uint8 picture from a bool silhouette of a smaller copy of it."""
    import cv2

    height, width = rgb.shape[:2]
    scale = min(1.0, _MAX_SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    picture = (rgb if scale == 1.0 else cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)).astype(np.float32) / 255
    band = max(1.5, 1.5 * max(size) / max(mask.shape))
    coarse = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
    coarse = cv2.GaussianBlur(coarse, (0, 0), 0.5 * band)
    sure_in = _shrunk(coarse > 0.5, band)
    sure_out = _shrunk(coarse <= 0.5, band)
    subject, background = _spread(picture, sure_in, 2.5 * band), _spread(picture, sure_out, 2.5 * band)
    axis = subject - background
    contrast = (axis**2).sum(-1)
    mixture = ((picture - background) * axis).sum(-1) / np.maximum(contrast, 1e-6)
    mixture = np.clip((mixture - 0.08) / 0.84, 0, 1)
    trust = contrast / (contrast + 0.01)  # where both colours are alike only the outline is known
    alpha = np.clip(trust * mixture + (1 - trust) * np.clip((coarse - 0.5) * 2 + 0.5, 0, 1), 0, 1)
    alpha[sure_in], alpha[sure_out] = 1.0, 0.0
    if scale != 1.0:
        alpha = cv2.resize(alpha, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(alpha, dtype=np.float32)


def clean_colours(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """(H, W, 3) float32 colours of the subject alone: where `alpha` < 1 those of the nearest opaque neighbours,
    so that no rim of the old background stays.

    Args:
        rgb: (H, W, 3) float32.
        alpha: (H, W) float32.
    """
    opaque = alpha > 0.97
    if not opaque.any():
        return rgb
    radius = max(1.0, 0.004 * max(alpha.shape))
    spread = _spread(np.ascontiguousarray(rgb, dtype=np.float32), opaque, radius)
    return np.where(opaque[..., None], rgb, spread).astype(np.float32, copy=False)


def _shrunk(mask: np.ndarray, by: float) -> np.ndarray:
    """The pixels of a mask that are farther than `by` pixels from its outside."""
    import cv2

    return cv2.distanceTransform(np.pad(mask, 1, mode="edge").astype(np.uint8), cv2.DIST_L2, 3)[1:-1, 1:-1] > by


def _spread(colours: np.ndarray, known: np.ndarray, radius: float) -> np.ndarray:
    """Known colours carried into the unknown: Gaussian averages of growing radius, the sharpest that reaches.

    Wide averages are taken on smaller copies, so that the time does not grow with the radius.
    """
    import cv2

    height, width = known.shape
    weighted = np.dstack((colours, np.ones_like(known, np.float32))) * known[..., None]
    coarse = max(1, int(radius / _BLUR_PIXELS))
    weighted = _resized(weighted, max(1, width // coarse), max(1, height // coarse))
    rows, columns = weighted.shape[:2]
    total = weighted.sum((0, 1))
    out = np.broadcast_to(total[:3] / max(float(total[3]), 1e-6), (rows, columns, 3)).copy()
    for factor in (9, 3, 1):
        sigma = radius * factor / coarse
        step = max(1, int(sigma / _BLUR_PIXELS))
        small = _resized(weighted, max(1, columns // step), max(1, rows // step))
        blurred = _resized(cv2.GaussianBlur(small, (0, 0), sigma / step), columns, rows)
        share = blurred[..., 3:]
        np.copyto(out, blurred[..., :3] / np.maximum(share, 1e-6), where=share > 1e-3)
    return _resized(out, width, height)


def _resized(image: np.ndarray, width: int, height: int) -> np.ndarray:
    import cv2

    if image.shape[:2] == (height, width):
        return image
    smaller = width < image.shape[1]
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
