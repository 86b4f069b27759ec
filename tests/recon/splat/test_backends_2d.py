"""Every backend draws the disks that the float64 oracle draws, and differentiates like it."""

from __future__ import annotations

import dataclasses
import importlib.util
import math
import os
import subprocess
import sys

import pytest
import torch
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from recon.splat import backend_cuda_2d
from recon.splat import backend_torch_2d as oracle
from recon.splat.backend_torch import MIN_ALPHA, composite
from recon.splat.gaussians import Gaussians
from recon.splat.rasterize import rasterize
from recon.splat.rotations import quat_from_rotation
from tests.recon.splat.scenes import Scene, clear_pixels, random_scene
from tests.recon.splat.test_backends import FIELDS, assert_like_the_oracle


def seen_at(scene: Scene, least: float, most: float, seed: int = 0) -> Scene:
    """The scene with disks turned so that their normals have cosines between `least` and `most` with the rays of the
    first camera to their centres."""
    gaussians, viewmats, intrinsics = scene
    count = len(gaussians)
    generator = torch.Generator().manual_seed(seed)
    shares = torch.rand(count, 1, generator=generator)
    cosines = torch.exp(math.log(least) + shares * (math.log(most) - math.log(least)))
    centre = -viewmats[0, :3, :3].T @ viewmats[0, :3, 3]
    rays = torch.nn.functional.normalize(gaussians.means - centre, dim=-1)
    sideways = torch.linalg.cross(rays, torch.randn(count, 3, generator=generator))
    normals = rays * cosines + torch.nn.functional.normalize(sideways, dim=-1) * (1 - cosines**2).sqrt()
    first = torch.linalg.cross(normals, torch.randn(count, 3, generator=generator))
    first = torch.nn.functional.normalize(first, dim=-1)
    axes = torch.stack((first, torch.linalg.cross(normals, first), normals), dim=-1)
    quats = torch.stack([quat_from_rotation(turn) for turn in axes])
    return dataclasses.replace(gaussians, quats=quats), viewmats, intrinsics


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow], phases=list(Phase)[:4])
@given(
    seed=st.integers(0, 2**31),
    count=st.integers(0, 120),
    degree=st.integers(0, 3),
    width=st.integers(1, 41),
    height=st.integers(1, 37),
    sharpness=st.floats(1.5, 4.5),
    fields=st.sets(st.sampled_from(FIELDS), min_size=1).map(lambda names: tuple(sorted(names))),
)
@example(seed=0, count=1, degree=0, width=1, height=1, sharpness=1.5, fields=FIELDS)
@example(seed=0, count=0, degree=0, width=33, height=17, sharpness=2.0, fields=FIELDS)
def test_cpu_values_and_gradients_of_disks_match_the_oracle(seed, count, degree, width, height, sharpness, fields):
    scene = random_scene(seed, count, degree, (width, height), 2, sharpness)
    assert_like_the_oracle(scene, (width, height), fields, "cpu", "cpu", primitive="2d", cancelling=True)


@pytest.mark.parametrize(("least", "most"), [(0.0101, 0.03), (0.03, 0.1)])
def test_cpu_matches_the_oracle_on_disks_that_are_nearly_edge_on(least, most):
    scene = seen_at(random_scene(3, 40, 0, (90, 70), 1, 2.5), least, most)
    assert clear_pixels(scene, 90, 70, primitive="2d").float().mean() > 0.9
    assert_like_the_oracle(scene, (90, 70), FIELDS, "cpu", "cpu", primitive="2d")


def test_cpu_matches_the_oracle_in_a_crowded_picture_of_several_chunks_and_tiles():
    scene = random_scene(5, 2300, 1, (70, 20), 1, 4.5)
    assert_like_the_oracle(scene, (70, 20), FIELDS, "cpu", "cpu", primitive="2d")


@pytest.mark.parametrize("log_scale", [-30.0, -12.0, 1.0, 8.0])
def test_cpu_matches_the_oracle_where_scales_are_degenerate(log_scale):
    gaussians, viewmats, intrinsics = random_scene(7, 40, 0, (30, 22), 1, 3.0)
    log_scales = gaussians.log_scales.clone()
    log_scales[::2, 0] = log_scale
    log_scales[::4] = log_scale
    degenerate = dataclasses.replace(gaussians, log_scales=log_scales)
    assert_like_the_oracle((degenerate, viewmats, intrinsics), (30, 22), FIELDS, "cpu", "cpu", primitive="2d")


def test_scalar_kernels_match_the_oracle():
    check = (
        "from tests.recon.splat.scenes import random_scene\n"
        "from tests.recon.splat.test_backends import FIELDS, assert_like_the_oracle\n"
        "scene = random_scene(1, 100, 2, (37, 41), 2, 3.0)\n"
        "assert_like_the_oracle(scene, (37, 41), FIELDS, 'cpu', 'cpu', primitive='2d')\n"
    )
    environment = {**os.environ, "TURNABOUT_SIMD_LANES": "1", "PYTHONPATH": os.getcwd()}
    child = subprocess.run([sys.executable, "-c", check], env=environment, capture_output=True, text=True, timeout=300)
    assert child.returncode == 0, child.stderr


def test_without_geometry_the_picture_and_its_gradients_are_the_same():
    gaussians, viewmats, intrinsics = random_scene(5, 200, 2, (40, 30), 2, 3.5)
    drawn = []
    for geometry in (True, False):
        leaves = [tensor.clone().requires_grad_() for tensor in gaussians.tensors()]
        views = (viewmats, intrinsics, 40, 30)
        picture = rasterize(Gaussians(*leaves), views, backend="cpu", primitive="2d", geometry=geometry)
        (picture.rgb.square().sum() + picture.alpha.sum()).backward()
        drawn.append((picture.rgb, picture.alpha, *(leaf.grad for leaf in leaves)))
    assert all(torch.allclose(a, b, rtol=1e-4, atol=1e-4) for a, b in zip(*drawn))


def test_contributions_are_each_disks_share_of_the_alpha():
    gaussians, viewmats, intrinsics = random_scene(6, 150, 1, (40, 30), 2, 3.0)
    views = (viewmats, intrinsics, 40, 30)
    found, expected = (
        rasterize(gaussians, views, backend=b, primitive="2d", contribution=True) for b in ("cpu", "torch")
    )
    assert found.contribution is not None
    assert expected.contribution is not None
    assert torch.allclose(found.contribution, expected.contribution, atol=5e-3)
    assert torch.allclose(found.contribution.sum(1), found.alpha.sum((1, 2)), rtol=1e-4)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e30])
@pytest.mark.parametrize("field", range(5))
def test_cpu_leaves_out_disks_that_are_not_finite(value, field):
    gaussians, viewmats, intrinsics = random_scene(4, 20, 1, (24, 24), 1, 3.0)
    leaves = [tensor.clone() for tensor in gaussians.tensors()]
    leaves[field][7] = value
    leaves = [leaf.requires_grad_() for leaf in leaves]
    drawn = rasterize(Gaussians(*leaves), (viewmats, intrinsics, 24, 24), backend="cpu", primitive="2d")
    drawn.alpha.sum().backward()
    assert torch.isfinite(drawn.alpha).all()
    assert all(leaf.grad is not None and torch.isfinite(leaf.grad[:7]).all() for leaf in leaves)


def test_cuda_values_and_gradients_of_disks_match_the_oracle():
    if not torch.cuda.is_available():
        pytest.skip("the cuda backend needs an NVIDIA GPU, which this machine does not have")
    if importlib.util.find_spec("gsplat") is None:
        pytest.skip("the cuda backend needs gsplat, which is not installed")
    for seed in range(8):
        scene = random_scene(seed, 120, seed % 4, (40, 24), 2, 3.5)
        assert_like_the_oracle(scene, (40, 24), FIELDS, "cuda", "cuda", primitive="2d")


def oracle_disks(seed: int, sharpness: float, width: int, height: int) -> oracle.Disks:
    gaussians, viewmats, intrinsics = random_scene(seed, 60, 0, (width, height), 1, sharpness)
    return oracle.project(*gaussians.to(torch.float64).tensors(), viewmats[0].double(), intrinsics[0].double())


@pytest.mark.parametrize("sharpness", [1.5, 3.0, 6.0])
def test_the_boxes_given_to_gsplat_hold_all_that_is_drawn_and_little_more(sharpness):
    size = 96
    disks = oracle_disks(0, sharpness, size, size)
    middles, halves = backend_cuda_2d.outlines(disks)
    x, y = oracle.pixel_centres(disks.means, size, size)
    drawn = oracle.meet_pixels(disks, size, size)[0] >= MIN_ALPHA
    inside = ((x - middles[:, 0]).abs() < halves[:, 0]) & ((y - middles[:, 1]).abs() < halves[:, 1])
    assert drawn.any()
    assert not (drawn & ~inside).any()
    whole = (middles - halves > 0).all(-1) & (middles + halves < size).all(-1) & (disks.opacities > 0.02)
    widest = torch.where(drawn, x - middles[:, 0], 0).abs().amax((0, 1))
    assert (widest > halves[:, 0] - 2)[whole & drawn.any(0).any(0)].float().mean() > 0.6


def test_cuda_depths_are_those_of_the_oracle_given_gsplats_lists():
    """The other part of the cuda backend that is ours alone, fed with lists in gsplat's layout made by the oracle."""
    width, height = 20, 16
    disks = oracle_disks(3, 3.0, width, height)
    alphas, depths = oracle.meet_pixels(disks, width, height)
    expected = composite(alphas, depths, disks.colors, disks.normals)
    light = torch.cumprod(torch.where(alphas < MIN_ALPHA, 1, 1 - alphas), -1)
    met = (alphas >= MIN_ALPHA) & (light > 1e-4)
    pixel, disk = met.reshape(-1, len(disks.depths)).nonzero().unbind(-1)
    depth, median = backend_cuda_2d.depths_along_rays(disks, disk, pixel, width, height)
    assert expected[4].any()
    assert torch.allclose(depth, expected[2])
    assert torch.allclose(median, expected[4])
