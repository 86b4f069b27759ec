"""Signed volumes: silhouettes and depth maps voted into one dense grid of signed distances.

The reconstructor starts from such a volume (where are the first Gaussians?) and ends with one (where is the surface
that the fitted Gaussians show?). Unlike a sparse TSDF, pixels that show *nothing* vote too, and what no view has seen
empty is solid; so the zero level is closed wherever it is cut.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recon.capture import Camera
from recon.capture.distances import distance_to, silhouette_distance

HALF_EXTENT = 0.55
"""Half the side of the default grid: the house's unit-diameter sphere times its margin."""
_COARSER = 4


@dataclass(frozen=True)
class SignedVolume:
    """Signed distances on a cubic grid, negative inside, clamped to a band around the surface.

    Attributes:
        values: (X, Y, Z) float32 at the grid's points, in world units.
        origin: (3,) world position of the point (0, 0, 0).
        spacing: distance between neighbouring points.
    """

    values: Tensor
    origin: Tensor
    spacing: float

    def with_values(self, values: Tensor) -> SignedVolume:
        return replace(self, values=values)

    def points(self, chosen: Tensor) -> Tensor:
        """World positions (N, 3) of the grid's points where `chosen` (X, Y, Z) is True."""
        return self.origin + self.spacing * chosen.nonzero().float()

    def crossings(self) -> tuple[Tensor, Tensor]:
        """Points (N, 3) where a grid edge crosses the surface, and outward unit normals (N, 3) there."""
        gradient = torch.stack(torch.gradient(self.values), dim=-1)
        points, normals = [], []
        for axis in range(3):
            count = self.values.shape[axis] - 1
            a, b = self.values.narrow(axis, 0, count), self.values.narrow(axis, 1, count)
            index = ((a < 0) != (b < 0)).nonzero()
            first, second = a[tuple(index.T)], b[tuple(index.T)]
            t = (first / (first - second))[:, None]
            step = torch.zeros(3, dtype=torch.long)
            step[axis] = 1
            points.append(self.origin + self.spacing * (index + t * step))
            normals.append((1 - t) * gradient[tuple(index.T)] + t * gradient[tuple((index + step).T)])
        return torch.cat(points), torch.nn.functional.normalize(torch.cat(normals), dim=-1)


@dataclass(frozen=True)
class DepthView:
    """What one view says about space.

    Attributes:
        camera: the pinhole view (distortion is undone on reading).
        depth: (H, W) forward depth; 0 where the pixel shows nothing at all.
        known: (H, W) bool, False where the pixel must not vote; None = everywhere.
        weight: trust in the whole view.
    """

    camera: Camera
    depth: Tensor
    known: Tensor | None = None
    weight: float = 1.0


def fuse_depth_views(
    views: Iterable[DepthView], hull: SignedVolume, *, truncation: float = 3.0, occluded_weight: float = 0.1
) -> SignedVolume:
    """Averages what all views say about every grid point (Curless & Levoy 1996, with votes of empty pixels).

    A point in front of the surface or up to `truncation` behind it gets the distance along the view; a point seen
    through an empty pixel gets its distance to the nearest silhouette; a point farther behind gets a vote for solid of
    weight `occluded_weight`, so that a few wrong views cannot drill into what many see as covered.

    Args:
        views: what was seen.
        hull: the solid that the silhouettes allow; the result lies within it, on the same grid.
        truncation: half the width of the band, in grid spacings.
        occluded_weight: weight of the vote for solid, against 1 for a seen point.
    """
    from recon.splat._volume_kernels import vote_depth

    band = truncation * hull.spacing
    limit = hull.values.numpy()
    asked = limit < band
    total = np.zeros_like(limit)
    weight = np.zeros_like(limit)
    grid = np.array([float(hull.origin[0]), hull.spacing], np.float32)
    for view in views:
        depth = view.depth.detach().numpy().astype(np.float32).copy()
        gap = distance_to(depth > 0) - np.float32(0.5)
        if view.known is not None:
            depth[~view.known.numpy()] = -1
        pose, pinhole = camera_arrays(view.camera)
        votes = np.array([band, occluded_weight, view.weight], np.float32)
        over_slabs(len(limit), vote_depth, total, weight, asked, depth, gap, pose, pinhole, grid, votes)
    # Points that nobody has seen empty are solid.
    values = np.where(weight > 0, total / np.maximum(weight, 1e-12), -band)
    return hull.with_values(torch.from_numpy(np.maximum(values, limit)))


def visual_hull(
    cameras: Sequence[Camera],
    alphas: Sequence[Tensor],
    resolution: int,
    *,
    dissent: int = 0,
    half_extent: float = HALF_EXTENT,
) -> SignedVolume:
    """The solid that all silhouettes allow, as signed distances (a lower bound of the true ones outside).

    Args:
        cameras: C views.
        alphas: C masks (H, W) in [0, 1].
        resolution: grid points a side.
        dissent: how many views may call a point empty before it is carved: 0 for true masks, more for views that
            disagree.
        half_extent: half the side of the grid around the world's origin; what lies outside of its ball is empty.

    Raises:
        ValueError: if there is no view, their numbers differ, or the grid has fewer than 32 points a side.
    """
    if not cameras or len(cameras) != len(alphas) or resolution < 32:
        raise ValueError(f"hull needs as many masks as cameras and a grid of 32, got {len(cameras)}, {len(alphas)}")
    signed = [silhouette_distance(alpha).numpy() for alpha in alphas]
    coarse = _hull(cameras, signed, resolution // _COARSER, dissent, half_extent, None)
    return _hull(cameras, signed, resolution, dissent, half_extent, coarse)


def _hull(
    cameras: Sequence[Camera],
    signed: Sequence[np.ndarray],
    resolution: int,
    dissent: int,
    half_extent: float,
    coarse: SignedVolume | None,
) -> SignedVolume:
    """The hull from signed silhouette distances; far from the surface of a coarser one, its values are kept."""
    from recon.splat._volume_kernels import vote_silhouette

    spacing = 2 * half_extent / (resolution - 1)
    shape = (resolution,) * 3
    asked = np.ones(shape, np.bool_)
    known = np.zeros(shape, np.float32)
    if coarse is not None:
        finer = torch.nn.functional.interpolate(coarse.values[None, None], shape, mode="trilinear", align_corners=True)
        known = finer[0, 0].numpy()
        # Distances change by at most one unit a unit, so the surface is nowhere farther than this.
        asked = np.abs(known) < 2 * coarse.spacing
    grid = np.array([-half_extent, spacing], np.float32)
    # The largest distances over the views, largest first.
    largest = np.full((*shape, dissent + 1), -2 * half_extent, np.float32)
    for camera, distance in zip(cameras, signed, strict=True):
        pose, pinhole = camera_arrays(camera)
        over_slabs(resolution, vote_silhouette, largest, asked, distance, pose, pinhole, grid)
    values = np.where(asked, largest[..., dissent], known)
    axis = torch.linspace(-half_extent, half_extent, resolution) ** 2
    outside = (axis[:, None, None] + axis[:, None] + axis).sqrt() - half_extent
    # The ball bounds the solid where no picture shows anything, and closes it at the grid's border.
    bounded = torch.maximum(torch.from_numpy(np.ascontiguousarray(values)), outside)
    return SignedVolume(bounded, torch.full((3,), -half_extent), spacing)


def camera_arrays(camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """(3, 4) world-to-camera and (4,) fx, fy, cx, cy."""
    k = camera.intrinsics
    pinhole = torch.stack((k[0, 0], k[1, 1], k[0, 2], k[1, 2]))
    return camera.w2c[:3].contiguous().numpy(), pinhole.numpy()


def over_slabs(count: int, kernel: Callable[..., None], *arguments: Any) -> None:
    """Runs a kernel over slabs of `count` things, such as planes of a grid; kernels release the GIL, so plain threads
    suffice."""
    workers = min(os.cpu_count() or 1, 8)
    edges = np.linspace(0, count, workers + 1).astype(int)
    with ThreadPoolExecutor(workers) as pool:
        jobs = [pool.submit(kernel, int(a), int(b), *arguments) for a, b in pairwise(edges)]
    for job in jobs:
        job.result()
