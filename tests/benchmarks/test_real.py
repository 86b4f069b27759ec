"""Pictures of captures, framed and turned, still show what their cameras say."""

import pytest
import torch

from benchmarks.real import _stood_up, framed
from recon.capture import FRAME_MARGIN, OBJECT_RADIUS, Camera, Frame, Source, frame_from_tensors
from recon.capture.camera import intrinsics_from_fov, look_at

SIZE = 64


def dots(camera: Camera, points: torch.Tensor) -> Frame:
    """A grey disc behind, and a patch of a colour of its own around each of three points."""
    rgba = torch.full((camera.height, camera.width, 4), 0.5)
    pixels, _ = camera.project(points)
    for channel, (x, y) in enumerate(pixels.round().int().tolist()):
        rgba[y - 2 : y + 3, x - 2 : x + 3, :3] = torch.eye(3)[channel]
    rgba[..., 3] = 1
    return frame_from_tensors(camera, rgba, source=Source.OBSERVED, name="view")


def assert_seen(frame: Frame, points: torch.Tensor) -> None:
    pixels, _ = frame.camera.project(points)
    for channel, (x, y) in enumerate(pixels.tolist()):
        r, g, b = frame.rgba()[int(y), int(x), :3].tolist()
        assert (r, g, b)[channel] > 0.8 > 0.4 > min(r, g, b)


POINTS = torch.tensor([[0.3, 0.1, 0.0], [-0.2, 0.25, 0.1], [0.05, -0.3, -0.2]])


@pytest.fixture
def camera() -> Camera:
    """One that looks past the object, wider than tall, its principal point off the middle."""
    intrinsics = intrinsics_from_fov(0.9, 320, 240)
    intrinsics[0, 2] += 12
    return Camera(look_at(torch.tensor([0.4, 0.6, 2.0]), torch.tensor([0.1, -0.1, 0.0])), intrinsics, 320, 240)


def test_a_framed_picture_shows_what_its_camera_sees_and_the_sphere_with_the_margin(camera):
    frame = framed(dots(camera, POINTS), SIZE)
    assert (frame.camera.width, frame.camera.height) == (SIZE, SIZE)
    assert_seen(frame, POINTS)
    middle, _ = frame.camera.project(torch.zeros(3))
    assert middle.tolist() == pytest.approx([SIZE / 2] * 2, abs=0.6)
    distance = float(camera.centre.norm())
    reach = float(frame.camera.intrinsics[0, 0]) * FRAME_MARGIN * OBJECT_RADIUS / distance
    assert reach == pytest.approx(SIZE / 2, rel=0.05)


def test_what_is_outside_of_a_picture_is_transparent(camera):
    shifted = camera.cropped(120, 0, 200, 240)  # its left part is missing
    frame = framed(dots(shifted, POINTS[:1].expand(3, 3)), SIZE)
    assert float(frame.rgba()[SIZE // 2, 0, 3]) == 0
    assert float(frame.rgba()[SIZE // 2, SIZE // 2, 3]) == 1


def test_a_picture_that_is_stood_up_shows_what_its_camera_sees(camera):
    lying = framed(dots(camera, POINTS), SIZE)
    standing = _stood_up(lying)
    assert_seen(standing, POINTS)
    assert torch.equal(standing.rgba()[-1], lying.rgba()[:, 0])  # left becomes bottom
    rotation = standing.camera.c2w[:3, :3]
    assert torch.allclose(torch.linalg.det(rotation), torch.tensor(1.0), atol=1e-5)
