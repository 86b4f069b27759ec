"""Unwraps a mesh: charts (charts.py), packed into one square texture (pack.py), with a report on how well it went."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from recon.surface.charts import Charts, cut_charts, split_charts
from recon.surface.mesh import Mesh, vertex_normals
from recon.surface.pack import pack_charts

_SPLIT_ROUNDS = 8


class UnwrapError(ValueError):
    """The mesh cannot be laid out on a texture."""


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


def unwrap(mesh: Mesh, texture_size: int, *, padding: int = 4) -> Mesh:
    """The mesh with texture coordinates: no two faces overlap and islands keep `padding` texels of distance.

    Vertices on chart borders are doubled; smooth normals are computed before (unless given), so that they do not
    show. Colours, materials and face order stay.

    Args:
        texture_size: side of the square texture in texels that the layout is made for.

    Raises:
        UnwrapError: if the mesh has no faces, no area, or too many islands for the texture.
    """
    if len(mesh.faces) == 0:
        raise UnwrapError("cannot unwrap a mesh without faces")
    points = mesh.vertices.detach().cpu().double().numpy()
    faces = mesh.faces.detach().cpu().numpy().astype(np.int64)
    _, first, weld = np.unique(points, axis=0, return_index=True, return_inverse=True)
    weld = weld.reshape(-1)
    welded_points, welded_faces = points[first], weld[faces]

    charts = cut_charts(welded_points, welded_faces)
    for _ in range(_SPLIT_ROUNDS):
        uvs = pack_charts(charts.flat, charts.corner, charts.chart, texture_size, padding)
        crowded = _self_overlapping(charts, uvs, texture_size)
        if len(crowded) == 0:
            break
        charts = split_charts(welded_points, welded_faces, charts, crowded)
    else:
        uvs = pack_charts(charts.flat, charts.corner, charts.chart, texture_size, padding)

    # A flat vertex may stand for several of the mesh's own (a seam in its colours): keep (flat, own) pairs.
    keys = charts.corner * np.int64(len(points)) + faces
    unique, inverse = np.unique(keys, return_inverse=True)
    flat_index, own = unique // len(points), torch.from_numpy(unique % len(points))
    normals = mesh.normals
    if normals is None:
        welded = vertex_normals(torch.from_numpy(welded_points), torch.from_numpy(welded_faces)).float()
        normals = welded[torch.from_numpy(weld)]
    return replace(
        mesh,
        vertices=mesh.vertices[own],
        faces=torch.from_numpy(inverse.reshape(faces.shape).astype(np.int64)),
        uvs=torch.from_numpy((uvs[flat_index] / texture_size).astype(np.float32)),
        normals=normals[own],
        colors=None if mesh.colors is None else mesh.colors[own],
    )


def report_uvs(mesh: Mesh, texture_size: int) -> UvReport:
    """Measures a layout.

    Raises:
        UnwrapError: if the mesh has no texture coordinates.
    """
    from recon.surface._texel_kernels import rasterize_atlas

    if mesh.uvs is None:
        raise UnwrapError("the mesh has no texture coordinates; unwrap it first")
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
        _count_islands(faces, len(texels)), float((owner >= 0).mean()), mean, spread / mean, int(collisions.sum()) // 2
    )


def _self_overlapping(charts: Charts, texels: NDArray[np.float64], texture_size: int) -> NDArray[np.int64]:
    """Charts in which some texel centre belongs to two faces."""
    from recon.surface._texel_kernels import rasterize_atlas

    _, _, collisions = rasterize_atlas(texels, charts.corner, texture_size)
    return np.unique(charts.chart[collisions > 0])


def _areas(triangles: NDArray[np.float64]) -> NDArray[np.float64]:
    cross = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    return np.asarray(0.5 * np.linalg.norm(cross, axis=-1))


def _count_islands(faces: NDArray[np.int64], vertices: int) -> int:
    import scipy.sparse as sp

    row, col = faces[:, [0, 1]].reshape(-1), faces[:, [1, 2]].reshape(-1)
    graph = sp.coo_matrix((np.ones(len(row)), (row, col)), (vertices, vertices))
    labels = sp.csgraph.connected_components(graph, directed=False)[1]
    return len(np.unique(labels[faces[:, 0]]))
