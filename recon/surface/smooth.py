"""Smoothing of closed meshes without shrinking them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray

from recon.surface.mesh import Mesh

PASS, STOP = 0.5, -0.526
"""Taubin's two factors: waves longer than about ten edges pass, shorter ones fade."""


def taubin_smooth(mesh: Mesh, rounds: int) -> Mesh:
    """Low-pass filter over vertex positions (Taubin 1995): each round averages with the neighbours, then takes the
    shrinkage back. Normals are dropped; everything else stays."""
    if rounds < 1 or len(mesh.faces) == 0:
        return mesh
    adjacency, valence = neighbours(mesh)
    points = mesh.vertices.numpy().astype(np.float64)
    for _ in range(rounds):
        for factor in (PASS, STOP):
            points = points + factor * ((adjacency @ points) / valence - points)
    return replace(mesh, vertices=torch.from_numpy(points.astype(np.float32)), normals=None)


def neighbours(mesh: Mesh) -> tuple[sp.csr_matrix, NDArray[np.float64]]:
    """(V, V) 1 where an edge joins two vertices, and (V, 1) how many edges each has, at least 1."""
    faces, count = mesh.faces.numpy(), len(mesh.vertices)
    start, end = faces.ravel(), np.roll(faces, -1, axis=1).ravel()
    edges = np.concatenate((start, end)), np.concatenate((end, start))
    adjacency = sp.coo_matrix((np.ones(2 * len(start)), edges), (count, count)).tocsr()
    adjacency.data[:] = 1
    return adjacency, np.maximum(np.asarray(adjacency.sum(axis=1)), 1)
