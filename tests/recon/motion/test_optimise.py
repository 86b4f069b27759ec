"""The optimiser of a moving scene: its gradients against autograd's through the whole chain, and its bookkeeping."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from recon.capture import orbit_camera
from recon.motion.moving import MovingGaussians
from recon.motion.optimise import MotionOptions, MovingOptimiser
from recon.motion.trajectories import Trajectories
from recon.splat.gaussians import from_points
from recon.splat.optimise import LearningRates
from recon.splat.rasterize import rasterize
from tests.recon.motion.scenes import FOV

RATES = LearningRates()


def scene(count=12, times=3, bases=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    points = 0.25 * torch.randn(count, 3, generator=generator)
    canonical = from_points(points, torch.rand(count, 3, generator=generator), 0.06, opacity=0.6)
    quats = torch.tensor([1.0, 0, 0, 0]) + 0.2 * torch.randn(times, bases, 4, generator=generator)
    motion = Trajectories(
        torch.linspace(1, 2, times),
        0.2 * torch.randn(bases, 3, generator=generator),
        torch.nn.functional.normalize(quats, dim=-1),
        0.05 * torch.randn(times, bases, 3, generator=generator),
    )
    weights = torch.rand(count, 2, generator=generator).softmax(-1)
    index = torch.stack([torch.randperm(bases, generator=generator)[:2] for _ in range(count)])
    waves = 0.2 * torch.randn(count, 2, 3, generator=generator)
    return MovingGaussians(canonical, motion, index, weights, waves)


def optimiser(moving, options=None, iterations=10, edges=None):
    options = options or MotionOptions(scene=RATES, weights=1e-2, waves=1e-2)
    keys = range(len(moving.motion.times))
    return MovingOptimiser(moving, list(keys), options, iterations, torch.Generator().manual_seed(0), edges)


def test_a_frame_is_shown_what_the_moving_scene_is_at_its_time():
    moving = scene()
    made = optimiser(moving)
    for frame, time in enumerate(moving.motion.times.tolist()):
        for found, expected in zip(made.shown_by(frame).tensors(), moving.at(time).tensors()):
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_gradients_match_autograd_through_pose_and_picture():
    moving, frame = scene(), 1
    camera = [orbit_camera(0.4, 0.2, FOV, 40, 40)]
    wanted = torch.rand(1, 40, 40, 3, generator=torch.Generator().manual_seed(3))

    def loss(gaussians):
        return (rasterize(gaussians, camera, backend="torch").rgb - wanted).square().sum()

    made = optimiser(moving)
    posed = made.shown_by(frame).map(lambda tensor: tensor.detach().requires_grad_())
    gradients = torch.autograd.grad(loss(posed), posed.tensors())
    found = made.pulled_back(frame, gradients)

    canonical = moving.canonical.map(lambda tensor: tensor.clone().requires_grad_())
    logits, waves = moving.weights.log().requires_grad_(), moving.waves.clone().requires_grad_()
    quats, shifts = (t.clone().requires_grad_() for t in (moving.motion.quats, moving.motion.shifts))
    chain = MovingGaussians(
        canonical, replace(moving.motion, quats=quats, shifts=shifts), moving.bases, logits.softmax(-1), waves
    )
    leaves = [*canonical.tensors(), logits, waves, quats, shifts]
    expected = torch.autograd.grad(loss(chain.at(float(moving.motion.times[frame]))), leaves)
    for name, a, b in zip(
        ["means", "quats", "scales", "opacities", "sh", "logits", "waves", "turns", "shifts"], found, expected
    ):
        torch.testing.assert_close(a, b, rtol=2e-3, atol=2e-4, msg=name)


def test_only_the_bases_of_a_frames_time_move():
    made = optimiser(moving := scene())
    posed = made.shown_by(2)
    made.step(made.pulled_back(2, [torch.ones_like(tensor) for tensor in posed.tensors()]))
    changed = (made.moving.motion.shifts - moving.motion.shifts).abs().amax((1, 2))
    assert changed[2] > 1e-4
    assert float(changed[:2].max()) == 0


def test_a_scene_that_is_not_to_change_does_not():
    moving = scene()
    made = optimiser(moving, MotionOptions())
    made.step(made.pulled_back(0, [torch.ones_like(tensor) for tensor in made.shown_by(0).tensors()]))
    for found, expected in zip(made.moving.canonical.tensors(), moving.canonical.tensors()):
        torch.testing.assert_close(found, expected, rtol=0, atol=0)
    torch.testing.assert_close(made.moving.weights, moving.weights)
    assert not torch.equal(made.moving.motion.shifts, moving.motion.shifts)


def without_pictures(made, frame, steps):
    for _ in range(steps):
        made.step(made.pulled_back(frame, [torch.zeros_like(tensor) for tensor in made.shown_by(frame).tensors()]))
    return made.moving.motion


def test_rigidity_brings_neighbours_together():
    moving = scene(bases=2)
    edges = torch.tensor([[0, 1]])
    options = MotionOptions(rigidity=10.0, quats=2e-2, shifts=2e-2)

    def apart(motion):
        first, second = motion.matrices(float(motion.times[0]))
        place = torch.cat((motion.pivots.mean(0), torch.ones(1)))
        return float((first @ place - second @ place).norm())

    after = without_pictures(optimiser(moving, options, 60, edges), 0, 60)
    assert apart(after) < 0.2 * apart(moving.motion)


def test_smoothness_draws_a_time_between_its_neighbours():
    moving = scene()
    options = MotionOptions(smoothness=1.0, quats=2e-2, shifts=2e-2)
    after = without_pictures(optimiser(moving, options, 80), 1, 80)
    torch.testing.assert_close(after.shifts[1], after.shifts[[0, 2]].mean(0), rtol=0, atol=5e-3)
    torch.testing.assert_close(after.shifts[0], moving.motion.shifts[0], rtol=0, atol=0)


def test_copies_are_carried_by_what_carries_the_original():
    moving = scene(count=12)
    opaque = replace(moving.canonical, logit_opacities=torch.full((12,), 2.0))
    made = optimiser(replace(moving, canonical=opaque))
    made.renew(20, max_scale=1.0)
    grown = made.moving
    assert len(grown) == 13  # a tenth more
    originals = [tuple(row) for row in moving.bases.tolist()]
    assert all(tuple(row) in originals for row in grown.bases.tolist())
    chosen = next(i for i, row in enumerate(moving.weights) if torch.allclose(row, grown.weights[12], atol=1e-5))
    assert grown.bases[12].tolist() == moving.bases[chosen].tolist()


def test_a_moving_scene_of_wrong_shapes_is_refused():
    moving = scene()
    with pytest.raises(ValueError, match="weights"):
        replace(moving, weights=moving.weights[:-1])
