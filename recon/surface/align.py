"""Bends a picture a little so that its subject's outline falls on the mesh's.

A reconstructed shape never quite has the photograph's outline. Projected as it is, the photograph would lose what lies
outside of the mesh and leave a rim bare inside; bent by a smooth field that is strongest at the outline it covers the
mesh's front whole. The field comes from registering the two outlines' distance maps (Thirion's demons, 1998, with
elastic smoothing from coarse to fine).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]

_SIDE = 160
"""Longer side of the grid that the field is found on."""
_STAGES = ((0.06, 40), (0.04, 40), (0.025, 40))
"""Smoothing, as a part of the grid's side, and steps."""
_BAND = 0.08
"""Distance from an outline, as a part of the grid's side, within which it pulls."""
_SAME = 0.985
"""Overlap (intersection over union) of masks between which nothing is left to bend but the grid's own rounding."""
_LIMIT = 0.12
"""Longest displacement, as a part of the grid's side: beyond it the shapes are not the same, and bending would lie."""


def outline_flow(picture: NDArray[np.bool_], mesh: NDArray[np.bool_]) -> Image | None:
    """A field (H, W, 2) of pixel offsets (x, y): `picture` read at x + field(x) has about the outline of `mesh`.

    Args:
        picture, mesh: (H, W) masks of the subject and of the mesh in the same view.

    Returns:
        None where bending cannot help: a mask is empty or full, the outlines are the same, or do not come closer.
    """
    import cv2

    if picture.all() or not picture.any() or mesh.all() or not mesh.any():
        return None
    height, width = picture.shape
    scale = _SIDE / max(height, width)
    size = (max(round(width * scale), 8), max(round(height * scale), 8))
    source, target = (
        cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0.5 for mask in (picture, mesh)
    )
    if source.all() or not source.any() or target.all() or not target.any():
        return None
    before = _overlap(source, target)
    if before > _SAME:
        return None
    field = _register(_signed_distance(source), _signed_distance(target))
    after = _overlap(_read(source.astype(np.float32), field) > 0.5, target)
    if after <= before + 0.002:
        return None
    full = cv2.resize(field, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(full * (width / size[0], height / size[1]), np.float32)


def bend(image: Image, flow: Image) -> Image:
    """(H, W[, C]) picture read at x + flow(x); `flow` (h, w, 2) may have another resolution.

    The reading is smooth, so values may overshoot [0, 1] a little. They are not clipped: premultiplied colour and alpha
    have to overshoot alike.
    """
    import cv2

    height, width = image.shape[:2]
    scale = (width / flow.shape[1], height / flow.shape[0])
    sized = cv2.resize(flow, (width, height), interpolation=cv2.INTER_LINEAR) * np.asarray(scale, np.float32)
    return _read(image, sized, smooth=True)


def _register(source: Image, target: Image) -> Image:
    import cv2

    height, width = source.shape
    side = max(height, width)
    slope = np.stack(
        (cv2.Sobel(source, cv2.CV_32F, 1, 0, scale=0.125), cv2.Sobel(source, cv2.CV_32F, 0, 1, scale=0.125)), -1
    )
    field = np.zeros((height, width, 2), np.float32)
    for smoothing, steps in _STAGES:
        for _ in range(steps):
            moved = _read(source, field)
            error = moved - target
            near = np.exp(-((np.minimum(np.abs(moved), np.abs(target)) / (_BAND * side)) ** 2))
            step = -(near * error / (1 + 0.05 * error**2))[..., None] * _read(slope, field)
            field = cv2.GaussianBlur(field + step, (0, 0), smoothing * side)
            length = np.linalg.norm(field, axis=-1, keepdims=True)
            field *= np.minimum(1, _LIMIT * side / np.maximum(length, 1e-6))
    return np.asarray(field, np.float32)


def _read(image: Image, field: Image, *, smooth: bool = False) -> Image:
    import cv2

    height, width = field.shape[:2]
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    interpolation = cv2.INTER_CUBIC if smooth else cv2.INTER_LINEAR
    moved = cv2.remap(image, x + field[..., 0], y + field[..., 1], interpolation, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.float32)


def _signed_distance(mask: NDArray[np.bool_]) -> Image:
    """Pixels to the outline, positive inside."""
    import cv2

    inside = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5)
    outside = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5)
    return np.asarray(inside - outside, np.float32)


def _overlap(one: NDArray[np.bool_], two: NDArray[np.bool_]) -> float:
    return float((one & two).sum() / max((one | two).sum(), 1))
