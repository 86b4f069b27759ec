"""Points on surfaces: even by area, on the surface, and only where they can be seen."""

from __future__ import annotations

import pytest
import torch

from recon.metrics.errors import MetricError
from recon.metrics.sampling import sample_surface, sample_visible_surface, sphere_directions
from recon.surface.mesh import Mesh
from tests.recon.metrics.shapes import box, joined, sphere


def test_points_fall_on_each_face_in_proportion_to_its_area():
    points = sample_surface(box((2, 1, 1)), 20_000, seed=0)
    on_end = (points.normals[:, 0].abs() > 0.9).float().mean()
    assert float(on_end) == pytest.approx(2 / 10, abs=0.01)


def test_points_lie_on_the_sphere_with_normals_outward():
    sample = sample_surface(sphere(0.5), 2000, seed=1)
    assert torch.allclose(sample.points.norm(dim=1), torch.full((2000,), 0.5), atol=2e-3)
    assert float((torch.nn.functional.normalize(sample.points, dim=1) * sample.normals).sum(1).min()) > 0.99


def test_the_same_seed_gives_the_same_points():
    a, b, c = (sample_surface(sphere(0.5), 50, seed=s).points for s in (7, 7, 8))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_surfaces_inside_a_closed_box_are_not_visible():
    sample = sample_visible_surface(joined(box(), sphere(0.3)), 3000, seed=0)
    assert float(sample.points.abs().max(dim=1).values.min()) > 0.499


def test_a_ball_in_an_open_box_is_visible_through_the_opening():
    closed = box()
    lid = (closed.vertices[closed.faces][:, :, 1] > 0.49).all(1)
    opened = Mesh(closed.vertices, closed.faces[~lid])
    sample = sample_visible_surface(joined(opened, sphere(0.3)), 5000, seed=0)
    on_ball = sample.points[sample.points.norm(dim=1) < 0.31]
    assert len(on_ball) > 100
    assert float(on_ball[:, 1].mean()) > 0.05


def test_a_single_sheet_is_visible_from_both_sides_with_either_winding():
    corners = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]])
    for winding in ([0, 1, 2], [2, 1, 0]):
        assert len(sample_visible_surface(Mesh(corners, torch.tensor([winding])), 500, seed=0)) == 500


def test_directions_are_unit_and_evenly_spread():
    directions = sphere_directions(64)
    assert torch.allclose(directions.norm(dim=1), torch.ones(64), atol=1e-6)
    assert torch.allclose(directions.mean(0), torch.zeros(3), atol=0.02)
    cosines = directions @ directions.T - 2 * torch.eye(64)
    assert float(cosines.max(dim=1).values.min()) > 0.85


def test_a_mesh_without_area_is_refused():
    with pytest.raises(MetricError, match="no area"):
        sample_surface(Mesh(torch.zeros(3, 3), torch.tensor([[0, 1, 2]])), 10, seed=0)
