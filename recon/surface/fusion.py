"""Gaussians -> closed mesh: median depth from all around, fused into a signed volume, cleaned, extracted.

Why not a sparse TSDF such as Open3D's: there, pixels that show nothing say nothing, so whatever a view leaves out ends
as a hole or a floating shell. Here empty pixels carve and hidden space is solid, so the surface is closed by
construction. Where both have seen a surface, both agree (`tests/recon/surface/test_fusion.py`).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recon.capture import Camera, Frame, Source
from recon.splat.gaussians import Gaussians
from recon.splat.initialise import within_observed
from recon.splat.rasterize import rasterize
from recon.splat.volume import DepthView, SignedVolume, fuse_depth_views, visual_hull
from recon.surface.close import keep_main_solids, surrounding_cameras
from recon.surface.extract import extract_surface
from recon.surface.mesh import Mesh
from recon.surface.silhouettes import restore_observed, shown_alone
from recon.surface.smooth import taubin_smooth

_BATCH = 8


@dataclass(frozen=True)
class FusionOptions:
    """How the surface is taken off the splats."""

    resolution: int = 128
    """Grid points a side."""
    size: int = 192
    """Pixels on the longer side of the drawn views."""
    views: int = 96
    """Directions on the sphere of which those near a given camera are drawn too (all, if none is given)."""
    reach: float = 15.0
    """Degrees around the given cameras within which the splats can be believed."""
    observed_reach: float = 35.0
    """The same where no frame was generated: frames that agree leave fewer splats at wrong places."""
    least_part: float = 0.1
    """Separate parts stay if they have at least this share of the largest one's volume."""
    truncation: float = 3.0
    """Half the width of the band around the surface, in grid spacings."""
    occluded_weight: float = 0.1
    """Weight of a view's vote that what it cannot see is solid, against 1 for what it sees."""
    swelling: float = 0.2
    """Moves the surface outward by this many grid spacings: median depth lies inside of soft splats."""
    smoothing: float = 0.7
    """Standard deviation of the filter over the volume, in grid spacings; 0 = none."""
    polish: int = 10
    """Rounds of Taubin smoothing of the extracted mesh; 0 = none."""


FUSION_PRESETS: dict[str, FusionOptions] = {
    "fast": FusionOptions(views=64),
    "balanced": FusionOptions(resolution=160, size=256),
    "quality": FusionOptions(resolution=256, size=512, views=128),
}


def fuse_depth(
    gaussians: Gaussians,
    cameras: Sequence[Camera] | None = None,
    options: FusionOptions = FUSION_PRESETS["fast"],
    *,
    observed: Sequence[Frame] = (),
) -> Mesh:
    """One closed, outward-facing mesh of the surface that the Gaussians show.

    Args:
        gaussians: a scene around the world's origin, in the unit-diameter sphere.
        cameras: the views that the scene was fitted to. It is looked at from these and from near them only: from
            elsewhere, splats that no frame has constrained would cut into the solid. None: from everywhere.
        options: resolution and smoothness.
        observed: the frames of those views. Nothing sticks out of the silhouettes of those that were not generated, and
            no part that they show is missing.

    Raises:
        ValueError: if the Gaussians show no solid from these cameras.
    """
    genuine = len(observed) > 0 and all(frame.source is not Source.GENERATED for frame in observed)
    cameras = viewpoints(cameras, options, options.observed_reach if genuine else options.reach)
    depths, alphas = _draw(gaussians.detach(), cameras)
    hull = visual_hull(cameras, alphas, options.resolution)
    views = [DepthView(camera, depth) for camera, depth in zip(cameras, depths, strict=True)]
    volume = fuse_depth_views(views, hull, truncation=options.truncation, occluded_weight=options.occluded_weight)
    solid = restore_observed(within_observed(_swollen(volume, options.swelling), observed), observed)
    solid = keep_main_solids(solid, options.least_part, shown_alone(observed, options.resolution))
    solid = smooth(solid, options.smoothing)
    return taubin_smooth(extract_surface(solid), options.polish)


def viewpoints(seen: Sequence[Camera] | None, options: FusionOptions, reach: float) -> tuple[Camera, ...]:
    """The given cameras at the size of the fusion, and those of an even sphere within `reach` degrees of one."""
    around = surrounding_cameras(options.views, options.size)
    if seen is None:
        return around
    resized = []
    for camera in seen:
        scale = options.size / max(camera.width, camera.height)
        resized.append(camera.resized(max(2, round(camera.width * scale)), max(2, round(camera.height * scale))))
    directions = torch.nn.functional.normalize(torch.stack([camera.centre for camera in seen]), dim=-1)
    nearest = torch.stack([(directions @ -camera.forward).max() for camera in around])
    near = nearest > math.cos(math.radians(reach))
    return (*resized, *(camera for camera, trusted in zip(around, near.tolist()) if trusted))


def smooth(volume: SignedVolume, sigma: float) -> SignedVolume:
    """The volume under a Gaussian filter of `sigma` grid spacings; no point changes sides, so nothing thin is lost."""
    from scipy.ndimage import gaussian_filter

    if sigma <= 0:
        return volume
    values = volume.values.numpy()
    filtered = gaussian_filter(values, sigma, mode="nearest")
    kept = np.where(values < 0, np.minimum(filtered, 0.25 * values), np.maximum(filtered, 0.25 * values))
    return volume.with_values(torch.from_numpy(kept))


def _swollen(volume: SignedVolume, spacings: float) -> SignedVolume:
    """The volume with its surface moved outward, its border left empty."""
    values = volume.values - spacings * volume.spacing
    border = torch.ones_like(values, dtype=torch.bool)
    border[1:-1, 1:-1, 1:-1] = False
    return volume.with_values(torch.where(border, volume.values, values))


@torch.no_grad()
def _draw(gaussians: Gaussians, cameras: Sequence[Camera]) -> tuple[list[Tensor], list[Tensor]]:
    """Median depth and alpha of every view; cameras of one size in a row are drawn together."""
    depths: list[Tensor] = []
    alphas: list[Tensor] = []
    for _, group in itertools.groupby(cameras, key=lambda camera: (camera.width, camera.height)):
        alike = list(group)
        for begin in range(0, len(alike), _BATCH):
            rendering = rasterize(gaussians, alike[begin : begin + _BATCH])
            depths.extend(rendering.median_depth)
            alphas.extend(rendering.alpha)
    return depths, alphas
