"""Unwraps a mesh: charts (charts.py), packed into one square texture (pack.py)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from recon.surface.charts import Charts, cut_charts, split_charts
from recon.surface.mesh import Mesh, vertex_normals
from recon.surface.pack import pack_charts

_SPLIT_ROUNDS = 32
"""Halvings after which any chart is down to single faces, and none can cover itself."""


class UnwrapError(ValueError):
    """The mesh cannot be laid out on a texture."""


def unwrap(mesh: Mesh, texture_size: int, *, padding: int = 4) -> Mesh:
    """The mesh with texture coordinates: no two faces overlap and islands keep `padding` texels of distance.

    Vertices on chart borders are doubled; smooth normals are computed before (unless given), so that they do not
    show. Colours, materials and face order stay.

    Args:
        texture_size: side of the square texture in texels that the layout is made for.

    Raises:
        UnwrapError: if the mesh has no faces, or no layout without overlaps is found.
        PackError: if it has no area, or too many islands for the texture.
    """
    if len(mesh.faces) == 0:
        raise UnwrapError("cannot unwrap a mesh without faces")
    points = mesh.vertices.detach().cpu().double().numpy()
    faces = mesh.faces.detach().cpu().numpy().astype(np.int64)
    _, first, weld = np.unique(points, axis=0, return_index=True, return_inverse=True)
    weld = weld.reshape(-1)
    welded_points, welded_faces = points[first], weld[faces]

    charts, uvs = _laid_out(welded_points, welded_faces, texture_size, padding)

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


def _laid_out(
    points: NDArray[np.float64], faces: NDArray[np.int64], texture_size: int, padding: int
) -> tuple[Charts, NDArray[np.float64]]:
    """Charts, and their flat vertices (N, 2) in texels; charts that cover themselves are halved until none does."""
    charts = cut_charts(points, faces)
    for _ in range(_SPLIT_ROUNDS):
        texels = pack_charts(charts.flat, charts.corner, charts.chart, texture_size, padding)
        crowded = _self_overlapping(charts, texels, texture_size)
        if len(crowded) == 0:
            return charts, texels
        charts = split_charts(points, faces, charts, crowded)
    raise UnwrapError(
        f"found no layout of {len(faces)} faces without overlaps on a {texture_size} px texture; "
        "use a larger texture or fewer faces"
    )


def _self_overlapping(charts: Charts, texels: NDArray[np.float64], texture_size: int) -> NDArray[np.int64]:
    """Charts in which some texel centre belongs to two faces."""
    from recon.surface._texel_kernels import rasterize_atlas

    _, _, collisions = rasterize_atlas(texels, charts.corner, texture_size)
    return np.unique(charts.chart[collisions > 0])
