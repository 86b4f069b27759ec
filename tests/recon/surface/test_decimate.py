import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recon._open3d import import_open3d
from recon.splat.volume import SignedVolume
from recon.surface.close import is_watertight
from recon.surface.decimate import decimate, subdivide, with_face_count
from recon.surface.extract import extract_surface
from recon.surface.manifold import keep_faces, split_to_manifold, twin_edges
from recon.surface.mesh import face_normals
from tests.recon.metrics.shapes import box


def torus():
    axis = torch.linspace(-0.55, 0.55, 48)
    x, y, z = torch.meshgrid(axis, axis, axis, indexing="ij")
    ring = (x.square() + z.square()).sqrt() - 0.3
    return extract_surface(
        SignedVolume((ring.square() + y.square()).sqrt() - 0.12, torch.full((3,), -0.55), float(axis[1] - axis[0]))
    )


def distance_to_torus(points):
    x, y, z = points.unbind(-1)
    return (((x.square() + z.square()).sqrt() - 0.3).square() + y.square()).sqrt() - 0.12


@pytest.mark.parametrize("target", [4000, 1000, 300])
def test_decimated_torus_is_closed_on_target_and_on_the_surface(target):
    mesh = decimate(torus(), target)
    assert is_watertight(mesh)
    assert 0.95 * target <= len(mesh.faces) <= target
    assert len(mesh.vertices) - len(mesh.faces) // 2 == 0  # Euler's number of a torus
    middles = mesh.vertices[mesh.faces].mean(1)
    assert distance_to_torus(middles).abs().mean() < 0.02


def test_impossible_target_keeps_a_closed_torus():
    assert is_watertight(decimate(torus(), 4))


def test_smaller_meshes_pass_unchanged():
    mesh = torus()
    assert decimate(mesh, 10**6).vertices is mesh.vertices


def test_target_below_a_tetrahedron_is_refused():
    with pytest.raises(ValueError, match="at least 4"):
        decimate(torus(), 3)


def halved_torus():
    whole = torus()
    return split_to_manifold(keep_faces(whole, whole.vertices[whole.faces].mean(1)[:, 1] > 0.03))


def test_a_border_stays_where_it_is():
    half = halved_torus()
    mesh = decimate(half, 600)
    faces = mesh.faces.numpy()
    assert 570 <= len(faces) <= 600
    twins = twin_edges(faces)
    start, end = faces.ravel(), np.roll(faces, -1, axis=1).ravel()
    assert len(set(zip(start, end, strict=True))) == len(start)  # no edge runs twice the same way
    border = mesh.vertices[start[twins.ravel() < 0]]
    assert len(border) < (twin_edges(half.faces.numpy()) < 0).sum() / 2
    edge = half.vertices[half.faces.reshape(-1)[torch.from_numpy(twin_edges(half.faces.numpy()).ravel() < 0)]]
    assert torch.cdist(border, edge).min(dim=1).values.max() < 0.02


def test_a_cube_keeps_its_edges_as_well_as_open3d_keeps_them():
    o3d = import_open3d()
    fine = subdivide(box((0.8, 0.6, 0.7)), 6000)
    ours = decimate(fine, 100)
    legacy = o3d.geometry.TriangleMesh(
        o3d.utility.Vector3dVector(fine.vertices.double().numpy()), o3d.utility.Vector3iVector(fine.faces.int().numpy())
    ).simplify_quadric_decimation(100)
    half = torch.tensor([0.4, 0.3, 0.35])

    def rounding(vertices: torch.Tensor) -> float:
        """The largest distance of the box's corners to the mesh's vertices."""
        corners = half * torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 3)
        return float(torch.cdist(corners, vertices).min(dim=1).values.max())

    assert rounding(ours.vertices) < 0.01
    assert rounding(ours.vertices) <= rounding(torch.from_numpy(np.asarray(legacy.vertices)).float()) + 0.01
    assert ((ours.vertices.abs() - half).abs().min(dim=1).values).max() < 1e-3  # all vertices lie on its sides


@pytest.mark.parametrize("target", [13, 100, 4001])
def test_subdividing_reaches_the_target_and_keeps_the_shape(target):
    mesh = subdivide(box(), target)
    assert target - 1 <= len(mesh.faces) <= target
    assert is_watertight(mesh)
    area = face_normals(mesh.vertices, mesh.faces).norm(dim=1).sum() / 2
    assert area == pytest.approx(6.0, rel=1e-5)


@given(st.integers(20, 3000))
@settings(max_examples=10, deadline=None)
def test_any_face_count_is_met_within_five_percent(target):
    count = len(with_face_count(torus(), target).faces)
    assert count <= target
    assert count >= 0.95 * target


def test_an_open_surface_is_subdivided_too():
    mesh = subdivide(halved_torus(), 20_000)
    assert 19_999 <= len(mesh.faces) <= 20_000
