"""Mattes that agree: what one picture alone takes for the subject, and the others do not, is cut away.

A matte is found picture by picture, and each makes mistakes of its own: a shadow here, a stand or a stripe of the wall
there. With cameras, the mistakes of one are in the others' empty space.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import torch
from torch import Tensor

from recon.capture import Camera, Capture, Frame
from recon.splat.resizing import resized, shrunk
from recon.splat.threads import one_torch_thread
from recon.splat.volume import HALF_EXTENT

_DISSENT = 0.15
"""Share of the views that may call a place empty which the others call solid."""
_RESOLUTION = 80
_SIDE = 128
"""Pixels a side at which mattes are compared with space."""
_PART = 0.1
"""Solids smaller than this share of the largest are a coincidence of mistakes."""
_SHRUNK = 0.6
"""Where less of the mattes than this would remain, the object is not in the pictures as a whole, and nothing is cut."""
_FEWEST = 4


@one_torch_thread()
def agreed_mattes(capture: Capture, found: Collection[str]) -> Capture:
    """The capture with the mattes of the frames named `found` limited to what nearly all frames allow.

    A place belongs to the subject if nearly all frames show it, and inside of their mattes. So the subject must be in
    the pictures as a whole.

    Args:
        capture: with its subject in the unit-diameter sphere.
        found: names of frames whose mattes were guessed; the others' stay, and count like them.
    """
    if len(capture) < _FEWEST or not found:
        return capture
    cameras = [shrunk(frame.camera, _SIDE) for frame in capture]
    masks = [
        resized(frame.rgba()[..., 3:], (camera.height, camera.width), "area")[..., 0]
        for frame, camera in zip(capture, cameras, strict=True)
    ]
    solid = _agreed_solid(cameras, masks)
    allowed = [_shadow(solid, camera) for camera in cameras]
    kept = sum(float((mask * limit).sum()) for mask, limit in zip(masks, allowed, strict=True))
    if kept < _SHRUNK * sum(float(mask.sum()) for mask in masks):
        return capture
    frames = (
        _limited(frame, limit) if frame.name in found else frame for frame, limit in zip(capture, allowed, strict=True)
    )
    return replace(capture, frames=tuple(frames))


def _agreed_solid(cameras: list[Camera], masks: list[Tensor]) -> Tensor:
    """(X, Y, Z) 1 within a grid spacing of where nearly all masks allow the subject to be, in solids of some size."""
    import numpy as np
    from scipy.ndimage import label

    axis = torch.linspace(-HALF_EXTENT, HALF_EXTENT, _RESOLUTION)
    points = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1).reshape(-1, 3)
    votes = torch.zeros(len(points), dtype=torch.int32)
    for camera, mask in zip(cameras, masks, strict=True):
        pixels, depth = camera.project(points)
        column, row = pixels.floor().long().unbind(-1)
        seen = (depth > 0) & (column >= 0) & (column < camera.width) & (row >= 0) & (row < camera.height)
        index = row.clamp(0, camera.height - 1) * camera.width + column.clamp(0, camera.width - 1)
        votes += (seen & (mask.flatten()[index] > 0.5)).int()
    solid = (votes >= (1 - _DISSENT) * len(cameras)).reshape((_RESOLUTION,) * 3)
    parts, count = label(solid.numpy())
    sizes = np.bincount(parts.ravel(), minlength=count + 1)
    sizes[0] = 0
    kept = torch.from_numpy((sizes >= max(1, _PART * sizes.max()))[parts]).float()
    return torch.nn.functional.max_pool3d(kept[None], 3, stride=1, padding=1)[0]


def _shadow(solid: Tensor, camera: Camera) -> Tensor:
    """(H, W) 1 where a pixel's ray meets the solid, else 0."""
    origin, directions = camera.rays()
    unit = torch.nn.functional.normalize(directions.reshape(-1, 3), dim=-1)
    nearest = -(unit @ origin)  # distance along the ray to the point that is nearest to the world's origin
    hit = torch.zeros(len(unit))
    for step in torch.linspace(-HALF_EXTENT, HALF_EXTENT, _RESOLUTION):
        points = origin + (nearest + step)[:, None] * unit
        # The solid is (X, Y, Z), so x is the slowest axis: grid_sample wants z first.
        grid = (points / HALF_EXTENT).flip(-1)[None, :, None, None]
        sampled = torch.nn.functional.grid_sample(solid[None, None], grid, mode="nearest", align_corners=True)
        hit = torch.maximum(hit, sampled[0, 0, :, 0, 0])
    return hit.reshape(camera.height, camera.width)


def _limited(frame: Frame, allowed: Tensor) -> Frame:
    size = (frame.camera.height, frame.camera.width)

    def rgba() -> Tensor:
        picture = frame.rgba()
        share = resized(allowed[..., None], size, "bilinear")
        return torch.cat((picture[..., :3], picture[..., 3:] * share), dim=-1)

    return replace(frame, load_rgba=rgba)
