import pytest
import torch

from recon.splat.volume import SignedVolume
from recon.surface.close import is_watertight
from recon.surface.decimate import decimate
from recon.surface.extract import extract_surface


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
