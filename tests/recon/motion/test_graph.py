"""Neighbourhood along a surface."""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse.csgraph import connected_components, dijkstra

from recon.motion.graph import control_nodes, surface_graph


def two_legs(gap):
    """Two long legs side by side, joined at the top."""
    y = np.linspace(0, 1, 120)
    legs = [np.stack((np.full_like(y, x), y, np.zeros_like(y)), 1) for x in (0.0, gap)]
    top = np.stack((np.linspace(0, gap, 20), np.full(20, 1.0), np.zeros(20)), 1)
    return np.concatenate((*legs, top))


def test_the_way_from_foot_to_foot_leads_over_the_hip():
    points = two_legs(0.1)
    distance = dijkstra(surface_graph(points), indices=0)
    assert distance[120] > 1.9  # 0.1 through the air


def test_parts_that_touch_nothing_are_reached_all_the_same():
    points = np.concatenate([np.random.default_rng(0).normal(size=(40, 3)) * 0.1 + 5 * place for place in range(3)])
    graph = surface_graph(points)
    assert connected_components(graph, directed=False)[0] == 1
    assert (abs(graph - graph.T) > 0).nnz == 0


def test_points_in_one_place_are_no_obstacle():
    points = np.zeros((12, 3))
    points[6:] = 1
    assert connected_components(surface_graph(points), directed=False)[0] == 1


def test_nodes_are_spread_and_carry_what_is_near_along_the_surface():
    points = torch.from_numpy(two_legs(0.1)).float()
    nodes = control_nodes(points, 24)
    assert len(nodes.places) == 24
    assert len(nodes.places.unique()) == 24
    torch.testing.assert_close(nodes.weights.sum(1), torch.ones(len(points)))
    foot = points[nodes.places[nodes.bases[0]]]
    assert bool((foot[:, 0] == 0).all())  # none of the other leg's
    left, right = (points[nodes.places[side]] for side in nodes.edges.unbind(1))
    low = (left[:, 1] < 0.5) & (right[:, 1] < 0.5)
    assert bool((left[low, 0] == right[low, 0]).all())


def test_a_scene_of_few_points_has_no_more_nodes():
    nodes = control_nodes(torch.eye(3), 50)
    assert len(nodes.places) == 3
