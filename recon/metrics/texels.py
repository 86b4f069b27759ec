"""How a texture is spent on a surface: texels per length, how evenly, and how much of the picture is used."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recon.metrics.topology import count_pieces
from recon.surface.mesh import Mesh, face_normals


@dataclass(frozen=True)
class TexelDensity:
    """Over the surface, by area.

    Attributes:
        median, low, high: texels per unit of length: the median, and what 5 % of the area lies below and above.
        used: part of the texture that islands cover.
        islands: number of connected pieces in the texture.
    """

    median: float
    low: float
    high: float
    used: float
    islands: int


def texel_density(mesh: Mesh, texture_size: int) -> TexelDensity:
    """Of a mesh with texture coordinates that do not overlap.

    Raises:
        ValueError: if the mesh has none, or no area.
    """
    if mesh.uvs is None:
        raise ValueError("the mesh has no texture coordinates")
    area = 0.5 * face_normals(mesh.vertices, mesh.faces).norm(dim=1).double().numpy()
    if not area.sum() > 0:
        raise ValueError("the mesh has no area")
    faces = mesh.faces.numpy()
    a, b, c = (mesh.uvs.double().numpy()[faces[:, k]] for k in range(3))
    flat = 0.5 * np.abs((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0])
    solid = area > 1e-12 * area.sum()
    density = texture_size * np.sqrt(flat[solid] / area[solid])
    order = np.argsort(density)
    share = np.cumsum(area[solid][order]) / area[solid].sum()
    low, median, high = (float(density[order][np.searchsorted(share, at)]) for at in (0.05, 0.5, 0.95))
    return TexelDensity(median, low, high, float(flat.sum()), count_pieces(faces))
