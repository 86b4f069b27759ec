"""The gradients of a step, with and without autograd."""

from dataclasses import replace

import pytest
import torch

from recon.capture import Capture
from recon.splat.comparing import by_autograd, by_kernels, target_of
from recon.splat.corrections import FrameCorrections
from recon.splat.fit_options import FIT_PRESETS
from recon.splat.optimise import LearningRates, SplatOptimiser
from tests.recon.splat.balls import ball_capture
from tests.recon.splat.scenes import random_scene


@pytest.mark.parametrize(("size", "views"), [(64, 1), (37, 2)])
def test_steps_without_a_graph_are_those_of_autograd(size, views):
    frames = list(ball_capture(size=size))
    frames[1] = ball_capture(size=size - 9).frames[1]
    capture = Capture(tuple(frames))
    options = replace(FIT_PRESETS["views"], opacity_weight=3.0, alpha_weight=0.4)
    generator = torch.Generator().manual_seed(1)
    gaussians, *_ = random_scene(3, 200, 1, (size, size), 1, 3.5)
    optimiser = SplatOptimiser(gaussians, LearningRates(), 10, generator)
    targets = [target_of(frame, size) for frame in capture]
    trust = [torch.rand(target.weight.shape, generator=generator) for target in targets]
    targets = [replace(target, weight=weight) for target, weight in zip(targets, trust, strict=True)]
    corrections = FrameCorrections(list(capture), options.corrections, 10)
    looks = [(i, torch.rand(3, generator=generator)) for i in range(views)]
    expected, found = (by(looks, optimiser, targets, corrections, options) for by in (by_autograd, by_kernels))
    for ours, theirs in zip(found.scene, expected.scene, strict=True):
        assert theirs.abs().max() > 0
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6 * float(theirs.abs().max()))
    assert not found.corrections
    assert all(not gradient.any() for gradient in expected.corrections)
    for seen, wanted in zip(found.views, expected.views, strict=True):
        assert seen.index == wanted.index
        torch.testing.assert_close(seen.residual, wanted.residual)
        torch.testing.assert_close(seen.alpha, wanted.alpha)
        assert {name: pytest.approx(value) for name, value in seen.figures.items()}.items() <= wanted.figures.items()
