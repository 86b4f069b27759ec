"""Frames at a smaller size: their cameras, and their pictures to match."""

from __future__ import annotations

import torch
from torch import Tensor

from recon.capture import Camera


def shrunk(camera: Camera, longest: int) -> Camera:
    """The view with at most `longest` pixels on its longer side; the same camera where it has no more."""
    if max(camera.width, camera.height) <= longest:
        return camera
    scale = longest / max(camera.width, camera.height)
    return camera.resized(max(1, round(camera.width * scale)), max(1, round(camera.height * scale)))


def resized(picture: Tensor, size: tuple[int, int], mode: str) -> Tensor:
    """(H, W, C) to another (height, width) in a mode of `interpolate`; the same tensor where nothing changes."""
    if tuple(picture.shape[:2]) == size:
        return picture
    return torch.nn.functional.interpolate(picture.permute(2, 0, 1)[None], size, mode=mode)[0].permute(1, 2, 0)
