"""What readers of solved cameras share: pictures without their lens's distortion, cameras of scaled pictures."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from recon.capture.camera import Camera
from recon.capture.conversions import undistort
from recon.capture.errors import CaptureError


def resized_to_stored(listing: Path, camera: Camera, size: tuple[int, int]) -> Camera:
    """The camera that `listing` states, for its picture as it is stored, `size` (width, height).

    Raises:
        CaptureError: if that is not the same picture scaled.
    """
    if size == (camera.width, camera.height):
        return camera
    across, down = size[0] / camera.width, size[1] / camera.height
    if abs(across - down) > 0.01 * max(across, down):
        raise CaptureError(
            listing,
            found=f"a picture of {size[0]}x{size[1]} for a camera of {camera.width}x{camera.height} pixels",
            expected="the same size, or the same picture scaled",
            remedy="Give size and intrinsics of the pictures as they are stored.",
        )
    return camera.resized(*size)


def undistorted_rgba(rgba: Tensor, camera: Camera) -> Tensor:
    """(H, W, 4) straight-alpha picture of `camera` as `without_distortion(camera)` sees it."""
    if camera.distortion is None:
        return rgba
    premultiplied, _ = undistort(torch.cat((rgba[..., :3] * rgba[..., 3:], rgba[..., 3:]), dim=-1), camera)
    alpha = premultiplied[..., 3:]
    return torch.cat((torch.where(alpha > 0, premultiplied[..., :3] / alpha.clamp_min(1e-6), 0.0), alpha), dim=-1)


def undistorted_weight(weight: Tensor | None, camera: Camera) -> Tensor:
    """(H, W) trust (None: 1 everywhere), 0 where the picture of `camera` did not reach."""
    if weight is None:
        weight = torch.ones(camera.height, camera.width)
    if camera.distortion is None:
        return weight
    resampled, reached = undistort(weight[..., None], camera)
    return resampled[..., 0] * reached
