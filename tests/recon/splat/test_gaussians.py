"""The algebra of Gaussians: harmonics turn with the world, pictures do not change when everything moves."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recon.capture.camera import orbit_camera
from recon.capture.types import Similarity
from recon.splat import harmonics
from recon.splat.gaussians import Gaussians, concatenate, from_points
from recon.splat.rasterize import rasterize
from recon.splat.rotations import multiply_quats, quat_from_rotation, rotations_from_quats
from tests.recon.splat.scenes import random_scene

seeds = st.integers(0, 2**31)


def random_rotation(seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return rotations_from_quats(torch.randn(4, generator=generator, dtype=torch.float64))


def test_the_harmonics_are_orthonormal_on_the_sphere():
    count = 20_000  # a Fibonacci lattice
    index = torch.arange(count, dtype=torch.float64) + 0.5
    z, turn = 1 - 2 * index / count, index * math.pi * (1 + math.sqrt(5))
    directions = torch.stack((torch.sqrt(1 - z * z) * turn.cos(), torch.sqrt(1 - z * z) * turn.sin(), z), -1)
    basis = harmonics.evaluate_basis(directions, 3)
    assert torch.allclose(basis.T @ basis * (4 * math.pi / count), torch.eye(16, dtype=torch.float64), atol=1e-3)


@given(seed=seeds, degree=st.integers(0, 3))
@settings(max_examples=30, deadline=None)
def test_rotated_harmonics_have_the_colours_of_the_rotated_directions(seed, degree):
    rotation = random_rotation(seed)
    sh = torch.randn(5, (degree + 1) ** 2, 3, dtype=torch.float64)
    directions = torch.nn.functional.normalize(torch.randn(20, 3, dtype=torch.float64), dim=-1)
    before = torch.einsum("dk,nkc->dnc", harmonics.evaluate_basis(directions, degree), sh)
    turned = harmonics.evaluate_basis(directions @ rotation.T, degree)
    after = torch.einsum("dk,nkc->dnc", turned, harmonics.rotate(sh, rotation))
    assert torch.allclose(before, after, atol=1e-10)


@given(first=seeds, second=seeds)
@settings(max_examples=20, deadline=None)
def test_rotating_twice_is_rotating_by_the_product(first, second):
    a, b = random_rotation(first), random_rotation(second)
    sh = torch.randn(3, 16, 3, dtype=torch.float64)
    assert torch.allclose(harmonics.rotate(harmonics.rotate(sh, a), b), harmonics.rotate(sh, b @ a), atol=1e-10)
    assert torch.allclose(harmonics.rotate(harmonics.rotate(sh, a), a.T), sh, atol=1e-10)


@given(seed=seeds)
@settings(max_examples=50, deadline=None)
def test_quaternions_and_matrices_say_the_same(seed):
    a, b = random_rotation(seed), random_rotation(seed + 1)
    assert torch.allclose(rotations_from_quats(quat_from_rotation(a)), a, atol=1e-12)
    product = multiply_quats(quat_from_rotation(a), quat_from_rotation(b))
    assert torch.allclose(rotations_from_quats(product), a @ b, atol=1e-12)


@pytest.mark.parametrize("diagonal", [(1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1)])
def test_half_turns_have_quaternions(diagonal):
    rotation = torch.diag(torch.tensor(diagonal, dtype=torch.float64))
    assert torch.allclose(rotations_from_quats(quat_from_rotation(rotation)), rotation, atol=1e-12)


@pytest.mark.parametrize("backend", ["cpu", "torch"])
def test_moving_scene_and_cameras_together_leaves_the_picture(backend):
    gaussians = random_scene(3, 40, 3, (24, 24), 1, 3.0)[0]
    similarity = Similarity(random_rotation(1).float(), torch.tensor([3.0, -1.0, 2.0]), 1.7)
    camera = orbit_camera(0.4, 0.3, 0.8, 24, 24, distance=1.2)
    moved_camera = camera.moved(similarity.rotation, similarity.translation, similarity.scale)
    before = rasterize(gaussians, [camera], backend=backend)
    after = rasterize(gaussians.transform(similarity), [moved_camera], backend=backend)
    assert torch.allclose(before.rgb, after.rgb, atol=2e-4)
    assert torch.allclose(before.alpha, after.alpha, atol=2e-4)
    assert torch.allclose(before.depth * 1.7, after.depth, atol=1e-3)
    assert torch.allclose(before.normal @ similarity.rotation.T, after.normal, atol=1e-3)


def test_a_similarity_and_its_inverse_cancel():
    gaussians = random_scene(0, 10, 3, (8, 8), 1, 3.0)[0].to(torch.float64)
    similarity = Similarity(random_rotation(2), torch.randn(3, dtype=torch.float64), 0.3)
    back = gaussians.transform(similarity).transform(similarity.inverse())
    for name in ("means", "log_scales", "logit_opacities", "sh"):
        assert torch.allclose(getattr(back, name), getattr(gaussians, name), atol=1e-9), name
    assert torch.allclose(rotations_from_quats(back.quats), rotations_from_quats(gaussians.quats), atol=1e-9)


def test_points_become_round_gaussians_of_their_colour():
    points, colors = torch.randn(6, 3), torch.rand(6, 3)
    gaussians = from_points(points, colors, 0.02, opacity=0.3, sh_degree=2)
    assert torch.allclose(gaussians.base_colors, colors, atol=1e-6)
    assert torch.allclose(gaussians.scales, torch.full((6, 3), 0.02))
    assert torch.allclose(gaussians.opacities, torch.full((6,), 0.3))
    assert gaussians.sh_degree == 2
    sizes = torch.rand(6) + 0.1
    assert torch.allclose(from_points(points, colors, sizes).scales[:, 1], sizes)


def test_parts_can_be_taken_out_and_put_together():
    gaussians = random_scene(0, 10, 1, (8, 8), 1, 3.0)[0]
    mask = torch.arange(10) % 3 == 0
    whole = concatenate([gaussians.select(mask), gaussians.select(~mask)])
    assert len(whole) == 10
    assert torch.equal(whole.means.sort(0).values, gaussians.means.sort(0).values)


def test_wrong_shapes_are_named():
    with pytest.raises(ValueError, match=r"Gaussians.quats needs shape \(2, 4\), found \(2, 3\)"):
        Gaussians(torch.zeros(2, 3), torch.zeros(2, 3), torch.zeros(2, 3), torch.zeros(2), torch.zeros(2, 1, 3))
    with pytest.raises(ValueError, match="1, 4, 9 or 16 coefficients, found 5"):
        Gaussians(torch.zeros(2, 3), torch.zeros(2, 4), torch.zeros(2, 3), torch.zeros(2), torch.zeros(2, 5, 3))
