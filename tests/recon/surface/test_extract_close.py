import pytest
import torch

from recon.splat.volume import SignedVolume
from recon.surface.close import is_watertight, keep_main_solids
from recon.surface.extract import extract_surface
from recon.surface.fusion import FusionOptions, close_mesh
from recon.surface.mesh import Mesh, face_normals


def volume(function, resolution=40):
    axis = torch.linspace(-0.55, 0.55, resolution)
    points = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1)
    return SignedVolume(function(points), torch.full((3,), -0.55), 1.1 / (resolution - 1))


def ball(centre, radius):
    return lambda points: (points - torch.tensor(centre)).norm(dim=-1) - radius


def enclosed_volume(mesh):
    a, b, c = mesh.vertices[mesh.faces].unbind(1)
    return float((a * torch.linalg.cross(b, c)).sum() / 6)


def test_extracted_ball_is_closed_outward_and_of_the_right_size():
    mesh = extract_surface(volume(ball([0.03, 0.01, -0.02], 0.4)))
    assert is_watertight(mesh)
    assert enclosed_volume(mesh) == pytest.approx(4 / 3 * torch.pi * 0.4**3, rel=0.01)
    outward = (face_normals(mesh.vertices, mesh.faces) * mesh.vertices[mesh.faces[:, 0]]).sum(-1)
    assert (outward > 0).all()


def test_extraction_of_noise_is_still_closed():
    generator = torch.Generator().manual_seed(0)
    noise = torch.full((14, 14, 14), 1.0)
    noise[1:-1, 1:-1, 1:-1] = torch.randn(12, 12, 12, generator=generator)
    assert is_watertight(extract_surface(SignedVolume(noise, torch.zeros(3), 1.0)))


def test_one_solid_remains_without_its_cavity():
    def scene(points):
        shell = torch.maximum(ball([0.0, 0, 0], 0.3)(points), -ball([0.0, 0, 0], 0.15)(points))
        return torch.minimum(shell, ball([0.43, 0, 0], 0.08)(points))

    mesh = extract_surface(keep_main_solids(volume(scene)))
    assert enclosed_volume(mesh) == pytest.approx(4 / 3 * torch.pi * 0.3**3, rel=0.02)
    assert mesh.vertices.norm(dim=-1).max() < 0.31


def test_a_second_part_stays_when_it_is_large_enough():
    def parts(least: float) -> Mesh:
        big, small = ball([0, 0, -0.25], 0.2), ball([0, 0, 0.25], 0.12)
        return extract_surface(keep_main_solids(volume(lambda p: torch.minimum(big(p), small(p))), least))

    # The small ball has a fifth of the big one's volume.
    assert is_watertight(parts(0.1))
    assert parts(0.1).vertices[:, 2].max() > 0.3
    assert parts(0.4).vertices[:, 2].max() < 0


def test_solid_at_the_border_is_refused():
    with pytest.raises(ValueError, match="touches the border"):
        extract_surface(SignedVolume(-torch.ones(4, 4, 4), torch.zeros(3), 1.0))


def test_empty_volume_is_refused_when_a_solid_is_asked_for():
    with pytest.raises(ValueError, match="empty"):
        keep_main_solids(SignedVolume(torch.ones(4, 4, 4), torch.zeros(3), 1.0))


def test_an_open_mesh_is_not_watertight_and_becomes_so_when_closed():
    whole = extract_surface(volume(ball([0.0, 0, 0], 0.4), 24))
    opened = Mesh(whole.vertices, whole.faces[20:])
    assert not is_watertight(opened)
    closed = close_mesh(opened, FusionOptions(resolution=48, views=16, size=72))
    assert is_watertight(closed)
    assert (closed.vertices.norm(dim=-1) - 0.4).abs().mean() < 0.02


def test_a_flipped_face_is_not_watertight():
    whole = extract_surface(volume(ball([0.0, 0, 0], 0.4), 24))
    faces = whole.faces.clone()
    faces[0] = faces[0].flip(0)
    assert not is_watertight(Mesh(whole.vertices, faces))
