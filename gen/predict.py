"""From noised frames to the scene that the network believes in, and its pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from gen.gauge import Gauge
from gen.splats import PixelGaussians, depth_offsets, draw, pixel_gaussians, pixel_points


@dataclass(frozen=True)
class Belief:
    """B scenes, told by F frames.

    Attributes:
        gaussians: the scenes.
        offsets: (B, F, H, W) depth of each frame's own pixels, coded as in `gen.gauge.encode` without alpha's weight.
        normals: (B, F, H, W, 3) of each frame's own pixels, weighted by alpha, in gauge axes.
    """

    gaussians: PixelGaussians
    offsets: Tensor
    normals: Tensor

    def geometry(self, alpha: Tensor) -> Tensor:
        """(B, F, H, W, 4) the geometry channels, with depth weighted by `alpha` (B, F, H, W, 1)."""
        return torch.cat((self.offsets[..., None] * alpha, self.normals), dim=-1)

    def channels(self, gauge: Gauge) -> Tensor:
        """(B, F, H, W, 8) the clean frames that this is the belief in: the scene as their cameras (`gauge`) see it, and
        their own geometry."""
        appearance = draw(self.gaussians, gauge, *self.offsets.shape[2:])
        return torch.cat((appearance, self.geometry(appearance[..., 3:] * 0.5 + 0.5)), dim=-1)


@dataclass(frozen=True)
class Told:
    """What the network says, in float32.

    Attributes:
        pixels: (B, F, H, W, 9) of each pixel, see `gen.splats.pixel_gaussians`.
        rays: (B, F, N, 6) the ray through each patch's middle; it tells the cameras that are hidden.
        up: (B, F, 3) the world's +Y in gauge axes, as each frame has it.
    """

    pixels: Tensor
    rays: Tensor
    up: Tensor


def ask(
    network: Callable[..., tuple[Tensor, Tensor]],
    frames: Tensor,
    levels: Tensor,
    rays: Tensor,
    times: Tensor,
    camera_known: Tensor,
    dtype: torch.dtype = torch.float32,
) -> Told:
    """Runs the network, and only the network, in `dtype`.

    Args:
        network: an `OrbitTransformer`, or what wraps one.
        frames: (B, F, H, W, 8) noised channels.
        levels: (B, F, 2) noise levels of appearance and geometry.
        rays: (B, F, H, W, 6) of the pixels, see `gen.gauge.Gauge`.
        times: (B, F) seconds.
        camera_known: (B, F) bool; the rays of the others are hidden.
    """
    with torch.autocast(frames.device.type, dtype=dtype, enabled=dtype != torch.float32):
        pixels, cameras = network(frames, levels, rays, times, camera_known)
    cameras = cameras.float()
    return Told(pixels.float(), cameras[..., :6], cameras[..., 6:].mean(dim=2))


def believe(told: Told, frames: Tensor, levels: Tensor, gauge: Gauge, camera_known: Tensor) -> Belief:
    """Makes a scene of what the network told; all arguments as it was asked about them. Frames with hidden cameras lend
    nothing to the scene."""
    points = pixel_points(told.pixels, gauge)
    gaussians = pixel_gaussians(told.pixels, points, frames, levels, gauge, camera_known)
    return Belief(gaussians, depth_offsets(points, gauge), told.pixels[..., 5:8])
