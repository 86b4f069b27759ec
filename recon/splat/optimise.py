"""The optimiser of a fit: Adam over the raw parameters, and Gaussians moved from where they do nothing to where the
scene is (3DGS-MCMC, Kheradmand et al. 2024)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from recon.splat.gaussians import Gaussians
from recon.splat.rotations import rotations_from_quats


@dataclass(frozen=True)
class LearningRates:
    """Adam's step sizes for a scene of diameter 1. Attributes are named like those of `Gaussians`."""

    means: float = 2e-3
    quats: float = 2e-2
    log_scales: float = 2e-2
    logit_opacities: float = 5e-2
    sh: float = 2e-2
    sh_rest: float = 2e-3


BETAS = (0.9, 0.99)
DEAD_OPACITY = 0.02


EPSILON = 1e-15
_ENTRIES_PER_CHUNK = 1 << 17


class SplatOptimiser:
    """Holds the parameters and their moments; the only state of a fit.

    Args:
        gaussians: the start.
        rates: step sizes; those of `means` fall to a hundredth over `iterations`, the others to a tenth.
        iterations: length of the schedule.
        generator: source of all randomness, on the processor.
    """

    def __init__(self, gaussians: Gaussians, rates: LearningRates, iterations: int, generator: torch.Generator) -> None:
        self._rates = rates
        self._iterations = iterations
        self._generator = generator
        self._step = 0
        # A clone in another order of memory would be rearranged for every drawing, and the compiled step passes it by.
        self._parameters = [t.detach().clone(memory_format=torch.contiguous_format) for t in gaussians.tensors()]
        self._moments = [(torch.zeros_like(p), torch.zeros_like(p)) for p in self._parameters]

    @property
    def gaussians(self) -> Gaussians:
        """The current scene, without gradients."""
        return Gaussians(*self._parameters)

    def leaves(self) -> Gaussians:
        """The current scene as leaves of a graph of its own, in memory that `step` overwrites."""
        return Gaussians(*(parameter.detach().requires_grad_() for parameter in self._parameters))

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor]) -> None:
        """One Adam step.

        Args:
            gradients: one for each tensor of the scene.
        """
        self._step += 1
        progress = self._step / self._iterations
        rates = self._rates
        slow, fast = 0.1**progress, 0.01**progress
        colors = torch.full(self._parameters[4].shape[1:], rates.sh_rest * slow)
        colors[:1] = rates.sh * slow
        sizes = (rates.means * fast, rates.quats * slow, rates.log_scales * slow, rates.logit_opacities * slow, colors)
        correction = math.sqrt(1 - BETAS[1] ** self._step) / (1 - BETAS[0] ** self._step)
        parts = zip(self._parameters, gradients, self._moments, sizes, strict=True)
        adam_steps([AdamStep(p, gradient, *moments, size * correction) for p, gradient, moments, size in parts])

    @torch.no_grad()
    def renew(self, max_gaussians: int, growth: float = 1.1, max_scale: float = math.inf) -> int:
        """Moves Gaussians that show nothing onto others, drawn by opacity, and grows the scene. Returns the count.

        A chosen Gaussian and its copy together look like the original did (equation 9 of the paper, two copies).

        Args:
            max_gaussians: the count never exceeds this.
            growth: factor on the count, until `max_gaussians` are reached.
            max_scale: Gaussians wider than this count as dead.
        """
        means, _, log_scales, logit_opacities, *_ = self._parameters
        broken = ~torch.isfinite(means).all(-1) | (log_scales.amax(-1) > math.log(max_scale))
        dead = (logit_opacities.sigmoid() < DEAD_OPACITY) | broken
        alive = (~dead).nonzero()[:, 0]
        if len(alive) == 0:
            return len(means)
        total = max(len(means), min(max_gaussians, int(len(means) * growth)))
        wanted = min(int(dead.sum()) + total - len(means), len(alive))
        if wanted == 0:
            return len(means)
        chosen = alive[torch.multinomial(logit_opacities[alive].sigmoid(), wanted, generator=self._generator)]
        self._split(chosen)
        slots = dead.nonzero()[:, 0][:wanted]
        self._copy(chosen, slots)
        return len(self._parameters[0])

    def _split(self, chosen: Tensor) -> None:
        """Fades and narrows the chosen Gaussians so that two of each look like one did."""
        log_scales, logit_opacities = self._parameters[2], self._parameters[3]
        opacity = logit_opacities[chosen].sigmoid().clamp(max=0.999)
        half = 1 - (1 - opacity).sqrt()
        shrink = opacity / (2 * half - half.square() / math.sqrt(2))
        logit_opacities[chosen] = torch.logit(half.clamp_min(DEAD_OPACITY * 1.1))
        log_scales[chosen] += shrink.log()[:, None]

    def _copy(self, chosen: Tensor, slots: Tensor) -> None:
        """Writes copies of the chosen Gaussians into the slots, then behind the last one, with fresh moments; the pair
        is pushed apart along a random direction of its own ellipsoid."""
        noise = torch.randn(len(chosen), 3, generator=self._generator) * 0.5
        local = noise * self._parameters[2][chosen].exp()
        offset = (rotations_from_quats(self._parameters[1][chosen]) @ local[..., None])[..., 0]
        for index, parameter in enumerate(self._parameters):
            values = parameter[chosen].clone()
            if index == 0:
                parameter[chosen] += offset
                values -= offset
            moments = self._moments[index]
            for moment in moments:
                moment[chosen] = 0
                moment[slots] = 0
            parameter[slots] = values[: len(slots)]
            added = values[len(slots) :]
            if len(added):
                grown = torch.cat((parameter, added))
                self._parameters[index] = grown
                first, second = (torch.cat((moment, torch.zeros_like(added))) for moment in moments)
                self._moments[index] = (first, second)


@dataclass(frozen=True)
class AdamStep:
    """One tensor's part of a step: all of one shape, but for `size`, which holds the bias correction and is one for all
    entries or one for each entry of a row."""

    parameter: Tensor
    gradient: Tensor
    first: Tensor
    second: Tensor
    size: float | Tensor


@torch.no_grad()
def adam_steps(steps: Sequence[AdamStep]) -> None:
    """Adam (Kingma & Ba 2015) in place, without weight decay.

    Contiguous float32 tensors on a processor are passed over once by a compiled kernel, on all threads.
    """
    jobs: list[Callable[[], None]] = []
    for step in steps:
        tensors = (step.parameter, step.gradient, step.first, step.second)
        if all(t.device.type == "cpu" and t.dtype == torch.float32 and t.is_contiguous() for t in tensors):
            jobs += _compiled_steps(step)
            continue
        step.first.lerp_(step.gradient, 1 - BETAS[0])
        step.second.mul_(BETAS[1]).addcmul_(step.gradient, step.gradient, value=1 - BETAS[1])
        step.parameter.sub_(step.size * step.first / (step.second.sqrt() + EPSILON))
    if jobs:
        from recon.splat.backend_cpu.jit import for_each_chunk

        for_each_chunk(len(jobs), lambda job: jobs[job]())


def _compiled_steps(step: AdamStep) -> list[Callable[[], None]]:
    """The step as calls of the kernel that may run at the same time."""
    from recon.splat._adam_kernels import adam
    from recon.splat.backend_cpu.simd import LANES

    tensors = (step.parameter, step.gradient, step.first, step.second)
    flat = [tensor.detach().view(-1).numpy() for tensor in tensors]
    sizes = np.tile(np.asarray(step.size, np.float32).reshape(-1), LANES)
    part = max(1, _ENTRIES_PER_CHUNK // len(sizes)) * len(sizes)
    constants = [np.float32(constant) for constant in (1 - BETAS[0], 1 - BETAS[1], EPSILON)]
    count = step.parameter.numel()
    return [partial(adam, start, min(start + part, count), *flat, sizes, *constants) for start in range(0, count, part)]
