"""Points on surfaces: drawn evenly by area, or only where a picture could see them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from recon.metrics.errors import MetricError
from recon.metrics.raycasting import Surface
from recon.surface.mesh import Mesh, face_normals

VIEW_DIRECTIONS = 64
"""Truth points count when at least one of this many directions sees them."""
_MAX_BATCHES = 60


@dataclass(frozen=True)
class SurfacePoints:
    """points (N, 3) with the unit normals (N, 3) of the triangles they lie on, both float32."""

    points: Tensor
    normals: Tensor

    def __len__(self) -> int:
        return len(self.points)


def sample_surface(mesh: Mesh, count: int, *, seed: int) -> SurfacePoints:
    """`count` points drawn independently and uniformly over a mesh's area.

    Raises:
        MetricError: if the mesh has no area.
    """
    return _sample(mesh, count, torch.Generator().manual_seed(seed))


def sample_visible_surface(mesh: Mesh, count: int, *, seed: int, directions: int = VIEW_DIRECTIONS) -> SurfacePoints:
    """`count` points drawn uniformly over that part of the area which can be seen from outside.

    A point is seen when the straight way from it along one of the directions, evenly spread over the sphere, meets
    no surface. Faces count from both sides: open sheets with either winding are visible.

    Raises:
        MetricError: if the mesh has no area, or (nearly) nothing of it is visible.
    """
    surface = Surface(mesh)
    generator = torch.Generator().manual_seed(seed)
    found: list[SurfacePoints] = []
    missing = count
    for _ in range(_MAX_BATCHES):
        batch = _sample(mesh, max(2 * count, 1000), generator)
        seen = surface.visible_from(batch.points, sphere_directions(directions))
        kept = SurfacePoints(batch.points[seen][:missing], batch.normals[seen][:missing])
        found.append(kept)
        missing -= len(kept)
        if missing == 0:
            return SurfacePoints(torch.cat([p.points for p in found]), torch.cat([p.normals for p in found]))
    raise MetricError(f"only {count - missing} of {count} visible surface points found: the surface hides itself")


def sphere_directions(count: int) -> Tensor:
    """(count, 3) unit vectors spread evenly over the sphere (spherical Fibonacci lattice)."""
    index = torch.arange(count, dtype=torch.float64)
    height = 1 - (2 * index + 1) / count
    angle = index * math.pi * (3 - math.sqrt(5))
    radius = (1 - height**2).sqrt()
    return torch.stack((radius * angle.cos(), height, radius * angle.sin()), dim=1).float()


def _sample(mesh: Mesh, count: int, generator: torch.Generator) -> SurfacePoints:
    if not torch.isfinite(mesh.vertices).all():
        raise MetricError("the mesh has vertices that are NaN or infinite")
    normals = face_normals(mesh.vertices.double(), mesh.faces)
    doubled_area = normals.norm(dim=1)
    cumulative = doubled_area.cumsum(0)
    if len(cumulative) == 0 or not cumulative[-1] > 0:
        raise MetricError(f"the mesh has no area to sample ({len(mesh.faces)} faces)")
    u = torch.rand(count, 3, generator=generator, dtype=torch.float64)
    face = torch.searchsorted(cumulative, u[:, 0].contiguous() * cumulative[-1], right=True).clamp_max(
        len(cumulative) - 1
    )
    root = u[:, 1].sqrt()
    weights = torch.stack((1 - root, root * (1 - u[:, 2]), root * u[:, 2]), dim=1)
    corners = mesh.vertices.double()[mesh.faces[face]]
    points = (weights[..., None] * corners).sum(1)
    return SurfacePoints(points.float(), torch.nn.functional.normalize(normals[face], dim=1).float())
