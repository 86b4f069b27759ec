"""Multi-view stereo on the hull's surface: the depth that silhouettes cannot tell, from where pictures agree.

Silhouettes leave a lid over every hollow, and splats that begin on it stay there: painted well enough, it looks right
from where pictures were taken. So each point of the hull's surface is tried at many places along its normal. Where
the views that see it show one colour it may be; among the places that are about as good, the surface's smoothness
chooses. The sum of both is minimised by turns, exhaustively for every point and in closed form for smoothness, under a
coupling that tightens (as in DTAM: Newcombe et al. 2011), and the moved surface is tried again over a shorter reach.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor

from recon.capture import Camera, Frame, Source
from recon.splat.initialise import grid_masks
from recon.splat.resizing import resized, shrunk
from recon.splat.volume import DepthView, SignedVolume, fuse_depth_views, visual_hull
from recon.surface.extract import extract_surface
from recon.surface.mesh import Mesh, vertex_normals
from recon.surface.render import prepare_mesh, render_prepared

Floats = NDArray[np.float32]

_FEWEST = 8
"""Frames; fewer agree by chance."""
_MOST = 120
"""Frames that are compared; of more, evenly many are left out."""
_LEAST_COSINE = 0.12
"""Between a surface's normal and the way to a camera that is asked about it."""
_LEAST_SEEN = 0.6
"""Sum of those cosines below which nothing is known about a place."""
_ENOUGH_SEEN = 6.0
"""The same above which more views do not count more: they are not independent of each other."""
_LEAST_TAU = 0.02
"""Distance of colours, in [0, 1], that is called equal even where everything agrees better."""
_WORST = 50.0
"""What a place can cost at most, in units of the squared distance that is called equal."""
_BACKGROUND = 20.0
"""Cost of a place where all views that should see it see background."""
_WINDOW = 3
"""Rounds in which costs are averaged with the neighbours'."""
_TURNS = 8
_LOOSEST = 0.02
"""Coupling of the first turn; it doubles with each."""


@dataclass(frozen=True)
class StereoOptions:
    """How depth is found from pictures that agree."""

    resolution: int = 64
    """Grid points a side of the hull whose surface is moved."""
    size: int = 256
    """Longer side of the pictures that are compared, in pixels, at most."""
    reaches: tuple[float, ...] = (0.08, 0.04, 0.02)
    """How far inward the surface is tried in each round, in world units, and half as far outward."""
    steps: int = 16
    """Places tried within the inward reach."""
    stiffness: float = 1000.0
    """Weight of smoothness: squared differences of a shift, in steps, to the mean of its neighbours' shifts."""


@dataclass(frozen=True)
class _Views:
    """What the kernel asks, and the cameras; pictures of different sizes lie in the corners of their arrays."""

    cameras: tuple[Camera, ...]
    pictures: Floats  # (N, H, W, 4)
    sizes: NDArray[np.int64]  # (N, 2)
    poses: Floats  # (N, 3, 4)
    pinholes: Floats  # (N, 4)


def comparable(frames: Sequence[Frame]) -> bool:
    """Whether the frames can tell depth: at least eight, none generated (those disagree), none with depth already."""
    told = any(frame.source is Source.GENERATED or frame.load_depth is not None for frame in frames)
    return len(frames) >= _FEWEST and not told


def stereo_volume(
    frames: Sequence[Frame], resolution: int, options: StereoOptions = StereoOptions()
) -> SignedVolume | None:
    """The solid that the frames agree on, for a fit to begin on; None where they are not `comparable`, or their
    silhouettes do not meet.

    Frames whose exposures differ, and shiny surfaces, tell little; there the surface stays near the hull's.

    Args:
        frames: pictures of one object around the world's origin, in the unit-diameter sphere.
        resolution: grid points a side of the result.
        options: size and effort.
    """
    if not comparable(frames):
        return None
    coarse = visual_hull(*grid_masks(frames, options.resolution), options.resolution)
    surface = extract_surface(coarse)
    if len(surface.faces) == 0:
        return None
    prepared = prepare_mesh(move_to_agreement(surface, frames, options))
    cameras, masks = grid_masks(frames, resolution)
    views = []
    for camera, mask in zip(cameras, masks, strict=True):
        depth = render_prepared(prepared, camera, supersample=1).depth
        # The surface's outlines are coarser than the masks: where one of the two shows nothing, nothing is said.
        views.append(DepthView(camera, depth, known=(depth > 0) == (mask > 0.5)))
    volume = fuse_depth_views(views, visual_hull(cameras, masks, resolution))
    return volume if bool((volume.values < 0).any()) else None


def move_to_agreement(mesh: Mesh, frames: Sequence[Frame], options: StereoOptions = StereoOptions()) -> Mesh:
    """The mesh, its vertices shifted along their normals to where the frames show one colour; faces stay.

    Args:
        mesh: closed, with vertices about evenly apart (`extract_surface`'s), near the object's surface.
        frames: pictures of the object; alpha 0 is background.
        options: reaches, steps and stiffness; resolution is not asked.
    """
    every = -(-len(frames) // _MOST)
    views = _views(frames[::every], options.size)
    faces = mesh.faces.numpy()
    laplacian = _laplacian(faces, len(mesh.vertices))
    identity = sp.identity(len(mesh.vertices))
    smoothness = sp.csc_matrix(1.0001 * identity + options.stiffness * (laplacian.T @ laplacian))
    solver = sp.linalg.splu(smoothness, permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True})
    moved = replace(mesh, normals=None)
    spacing = float((moved.vertices[faces[:, 0]] - moved.vertices[faces[:, 1]]).norm(dim=1).mean())
    for reach in options.reaches:
        step = reach / options.steps
        steps = np.arange(-options.steps, options.steps // 2 + 1)
        normals = vertex_normals(moved.vertices, moved.faces)
        cost = _costs(moved, normals, (steps * step).astype(np.float32), views, 1.5 * spacing)
        for _ in range(_WINDOW):
            cost = cost - 0.6 * (laplacian @ cost)
        shift = np.zeros(len(cost))
        for turn in range(_TURNS):
            wanted = _cheapest(cost, steps, shift, _LOOSEST * 2**turn)
            shift = solver.solve(wanted)
        moved = replace(moved, vertices=moved.vertices + torch.from_numpy(shift * step).float()[:, None] * normals)
    return moved


def _views(frames: Sequence[Frame], size: int) -> _Views:
    cameras = tuple(shrunk(frame.camera, size) for frame in frames)
    sizes = np.array([(camera.height, camera.width) for camera in cameras])
    pictures = np.zeros((len(frames), *sizes.max(0), 4), np.float32)
    for picture, frame, camera in zip(pictures, frames, cameras, strict=True):
        small = resized(frame.premultiplied(), (camera.height, camera.width), "area")
        color = small[..., :3] / small[..., 3:].clamp_min(1e-3)
        picture[: camera.height, : camera.width] = torch.cat((color, small[..., 3:]), dim=-1)
    matrices = torch.stack([camera.intrinsics for camera in cameras])
    pinholes = torch.stack((matrices[:, 0, 0], matrices[:, 1, 1], matrices[:, 0, 2], matrices[:, 1, 2]), dim=1)
    poses = torch.stack([camera.w2c[:3] for camera in cameras])
    return _Views(cameras, pictures, sizes, poses.float().numpy(), pinholes.float().numpy())


def _costs(mesh: Mesh, normals: Tensor, shifts: Floats, views: _Views, tolerance: float) -> NDArray[np.float64]:
    """(V, K) how much the views speak against each vertex at each shift."""
    prepared = prepare_mesh(mesh)
    depths = np.zeros(views.pictures.shape[:3], np.float32)
    for depth, camera in zip(depths, views.cameras, strict=True):
        depth[: camera.height, : camera.width] = render_prepared(prepared, camera, supersample=1).depth.numpy()
    places = mesh.vertices.numpy(), normals.numpy(), shifts, views, depths
    plain, seen, _ = _compared(*places, tolerance, 0.0)
    best = np.where(seen > _LEAST_SEEN, plain, np.inf).min(axis=1)
    known = np.isfinite(best)
    # What agrees at best is noise; that the pictures' own noise be not taken for disagreement.
    scale = float(np.sqrt(np.median(best[known]))) if known.any() else 0.0
    tau = max(2 * scale, _LEAST_TAU)
    variance, seen, unseen = _compared(*places, tolerance, tau)
    cost = np.minimum(seen, _ENOUGH_SEEN) * variance / (tau / 2) ** 2
    asked = seen > _LEAST_SEEN
    # A place that nobody sees is as bad as the worst that somebody does.
    worst = np.where(asked, cost, 0).max(axis=1, keepdims=True)
    cost = np.where(asked, cost, worst) + _BACKGROUND * unseen / np.maximum(unseen + seen, 1e-6)
    return np.minimum(cost, _WORST).astype(np.float64)


def _compared(
    points: Floats, normals: Floats, shifts: Floats, views: _Views, depths: Floats, tolerance: float, tau: float
) -> tuple[Floats, Floats, Floats]:
    """The kernel's variance, seen and unseen, each (V, K)."""
    from recon.surface._stereo_kernels import compare_colors

    found = tuple(np.empty((len(points), len(shifts)), np.float32) for _ in range(3))
    limits = np.array([tolerance, _LEAST_COSINE, tau], np.float32)
    asked = (points, normals, shifts, views.pictures, depths, views.sizes, views.poses, views.pinholes, limits)
    workers = min(os.cpu_count() or 1, 8)
    edges = np.linspace(0, len(points), workers + 1).astype(int)
    with ThreadPoolExecutor(workers) as pool:  # kernels release the GIL
        jobs = [pool.submit(compare_colors, int(a), int(b), *asked, *found) for a, b in pairwise(edges)]
    for job in jobs:
        job.result()
    return found[0], found[1], found[2]


def _cheapest(
    cost: NDArray[np.float64], steps: NDArray[np.int64], shift: NDArray[np.float64], coupling: float
) -> NDArray[np.float64]:
    """(V,) where, in steps, the cost (V, K) and the coupled squared distance from `shift` (V,) are least together;
    between two steps by the parabola through three."""
    total = cost + coupling * (steps - shift[:, None]) ** 2
    best = total.argmin(axis=1)
    middle = np.clip(best, 1, len(steps) - 2)
    rows = np.arange(len(cost))
    before, here, after = (total[rows, middle + offset] for offset in (-1, 0, 1))
    bend = before - 2 * here + after
    inner = (bend > 1e-9) & (best == middle)
    between = np.where(inner, 0.5 * (before - after) / np.where(inner, bend, 1), 0)
    return steps[best] + np.clip(between, -0.5, 0.5)


def _laplacian(faces: NDArray[np.int64], count: int) -> sp.csr_matrix:
    """(V, V) a vertex minus the mean of its neighbours."""
    edges = np.concatenate((faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]))
    graph = sp.coo_matrix((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), (count, count)).tocsr()
    graph = ((graph + graph.T) > 0).astype(np.float64)
    degree = np.maximum(np.asarray(graph.sum(1)).ravel(), 1)
    return sp.csr_matrix(sp.identity(count) - sp.diags(1 / degree) @ graph)
