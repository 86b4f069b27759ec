"""What kind of surface a mesh is: closed or not, in how many pieces. Texture seams do not open it."""

from __future__ import annotations

import numpy as np

from recon.surface.mesh import Mesh


def weld(mesh: Mesh) -> np.ndarray:
    """(F', 3) int64 faces over distinct positions: vertices at exactly the same place are one, collapsed faces are
    gone."""
    positions = mesh.vertices.numpy() + 0.0  # -0 becomes 0
    order = np.lexsort(positions.T)
    fresh = np.ones(len(order), dtype=bool)
    fresh[1:] = (positions[order[1:]] != positions[order[:-1]]).any(1)
    welded = np.empty(len(order), dtype=np.int64)
    welded[order] = np.cumsum(fresh) - 1
    faces = welded[mesh.faces.numpy()]
    a, b, c = faces.T
    return faces[(a != b) & (b != c) & (c != a)]


def is_watertight(mesh: Mesh) -> bool:
    """Whether every edge of the welded mesh belongs to exactly two faces; False for a mesh without faces."""
    faces = weld(mesh)
    if len(faces) == 0:
        return False
    edges = np.sort(np.concatenate((faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]])), axis=1)
    _, uses = np.unique(edges[:, 0] * (len(mesh.vertices) + 1) + edges[:, 1], return_counts=True)
    return bool((uses == 2).all())


def component_count(mesh: Mesh) -> int:
    """How many pieces the welded mesh has; faces that share a vertex belong to one piece."""
    return count_pieces(weld(mesh))


def count_pieces(faces: np.ndarray) -> int:
    """How many pieces faces (F, 3) form that share vertices by number."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    if len(faces) == 0:
        return 0
    used, compact = np.unique(faces, return_inverse=True)
    compact = compact.reshape(faces.shape)
    rows = np.concatenate((compact[:, 0], compact[:, 1]))
    columns = np.concatenate((compact[:, 1], compact[:, 2]))
    graph = coo_matrix((np.ones(len(rows), dtype=bool), (rows, columns)), shape=(len(used), len(used)))
    return int(connected_components(graph, directed=False)[0])
