"""The network's own coordinates: everything seen from the first context camera, so that only relative geometry exists.

The gauge puts the object's centre at the origin, turns the axes to the first camera's, and takes as unit of length the
radius of the sphere that this camera frames with the house margin. Moving, turning or scaling the world therefore
changes nothing that the network sees. Rays enter as Plücker coordinates, whose moment then is the ray's closest
approach to the object's centre, in object radii.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from recon.capture import FRAME_MARGIN, Camera

APPEARANCE = slice(0, 4)
"""Channels of premultiplied RGB and alpha, stretched to [-1, 1]."""
GEOMETRY = slice(4, 8)
"""Channels of alpha-weighted depth (half gauge units, 0 = as far as the object's centre) and normals (gauge axes)."""
DEPTH_GAIN = 2.0
"""Brings the depth channel's spread to that of the others, so that noise drowns them alike."""
CHANNELS = 8
RAY_CHANNELS = 6
MODALITIES = (APPEARANCE, GEOMETRY)


@dataclass(frozen=True)
class Gauge:
    """Cameras of a batch of scenes in gauge coordinates.

    Attributes:
        rays: (B, F, H, W, 6) unit direction and moment of the ray through every pixel centre.
        viewmats: (B, F, 4, 4) gauge to camera.
        intrinsics: (B, F, 3, 3) in pixels.
        rotation: (B, 3, 3) world axes to gauge axes.
        unit: (B,) world length of one gauge unit.
        distance: (B, F) world distance of each camera from the object's centre.
    """

    rays: Tensor
    viewmats: Tensor
    intrinsics: Tensor
    rotation: Tensor
    unit: Tensor
    distance: Tensor

    @property
    def eyes(self) -> Tensor:
        """(B, F, 3) the cameras' centres."""
        return -(self.viewmats[..., :3, :3].transpose(-1, -2) @ self.viewmats[..., :3, 3:])[..., 0]

    @property
    def up(self) -> Tensor:
        """(B, 3) the world's +Y in gauge axes."""
        return self.rotation[..., 1]

    def patch_rays(self, patch: int) -> Tensor:
        """(B, F, N, 6) the rays through the middles of square patches, row by row."""
        height, width = self.rays.shape[2:4]
        pixels = patch_middles(height, width, patch, self.rays.device)
        return _rays(self.viewmats[..., :3, :3].transpose(-1, -2), self.eyes, self.intrinsics, pixels)

    def only(self, which: slice) -> Gauge:
        """The same gauge with some of its cameras."""
        return replace(
            self,
            rays=self.rays[:, which],
            viewmats=self.viewmats[:, which],
            intrinsics=self.intrinsics[:, which],
            distance=self.distance[:, which],
        )


def stack_cameras(cameras: Sequence[Camera]) -> tuple[Tensor, Tensor]:
    """(F, 4, 4) c2w and (F, 3, 3) K of cameras that share one picture size."""
    return torch.stack([c.c2w for c in cameras]), torch.stack([c.intrinsics for c in cameras])


def make_gauge(
    c2w: Tensor,
    intrinsics: Tensor,
    height: int,
    width: int,
    centre: Tensor | None = None,
    unit: Tensor | None = None,
) -> Gauge:
    """Gauge of scenes whose frame 0 is the first context.

    Args:
        c2w: (B, F, 4, 4) camera-to-world.
        intrinsics: (B, F, 3, 3) in pixels of the given size.
        height, width: picture size, shared by all frames.
        centre: (B, 3) the object's centre; the world's origin unless given.
        unit: (B,) world length of a gauge unit, where another gauge has fixed it.
    """
    position = c2w[..., :3, 3] if centre is None else c2w[..., :3, 3] - centre[:, None]
    distance = position.norm(dim=-1)
    first_focal = 0.5 * (intrinsics[:, 0, 0, 0] + intrinsics[:, 0, 1, 1])
    half_side = 0.5 * min(height, width)
    sine = half_side / torch.sqrt(half_side**2 + first_focal**2)
    unit = distance[:, 0] * sine / FRAME_MARGIN if unit is None else unit
    rotation = c2w[:, 0, :3, :3].transpose(-1, -2)

    y, x = (torch.arange(length, device=c2w.device) + 0.5 for length in (height, width))
    y, x = torch.meshgrid(y, x, indexing="ij")
    turned = rotation[:, None] @ c2w[..., :3, :3]
    origins = torch.einsum("bij,bfj->bfi", rotation, position) / unit[:, None, None]
    rays = _rays(turned, origins, intrinsics, torch.stack((x, y), dim=-1))
    viewmats = torch.zeros_like(c2w)
    viewmats[..., :3, :3] = turned.transpose(-1, -2)
    viewmats[..., :3, 3] = -(viewmats[..., :3, :3] @ origins[..., None])[..., 0]
    viewmats[..., 3, 3] = 1
    return Gauge(rays, viewmats, intrinsics, rotation, unit, distance)


def patch_middles(height: int, width: int, patch: int, device: torch.device | None = None) -> Tensor:
    """(N, 2) places of the middles of square patches in pixels, x and y, row by row."""
    y, x = (torch.arange(length // patch, device=device) for length in (height, width))
    y, x = torch.meshgrid(y, x, indexing="ij")
    return (torch.stack((x, y), dim=-1).flatten(0, 1) + 0.5) * patch


def _rays(c2w_rotation: Tensor, origins: Tensor, intrinsics: Tensor, pixels: Tensor) -> Tensor:
    """(B, F, ..., 6) directions and moments of the rays of cameras (B, F) through pixels (..., 2)."""
    homogeneous = torch.nn.functional.pad(pixels, (0, 1), value=1.0).to(origins)
    inverse = torch.linalg.inv_ex(intrinsics).inverse  # unlike inv it does not wait for a GPU, to see whether it failed
    directions = torch.einsum("bfij,...j->bf...i", c2w_rotation @ inverse, homogeneous)
    directions = torch.nn.functional.normalize(directions, dim=-1)
    spread = origins.view(*origins.shape[:2], *[1] * (pixels.ndim - 1), 3)
    return torch.cat((directions, torch.linalg.cross(spread.expand_as(directions), directions)), dim=-1)


def encode(premultiplied: Tensor, depth: Tensor, normal: Tensor, gauge: Gauge) -> Tensor:
    """Frames as the network's channels.

    Args:
        premultiplied: (B, F, H, W, 4) RGBA in [0, 1].
        depth: (B, F, H, W) forward depth in world units, 0 = invalid.
        normal: (B, F, H, W, 3) world normals, 0 = invalid.

    Returns:
        (B, F, H, W, 8)
    """
    alpha = premultiplied[..., 3:]
    offset = DEPTH_GAIN * (depth - gauge.distance[..., None, None]) / gauge.unit[:, None, None, None]
    offset = torch.where(depth > 0, offset, torch.zeros_like(offset))[..., None]
    turned = torch.einsum("bij,bfhwj->bfhwi", gauge.rotation, normal)
    return torch.cat((encode_appearance(premultiplied), offset * alpha, turned * alpha), dim=-1)


def encode_appearance(premultiplied: Tensor) -> Tensor:
    """Premultiplied RGBA (..., 4) in [0, 1] as the network's first channels."""
    return premultiplied * 2 - 1
