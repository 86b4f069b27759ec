import math

import pytest
import torch

from recon.capture import orbit_camera
from recon.splat.losses import (
    depth_loss,
    normal_loss,
    normals_from_depth,
    photometric_loss,
    picture_loss,
    plain_picture_loss,
    ssim_map,
)
from tests.recon.splat.balls import ball_frame


def pictures(seed=0, height=20, width=33):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(2, height, width, 3, generator=generator)


def test_ssim_equals_the_definition_by_convolution():
    x, y = pictures().double()
    offset = torch.arange(11.0, dtype=torch.float64) - 5
    window = torch.exp(-0.5 * (offset / 1.5) ** 2)
    window = (window[:, None] * window)[None, None]

    def blur(image):
        planes = image.permute(2, 0, 1)[:, None]
        ones = torch.ones_like(planes)
        summed = torch.nn.functional.conv2d(planes, window, padding=5)
        return (summed / torch.nn.functional.conv2d(ones, window, padding=5))[:, 0]

    mx, my = blur(x), blur(y)
    sx, sy, sxy = blur(x * x) - mx**2, blur(y * y) - my**2, blur(x * y) - mx * my
    expected = (2 * mx * my + 1e-4) * (2 * sxy + 9e-4) / ((mx**2 + my**2 + 1e-4) * (sx + sy + 9e-4))
    assert torch.allclose(ssim_map(x, y), expected.mean(0), atol=1e-6)


def test_equal_pictures_cost_nothing():
    x, _ = pictures()
    assert photometric_loss(x, x, torch.ones(20, 33)).abs() < 1e-6


def test_pixels_without_weight_do_not_count():
    x, y = pictures()
    weight = torch.zeros(20, 33)
    weight[:5, :5] = 1
    changed = y.clone()
    changed[12:] = 0
    a, b = photometric_loss(x, y, weight), photometric_loss(x, changed, weight)
    assert torch.allclose(a, b)
    assert photometric_loss(x, y, torch.zeros(20, 33)) == 0


def test_far_depth_errors_pull_less_than_near_ones():
    depth = torch.tensor([[1.01, 1.5]], requires_grad=True)
    depth_loss(depth, torch.ones(1, 2), torch.ones(1, 2), 0.03).backward()
    near, far = depth.grad[0]
    assert near > 50 * far > 0


def test_unknown_depth_and_normals_do_not_count():
    assert depth_loss(torch.ones(4, 4), torch.zeros(4, 4), torch.ones(4, 4), 0.1) == 0
    assert normal_loss(torch.rand(4, 4, 3), torch.zeros(4, 4, 3), torch.ones(4, 4)) == 0


def test_normals_from_depth_agree_with_the_surface():
    camera = orbit_camera(0.7, 0.3, math.radians(40), 96, 96)
    frame = ball_frame(camera, "ball", geometry=True)
    found = normals_from_depth(frame.depth(), camera.rays()[1])
    inner = (frame.normal() * -camera.forward).sum(-1) > 0.5
    cosine = (found * frame.normal()).sum(-1)[inner]
    assert cosine.min() > 0.98


@pytest.mark.parametrize("size", [(1, 1), (4, 40), (33, 20), (48, 64)])
@pytest.mark.parametrize("share", [0.2, 0.0, 1.0])
def test_the_fused_loss_and_its_gradients_are_those_of_the_plain_one(size, share):
    x, y = pictures(1, *size)
    generator = torch.Generator().manual_seed(2)
    alpha, target_alpha, weight = torch.rand(3, *size, generator=generator)
    target_alpha[::2] = alpha[::2]
    background = torch.tensor([0.1, 0.9, 0.4])
    losses, grads = [], []
    for compare, dtype in ((picture_loss, torch.float32), (plain_picture_loss, torch.float64)):
        drawn = [x.to(dtype).clone().requires_grad_(), alpha.to(dtype).clone().requires_grad_()]
        frame = y.to(dtype), target_alpha.to(dtype)
        loss = compare(drawn[0], drawn[1], *frame, background.to(dtype), weight.to(dtype), share, 0.3)
        (3 * loss.color + 2 * loss.mask).backward()
        losses.append(loss)
        grads.append([leaf.grad for leaf in drawn])
    found, expected = losses
    # Variances are differences of squares, which float32 rounds; a constant of 9e-4 keeps that small.
    assert found.color.item() == pytest.approx(expected.color.item(), rel=2e-4, abs=5e-4)
    assert found.mask.item() == pytest.approx(expected.mask.item(), rel=2e-4)
    assert torch.allclose(found.residual.double(), expected.residual, atol=1e-6)
    for a, b in zip(*grads):
        assert (a - b).norm() < 5e-4 * b.norm() + 1e-9


def test_pixels_without_weight_cost_the_fused_loss_nothing():
    x, y = pictures()
    ones = torch.ones(20, 33)
    nothing = picture_loss(x, ones, y, ones, torch.zeros(3), torch.zeros(20, 33))
    assert nothing.color == 0
    assert nothing.mask == 0


@pytest.mark.parametrize("place", range(6))
def test_shapes_that_do_not_fit_are_refused_before_a_kernel_sees_them(place):
    image, target = pictures()
    tensors = [image, image[..., 0], target, target[..., 0], torch.zeros(3), torch.ones(20, 33)]
    tensors[place] = torch.ones(1) if place == 4 else tensors[place][:10]
    with pytest.raises(ValueError, match="expected colours"):
        picture_loss(*tensors)
