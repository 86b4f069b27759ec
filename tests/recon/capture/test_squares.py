"""A view of any aspect goes into a square and comes out of it unchanged."""

from __future__ import annotations

import pytest
import torch

from recon.capture import Camera, frame_from_tensors, look_at
from recon.capture.squares import cut_back, square_around

POINTS = torch.tensor([[0.1, 0.2, 0.3], [-0.2, 0.05, 0.1], [0.0, 0.0, 0.0]])


def view(width: int, height: int) -> Camera:
    intrinsics = torch.tensor([[70.0, 0, 0.4 * width], [0, 66, 0.55 * height], [0, 0, 1]])
    return Camera(look_at(torch.tensor([0.3, 0.5, 2.0])), intrinsics, width, height)


@pytest.mark.parametrize(("width", "height"), [(64, 36), (21, 64), (48, 48)])
def test_what_is_drawn_in_the_square_is_cut_back_to_the_view_pixel_by_pixel(width: int, height: int) -> None:
    camera = view(width, height)
    square = square_around(camera)
    side = max(width, height)
    assert (square.width, square.height) == (side, side)
    assert max(square.fov_x, square.fov_y) == pytest.approx(max(camera.fov_x, square.fov_y))
    _, directions = square.rays()
    frame = frame_from_tensors(
        square,
        directions.repeat(1, 1, 2)[..., :4],
        depth=directions[..., 0],
        normal=directions,
        weight=directions[..., 1],
    )
    cut = cut_back(frame, camera)
    _, wanted = camera.rays()
    torch.testing.assert_close(cut.rgba()[..., :3], wanted, atol=1e-6, rtol=0)
    torch.testing.assert_close(cut.depth(), wanted[..., 0], atol=1e-6, rtol=0)
    torch.testing.assert_close(cut.normal(), wanted, atol=1e-6, rtol=0)
    torch.testing.assert_close(cut.weight(), wanted[..., 1], atol=1e-6, rtol=0)
    assert torch.equal(cut.camera.intrinsics, camera.intrinsics)


def test_a_frame_of_another_size_is_not_cut() -> None:
    camera = view(64, 36)
    with pytest.raises(ValueError, match="expected 64x64 pixels"):
        cut_back(frame_from_tensors(camera, torch.zeros(36, 64, 4)), camera)
