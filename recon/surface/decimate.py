"""Fewer triangles for the same shape, and still closed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from recon.surface.mesh import Mesh

ANCHOR = 1e-3
"""Keeps vertices on flat parts evenly spread instead of letting them slide."""


def decimate(mesh: Mesh, target_faces: int) -> Mesh:
    """The mesh with at most `target_faces` faces, by quadric edge collapse (Garland & Heckbert 1997).

    Collapses that would break the surface (link condition) or flip a triangle are left out, so a closed manifold stays
    one. Few faces can be impossible for a shape of many handles; then the result has more. Only positions are kept:
    decimate before unwrapping.

    Args:
        mesh: a closed, oriented manifold, as `extract_surface` makes it.
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
    collapse(vertices, faces, target_faces, ANCHOR)
    faces = faces[faces[:, 0] >= 0]
    used, index = np.unique(faces, return_inverse=True)
    return Mesh(
        torch.from_numpy(vertices[used].astype(np.float32)), torch.from_numpy(index.reshape(-1, 3).astype(np.int64))
    )
