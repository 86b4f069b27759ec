"""Smoothing of closed meshes without shrinking them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from recon.surface.mesh import Mesh

PASS, STOP = 0.5, -0.526
"""Taubin's two factors: waves longer than about ten edges pass, shorter ones fade."""


def taubin_smooth(mesh: Mesh, rounds: int) -> Mesh:
    """Low-pass filter over vertex positions (Taubin 1995): each round averages with the neighbours, then takes the
    shrinkage back. Normals are dropped; everything else stays."""
    from scipy.sparse import coo_matrix

    if rounds < 1 or len(mesh.faces) == 0:
        return mesh
    faces = mesh.faces.numpy()
    start, end = faces.ravel(), np.roll(faces, -1, axis=1).ravel()
    count = len(mesh.vertices)
    edges = np.concatenate((start, end)), np.concatenate((end, start))
    adjacency = coo_matrix((np.ones(2 * len(start)), edges), (count, count)).tocsr()
    adjacency.data[:] = 1
    valence = np.maximum(adjacency.sum(axis=1), 1)
    points = mesh.vertices.numpy().astype(np.float64)
    for _ in range(rounds):
        for factor in (PASS, STOP):
            points = points + factor * (np.asarray((adjacency @ points) / valence) - points)
    return replace(mesh, vertices=torch.from_numpy(points.astype(np.float32)), normals=None)
