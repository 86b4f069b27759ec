"""Cameras of pictures that say nothing of them: asked of the network, which tells the ray through every patch."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import normalize

from gen.gauge import APPEARANCE, CHANNELS, RAY_CHANNELS, encode_appearance, patch_middles
from gen.predict import ask
from recon.capture import OBJECT_RADIUS, Camera, orbit_camera
from recon.capture.ray_cameras import camera_from_rays

DISTANCE_PULL = 0.1
"""Weight of the distance that frames the object against that of the rays, see `camera_from_rays`."""


@torch.no_grad()
def tell_cameras(
    network: torch.nn.Module, pictures: Tensor, *, fov: float | None = None, generator: torch.Generator | None = None
) -> list[Camera]:
    """Cameras of the pictures of one object, each framed as the house does: the object in the middle, its sphere with
    the margin inside the shorter side.

    Args:
        network: an `OrbitTransformer`, or what wraps one; its `patch_size` must divide the pictures.
        pictures: (F, H, W, 4) premultiplied RGBA in [0, 1].
        fov: field of view of the first picture's shorter side in radians, where it is known.
        generator: source of the noise that stands for the unknown geometry.

    Returns:
        F cameras in the world: the object's sphere of diameter 1 around the origin, +Y up, the first picture at
        azimuth 0. Elevation and roll of the first are told; so are the others' whole poses and focal lengths.
    """
    count, height, width, _ = pictures.shape
    frames = torch.randn(1, count, height, width, CHANNELS, generator=generator).to(pictures)
    frames[..., APPEARANCE] = encode_appearance(pictures)
    levels = torch.tensor([0.0, 1.0]).expand(1, count, 2).to(pictures)
    hidden = torch.zeros(1, count, dtype=torch.bool, device=pictures.device)
    rays = frames.new_zeros(1, count, height, width, RAY_CHANNELS)
    told = ask(network, frames, levels, rays, frames.new_zeros(1, count), hidden)
    told_rays = told.rays[0].cpu()  # (F, N, 6)

    patch = math.isqrt(height * width // told_rays.shape[1])
    pixels = patch_middles(height, width, patch)
    seen = [
        camera_from_rays(
            pixels,
            rays[:, :3],
            rays[:, 3:],
            width,
            height,
            rotation=torch.eye(3) if index == 0 else None,
            pull=DISTANCE_PULL,
            radius=1.0,
        )
        for index, rays in enumerate(told_rays)
    ]
    first = _first_camera(normalize(told.up[0, 0].cpu(), dim=0), min(seen[0].fov_x, seen[0].fov_y), width, height, fov)
    # From the gauge, whose unit is the sphere's radius, to the world of the first camera.
    return [first] + [camera.moved(first.c2w[:3, :3], torch.zeros(3), OBJECT_RADIUS) for camera in seen[1:]]


def _first_camera(up: Tensor, told_fov: float, width: int, height: int, fov: float | None) -> Camera:
    """The camera at azimuth 0 that sees the world's +Y along `up` (3,) of its own axes."""
    elevation = math.asin(max(-1.0, min(1.0, -float(up[2]))))
    roll = math.atan2(-float(up[0]), -float(up[1]))
    return orbit_camera(0.0, elevation, told_fov if fov is None else fov, width, height, roll=roll)
