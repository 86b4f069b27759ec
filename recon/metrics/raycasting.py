"""A mesh that answers geometric queries: who sees a point, how far is the surface (Open3D's Embree scene)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from recon._open3d import import_open3d
from recon.surface.mesh import Mesh

_SELF_DISTANCE = 5e-4
"""Hits nearer than this, in units of the mesh's longest box side, are the starting surface itself (or its coplanar
twin: packed and exported meshes have their vertices rounded)."""


class Surface:
    """Triangles in a ray-casting scene."""

    def __init__(self, mesh: Mesh) -> None:
        self._open3d: Any = import_open3d()
        self._scene = self._open3d.t.geometry.RaycastingScene()
        low, high = mesh.bounds()
        self._near = _SELF_DISTANCE * float((high - low).max())
        self._scene.add_triangles(
            self._tensor(mesh.vertices.numpy().astype(np.float32)), self._tensor(mesh.faces.numpy().astype(np.uint32))
        )

    def visible_from(self, points: Tensor, directions: Tensor) -> Tensor:
        """(N,) bool: which points (N, 3) have a free way out along at least one of the unit directions (D, 3)."""
        seen = torch.zeros(len(points), dtype=torch.bool)
        for direction in directions:
            waiting = torch.nonzero(~seen).flatten()
            if len(waiting) == 0:
                break
            origins = points[waiting]
            rays = torch.cat((origins, direction.expand_as(origins)), dim=1)
            seen[waiting] = ~self.occluded(rays)
        return seen

    def occluded(self, rays: Tensor) -> Tensor:
        """(N,) bool: whether rays (N, 6) of origin and unit direction meet the surface beyond their own start."""
        hit = self._scene.test_occlusions(self._tensor(rays.numpy().astype(np.float32)), self._near, float("inf"))
        return torch.from_numpy(hit.numpy())

    def distance(self, points: Tensor) -> Tensor:
        """(N,) distance of points (N, 3) to the nearest place of the surface, never negative."""
        return torch.from_numpy(self._scene.compute_distance(self._tensor(points.numpy().astype(np.float32))).numpy())

    def _tensor(self, array: np.ndarray) -> Any:
        return self._open3d.core.Tensor(np.ascontiguousarray(array))
