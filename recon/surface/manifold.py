"""Edges and who shares them: what any triangle soup needs before it can be decimated, and where a surface is open."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from recon.surface.mesh import Mesh

Ints = NDArray[np.int64]


def twin_edges(faces: Ints) -> Ints:
    """(F, 3) for the edge from corner k of face f to the next the number 3 g + j of the edge that runs the other way.

    -1 at a border, and where more than two faces meet or two disagree about what is outside.
    """
    start, end = faces.ravel(), np.roll(faces, -1, axis=1).ravel()
    count = int(faces.max()) + 1 if len(faces) else 0
    _, key, uses = np.unique(
        np.minimum(start, end) * count + np.maximum(start, end), return_inverse=True, return_counts=True
    )
    order = np.argsort(key.reshape(-1), kind="stable")
    ordered = key.reshape(-1)[order]
    # Of the edges that two faces use, in order, each is followed by its only companion.
    first = np.flatnonzero((uses[ordered] == 2) & np.append(ordered[1:] == ordered[:-1], False))
    a, b = order[first], order[first + 1]
    agree = start[a] == end[b]
    twins = np.full(len(start), -1, np.int64)
    twins[a[agree]], twins[b[agree]] = b[agree], a[agree]
    return twins.reshape(-1, 3)


def split_to_manifold(mesh: Mesh) -> Mesh:
    """The same triangles as an oriented manifold with borders, shape only: vertices at one place are joined, faces
    without area or given twice go, and where more than two faces meet at an edge, surfaces disagree about what is
    outside, or only touch in a point, they part."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    positions = mesh.vertices.detach().double().numpy() + 0.0  # -0 becomes 0
    places, weld = np.unique(positions, axis=0, return_inverse=True)
    faces = weld.reshape(-1)[mesh.faces.numpy()]
    a, b, c = (places[faces[:, k]] for k in range(3))
    faces = faces[np.linalg.norm(np.cross(b - a, c - a), axis=1) > 0]
    _, once = np.unique(np.sort(faces, axis=1), axis=0, return_index=True)
    faces = faces[np.sort(once)]
    if len(faces) == 0:
        return Mesh(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.long))

    twins = twin_edges(faces).ravel()
    corner = np.flatnonzero(twins >= 0)
    following = 3 * (twins[corner] // 3) + (twins[corner] % 3 + 1) % 3  # where the twin ends, this edge starts
    count = 3 * len(faces)
    graph = coo_matrix((np.ones(len(corner), bool), (corner, following)), (count, count))
    _, vertex = connected_components(graph, directed=False)
    _, first = np.unique(vertex, return_index=True)
    vertices = places[faces.ravel()[first]].astype(np.float32)
    return Mesh(torch.from_numpy(vertices), torch.from_numpy(vertex.reshape(-1, 3).astype(np.int64)))


def keep_faces(mesh: Mesh, chosen: torch.Tensor) -> Mesh:
    """The mesh with the faces `chosen` (F,) bool, and the vertices that these use."""
    used, faces = torch.unique(mesh.faces[chosen], return_inverse=True)
    return replace(
        mesh,
        vertices=mesh.vertices[used],
        faces=faces.reshape(-1, 3),
        uvs=None if mesh.uvs is None else mesh.uvs[used],
        normals=None if mesh.normals is None else mesh.normals[used],
        colors=None if mesh.colors is None else mesh.colors[used],
        face_material=None if mesh.face_material is None else mesh.face_material[chosen],
    )
