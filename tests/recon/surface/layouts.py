"""How well a texture layout went: what the tests of unwrapping ask for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from recon.surface._texel_kernels import rasterize_atlas
from recon.surface.mesh import Mesh


@dataclass(frozen=True)
class UvReport:
    """How a texture's space is used.

    Attributes:
        charts: number of islands.
        coverage: part of the texture that islands cover, 0 to 1.
        density: texels per unit of length, area-weighted mean over faces.
        density_spread: standard deviation of the density over its mean; 0 = the same everywhere.
        overlapping_texels: texel centres claimed by more than one face.
    """

    charts: int
    coverage: float
    density: float
    density_spread: float
    overlapping_texels: int


def report_uvs(mesh: Mesh, texture_size: int) -> UvReport:
    """Measures the layout of a mesh with texture coordinates."""
    texels = mesh.uvs.double().numpy() * texture_size
    faces = mesh.faces.numpy().astype(np.int64)
    owner, _, collisions = rasterize_atlas(texels, faces, texture_size)
    area = _areas(mesh.vertices.double().numpy()[faces])
    flat = _areas(np.concatenate((texels, np.zeros((len(texels), 1))), 1)[faces])
    density = np.sqrt(flat / np.maximum(area, 1e-20))
    weight = area / area.sum()
    mean = float((density * weight).sum())
    spread = float(np.sqrt(((density - mean) ** 2 * weight).sum()))
    return UvReport(
        len(np.unique(islands_of(faces, len(texels)))),
        float((owner >= 0).mean()),
        mean,
        spread / mean,
        int(collisions.sum()) // 2,
    )


def _areas(triangles: NDArray[np.float64]) -> NDArray[np.float64]:
    cross = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    return np.asarray(0.5 * np.linalg.norm(cross, axis=-1))


def islands_of(faces: NDArray[np.int64], vertices: int) -> NDArray[np.int64]:
    """(F,) island of every face: faces that share a vertex belong together."""
    row, col = faces[:, [0, 1]].reshape(-1), faces[:, [1, 2]].reshape(-1)
    graph = sp.coo_matrix((np.ones(len(row)), (row, col)), (vertices, vertices))
    labels = sp.csgraph.connected_components(graph, directed=False)[1]
    return np.asarray(labels[faces[:, 0]])
