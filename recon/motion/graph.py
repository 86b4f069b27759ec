"""Neighbourhood on a scene's surface: who is next to whom along it, not through the air between two legs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components, dijkstra
from scipy.spatial import cKDTree
from torch import Tensor

_NEIGHBOURS = 8


def surface_graph(points: NDArray[np.float64], neighbours: int = _NEIGHBOURS) -> csr_array:
    """(N, N) symmetric, sparse: distances between near points. Parts that hang together nowhere are joined where they
    come nearest to each other, so that every point can be reached.

    Args:
        points: (N, 3), at least two.
    """
    count = len(points)
    distance, index = cKDTree(points).query(points, min(neighbours + 1, count))
    rows = np.repeat(np.arange(count), distance.shape[1] - 1)
    columns, lengths = index[:, 1:].ravel(), distance[:, 1:].ravel()
    while True:
        # Coinciding points would be no edge at all: an explicit zero is dropped.
        lengths = np.maximum(lengths, 1e-9)
        graph = csr_array(coo_array((lengths, (rows, columns)), (count, count)))
        graph = graph.maximum(graph.T)
        parts, labels = connected_components(graph, directed=False)
        if parts == 1:
            return graph
        smallest = np.bincount(labels).argmin()
        inside, outside = np.flatnonzero(labels == smallest), np.flatnonzero(labels != smallest)
        gap, nearest = cKDTree(points[outside]).query(points[inside])
        best = gap.argmin()
        rows = np.append(rows, inside[best])
        columns = np.append(columns, outside[nearest[best]])
        lengths = np.append(lengths, gap[best])


@dataclass(frozen=True)
class ControlNodes:
    """Points spread over a scene, and which of them carry each of its Gaussians (embedded deformation, Sumner et al.
    2007).

    Attributes:
        places: (M,) int64 indices of the Gaussians that the nodes are at.
        bases: (N, K) int64, the nodes that carry a Gaussian.
        weights: (N, K), each row's sum 1.
        edges: (E, 2) int64, pairs of nodes that are next to each other.
    """

    places: Tensor
    bases: Tensor
    weights: Tensor
    edges: Tensor


def control_nodes(points: Tensor, count: int, influences: int = 4, neighbours: int = 6) -> ControlNodes:
    """At most `count` nodes, each as far as can be from those before it along the surface (farthest-point sampling).

    Args:
        points: (N, 3).
        influences: nodes that carry a Gaussian, at most.
        neighbours: nodes that a node is held rigid with.
    """
    places = points.double().numpy()
    graph = surface_graph(places)
    start = int(np.linalg.norm(places - places.mean(0), axis=1).argmax())
    chosen, rows = [start], [dijkstra(graph, indices=start)]
    nearest = rows[0].copy()
    while len(chosen) < min(count, len(places)):
        following = int(nearest.argmax())
        chosen.append(following)
        rows.append(dijkstra(graph, indices=following))
        nearest = np.minimum(nearest, rows[-1])
    distance = np.stack(rows, axis=1)  # (N, M)
    spacing = float(np.median(nearest)) + 1e-9
    bases = np.argsort(distance, axis=1, kind="stable")[:, :influences]
    near = np.take_along_axis(distance, bases, axis=1)
    # Against the nearest one, so that a Gaussian far from all nodes still has one.
    weights = np.exp(-(near**2 - near[:, :1] ** 2) / (2 * (2 * spacing) ** 2))
    between = distance[chosen]  # (M, M)
    others = np.argsort(between, axis=1, kind="stable")[:, 1 : neighbours + 1]
    pairs = np.stack((np.repeat(np.arange(len(chosen)), others.shape[1]), others.ravel()), axis=1)
    edges = np.unique(np.sort(pairs, axis=1), axis=0)
    return ControlNodes(
        torch.tensor(chosen),
        torch.from_numpy(bases.astype(np.int64)),
        torch.from_numpy((weights / weights.sum(1, keepdims=True)).astype(np.float32)),
        torch.from_numpy(edges.astype(np.int64)).reshape(-1, 2),
    )
