"""What cameras see of a density field (a NeRF, or any function of space): the median depth that fusion asks for."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from recon.capture import Camera
from recon.splat.volume import HALF_EXTENT

Density = Callable[[Tensor], Tensor]
"""World points (N, 3) to densities (N,), per world unit: exp(-density * length) of the light passes."""
_BATCH = 1 << 16


@torch.no_grad()
def draw_density(density: Density, camera: Camera, step: float) -> tuple[Tensor, Tensor]:
    """Median depth (H, W), 0 where most light passes, and alpha (H, W), by ray marching (Mildenhall et al. 2020).

    The depth is where half of the light is absorbed, interpolated within a step. Rays are followed, from the camera on,
    through the sphere that the house's grid holds.

    Args:
        step: distance between samples in world units.
    """
    origin, directions = camera.rays()
    flat = directions.reshape(-1, 3)  # of forward length 1
    along = torch.nn.functional.normalize(flat, dim=-1)
    centre = origin.reshape(3)
    # Where rays enter and leave the sphere around the world's origin.
    middle = -(along @ centre)
    gap = HALF_EXTENT**2 - (centre @ centre - middle**2)
    half = gap.clamp_min(0).sqrt()
    entry, leaving = (middle - half).clamp_min(0), middle + half
    count = max(int(2 * HALF_EXTENT / step), 2)
    depth, alpha = torch.zeros(len(flat)), torch.zeros(len(flat))
    inside = ((gap > 0) & (leaving > 0)).nonzero()[:, 0]
    for rays in inside.split(max(_BATCH // count, 1)):
        stride = (leaving - entry)[rays] / count
        t = entry[rays, None] + stride[:, None] * (torch.arange(count) + 0.5)
        points = centre + t[..., None] * along[rays, None]
        absorbed = density(points.reshape(-1, 3)).reshape(t.shape).clamp_min(0) * stride[:, None]
        total = absorbed.cumsum(dim=1)
        alpha[rays] = 1 - (-total[:, -1]).exp()
        half_light = torch.log(torch.tensor(2.0))
        crossed = total >= half_light
        first = crossed.int().argmax(dim=1, keepdim=True)
        into = (total - absorbed).gather(1, first)[:, 0]
        share = (half_light - into) / absorbed.gather(1, first)[:, 0].clamp_min(1e-12)
        distance = entry[rays] + stride * (first[:, 0] + share)
        forward = distance * along[rays].norm(dim=-1) / flat[rays].norm(dim=-1)
        depth[rays] = torch.where(crossed[:, -1], forward, 0)
    return depth.reshape(camera.height, camera.width), alpha.reshape(camera.height, camera.width)
