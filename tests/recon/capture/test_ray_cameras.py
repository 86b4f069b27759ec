import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recon.capture import Camera, orbit_camera
from recon.capture.ray_cameras import camera_from_rays, fit_rotation


def rays_of(camera: Camera, step: int = 8) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Pixels, unit directions and moments of every `step`-th pixel."""
    origin, directions = camera.rays()
    y, x = torch.meshgrid(torch.arange(0, camera.height, step), torch.arange(0, camera.width, step), indexing="ij")
    directions = torch.nn.functional.normalize(directions[y, x].reshape(-1, 3), dim=-1)
    pixels = torch.stack((x, y), dim=-1).reshape(-1, 2) + 0.5
    return pixels, directions, torch.linalg.cross(origin.expand_as(directions), directions)


def degrees_between(a: Camera, b: Camera) -> float:
    trace = float((a.c2w[:3, :3].T @ b.c2w[:3, :3]).trace())
    return math.degrees(math.acos(max(-1.0, min(1.0, (trace - 1) / 2))))


@settings(max_examples=30, deadline=None)
@given(
    azimuth=st.floats(-3, 3),
    elevation=st.floats(-1.2, 1.2),
    fov=st.floats(0.2, 1.5),
    roll=st.floats(-0.5, 0.5),
    size=st.sampled_from([(64, 64), (96, 64), (32, 80)]),
)
def test_true_rays_give_the_camera_back(azimuth, elevation, fov, roll, size):
    width, height = size
    camera = orbit_camera(azimuth, elevation, fov, width, height, roll=roll)
    found = camera_from_rays(*rays_of(camera), width, height)
    assert degrees_between(found, camera) < 0.1
    assert math.degrees(abs(found.fov_y - camera.fov_y)) < 0.1
    assert (found.centre - camera.centre).norm() < 0.01 * camera.centre.norm()


def test_noisy_rays_give_nearly_the_camera():
    camera = orbit_camera(0.7, 0.3, 0.6, 64, 64)
    pixels, directions, moments = rays_of(camera)
    generator = torch.Generator().manual_seed(0)
    noisy = directions + 0.03 * torch.randn(directions.shape, generator=generator)
    wrong = moments + 0.03 * torch.randn(moments.shape, generator=generator)
    found = camera_from_rays(pixels, noisy, wrong, 64, 64, pull=0.1)
    assert degrees_between(found, camera) < 2
    assert abs(found.fov_y / camera.fov_y - 1) < 0.1
    assert (found.centre - camera.centre).norm() < 0.1 * camera.centre.norm()


def test_the_centre_is_drawn_to_where_the_object_is_framed():
    camera = orbit_camera(0.7, 0.3, 0.6, 64, 64)
    pixels, directions, moments = rays_of(camera)
    found = camera_from_rays(pixels, directions, torch.zeros_like(moments), 64, 64, pull=1e3)
    assert (found.centre - camera.centre).norm() < 0.01


def test_a_known_rotation_is_kept():
    camera = orbit_camera(0.7, 0.3, 0.6, 64, 64)
    found = camera_from_rays(*rays_of(camera), 64, 64, rotation=torch.eye(3))
    assert torch.equal(found.c2w[:3, :3], torch.eye(3))


def test_a_mirrored_set_of_directions_still_gives_a_rotation():
    seen = torch.nn.functional.normalize(torch.randn(20, 3, generator=torch.Generator().manual_seed(0)), dim=-1)
    assert torch.det(fit_rotation(seen, seen * torch.tensor([-1.0, 1.0, 1.0]))) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("broken", ["few", "nan"])
def test_rays_that_fix_no_camera_are_refused(broken):
    pixels, directions, moments = rays_of(orbit_camera(0.7, 0.3, 0.6, 64, 64))
    if broken == "few":
        pixels, directions, moments = pixels[:2], directions[:2], moments[:2]
    else:
        moments = moments * float("nan")
    with pytest.raises(ValueError, match="three finite rays"):
        camera_from_rays(pixels, directions, moments, 64, 64)
