"""Unwraps a mesh: xatlas cuts it into charts and packs them; here they come to lie on one square texture, apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
import xatlas
from numpy.typing import NDArray

from recon.surface.mesh import Mesh, vertex_normals

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_CHART_FACES = 700.0
"""Faces of mean area in an island, at most: the time that xatlas takes grows with its largest ones."""
_SHRINK = 0.97
_SHRINKINGS = 60
"""Below a sixth of the size that was expected to fit, faces would be left with no texel of their own."""


class UnwrapError(ValueError):
    """The mesh cannot be laid out on a texture."""


def unwrap(mesh: Mesh, texture_size: int, *, padding: int = 4) -> Mesh:
    """The mesh with texture coordinates: no two faces overlap and islands keep `padding` texels of distance.

    Vertices on chart borders are doubled; smooth normals are computed before (unless given), so that they do not
    show. Colours, materials and face order stay. Faces without area get no texel.

    Args:
        texture_size: side of the square texture in texels that the layout is made for.

    Raises:
        UnwrapError: if the mesh has no faces or no area, or too many islands for the texture.
    """
    if len(mesh.faces) == 0:
        raise UnwrapError("cannot unwrap a mesh without faces")
    points = mesh.vertices.detach().cpu().double().numpy()
    faces = mesh.faces.detach().cpu().numpy().astype(np.int64)
    _, first, weld = np.unique(points, axis=0, return_index=True, return_inverse=True)
    weld = weld.reshape(-1)
    welded_points, welded_faces = points[first], weld[faces]

    texels, corner = _laid_out(welded_points, welded_faces, texture_size, padding)

    # A flat vertex may stand for several of the mesh's own (a seam in its colours): keep (flat, own) pairs.
    keys = corner * np.int64(len(points)) + faces
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
        uvs=torch.from_numpy((texels[flat_index] / texture_size).astype(np.float32)),
        normals=normals[own],
        colors=None if mesh.colors is None else mesh.colors[own],
    )


def _laid_out(points: Floats, faces: Ints, texture_size: int, padding: int) -> tuple[Floats, Ints]:
    """Flat vertices (N, 2) in texels, and the faces' corners (F, 3) among them.

    xatlas lets a few faces of a bent chart turn over; they, and those they lie on, become islands of their own.
    """
    # xatlas keeps its padding on both sides. The border counts as one: textures repeat.
    margin = padding // 2
    side = texture_size - 2 * margin
    if side < 1:
        raise UnwrapError(f"a {texture_size} px texture has no room for a padding of {padding}; use a larger texture")
    flat, corner = _charts(points, faces, side, margin)
    scale = 1.0
    loose = np.zeros(len(faces), bool)
    while True:
        texels, scale = _packed(flat, corner, loose, scale, side, margin)
        crowded = _overlapping(texels, corner, side) & ~loose
        if not crowded.any():
            return texels + margin, corner
        fresh = np.arange(3 * crowded.sum()).reshape(-1, 3) + len(flat)
        flat = np.concatenate((flat, flat[corner[crowded]].reshape(-1, 2)))
        corner[crowded] = fresh
        loose |= crowded


def _charts(points: Floats, faces: Ints, side: int, margin: int) -> tuple[Floats, Ints]:
    """Flat vertices (N, 2), at the scale at which they about fill a square of `side`, and faces (F, 3) among them."""
    a, b, c = (points[faces[:, i]] for i in range(3))
    area = 0.5 * np.linalg.norm(np.cross(b - a, c - a), axis=1).mean()
    if not area > 0:
        raise UnwrapError("cannot unwrap a mesh without area")
    # xatlas ignores faces below an absolute size: the mean one gets an area of one.
    atlas = xatlas.Atlas()
    atlas.add_mesh(((points - points.mean(0)) / np.sqrt(area)).astype(np.float32), faces.astype(np.uint32))
    options = xatlas.ChartOptions()
    options.fix_winding = True
    options.max_chart_area = _CHART_FACES
    atlas.generate(options, _pack_options(side, margin))
    _, corner, uvs = atlas.get_mesh(0)
    page = np.array([atlas.width, atlas.height])
    return uvs * (page * side / page.max()), corner.astype(np.int64)


def _packed(
    flat: Floats, corner: Ints, loose: NDArray[np.bool_], scale: float, side: int, margin: int
) -> tuple[Floats, float]:
    """The same charts on one page, (N, 2) in texels, and their scale: the first, from `scale` down, that fits.

    Args:
        loose: (F,) faces that are to be charts of their own.
    """
    # xatlas parts faces of different materials, and otherwise joins what has the same coordinates.
    material = np.where(loose, np.cumsum(loose), 0).astype(np.uint32)[:, None]
    a, b, c = (flat[corner[:, i]] for i in range(3))
    area = 0.5 * np.abs((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]).sum()
    scale = min(scale, side / np.sqrt(area))  # what overlapped may have far more area than the square
    for _ in range(_SHRINKINGS):
        atlas = xatlas.Atlas()
        atlas.add_uv_mesh(flat.astype(np.float32), corner.astype(np.uint32), material)
        options = _pack_options(side, margin)
        options.texels_per_unit = scale
        atlas.generate(xatlas.ChartOptions(), options)
        if atlas.atlas_count == 1:
            origin, _, uvs = atlas.get_mesh(0)
            texels = np.zeros_like(flat)
            texels[origin] = uvs.astype(np.float64) * side
            return texels, scale
        scale *= _SHRINK
    raise UnwrapError(
        f"the islands of {len(corner)} faces do not fit on a {side + 2 * margin} px texture; "
        "use a larger texture or fewer faces"
    )


def _pack_options(side: int, margin: int) -> xatlas.PackOptions:
    options = xatlas.PackOptions()
    options.resolution = side
    options.padding = margin
    options.bilinear = False  # a ring more, where the padding has one already
    options.rotate_charts = False  # it would mirror them
    return options


def _overlapping(texels: Floats, corner: Ints, size: int) -> NDArray[np.bool_]:
    """(F,) faces that share a texel centre with another."""
    from recon.surface._texel_kernels import rasterize_atlas

    _, _, collisions = rasterize_atlas(texels, corner, size)
    return np.asarray(collisions > 0)
