"""A fit that was saved goes on as if it had never stopped."""

from __future__ import annotations

import pytest
import torch

from recon.splat.gaussians import Gaussians
from recon.splat.optimise import LearningRates, SplatOptimiser
from tests.recon.splat.test_ply import some_gaussians


def optimiser(scene: Gaussians) -> SplatOptimiser:
    return SplatOptimiser(scene, LearningRates(), 10, torch.Generator().manual_seed(3))


def advance(running: SplatOptimiser, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    running.step([torch.randn(t.shape, generator=generator) for t in running.gaussians.tensors()])
    running.renew(running.count + 5)


def test_an_optimiser_restored_from_its_state_steps_to_the_byte_as_the_first_would():
    whole = optimiser(some_gaussians(40, 1))
    advance(whole, 0)
    kept = optimiser(whole.gaussians)
    kept.restore(whole.state())
    other = optimiser(whole.gaussians)
    for running in (whole, kept, other):
        advance(running, 1)
    assert all(map(torch.equal, kept.gaussians.tensors(), whole.gaussians.tensors()))
    assert not torch.equal(other.gaussians.means, whole.gaussians.means)


def test_the_state_of_other_gaussians_is_refused():
    with pytest.raises(ValueError, match="not that of these Gaussians"):
        optimiser(some_gaussians(9, 1)).restore(optimiser(some_gaussians(8, 1)).state())
