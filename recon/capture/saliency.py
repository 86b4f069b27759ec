"""Saliency without training: how far a region's colour stands out from regions that belong to the border.

Zhu, Liang, Wei, Sun: Saliency Optimization from Robust Background Detection, CVPR 2014.
"""

from __future__ import annotations

import numpy as np

_SEGMENTS = 220
_SIGMA_COLOUR = 10.0
_SIGMA_SPACE = 0.25
_SIGMA_BORDER = 1.0


def saliency(lab: np.ndarray) -> np.ndarray:
    """(H, W) float32 in [0, 1] of a (H, W, 3) float32 CIELAB picture; deterministic."""
    from skimage.segmentation import slic

    segments = slic(lab, n_segments=_SEGMENTS, compactness=12, convert2lab=False, start_label=0, max_num_iter=5)
    count = int(segments.max()) + 1
    if count < 4:
        return np.zeros(segments.shape, np.float32)
    area = np.bincount(segments.ravel(), minlength=count).astype(np.float64)
    colour = np.stack([np.bincount(segments.ravel(), lab[..., c].ravel(), count) / area for c in range(3)], axis=1)
    height, width = segments.shape
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    place = np.stack([np.bincount(segments.ravel(), p.ravel(), count) / area for p in (x, y)], axis=1)

    colour_distance = np.linalg.norm(colour[:, None] - colour[None], axis=2)
    space_distance = np.linalg.norm(place[:, None] - place[None], axis=2)
    adjacent = _adjacency(segments, count)
    border = np.zeros(count, bool)
    border[np.unique(np.concatenate([segments[0], segments[-1], segments[:, 0], segments[:, -1]]))] = True

    background = _background_weight(colour_distance, adjacent, border)
    contrast = (colour_distance * np.exp(-(space_distance**2) / (2 * _SIGMA_SPACE**2))) @ background
    contrast /= max(contrast.max(), 1e-9)
    contrast = np.clip(contrast, 0, 1)

    edges = adjacent | (border[:, None] & border[None])
    near = np.where(edges, np.exp(-(colour_distance**2) / (2 * _SIGMA_COLOUR**2)) + 0.1 * adjacent, 0.0)
    laplacian = np.diag(near.sum(1)) - near
    solved = np.linalg.solve(laplacian + np.diag(background * 5 + contrast + 1e-6), contrast)
    solved = (solved - solved.min()) / max(float(np.ptp(solved)), 1e-9)
    return solved[segments].astype(np.float32)


def _background_weight(colour_distance: np.ndarray, adjacent: np.ndarray, border: np.ndarray) -> np.ndarray:
    """(N,) in [0, 1]: a region whose geodesic neighbourhood runs along much of the border is background."""
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import dijkstra

    step = np.maximum(colour_distance - np.median(_lowest(colour_distance, adjacent)), 0.0)
    linked = adjacent | (border[:, None] & border[None])
    graph = csr_matrix(np.where(linked, step + 1e-6, 0.0))
    geodesic = dijkstra(graph, directed=False)
    affinity = np.exp(-(geodesic**2) / (2 * _SIGMA_COLOUR**2))
    connectivity = affinity @ border / np.sqrt(affinity.sum(1))
    return 1 - np.exp(-(connectivity**2) / (2 * _SIGMA_BORDER**2))


def _lowest(distance: np.ndarray, adjacent: np.ndarray) -> np.ndarray:
    """Each region's distance to its most similar neighbour."""
    lowest = np.where(adjacent, distance, np.inf).min(1)
    return lowest[np.isfinite(lowest)] if np.isfinite(lowest).any() else np.zeros(1)


def _adjacency(segments: np.ndarray, count: int) -> np.ndarray:
    """(N, N) bool, symmetric, of regions that touch."""
    adjacent = np.zeros((count, count), bool)
    for a, b in ((segments[:, :-1], segments[:, 1:]), (segments[:-1], segments[1:])):
        adjacent[a.ravel(), b.ravel()] = True
    adjacent |= adjacent.T
    np.fill_diagonal(adjacent, False)
    return adjacent
