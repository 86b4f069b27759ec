"""Multi-view stereo on the hull's surface: the depth that silhouettes cannot tell, from where pictures agree.

Silhouettes leave a lid over every hollow, and splats that begin on it stay there: painted well enough, it looks right
from where pictures were taken. So each point of the hull's surface is tried at many places along its normal. Where
the views that see it show one colour it may be; among the places that are about as good, smoothness chooses: by turns,
every point takes the cheapest place that is near a smooth surface, tried exhaustively, and the surface is laid smoothly
through these places, while "near" becomes narrower (searching and smoothing by turns is from DTAM: Newcombe et al.
2011). The moved surface is then tried again over a shorter reach.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor

from recon.capture import Camera, Frame, Source
from recon.splat.initialise import grid_masks
from recon.splat.resizing import resized, shrunk
from recon.splat.threads import one_torch_thread
from recon.splat.volume import DepthView, SignedVolume, camera_arrays, fuse_depth_views, over_slabs, visual_hull
from recon.surface.extract import extract_surface
from recon.surface.mesh import Mesh, vertex_normals
from recon.surface.render import prepare_mesh, render_prepared
from recon.surface.smooth import neighbours

Floats = NDArray[np.float32]

_FEWEST = 8
"""Frames; fewer agree by chance."""
_MOST = 120
"""Frames that are compared; of more, this many are chosen, evenly spread."""
_LEAST_COSINE = 0.12
"""Between a surface's normal and the way to a camera that is asked about it."""
_LEAST_SEEN = 0.6
"""Sum of those cosines below which nothing is known about a place."""
_ENOUGH_SEEN = 6.0
"""The same above which more views do not count more: they are not independent of each other."""
_LEAST_TAU = 0.02
"""Distance of colours, in [0, 1], that is called equal even where everything agrees better."""
_BACKGROUND = 20.0
"""Cost of a place where all views that should see it see background."""
_WINDOW_ROUNDS, _WINDOW_SHARE = 3, 0.6
"""Costs are averaged with those of the neighbours: how often, and how much of theirs is taken."""
_TURNS = 8
"""Of search and smoothing."""
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
    """Of the surface that is laid through the found places: the squared difference between a point's shift and the mean
    of its neighbours' weighs so much more than that between the point and its place."""

    def __post_init__(self) -> None:
        if self.steps < 2 or self.steps % 2 or self.resolution < 32 or self.size < 1 or not self.stiffness >= 0:
            raise ValueError(
                "stereo needs an even number of at least 2 steps, a grid of at least 32, pictures of at least a pixel "
                f"and a stiffness that is not negative, got {self.steps}, {self.resolution}, {self.size} and "
                f"{self.stiffness}"
            )
        if not all(reach > 0 for reach in self.reaches):
            raise ValueError(f"stereo needs positive reaches, got {self.reaches}")


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
    unfit = any(frame.source is Source.GENERATED or frame.load_depth is not None for frame in frames)
    return len(frames) >= _FEWEST and not unfit


@one_torch_thread()
def stereo_volume(
    frames: Sequence[Frame], resolution: int, options: StereoOptions = StereoOptions()
) -> SignedVolume | None:
    """The solid that the frames agree on, for a fit to begin on; None where they are not `comparable`, or their
    silhouettes do not meet.

    Where exposures differ the surface stays near the hull's; highlights, which move with the camera, dent it a little.
    Parts that are too thin for the coarse surface stay as the hull has them.

    Args:
        frames: pictures of one object around the world's origin, in the unit-diameter sphere, with undistorted cameras.
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
    hull = visual_hull(cameras, masks, resolution)

    def view(camera: Camera, mask: Tensor) -> DepthView:
        depth = render_prepared(prepared, camera, supersample=1).depth
        # The surface's outlines are coarser than the masks: where one of the two shows nothing, nothing is said.
        return DepthView(camera, depth, known=(depth > 0) == (mask > 0.5))

    volume = fuse_depth_views(map(view, cameras, masks), hull)
    kept = torch.where(_thin(hull, coarse), hull.values, volume.values)
    return volume.with_values(kept) if bool((kept < 0).any()) else None


def _thin(hull: SignedVolume, coarse: SignedVolume) -> Tensor:
    """(X, Y, Z) bool: parts of the hull that the coarse one lacks and that reach away from it, not mere unevenness."""
    from scipy.ndimage import distance_transform_edt, label

    shape = hull.values.shape
    known = torch.nn.functional.interpolate(coarse.values[None, None], shape, mode="trilinear", align_corners=True)
    solid = (known[0, 0] < 0).numpy()
    lacking = (hull.values < 0).numpy() & ~solid
    away = distance_transform_edt(~solid) * hull.spacing > 1.5 * coarse.spacing
    parts, _ = label(lacking, np.ones((3, 3, 3)))
    return torch.from_numpy(lacking & np.isin(parts, np.unique(parts[lacking & away])))


@one_torch_thread()
def move_to_agreement(mesh: Mesh, frames: Sequence[Frame], options: StereoOptions = StereoOptions()) -> Mesh:
    """The mesh, its vertices shifted along their normals to where the frames show one colour; faces stay.

    Args:
        mesh: closed, with vertices about evenly apart (`extract_surface`'s), near the object's surface.
        frames: pictures of the object; alpha 0 is background.
        options: all but the resolution, which is that of the mesh.

    Raises:
        ValueError: if the mesh has no faces.
    """
    if len(mesh.faces) == 0:
        raise ValueError("a surface without faces cannot be moved")
    chosen = np.unique(np.linspace(0, len(frames) - 1, min(len(frames), _MOST)).round().astype(int))
    views = _views([frames[i] for i in chosen], options.size)
    adjacency, valence = neighbours(mesh)
    identity = sp.identity(len(mesh.vertices))
    laplacian = sp.csr_matrix(identity - sp.diags(1 / valence[:, 0]) @ adjacency)  # a vertex minus its neighbours' mean
    smoothness = sp.csc_matrix(identity + options.stiffness * (laplacian.T @ laplacian))
    solver = sp.linalg.splu(smoothness, permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True})
    moved = replace(mesh, normals=None)
    spacing = float((moved.vertices[moved.faces[:, 0]] - moved.vertices[moved.faces[:, 1]]).norm(dim=1).mean())
    for reach in options.reaches:
        step = reach / options.steps
        steps = np.arange(-options.steps, options.steps // 2 + 1)
        normals = vertex_normals(moved.vertices, moved.faces)
        cost = _costs(moved, normals, (steps * step).astype(np.float32), views, 1.5 * spacing)
        for _ in range(_WINDOW_ROUNDS):
            cost = cost - _WINDOW_SHARE * (laplacian @ cost)
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
        picture[: camera.height, : camera.width] = small
    poses, pinholes = zip(*map(camera_arrays, cameras), strict=True)
    return _Views(cameras, pictures, sizes, np.stack(poses), np.stack(pinholes))


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
    # What is left where the pictures agree best is their noise, which is no disagreement.
    scale = float(np.sqrt(np.median(best[known]))) if known.any() else 0.0
    tau = max(2 * scale, _LEAST_TAU)
    variance, seen, empty = _compared(*places, tolerance, tau)
    cost = np.minimum(seen, _ENOUGH_SEEN) * variance / (tau / 2) ** 2
    asked = seen > _LEAST_SEEN
    # A place that nobody sees is as bad as the worst that somebody does.
    worst = np.where(asked, cost, 0).max(axis=1, keepdims=True)
    cost = np.where(asked, cost, worst) + _BACKGROUND * empty / np.maximum(empty + seen, 1e-6)
    return cost.astype(np.float64)


def _compared(
    points: Floats, normals: Floats, shifts: Floats, views: _Views, depths: Floats, tolerance: float, tau: float
) -> tuple[Floats, Floats, Floats]:
    """The kernel's variance, seen and empty, each (V, K)."""
    from recon.surface._stereo_kernels import compare_colors

    found = tuple(np.empty((len(points), len(shifts)), np.float32) for _ in range(3))
    limits = np.array([tolerance, _LEAST_COSINE, tau], np.float32)
    asked = (points, normals, shifts, views.pictures, depths, views.sizes, views.poses, views.pinholes, limits)
    over_slabs(len(points), compare_colors, *asked, *found)
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
