"""Smooth fields on a surface: values known at some vertices, spread over all of them along the mesh's edges.

Texture baking uses it twice: to carry colour differences between two sources away from where they meet (a membrane, as
in Poisson image editing, but on the surface, so that texture islands do not matter), and to paint what nothing saw.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def diffuse(
    vertices: Floats, faces: NDArray[np.int64], values: Floats, confidence: Floats, *, reach: float | None
) -> Floats:
    """(V, C) the field x that minimises sum confidence |x - values|^2 + |grad x|^2 [+ |x|^2 / reach^2].

    Args:
        vertices: (V, 3); faces: (F, 3); vertices at the same place must be one.
        values: (V, C), ignored where `confidence` (V,) >= 0 is 0.
        reach: distance over which the field fades to 0; None = it does not fade (parts of the mesh without any known
            value take the mean of the known ones).
    """
    edges = np.concatenate((faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]))
    lengths = np.linalg.norm(vertices[edges[:, 0]] - vertices[edges[:, 1]], axis=1)
    mean = max(float(lengths.mean()), 1e-12)
    stiffness = np.minimum(mean / np.maximum(lengths, 1e-12), 10.0)
    count = len(vertices)
    graph = sp.coo_matrix((stiffness, (edges[:, 0], edges[:, 1])), (count, count)).tocsr()
    graph = graph + graph.T
    degree = np.asarray(graph.sum(1)).ravel()
    total = confidence.sum()
    known = (values * confidence[:, None]).sum(0) / total if total > 0 else np.zeros(values.shape[1])
    if reach is None:
        home, pull = known, np.full(count, 1e-7)
    else:
        home, pull = np.zeros(values.shape[1]), degree * 0.5 * (mean / reach) ** 2 + 1e-9
    matrix = sp.csc_matrix(sp.diags(degree + confidence + pull) - graph)
    solver = sp.linalg.splu(matrix, permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True})
    data = np.where(confidence[:, None] > 0, values, 0.0)
    return np.asarray(solver.solve(confidence[:, None] * data + pull[:, None] * home))
