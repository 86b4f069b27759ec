import math

import pytest
import torch

from gen.gauge import make_gauge, stack_cameras
from gen.unposed import tell_cameras
from recon.capture import Camera, orbit_camera
from recon.capture.camera import look_at

SIZE = 32


class Oracle(torch.nn.Module):
    """A network that knows the cameras of the frames that it is shown."""

    def __init__(self, cameras: list[Camera], patch: int = 8) -> None:
        super().__init__()
        c2w, intrinsics = stack_cameras(cameras)
        gauge = make_gauge(c2w[None], intrinsics[None], SIZE, SIZE)
        rays = gauge.patch_rays(patch)
        self.told = torch.cat((rays, gauge.up[:, None, None].expand_as(rays[..., :3])), dim=-1)
        self.seen: dict[str, torch.Tensor] = {}

    def forward(self, frames, levels, rays, times, known):
        self.seen = {"frames": frames, "levels": levels, "rays": rays, "known": known}
        return frames, self.told


def pictures(count: int) -> torch.Tensor:
    return torch.rand(count, SIZE, SIZE, 4, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("roll", [0.0, 0.2])
def test_told_rays_become_cameras_in_the_world_of_the_first(roll):
    cameras = [orbit_camera(a, e, f, SIZE, SIZE, roll=r) for a, e, f, r in
               ((0.0, 0.4, 0.6, roll), (1.1, -0.1, 0.5, 0.0), (-2.0, 0.7, 0.9, 0.1))]  # fmt: skip
    found = tell_cameras(Oracle(cameras), pictures(3))
    for camera, expected in zip(found, cameras):
        assert torch.allclose(camera.c2w, expected.c2w, atol=0.02)
        assert camera.fov_y == pytest.approx(expected.fov_y, rel=0.01)


def test_the_azimuth_of_the_first_picture_is_not_told():
    """The network knows no compass: seen from anywhere, the first picture's camera is at azimuth 0."""
    found = tell_cameras(Oracle([orbit_camera(2.0, 0.3, 0.6, SIZE, SIZE)]), pictures(1))[0]
    assert torch.allclose(found.c2w, orbit_camera(0.0, 0.3, 0.6, SIZE, SIZE).c2w, atol=0.02)


def test_a_known_field_of_view_is_kept():
    found = tell_cameras(Oracle([orbit_camera(0.0, 0.3, 0.6, SIZE, SIZE)]), pictures(1), fov=0.8)[0]
    assert found.fov_y == pytest.approx(0.8)
    assert found.centre.norm() == pytest.approx(1.1 * 0.5 / math.sin(0.4), rel=1e-4)


def test_the_network_is_shown_pictures_and_nothing_of_their_cameras():
    oracle = Oracle([orbit_camera(0.0, 0.3, 0.6, SIZE, SIZE)] * 2)
    shown = pictures(2)
    tell_cameras(oracle, shown)
    assert torch.allclose(oracle.seen["frames"][0, ..., :4], shown * 2 - 1)
    assert oracle.seen["levels"].tolist() == [[[0, 1], [0, 1]]]
    assert not bool(oracle.seen["known"].any())
    assert not bool(oracle.seen["rays"].any())


def test_looking_straight_down_is_no_trouble():
    camera = Camera(look_at(torch.tensor([0.0, 1.8, 0.0])), orbit_camera(0, 0, 0.6, SIZE, SIZE).intrinsics, SIZE, SIZE)
    found = tell_cameras(Oracle([camera]), pictures(1))[0]
    assert float(found.forward[1]) == pytest.approx(-1, abs=1e-3)
