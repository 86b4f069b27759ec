import torch

from recon.surface.close import is_watertight
from recon.surface.extract import extract_surface
from recon.surface.mesh import Mesh
from recon.surface.smooth import taubin_smooth
from tests.recon.splat.balls import ball_capture, distance_to_ball


def ball():
    from recon.splat.volume import visual_hull

    capture = ball_capture(24, 64)
    return extract_surface(visual_hull(capture.cameras, [frame.rgba()[..., 3] for frame in capture], 40))


def test_noise_fades_and_the_ball_keeps_its_size():
    mesh = ball()
    noise = 0.004 * torch.randn(mesh.vertices.shape, generator=torch.Generator().manual_seed(0))
    rough = Mesh(mesh.vertices + noise, mesh.faces)
    smoothed = taubin_smooth(rough, 10)
    assert is_watertight(smoothed)
    assert distance_to_ball(smoothed.vertices).std() < 0.7 * distance_to_ball(rough.vertices).std()
    assert (distance_to_ball(smoothed.vertices).mean() - distance_to_ball(mesh.vertices).mean()).abs() < 0.002


def test_no_rounds_change_nothing():
    mesh = ball()
    assert taubin_smooth(mesh, 0) is mesh
