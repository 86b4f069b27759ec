"""Adam (Kingma & Ba 2015), as every fit of splats uses it: a compiled pass over the tensors of a step."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

BETAS = (0.9, 0.99)
"""How much of both moments a step keeps; of the second less than usual, because fits are short."""
EPSILON = 1e-15
"""Keeps the step of an entry without a gradient from dividing by zero."""
_ENTRIES_PER_CHUNK = 1 << 17
_CONSTANTS = [np.float32(constant) for constant in (1 - BETAS[0], 1 - BETAS[1], EPSILON)]


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

    Raises:
        ValueError: if the tensors of a step differ in shape.
    """
    jobs: list[Callable[[], None]] = []
    for step in steps:
        tensors = (step.parameter, step.gradient, step.first, step.second)
        if any(tensor.shape != step.parameter.shape for tensor in tensors):
            raise ValueError(f"a step needs tensors of one shape, found {[tuple(t.shape) for t in tensors]}")
        if all(t.device.type == "cpu" and t.dtype == torch.float32 and t.is_contiguous() for t in tensors):
            jobs += _compiled_steps(step)
            continue
        step.first.lerp_(step.gradient, 1 - BETAS[0])
        step.second.mul_(BETAS[1]).addcmul_(step.gradient, step.gradient, value=1 - BETAS[1])
        step.parameter.sub_(step.size * step.first / (step.second.sqrt() + EPSILON))
    if jobs:
        from recon.splat.backend_cpu.jit import for_each_chunk

        for_each_chunk(len(jobs), lambda job: jobs[job]())


class AdamRows:
    """Adam over a table of which a step concerns few rows: a row moves only in steps that have a gradient for it."""

    def __init__(self, start: Tensor, rate: float) -> None:
        self.values = start.requires_grad_()
        self._rate = rate
        self._first, self._second = torch.zeros_like(start), torch.zeros_like(start)
        self._steps = [0] * len(start)

    def step(self, gradient: Tensor, factor: float) -> None:
        for row in gradient.flatten(1).any(1).nonzero()[:, 0].tolist():
            self._steps[row] += 1
            correction = math.sqrt(1 - BETAS[1] ** self._steps[row]) / (1 - BETAS[0] ** self._steps[row])
            moments = self._first[row], self._second[row]
            adam_steps([AdamStep(self.values[row], gradient[row], *moments, factor * self._rate * correction)])


def _compiled_steps(step: AdamStep) -> list[Callable[[], None]]:
    """The step as calls of the kernel that may run at the same time."""
    from recon.splat._adam_kernels import adam
    from recon.splat.backend_cpu.simd import LANES

    tensors = (step.parameter, step.gradient, step.first, step.second)
    flat = [tensor.detach().numpy().reshape(-1) for tensor in tensors]
    if isinstance(step.size, Tensor):
        sizes = np.tile(step.size.numpy().astype(np.float32).reshape(-1), LANES)
    else:
        sizes = np.full(LANES, step.size, np.float32)
    part = max(1, _ENTRIES_PER_CHUNK // len(sizes)) * len(sizes)
    count = flat[0].size
    bounds = [(start, min(start + part, count)) for start in range(0, count, part)]
    return [partial(adam, *pair, *flat, sizes, *_CONSTANTS) for pair in bounds]
