"""Where a fit starts: the solid that the frames' silhouettes and depth maps allow, covered with Gaussians."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from recon.capture import Camera, Frame, Source
from recon.splat.gaussians import Gaussians, from_points
from recon.splat.resizing import resized, shrunk
from recon.splat.rotations import multiply_quats
from recon.splat.volume import DepthView, SignedVolume, fuse_depth_views, visual_hull

_FRONTALITY_POWER = 4
_LEAST_TRUST = 1e-4
_DARKEST = 0.02
"""Colours of the first Gaussians: drawn ones are clamped at 0 and have no gradient there, so what begins as black stays
black."""
_DISSENT = 0.2
_COVER = 0.7
_NEIGHBOURS = 3
THICKNESS = 0.2
"""Of the first Gaussians, against their width along the surface: they lie where the surface is."""
_DETAIL = 8
"""Pixels of a mask for each point along a side of the grid, at most: more would say nothing that the grid can hold."""


def initial_volume(frames: Sequence[Frame], resolution: int) -> SignedVolume:
    """The visual hull, hollowed by the depth maps of the frames that have them.

    Generated frames disagree with each other, so more than a fifth of them must agree before they carve, and the band
    that their depth maps blend in is wide; observed and rendered frames carve alone. What carves away more than a
    share of an observed silhouette is not believed: then more of the generated frames must agree.

    Raises:
        ValueError: if nothing is left, i.e. the silhouettes do not meet anywhere.
    """
    cameras, masks = grid_masks(frames, resolution)
    generated = sum(frame.source is Source.GENERATED for frame in frames)
    dissent = math.ceil(generated * _DISSENT) if generated > 2 else 0
    hull = visual_hull(cameras, masks, resolution, dissent=dissent)
    if dissent:
        hull = within_observed(hull, frames)
        while dissent < generated and _observed_cover(hull, frames) < _COVER:
            dissent += 1
            hull = visual_hull(cameras, masks, resolution, dissent=dissent)
            hull = within_observed(hull, frames)
    if not bool((hull.values < 0).any()):
        raise ValueError(
            f"the silhouettes of the {len(frames)} frames do not meet anywhere within the unit sphere around the "
            "world's origin: expected masks of one centred object; check the cameras and the masks"
        )
    views = depth_views(frames, cameras, masks)
    if not views:
        return hull
    seen = fuse_depth_views(views, hull, truncation=5.0 if dissent else 3.0)
    return seen if bool((seen.values < 0).any()) else hull


def within_observed(volume: SignedVolume, frames: Sequence[Frame]) -> SignedVolume:
    """The part of the volume that lies inside the silhouettes of all frames that were not generated."""
    seen = observed_frames(frames)
    if not seen:
        return volume
    resolution = volume.values.shape[0]
    hull = visual_hull(*grid_masks(seen, resolution), resolution)
    return volume.with_values(torch.maximum(volume.values, hull.values))


def observed_frames(frames: Sequence[Frame]) -> list[Frame]:
    """Those that were not generated: photographs, and renders of a true scene."""
    return [frame for frame in frames if frame.source is not Source.GENERATED]


def grid_masks(frames: Sequence[Frame], resolution: int) -> tuple[list[Camera], list[Tensor]]:
    """Cameras and masks (H, W) of the frames, none finer than a grid of `resolution` points a side has use for."""
    cameras = [shrunk(frame.camera, _DETAIL * resolution) for frame in frames]
    masks = [
        # A copy: a view of the picture would keep all of it in memory.
        resized(frame.rgba()[..., 3:], (camera.height, camera.width), "area")[..., 0].clone()
        for frame, camera in zip(frames, cameras, strict=True)
    ]
    return cameras, masks


def _observed_cover(volume: SignedVolume, frames: Sequence[Frame]) -> float:
    """The least share of a silhouette, over the frames that were not generated, that the volume's solid lies behind."""
    points = volume.points(volume.values < 0)
    shares = [1.0]
    for frame in observed_frames(frames):
        # Cells of one to two grid spacings, so that neighbouring points leave no cell between them empty.
        cells = volume.values.shape[0] // 3
        camera = frame.camera.resized(cells, cells)
        mask = resized(frame.rgba()[..., 3:], (cells, cells), "area")[..., 0] > 0.5
        hit = torch.zeros(cells, cells, dtype=torch.bool)
        column, row = camera.project(points)[0].long().clamp(0, cells - 1).unbind(-1)
        hit[row, column] = True
        shares.append(float((hit & mask).sum() / mask.sum().clamp_min(1)))
    return min(shares)


def depth_views(frames: Sequence[Frame], cameras: Sequence[Camera], masks: Sequence[Tensor]) -> list[DepthView]:
    """The frames that have depth, at the size of their masks; pixels that the mask covers without depth do not vote."""
    views = []
    for frame, camera, mask in zip(frames, cameras, masks, strict=True):
        depth = frame.depth()
        if depth is None:
            continue
        depth = resized(depth[..., None], (camera.height, camera.width), "nearest-exact")[..., 0]
        covered = mask > 0.5
        known = ~covered | (depth > 0)
        views.append(DepthView(camera, torch.where(covered, depth, 0), known, float(frame.weight().mean())))
    return views


def initial_gaussians(
    volume: SignedVolume,
    frames: Sequence[Frame],
    count: int,
    generator: torch.Generator,
    *,
    sh_degree: int = 0,
    thickness: float = THICKNESS,
    thickness_edge_on: float = THICKNESS,
    brightness_edge_on: float = 1.0,
) -> Gaussians:
    """`count` Gaussians spread over the volume's surface, coloured by the frames that see them from the front.

    Args:
        volume: the solid.
        frames: what it is coloured by.
        count: how many.
        generator: of their places and turns.
        sh_degree: room for view-dependent colour.
        thickness: along the surface's normal, against the width, where some frame looks straight at the surface.
        thickness_edge_on: the same where all frames see the surface edge-on; between the two, by the largest cosine.
        brightness_edge_on: factor on the colours there.

    Raises:
        ValueError: if the volume has no surface.
    """
    points, normals = volume.crossings()
    seen = _seen(points, frames)
    points, normals = points[seen], normals[seen]
    if len(points) == 0:
        raise ValueError("the volume has no surface to start from")
    # Three families of grid edges cross a surface of area A about 1.5 A / spacing^2 times, whatever its direction.
    area = len(points) * volume.spacing**2 / 1.5
    index = _spread(len(points), count, generator)
    points, normals = points[index], normals[index]
    jitter = (torch.rand(len(points), 3, generator=generator) - 0.5) * volume.spacing
    points = points + jitter - (jitter * normals).sum(-1, keepdim=True) * normals
    facing = _facing(points, normals, frames)
    colors = sample_colors(points, normals, frames) * (facing + (1 - facing) * brightness_edge_on)[:, None]
    width = math.sqrt(area / count) * 0.7
    gaussians = from_points(points, colors.clamp_min(_DARKEST), width, opacity=0.5, sh_degree=sh_degree)
    gaussians.log_scales[:, 2] += (facing * thickness + (1 - facing) * thickness_edge_on).log()
    turn = 2 * math.pi * torch.rand(len(points), generator=generator)
    gaussians.quats.copy_(multiply_quats(_quats_from_z(normals), _quats_about_z(turn)))
    return gaussians


def initial_from_points(points: Tensor, colors: Tensor, *, sh_degree: int = 0) -> Gaussians:
    """Round Gaussians at given points, as wide as the gaps to their three nearest neighbours (Kerbl et al. 2023): the
    start from a structure-from-motion cloud or a scan.

    Args:
        points: (N, 3) in the world, N >= 4.
        colors: (N, 3) in [0, 1].
        sh_degree: room for view-dependent colour.

    Raises:
        ValueError: if there are fewer than four points, or not as many colours.
    """
    from scipy.spatial import cKDTree

    if len(points) <= _NEIGHBOURS or colors.shape != points.shape:
        raise ValueError(
            f"expected at least {_NEIGHBOURS + 1} points (N, 3) and as many colours, "
            f"found {tuple(points.shape)} and {tuple(colors.shape)}"
        )
    places = points.numpy()
    gaps = cKDTree(places).query(places, _NEIGHBOURS + 1)[0][:, 1:]
    widths = torch.from_numpy(gaps).square().mean(1).sqrt().clamp_min(1e-5)
    return from_points(points, colors.clamp_min(_DARKEST), widths.to(points), sh_degree=sh_degree)


def _seen(points: Tensor, frames: Sequence[Frame]) -> Tensor:
    """(N,) whether a point lies in at least one picture; what lies in none is solid only for want of anybody's vote."""
    seen = torch.zeros(len(points), dtype=torch.bool)
    for frame in frames:
        pixels, depth = frame.camera.project(points)
        inside = (pixels >= 0) & (pixels < torch.tensor([frame.camera.width, frame.camera.height]))
        seen |= inside.all(-1) & (depth > 0)
    return seen


def _facing(points: Tensor, normals: Tensor, frames: Sequence[Frame]) -> Tensor:
    """(N,) the largest cosine between a surface's normal and the way to a camera, 0 where it faces none."""
    largest = torch.zeros(len(points))
    for frame in frames:
        largest = torch.maximum(largest, _cosine(points, normals, frame))
    return largest.clamp(max=1)


def _cosine(points: Tensor, normals: Tensor, frame: Frame) -> Tensor:
    """(N,) between a surface's normal and the way to a frame's camera."""
    toward = torch.nn.functional.normalize(frame.camera.centre - points, dim=-1)
    return (toward * normals).sum(-1)


def sample_colors(points: Tensor, normals: Tensor, frames: Sequence[Frame]) -> Tensor:
    """(N, 3) colours averaged over the frames, mostly from those that look straight at the surface;
    where none does, of what lies in the place in their pictures.

    Occlusion is ignored: on a hull, what faces a camera is nearly always what it sees.
    """
    total = torch.zeros(len(points), 3)
    weight = torch.full((len(points), 1), 1e-9)
    for frame in frames:
        pixels, depth = frame.camera.project(points)
        frontality = _LEAST_TRUST + _cosine(points, normals, frame).clamp_min(0) ** _FRONTALITY_POWER
        sampled = _bilinear(frame.premultiplied(), pixels)
        trust = (frontality * (depth > 0))[:, None]
        total += trust * sampled[:, :3]
        weight += trust * sampled[:, 3:]
    return (total / weight).clamp(0, 1)


def _bilinear(picture: Tensor, pixels: Tensor) -> Tensor:
    """(N, C) picture (H, W, C) at pixel coordinates (N, 2), 0 outside."""
    height, width = picture.shape[:2]
    grid = pixels / torch.tensor([width / 2, height / 2]) - 1
    sampled = torch.nn.functional.grid_sample(picture.permute(2, 0, 1)[None], grid[None, None], align_corners=False)
    return sampled[0, :, 0].T


def _spread(available: int, count: int, generator: torch.Generator) -> Tensor:
    """(count,) indices below `available`: every one is taken equally often, in random order."""
    rounds = -(-count // available)
    return torch.cat([torch.randperm(available, generator=generator) for _ in range(rounds)])[:count]


def _quats_from_z(normals: Tensor) -> Tensor:
    """(N, 4) wxyz rotations that take +z to unit normals (N, 3)."""
    x, y, z = normals.unbind(-1)
    quats = torch.stack((1 + z, -y, x, torch.zeros_like(z)), dim=-1)
    opposite = torch.tensor([0.0, 1.0, 0.0, 0.0]).expand_as(quats)
    quats = torch.where((z < -0.9999)[:, None], opposite, quats)
    return torch.nn.functional.normalize(quats, dim=-1)


def _quats_about_z(angles: Tensor) -> Tensor:
    """(N, 4) wxyz rotations about +z."""
    zero = torch.zeros_like(angles)
    return torch.stack(((angles / 2).cos(), zero, zero, (angles / 2).sin()), dim=-1)
