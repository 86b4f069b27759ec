"""The trivial shapes are what they are called."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from recon._open3d import import_open3d
from recon.capture.orbit import orbit_cameras
from recon.metrics.meshes import TrueShape, compare_meshes
from recon.metrics.topology import component_count, is_watertight
from recon.surface.baselines import bounding_sphere, hull_mesh, inflated_silhouette
from recon.surface.render import render_mesh
from tests.recon.metrics.shapes import box, chair, sphere, to_trimesh

RESOLUTION = 80
CAMERAS = orbit_cameras(12, math.radians(10), size=96)


def masks(mesh):
    return [render_mesh(mesh, camera).rgba[..., 3] for camera in CAMERAS]


def inside(mesh, points):
    """Open3D's word for it: (N,) bool."""
    open3d = import_open3d()
    scene = open3d.t.geometry.RaycastingScene()
    scene.add_triangles(
        open3d.core.Tensor(mesh.vertices.numpy()), open3d.core.Tensor(mesh.faces.numpy().astype(np.uint32))
    )
    return torch.from_numpy(scene.compute_occupancy(open3d.core.Tensor(points.numpy())).numpy()) > 0.5


def test_the_bounding_sphere_has_the_radius_of_the_frame():
    mesh = bounding_sphere()
    assert torch.allclose(mesh.vertices.norm(dim=1), torch.full((len(mesh.vertices),), 0.5), atol=2e-3)
    assert is_watertight(mesh)
    assert to_trimesh(mesh).volume == pytest.approx(math.pi / 6, rel=0.02)


def test_the_hull_of_a_ball_is_close_to_the_ball_around_the_orbit():
    hull = hull_mesh(CAMERAS, masks(sphere(0.4)), RESOLUTION)
    assert is_watertight(hull)
    waist = hull.vertices[hull.vertices[:, 1].abs() < 0.05]
    assert float((waist.norm(dim=1) - 0.4).abs().max()) < 0.03


def test_the_hull_contains_the_object():
    hull = hull_mesh(CAMERAS, masks(chair()), RESOLUTION)
    boxes = chair().vertices.reshape(-1, 8, 3)
    shrunk = (boxes.mean(1, keepdim=True) + 0.7 * (boxes - boxes.mean(1, keepdim=True))).reshape(-1, 3)
    assert inside(hull, shrunk).all()
    assert not inside(hull, torch.tensor([[0.0, 0.6, 0.0], [0.6, 0.0, 0.0]])).any()


def test_an_inflated_disc_is_a_ball():
    camera = CAMERAS[0]
    mesh = inflated_silhouette(camera, render_mesh(sphere(0.4), camera).rgba[..., 3], RESOLUTION)
    assert is_watertight(mesh)
    assert component_count(mesh) == 1
    assert to_trimesh(mesh).volume == pytest.approx(4 / 3 * math.pi * 0.4**3, rel=0.15)
    scores = compare_meshes(mesh, TrueShape.of(sphere(0.4), seed=0, samples=2000), seed=0)
    assert scores.chamfer < 0.04


def test_an_inflated_silhouette_shows_the_same_silhouette():
    camera = CAMERAS[0]
    alpha = render_mesh(chair(), camera).rgba[..., 3]
    again = render_mesh(inflated_silhouette(camera, alpha), camera).rgba[..., 3]
    difference = ((alpha > 0.5) != (again > 0.5)).float().sum() / (alpha > 0.5).sum()
    assert float(difference) < 0.12


def test_shapes_rank_truth_hull_inflation_sphere_for_a_chair():
    truth = TrueShape.of(chair(), seed=0, samples=3000)
    alphas = masks(chair())
    shapes = [
        chair(),
        hull_mesh(CAMERAS, alphas, RESOLUTION),
        inflated_silhouette(CAMERAS[0], alphas[0], RESOLUTION),
        bounding_sphere(),
    ]
    chamfers = [compare_meshes(shape, truth, seed=0).chamfer for shape in shapes]
    assert chamfers == sorted(chamfers)


def test_an_empty_mask_is_refused():
    with pytest.raises(ValueError, match="empty"):
        inflated_silhouette(CAMERAS[0], torch.zeros(96, 96))


def test_masks_that_leave_nothing_are_refused():
    with pytest.raises(ValueError, match="no surface"):
        hull_mesh(CAMERAS[:2], [torch.zeros(96, 96)] * 2)


def test_a_box_is_inflated_to_less_than_its_width():
    camera = CAMERAS[0]
    mesh = inflated_silhouette(camera, render_mesh(box((0.3, 0.8, 0.1)), camera).rgba[..., 3])
    depth = mesh.vertices[:, 2].max() - mesh.vertices[:, 2].min()
    assert 0.2 < float(depth) < 0.55
