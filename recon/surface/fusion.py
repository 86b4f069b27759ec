"""Gaussians or a density field -> closed mesh: median depth from all around, fused into a signed volume, cleaned,
extracted.

Why not a sparse TSDF such as Open3D's: there, pixels that show nothing say nothing, so whatever a view leaves out ends
as a hole or a floating shell. Here empty pixels carve and hidden space is solid, so the surface is closed by
construction. Where both have seen a surface, both agree (`tests/recon/surface/test_fusion.py`).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from recon.capture import Camera, Frame, Source, frame_from_tensors
from recon.field.field import Field
from recon.splat.gaussians import Gaussians
from recon.splat.initialise import within_observed
from recon.splat.rasterize import rasterize
from recon.splat.volume import HALF_EXTENT, DepthView, SignedVolume, fuse_depth_views, visual_hull
from recon.surface.close import keep_main_solids, surrounding_cameras
from recon.surface.density import Density, draw_density
from recon.surface.extract import extract_surface
from recon.surface.fitted import Fitted, frames_of
from recon.surface.mesh import Mesh
from recon.surface.render import prepare_mesh, render_prepared
from recon.surface.seen import seen_part
from recon.surface.silhouettes import restore_observed, shown_alone
from recon.surface.smooth import taubin_smooth

_BATCH = 8
_FILL_VIEWS = 32
"""Directions on the sphere of which those near a given camera are asked for colours that no frame shows."""
FIELD_POLISH = 3
"""Rounds of Taubin smoothing of a field's surface, which was smooth while it was fitted."""
_OPEN_TOLERANCE = 2.0
"""Grid spacings behind what a pixel shows that still count as seen."""


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
    keep_open: bool = False
    """Leave out what none of the given cameras sees, instead of closing it."""


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
    views = viewpoints(cameras, options, _reach(observed, options))
    return _fused(views, *_draw(gaussians.detach(), views), cameras, options, observed)


def fuse_density(
    density: Density,
    cameras: Sequence[Camera] | None = None,
    options: FusionOptions = FUSION_PRESETS["fast"],
    *,
    observed: Sequence[Frame] = (),
) -> Mesh:
    """The same of a radiance field's density, in the unit-diameter sphere around the world's origin.

    Raises:
        ValueError: if the density shows no solid from these cameras.
    """
    views = viewpoints(cameras, options, _reach(observed, options))
    drawn = [draw_density(density, view, step=HALF_EXTENT / options.resolution) for view in views]
    depths, alphas = [depth for depth, _ in drawn], [alpha for _, alpha in drawn]
    return _fused(views, depths, alphas, cameras, options, observed)


def close_mesh(mesh: Mesh, options: FusionOptions = FUSION_PRESETS["fast"]) -> Mesh:
    """A closed mesh that looks like this one from everywhere around it: seen surfaces stay, what is hidden is solid.

    Open, self-intersecting and multi-part meshes are allowed. Sheets become as thick as the grid needs. Materials and
    texture coordinates are dropped.

    Args:
        mesh: any mesh around the world's origin, in the unit-diameter sphere.
        options: resolution and smoothness; the surface is not moved outward.

    Raises:
        ValueError: if the mesh cannot be seen at all.
    """
    cameras = surrounding_cameras(options.views, max(options.size, 2 * options.resolution))
    prepared = prepare_mesh(mesh)
    drawn = [render_prepared(prepared, camera, supersample=1) for camera in cameras]
    frames = [
        frame_from_tensors(camera, picture.rgba, source=Source.RENDERED, depth=picture.depth)
        for camera, picture in zip(cameras, drawn)
    ]

    depths = [picture.depth for picture in drawn]
    covered = [(depth > 0).float() for depth in depths]
    return _fused(cameras, depths, covered, None, replace(options, swelling=0.0, keep_open=False), frames)


def _fused(
    cameras: Sequence[Camera],
    depths: Sequence[Tensor],
    alphas: Sequence[Tensor],
    given: Sequence[Camera] | None,
    options: FusionOptions,
    observed: Sequence[Frame],
) -> Mesh:
    """The surface that cameras see as median depths (H, W) and alphas (H, W); the first of them are those `given`."""
    hull = visual_hull(cameras, alphas, options.resolution)
    views = [DepthView(camera, depth) for camera, depth in zip(cameras, depths, strict=True)]
    volume = fuse_depth_views(views, hull, truncation=options.truncation, occluded_weight=options.occluded_weight)
    solid = smooth(_mended(_swollen(volume, options.swelling), observed, options), options.smoothing)
    return _extracted(solid, cameras if given is None else cameras[: len(given)], options)


def _mended(volume: SignedVolume, observed: Sequence[Frame], options: FusionOptions) -> SignedVolume:
    """What observed pictures leave of the volume and ask of it, as one solid or few."""
    return _main_solids(restore_observed(within_observed(volume, observed), observed), observed, options)


def _main_solids(volume: SignedVolume, observed: Sequence[Frame], options: FusionOptions) -> SignedVolume:
    return keep_main_solids(volume, options.least_part, shown_alone(observed, len(volume.values)))


def _extracted(solid: SignedVolume, own: Sequence[Camera], options: FusionOptions) -> Mesh:
    """The solid's surface; left open, where it was asked for, where none of the cameras sees it."""
    mesh = taubin_smooth(extract_surface(solid), options.polish)
    return seen_part(mesh, own, _OPEN_TOLERANCE * solid.spacing) if options.keep_open else mesh


def surface_of(scene: Fitted, frames: Sequence[Frame], options: FusionOptions = FUSION_PRESETS["fast"]) -> Mesh:
    """One outward-facing mesh of what was fitted to some frames, closed unless it is to be left open.

    Gaussians are fused (`fuse_depth`). A field has a surface, on a grid of its own. Held to true pictures alone it has
    their outlines, more finely than the grid's points could be told; beside generated ones, which disagree, it is
    mended like what is fused.

    Raises:
        ValueError: if the scene shows no solid.
    """
    cameras = [frame.camera for frame in frames]
    if not isinstance(scene, Field):
        return fuse_depth(scene, cameras, options, observed=frames)
    torn = any(frame.source is Source.GENERATED for frame in frames)
    solid = (_mended if torn else _main_solids)(scene.volume(), frames, options)
    return _extracted(solid, cameras, replace(options, polish=FIELD_POLISH))


def unseen_frames(scene: Fitted, frames: Sequence[Frame], options: FusionOptions) -> tuple[Frame, ...]:
    """Renders from where no frame was taken, and yet so near to one that the scene can be believed: of colours that no
    frame shows."""
    seen = [frame.camera for frame in frames]
    cameras = viewpoints(seen, replace(options, views=_FILL_VIEWS), _reach(frames, options))
    return frames_of(scene, cameras[len(seen) :])


def _reach(observed: Sequence[Frame], options: FusionOptions) -> float:
    genuine = len(observed) > 0 and all(frame.source is not Source.GENERATED for frame in observed)
    return options.observed_reach if genuine else options.reach


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
