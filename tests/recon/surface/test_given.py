import dataclasses

import pytest
import torch

from recon.asset import write_glb
from recon.capture import Similarity, Source
from recon.splat.formats import write_splats
from recon.splat.gaussians import Gaussians
from recon.splat.ply import write_ply
from recon.surface.given import outward, read_given, views_of
from recon.surface.manifold import split_to_manifold
from recon.surface.mesh import Mesh
from tests.recon.metrics.shapes import chair
from tests.recon.surface.test_fusion import ball_of_gaussians

AXES = ["+x", "-x", "+y", "-y", "+z", "-z"]


@pytest.mark.parametrize("up", AXES)
def test_a_mesh_stands_upright_in_the_sphere_and_finds_its_way_back(tmp_path, up):
    mesh = chair()
    write_glb(mesh, tmp_path / "chair.glb", size=None, origin="keep")
    found, to_source = read_given(tmp_path / "chair.glb", up)
    assert isinstance(found, Mesh)
    assert found.vertices.norm(dim=1).max() == pytest.approx(0.5, abs=1e-5)
    back = to_source.apply(found.vertices)
    assert torch.cdist(back, mesh.vertices).min(dim=1).values.max() < 1e-3
    assert torch.linalg.det(to_source.rotation) == pytest.approx(1.0)
    axis = torch.zeros(3)
    axis["xyz".index(up[1])] = 1.0 if up[0] == "+" else -1.0
    assert torch.allclose(to_source.inverse().rotation @ axis, torch.tensor([0.0, 1.0, 0.0]), atol=1e-6)


def test_far_and_large_splats_come_into_the_sphere_without_their_strays(tmp_path):
    ball = ball_of_gaussians()
    ball.means[:3] = torch.tensor([[30.0, 0, 0], [0, 40.0, 0], [0, 0, -50.0]])
    away = ball.transform(Similarity(scale=7.0, translation=torch.tensor([100.0, -20.0, 3.0])))
    write_ply(away, tmp_path / "ball.ply")
    found, to_source = read_given(tmp_path / "ball.ply", "+y")
    assert isinstance(found, Gaussians)
    radius = found.means[3:].norm(dim=1)
    assert radius.max() == pytest.approx(0.5, abs=0.02)
    assert torch.allclose(to_source.apply(found.means[3:]), away.means[3:], atol=1e-3)


@pytest.mark.parametrize("name", ["ball.ply", "ball.compressed.ply", "ball.splat", "ball.spz"])
def test_splats_are_the_same_in_every_format(tmp_path, name):
    pytest.importorskip("gsply")
    ball = ball_of_gaussians()
    write_splats(ball, tmp_path / name)
    found, to_source = read_given(tmp_path / name, "-z")
    assert isinstance(found, Gaussians)
    assert len(found) == len(ball)
    nearest = torch.cdist(to_source.apply(found.means), ball.means).min(dim=1).values
    assert nearest.max() < 5e-3


def test_views_of_meshes_count_as_observed_and_those_of_splats_as_rendered(tmp_path):
    seen = views_of(chair(), 6, 48, Similarity())
    assert {frame.source for frame in seen} == {Source.OBSERVED}
    assert all(frame.rgba()[..., 3].mean() > 0.02 for frame in seen)
    drawn = views_of(ball_of_gaussians(), 3, 48, Similarity())
    assert {frame.source for frame in drawn} == {Source.RENDERED}


def test_parts_that_are_inside_out_are_turned_over():
    mesh = split_to_manifold(chair())
    mended = outward(split_to_manifold(Mesh(mesh.vertices, mesh.faces.flip(1))))
    assert enclosed(mended) > 0
    assert enclosed(mended) == pytest.approx(enclosed(mesh), rel=1e-5)
    assert torch.equal(outward(mesh).faces, mesh.faces)


def enclosed(mesh):
    """Volume; negative where faces look inward."""
    a, b, c = mesh.vertices[mesh.faces].unbind(1)
    return float((a * torch.linalg.cross(b, c)).sum() / 6)


def test_what_has_no_extent_is_refused(tmp_path):
    ball = ball_of_gaussians()
    clear = dataclasses.replace(ball, logit_opacities=torch.full_like(ball.logit_opacities, -9.0))
    write_ply(clear, tmp_path / "clear.ply")
    with pytest.raises(ValueError, match=r"clear\.ply: all of its splats are transparent"):
        read_given(tmp_path / "clear.ply")
    point = dataclasses.replace(ball, means=torch.zeros_like(ball.means))
    write_ply(point, tmp_path / "point.ply")
    with pytest.raises(ValueError, match="no extent"):
        read_given(tmp_path / "point.ply")
