"""A fitted scene as frames: what its cameras see of it, with depth and normals."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from recon.capture import Camera, Frame, Source, frame_from_tensors
from recon.splat.gaussians import Gaussians
from recon.splat.rasterize import rasterize


def render_frames(gaussians: Gaussians, cameras: Sequence[Camera]) -> tuple[Frame, ...]:
    """Straight-alpha frames of the cameras' sizes; depth is the mean along the ray."""
    with torch.no_grad():
        drawn = [rasterize(gaussians, [camera]) for camera in cameras]
    return tuple(
        frame_from_tensors(
            camera,
            straight(picture.rgb[0], picture.alpha[0]),
            source=Source.RENDERED,
            name=f"rendered_{i:03d}",
            depth=picture.depth[0],
            normal=picture.normal[0],
        )
        for i, (camera, picture) in enumerate(zip(cameras, drawn))
    )


def straight(rgb: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
    """(H, W, 4) straight-alpha picture of premultiplied colours (H, W, 3) and alpha (H, W); black where nothing is."""
    alpha = alpha[..., None].clamp(0, 1)
    return torch.cat(((rgb / alpha.clamp_min(1e-6)).clamp(0, 1) * (alpha > 0), alpha), dim=-1)
