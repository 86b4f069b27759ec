import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gen.gauge import CHANNELS, make_gauge, stack_cameras
from gen.model import CAMERA_CHANNELS, PIXEL_CHANNELS, patchify, unpatchify
from recon.capture import Camera, orbit_camera
from tests.gen.small import random_network


def scene(count: int, height: int = 16, width: int = 16, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    cameras = [
        orbit_camera(0.9 * i + 0.2, 0.15 * i - 0.1, math.radians(30 + 4 * i), width, height, roll=0.1 * i)
        for i in range(count)
    ]
    frames = torch.randn(1, count, height, width, CHANNELS, generator=generator)
    return cameras, frames, torch.rand(1, count, 2, generator=generator), torch.zeros(1, count)


def run(network, cameras: list[Camera], frames, levels, times, known=None):
    """(B, F, ...) all that is told of each frame."""
    c2w, intrinsics = stack_cameras(cameras)
    gauge = make_gauge(c2w[None], intrinsics[None], frames.shape[2], frames.shape[3])
    with torch.no_grad():
        pixels, told = network(frames, levels, gauge.rays, times, known)
    return torch.cat((pixels.flatten(2), told.flatten(2)), dim=-1)


def test_permuting_target_frames_permutes_the_outputs():
    network = random_network()
    cameras, frames, levels, times = scene(5)
    order = [0, 3, 1, 4, 2]
    plain = run(network, cameras, frames, levels, times)
    permuted = run(network, [cameras[i] for i in order], frames[:, order], levels[:, order], times[:, order])
    assert torch.allclose(permuted, plain[:, order], atol=1e-4)
    assert not torch.allclose(permuted, plain, atol=1e-2)


@settings(max_examples=20, deadline=None)
@given(angles=st.tuples(*[st.floats(-3, 3)] * 3), scale=st.floats(0.05, 20))
def test_turning_and_scaling_the_world_changes_nothing(angles, scale):
    network = random_network()
    cameras, frames, levels, times = scene(3)
    rotation = torch.linalg.matrix_exp(
        torch.tensor([[0, -angles[2], angles[1]], [angles[2], 0, -angles[0]], [-angles[1], angles[0], 0]]).double()
    ).float()
    moved = [camera.moved(rotation, torch.zeros(3), scale) for camera in cameras]
    plain = run(network, cameras, frames, levels, times)
    assert torch.allclose(run(network, moved, frames, levels, times), plain, atol=1e-4)


def test_moving_the_world_with_the_objects_centre_changes_nothing():
    cameras, *_ = scene(3)
    shift = torch.tensor([0.3, -2.0, 5.0])
    moved = [camera.moved(torch.eye(3), shift) for camera in cameras]
    rays = []
    for views, centre in ((cameras, torch.zeros(1, 3)), (moved, shift[None])):
        c2w, intrinsics = stack_cameras(views)
        rays.append(make_gauge(c2w[None], intrinsics[None], 16, 16, centre).rays)
    assert torch.allclose(rays[0], rays[1], atol=1e-5)


def test_another_relative_camera_changes_the_output():
    network = random_network()
    cameras, frames, levels, times = scene(3)
    plain = run(network, cameras, frames, levels, times)
    other = [*cameras[:2], orbit_camera(2.9, 0.4, 0.7, 16, 16)]
    assert not torch.allclose(run(network, other, frames, levels, times)[:, 2], plain[:, 2], atol=1e-2)


@pytest.mark.parametrize(("count", "height", "width"), [(1, 16, 16), (7, 8, 24), (3, 32, 20)])
def test_any_number_of_frames_size_and_aspect_ratio_is_accepted(count, height, width):
    cameras, frames, levels, times = scene(count, height, width)
    c2w, intrinsics = stack_cameras(cameras)
    gauge = make_gauge(c2w[None], intrinsics[None], height, width)
    pixels, told = random_network()(frames, levels, gauge.rays, times)
    assert pixels.shape == (1, count, height, width, PIXEL_CHANNELS)
    assert told.shape == (1, count, height * width // 16, CAMERA_CHANNELS)


def test_a_size_that_does_not_divide_into_patches_is_refused():
    cameras, frames, levels, times = scene(2, 18, 16)
    with pytest.raises(ValueError, match="multiple of the patch size"):
        run(random_network(), cameras, frames, levels, times)


def test_noise_levels_and_times_of_one_frame_reach_every_frame():
    network = random_network()
    cameras, frames, levels, times = scene(3)
    plain = run(network, cameras, frames, levels, times)
    for changed in ((levels + torch.tensor([0, 0, 0.5])[:, None], times), (levels, times + torch.tensor([0, 0, 0.5]))):
        assert (run(network, cameras, frames, *changed) - plain).abs().amax((0, 2)).min() > 1e-4


def test_a_hidden_camera_does_not_matter():
    network = random_network()
    cameras, frames, levels, times = scene(3)
    known = torch.tensor([[True, False, True]])
    outputs = []
    for second in (cameras[1], orbit_camera(2.5, 0.3, 0.9, 16, 16)):
        outputs.append(run(network, [cameras[0], second, cameras[2]], frames, levels, times, known))
    assert torch.equal(outputs[0], outputs[1])


@given(rows=st.integers(1, 3), cols=st.integers(1, 3), p=st.sampled_from([1, 2, 4]))
def test_patches_come_back_as_pictures(rows, cols, p):
    frames = torch.randn(2, 3, rows * p, cols * p, 5)
    assert torch.equal(unpatchify(patchify(frames, p), p, rows * p, cols * p), frames)


def test_rays_that_miss_the_framed_sphere_have_moments_above_the_margin():
    camera = orbit_camera(0.4, 0.3, 0.6, 64, 64)
    c2w, intrinsics = stack_cameras([camera])
    rays = make_gauge(c2w[None], intrinsics[None], 64, 64).rays
    closest = rays[0, 0, ..., 3:].norm(dim=-1)  # to the object's centre, in object radii
    assert closest[32, 32] < 0.03
    assert abs(float(closest[32, 0]) - 1.1) < 0.04  # the picture's edge is the sphere times the margin


def test_a_hidden_first_camera_has_a_token_of_its_own():
    network = random_network()
    cameras, frames, levels, times = scene(3)
    hidden, others = torch.tensor([[False, False, True]]), torch.tensor([[True, False, True]])
    before = [run(network, cameras, frames, levels, times, known) for known in (hidden, others)]
    with torch.no_grad():
        network.unknown_first_camera.add_(1)
    after = [run(network, cameras, frames, levels, times, known) for known in (hidden, others)]
    assert not torch.allclose(before[0], after[0], atol=1e-3)
    assert torch.equal(before[1], after[1])
