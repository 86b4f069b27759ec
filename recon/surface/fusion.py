"""Gaussians -> closed mesh: median depth from all around, fused into a signed volume, cleaned, extracted.

Why not a sparse TSDF such as Open3D's: there, pixels that show nothing say nothing, so whatever a view leaves out ends
as a hole or a floating shell. Here empty pixels carve and hidden space is solid, so the surface is closed by
construction. Where both have seen a surface, both agree (`tests/recon/surface/test_fusion.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from recon.capture import Camera
from recon.splat.gaussians import Gaussians
from recon.splat.rasterize import Backend, rasterize
from recon.splat.volume import DepthView, SignedVolume, fuse_depth_views
from recon.surface.close import keep_one_solid, surrounding_cameras
from recon.surface.extract import extract_surface
from recon.surface.mesh import Mesh

_BATCH = 8


@dataclass(frozen=True)
class FusionOptions:
    """How the surface is taken off the splats."""

    resolution: int = 128
    """Grid points a side."""
    views: int = 48
    """Directions that the splats are drawn from, spread over the sphere, if no cameras are given."""
    size: int = 192
    """Pixels a side of these drawings."""
    truncation: float = 3.0
    """Half the width of the band around the surface, in grid spacings."""
    occluded_weight: float = 0.1
    """Weight of a view's vote that what it cannot see is solid, against 1 for what it sees."""
    smoothing: float = 0.7
    """Standard deviation of the filter over the volume, in grid spacings; 0 = none."""


FUSION_PRESETS: dict[str, FusionOptions] = {
    "fast": FusionOptions(resolution=112, size=160),
    "balanced": FusionOptions(resolution=160, views=64, size=256),
    "quality": FusionOptions(resolution=256, views=96, size=384),
}


def fuse_depth(
    gaussians: Gaussians,
    cameras: Sequence[Camera] | None = None,
    options: FusionOptions = FUSION_PRESETS["fast"],
    *,
    backend: Backend = "auto",
) -> Mesh:
    """One closed, outward-facing mesh of the surface that the Gaussians show.

    Args:
        gaussians: a scene around the world's origin, in the unit-diameter sphere.
        cameras: where to look from; must surround the object. None: `options.views` directions on a sphere.
        options: resolution and smoothness.
        backend: of the rasterizer.

    Raises:
        ValueError: if the Gaussians show no solid from these cameras.
    """
    cameras = surrounding_cameras(options.views, options.size) if cameras is None else cameras
    views = _draw(gaussians.detach(), cameras, backend)
    volume = fuse_depth_views(
        views, options.resolution, truncation=options.truncation, occluded_weight=options.occluded_weight
    )
    return extract_surface(keep_one_solid(smooth(volume, options.smoothing)))


def smooth(volume: SignedVolume, sigma: float) -> SignedVolume:
    """The volume under a Gaussian filter of `sigma` grid spacings."""
    from scipy.ndimage import gaussian_filter

    if sigma <= 0:
        return volume
    return volume.with_values(torch.from_numpy(gaussian_filter(volume.values.numpy(), sigma, mode="nearest")))


@torch.no_grad()
def _draw(gaussians: Gaussians, cameras: Sequence[Camera], backend: Backend) -> list[DepthView]:
    """Median depth of every view; cameras of one size in a row are drawn together."""
    views: list[DepthView] = []
    while len(views) < len(cameras):
        first = cameras[len(views)]
        batch = [first]
        for camera in cameras[len(views) + 1 : len(views) + _BATCH]:
            if (camera.width, camera.height) != (first.width, first.height):
                break
            batch.append(camera)
        depths = rasterize(gaussians, batch, backend=backend).median_depth
        views.extend(DepthView(camera, depth) for camera, depth in zip(batch, depths, strict=True))
    return views
