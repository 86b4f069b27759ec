"""Moves a mesh's vertices a little, until its outlines lie on those of the pictures.

What fusion and decimation leave is off by a fraction of a grid spacing, mostly inward; seen against a background, that
rim is the largest error that a textured mesh has. Every vertex that lies on the mesh's outline in a picture is told how
far the picture's outline is from there, and the others follow smoothly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recon.capture import Camera, Frame, Source
from recon.capture.distances import silhouette_distance
from recon.splat.resizing import resized, shrunk
from recon.surface.diffuse import diffuse
from recon.surface.mesh import Mesh, vertex_normals
from recon.surface.render import prepare_mesh, render_prepared

Floats = NDArray[np.float64]

_MAP_SIDE = 512
"""Longest side of the pictures that outlines are taken from, in pixels."""
_ON_OUTLINE = 1.5
"""Pixels from the mesh's outline within which a vertex belongs to it."""
_EDGE_ON = 0.4
"""Cosine between a vertex's normal and the way to the camera below which it can be on an outline."""
_FARTHEST = 6.0
"""Pixels; an outline farther away is of something else, or a part is missing."""
_GENERATED_TRUST = 0.1
"""Weight of generated frames, which disagree, against photographs."""
_REACH = 0.05
"""Distance, as a part of the object's size, over which a shift fades where no outline says anything."""
_LONGEST_STEP = 0.004
"""Largest shift of one round, as a part of the object's size."""


@dataclass(frozen=True)
class OutlineTarget:
    """A picture's outline: signed distance (H, W) in its pixels, negative inside, and its trust (H, W)."""

    camera: Camera
    distance: Tensor
    trust: Tensor


def fit_outlines(mesh: Mesh, frames: Sequence[Frame], rounds: int = 2) -> Mesh:
    """The mesh, vertices shifted along their normals; faces and texture coordinates stay.

    Args:
        mesh: welded (`decimate`'s, not an unwrapped one), in the frames' world.
        frames: pictures with undistorted cameras; pixels of alpha 0 are background.
        rounds: renders, shifts and renders again.
    """
    targets = [outline_target(frame) for frame in frames]
    faces = mesh.faces.numpy()
    extent = float((mesh.vertices.max(0).values - mesh.vertices.min(0).values).max())
    moved = mesh
    for _ in range(rounds):
        normals = vertex_normals(moved.vertices, moved.faces)
        wanted, weight = asked_shifts(moved, normals, targets)
        if not weight.any():
            return mesh
        step = spread_shifts(moved.vertices, faces, wanted, weight, extent)
        moved = replace(moved, vertices=moved.vertices + step[:, None] * normals, normals=None)
    return moved


def asked_shifts(mesh: Mesh, normals: Tensor, targets: Sequence[OutlineTarget]) -> tuple[Tensor, Tensor]:
    """How far (V,) along its normal (V, 3) each vertex should go, by the mean of the pictures that have it on their
    outline, and how much that counts (V,); 0 where none has."""
    wanted, weight = torch.zeros(len(mesh.vertices)), torch.zeros(len(mesh.vertices))
    prepared = prepare_mesh(replace(mesh, normals=None))
    for target in targets:
        own = silhouette_distance(render_prepared(prepared, target.camera, supersample=2).rgba[..., 3])
        shift, trust = _asked(mesh.vertices, normals, target, own)
        wanted += shift * trust
        weight += trust
    return wanted / weight.clamp_min(1e-12), weight


def spread_shifts(vertices: Tensor, faces: NDArray[np.int64], wanted: Tensor, weight: Tensor, extent: float) -> Tensor:
    """(V,) shifts that follow what is wanted (V,) where it counts (V,), smoothly, each at most a short step.

    Args:
        extent: the object's size.
    """
    field = diffuse(
        vertices.double().numpy(),
        faces,
        wanted.double().numpy()[:, None],
        (weight / weight[weight > 0].mean()).double().numpy(),
        reach=_REACH * extent,
    )[:, 0]
    return torch.from_numpy(np.clip(field, -_LONGEST_STEP * extent, _LONGEST_STEP * extent)).float()


def outline_target(frame: Frame) -> OutlineTarget:
    camera = shrunk(frame.camera, _MAP_SIDE)
    size = (camera.height, camera.width)
    alpha = resized(frame.rgba()[..., 3:], size, "area")[..., 0]
    trust = resized(frame.weight()[..., None], size, "area")[..., 0]
    share = _GENERATED_TRUST if frame.source is Source.GENERATED else 1.0
    return OutlineTarget(camera, silhouette_distance(alpha), share * trust)


def _asked(points: Tensor, normals: Tensor, target: OutlineTarget, outline: Tensor) -> tuple[Tensor, Tensor]:
    """How far (V,) along its normal each vertex should go by one picture, and how much that counts (0: says nothing).

    Args:
        outline: signed distance (H, W) to the mesh's own outline in the picture.
    """
    camera = target.camera
    pixels, forward = camera.project(points)
    own, away = _sample(outline, pixels), _sample(target.distance, pixels)
    to_camera = torch.nn.functional.normalize(camera.centre - points, dim=-1)
    facing = (normals * to_camera).sum(dim=-1)
    ends, _ = camera.project(points + 1e-3 * normals)
    along = torch.nn.functional.normalize(ends - pixels, dim=-1)
    outward = _sample_gradient(target.distance, pixels)
    agreement = (along * outward).sum(dim=-1)
    inside = (pixels >= 0).all(dim=-1) & (pixels < torch.tensor([camera.width, camera.height])).all(dim=-1)
    on_outline = (
        (forward > 0)
        & inside
        & (own.abs() < _ON_OUTLINE)
        & (facing.abs() < _EDGE_ON)
        & (away.abs() < _FARTHEST)
        & (agreement > 0.5)
    )
    shift = (own - away) * forward / camera.intrinsics[0, 0]
    trust = agreement * (1 - facing.abs() / _EDGE_ON) * _sample(target.trust, pixels)
    return torch.where(on_outline, shift, 0), torch.where(on_outline, trust, 0)


def _sample(image: Tensor, pixels: Tensor) -> Tensor:
    """(N,) bilinear values of (H, W) at pixels (N, 2); the border's beyond it."""
    height, width = image.shape
    grid = pixels / torch.tensor([width, height]) * 2 - 1
    values = torch.nn.functional.grid_sample(
        image[None, None], grid[None, None], mode="bilinear", padding_mode="border", align_corners=False
    )
    return values[0, 0, 0]


def _sample_gradient(image: Tensor, pixels: Tensor) -> Tensor:
    """(N, 2) unit direction in which (H, W) grows at pixels (N, 2)."""
    steps = (torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]))
    slope = torch.stack([_sample(image, pixels + step) - _sample(image, pixels - step) for step in steps], dim=-1)
    return torch.nn.functional.normalize(slope, dim=-1)
