"""Mesh measures: analytic cases, agreement with trimesh and Open3D, and the order in which they put shapes."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from recon._open3d import import_open3d
from recon.capture.orbit import orbit_cameras
from recon.metrics.alignment import compare_aligned, rotation_starts
from recon.metrics.errors import MetricError
from recon.metrics.meshes import TrueShape, chamfer_distance, compare_meshes
from recon.metrics.sampling import sample_surface
from recon.metrics.topology import component_count, is_watertight
from recon.metrics.voxels import fill, voxel_iou
from recon.surface.baselines import hull_mesh
from recon.surface.mesh import Mesh
from recon.surface.render import render_mesh
from tests.recon.metrics.shapes import box, chair, from_trimesh, joined, mirrored, rotated, sphere, to_trimesh

SAMPLES = 4000


@pytest.fixture(scope="module")
def true_chair() -> TrueShape:
    return TrueShape.of(chair(), seed=0, samples=SAMPLES)


def noisy(mesh: Mesh, share: float) -> Mesh:
    """Vertices moved by a share of the longest box side, on a mesh fine enough for that to matter."""
    fine = to_trimesh(mesh).subdivide().subdivide().subdivide()
    mesh = from_trimesh(fine)
    low, high = mesh.bounds()
    noise = torch.randn(mesh.vertices.shape, generator=torch.Generator().manual_seed(0))
    return Mesh(mesh.vertices + share * float((high - low).max()) * noise, mesh.faces)


def test_concentric_spheres_have_the_chamfer_distance_of_their_radii():
    truth = TrueShape.of(sphere(0.5, 5), seed=0)
    scores = compare_meshes(sphere(0.4, 5), truth, seed=0)
    assert scores.accuracy == pytest.approx(0.1, abs=0.003)
    assert scores.completeness == pytest.approx(0.1, abs=0.003)
    assert scores.iou == pytest.approx(0.8**3, abs=0.02)
    assert scores.normal_consistency == pytest.approx(1, abs=0.01)
    assert scores.f_scores[0.05] == 0
    assert scores.f_scores[0.2] == 1


def test_measures_do_not_depend_on_the_size_of_the_pair():
    small = compare_meshes(sphere(0.4), TrueShape.of(sphere(0.5), seed=0, samples=SAMPLES), seed=0)
    large = compare_meshes(sphere(40), TrueShape.of(sphere(50), seed=0, samples=SAMPLES), seed=0)
    assert large.chamfer == pytest.approx(small.chamfer, rel=1e-3)
    assert large.iou == small.iou


@pytest.mark.parametrize("shift", [0.0, 0.125, 0.5, 2.0])
def test_shifted_cubes_overlap_as_their_volumes_do(shift):
    truth = TrueShape.of(box(), seed=0, samples=500)
    scores = compare_meshes(box(centre=(shift, 0, 0)), truth, seed=0)
    assert scores.iou == pytest.approx(max(0.0, 1 - shift) / (1 + min(shift, 1.0)), abs=0.02)


def test_filled_volume_agrees_with_trimesh():
    shape = sphere(0.5, 4)
    shell = 0.5 / 64 * to_trimesh(shape).area  # every shape grows by half a voxel
    assert fill(shape).count() / 64**3 == pytest.approx(to_trimesh(shape).volume + shell, rel=0.02)


def test_an_open_sheet_has_a_filled_shape_one_voxel_thick():
    corners = torch.tensor([[-0.5, 0.004, -0.5], [0.5, 0.004, -0.5], [0.5, 0.004, 0.5], [-0.5, 0.004, 0.5]])
    sheet = fill(Mesh(corners, torch.tensor([[0, 1, 2], [0, 2, 3]])))
    assert sheet.count() / 64**2 == pytest.approx(1, abs=0.05)
    assert voxel_iou(sheet, sheet) == 1


def test_chamfer_agrees_with_open3d():
    o3d = import_open3d()
    a = sample_surface(chair(), 3000, seed=0).points
    b = sample_surface(sphere(0.4), 3000, seed=0).points
    clouds = [o3d.geometry.PointCloud(o3d.utility.Vector3dVector(p.double().numpy())) for p in (a, b)]
    forward = torch.tensor(list(clouds[0].compute_point_cloud_distance(clouds[1]))).mean()
    backward = torch.tensor(list(clouds[1].compute_point_cloud_distance(clouds[0]))).mean()
    assert chamfer_distance(a, b) == pytest.approx(float(forward + backward) / 2, rel=1e-5)


@pytest.mark.parametrize(
    "mesh", [box(), sphere(0.5), chair(), Mesh(box().vertices, box().faces[1:]), joined(sphere(0.2), box())]
)
def test_topology_agrees_with_trimesh(mesh):
    other = to_trimesh(mesh)
    assert is_watertight(mesh) == other.is_watertight
    assert component_count(mesh) == other.body_count


def test_seams_of_a_texture_do_not_open_a_mesh():
    closed = box()
    torn = Mesh(closed.vertices[closed.faces.reshape(-1)], torch.arange(closed.faces.numel()).reshape(-1, 3))
    assert is_watertight(torn)
    assert component_count(torn) == 1


def test_scores_rank_truth_before_noise_before_visual_hull_before_sphere(true_chair):
    cameras = orbit_cameras(21, math.radians(10), size=128)
    hull = hull_mesh(cameras, [render_mesh(chair(), camera).rgba[..., 3] for camera in cameras])
    shapes = [chair(), noisy(chair(), 0.02), hull, sphere(0.5)]
    scores = [compare_meshes(shape, true_chair, seed=0) for shape in shapes]
    for better, worse in itertools.pairwise(scores):
        assert better.chamfer < worse.chamfer
        assert better.iou > worse.iou
        assert better.f_scores[0.02] > worse.f_scores[0.02]
    assert scores[0].normal_consistency > max(s.normal_consistency for s in scores[1:])
    assert scores[0].iou == 1
    assert scores[0].f_scores[0.05] > 0.99


def test_a_mirrored_truth_loses_even_after_alignment(true_chair):
    wrong = mirrored(chair())
    unaligned, aligned = compare_meshes(wrong, true_chair, seed=0), compare_aligned(wrong, true_chair, seed=0)
    right = compare_meshes(chair(), true_chair, seed=0)
    assert right.chamfer < 0.7 * aligned.scores.chamfer
    assert aligned.scores.chamfer <= unaligned.chamfer


def test_alignment_finds_a_turned_scaled_and_moved_truth(true_chair):
    angle = math.radians(130)
    turn = torch.tensor(
        [[math.cos(angle), 0, math.sin(angle)], [0, 1, 0], [-math.sin(angle), 0, math.cos(angle)]]
    ) @ torch.tensor([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
    # Turned by a quarter first: its box keeps the true longest side only for turns of the box axes onto themselves.
    quarter = rotated(chair(), torch.tensor([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])).moved(3.0, torch.tensor([5.0, 1, 2]))
    floor = compare_meshes(chair(), true_chair, seed=0).chamfer
    found = compare_aligned(quarter, true_chair, seed=0)
    assert found.scores.chamfer < 1.2 * floor
    assert found.turn == pytest.approx(90, abs=1)
    assert found.size == pytest.approx(1 / 3, rel=1e-3)
    turned = rotated(chair(), turn)
    aligned = compare_aligned(turned, true_chair, seed=0).scores
    assert aligned.chamfer < compare_meshes(turned, true_chair, seed=0).chamfer / 2


def test_alignment_leaves_a_truth_where_it_is(true_chair):
    found = compare_aligned(chair(), true_chair, seed=0)
    assert found.turn == pytest.approx(0, abs=1)
    assert found.size == pytest.approx(1, rel=1e-3)


def test_alignment_never_makes_a_score_worse(true_chair):
    shape = sphere(0.45)
    aligned, unaligned = compare_aligned(shape, true_chair, seed=0), compare_meshes(shape, true_chair, seed=0)
    assert aligned.scores.chamfer <= unaligned.chamfer


def test_rotation_starts_are_proper_and_distinct():
    starts = rotation_starts()
    assert len(starts) == 72
    assert torch.allclose(torch.linalg.det(starts), torch.ones(72), atol=1e-5)
    assert float((starts[:, None] - starts[None]).abs().amax((-1, -2)).add(torch.eye(72)).min()) > 0.1


@pytest.mark.parametrize(
    "mesh",
    [
        Mesh(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.int64)),
        Mesh(torch.full((3, 3), float("nan")), torch.tensor([[0, 1, 2]])),
        Mesh(torch.ones(3, 3), torch.tensor([[0, 1, 2]])),
    ],
)
def test_meshes_that_cannot_be_measured_are_refused(mesh, true_chair):
    with pytest.raises(MetricError):
        compare_meshes(mesh, true_chair, seed=0)
