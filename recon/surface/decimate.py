"""As many triangles as wanted for the same shape: fewer by collapsing edges, more by halving them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from recon.surface.manifold import twin_edges
from recon.surface.mesh import Mesh

ANCHOR = 1e-3
"""Keeps vertices on flat parts evenly spread instead of letting them slide."""
BORDER = 3.0
"""Weight of a border's line, against that of the planes that meet there."""


def with_face_count(mesh: Mesh, target_faces: int) -> Mesh:
    """The mesh with about `target_faces` faces: decimated or subdivided, whichever it needs; positions only.

    Raises:
        ValueError: as `decimate`.
    """
    return decimate(mesh, target_faces) if len(mesh.faces) > target_faces else subdivide(mesh, target_faces)


def decimate(mesh: Mesh, target_faces: int) -> Mesh:
    """The mesh with at most `target_faces` faces, by quadric edge collapse (Garland & Heckbert 1997).

    The error quadrics keep edges, corners and borders where they are and spend triangles where the surface bends.
    Collapses that would break the surface (link condition) or flip a triangle are left out, so a manifold stays
    one, closed or open as it was. Few faces can be impossible for a shape of many handles; then the result has more.
    Only positions are kept: decimate before unwrapping.

    Args:
        mesh: an oriented manifold, as `extract_surface` and `split_to_manifold` make it; it may have borders.
        target_faces: at least 4.

    Raises:
        ValueError: if the target is below 4.
    """
    if target_faces < 4:
        raise ValueError(f"a closed mesh has at least 4 faces, asked for {target_faces}")
    if len(mesh.faces) <= target_faces:
        return replace(mesh, uvs=None, normals=None, colors=None)
    from recon.surface._decimate_kernels import collapse

    vertices = mesh.vertices.numpy().astype(np.float64)
    faces = mesh.faces.numpy().copy()
    collapse(vertices, faces, twin_edges(faces) < 0, target_faces, ANCHOR, BORDER)
    faces = faces[faces[:, 0] >= 0]
    used, index = np.unique(faces, return_inverse=True)
    return Mesh(
        torch.from_numpy(vertices[used].astype(np.float32)), torch.from_numpy(index.reshape(-1, 3).astype(np.int64))
    )


def subdivide(mesh: Mesh, target_faces: int) -> Mesh:
    """The mesh with `target_faces` faces, or one fewer, if it has less: its longest edges are halved (Rivara 1984).

    The shape does not change. Only positions are kept.
    """
    vertices, faces = mesh.vertices.numpy().astype(np.float64), mesh.faces.numpy()
    while 0 < len(faces) < target_faces - 1:
        twins = twin_edges(faces).ravel()
        start, end = faces.ravel(), np.roll(faces, -1, axis=1).ravel()
        length = np.linalg.norm(vertices[start] - vertices[end], axis=1)
        # Each face offers its longest edge; one is halved if its other face offers it, too. Ties go to the edge of the
        # lower ends, which both of its faces see alike.
        rank = np.empty(len(length), np.int64)
        rank[np.lexsort((np.maximum(start, end), np.minimum(start, end), -length.round(12)))] = np.arange(len(length))
        offered = np.zeros(len(length), bool)
        offered[3 * np.arange(len(faces)) + rank.reshape(-1, 3).argmin(1)] = True
        edges = np.flatnonzero(offered & ((twins < 0) | (offered[twins] & (np.arange(len(twins)) < twins))))
        edges = edges[np.argsort(rank[edges])]
        added = np.cumsum(np.where(twins[edges] < 0, 1, 2))
        edges = edges[added <= target_faces - len(faces)]
        if len(edges) == 0:  # one face is missing and every edge brings two
            break
        middle = len(vertices) + np.arange(len(edges))
        vertices = np.concatenate((vertices, (vertices[start[edges]] + vertices[end[edges]]) / 2))
        paired = twins[edges] >= 0
        faces = _halved(faces, np.concatenate((edges, twins[edges][paired])), np.concatenate((middle, middle[paired])))
    return Mesh(torch.from_numpy(vertices.astype(np.float32)), torch.from_numpy(faces.copy()))


def _halved(faces: np.ndarray, edges: np.ndarray, middles: np.ndarray) -> np.ndarray:
    """Faces after each edge (3 f + k, at most one a face) got a vertex in its middle."""
    face, k = edges // 3, edges % 3
    start, end, apex = (faces[face, (k + step) % 3] for step in range(3))
    result = np.concatenate((faces, np.stack((middles, end, apex), axis=1)))
    result[face] = np.stack((start, middles, apex), axis=1)
    return result
