"""The optimiser of a fit: Adam over the raw parameters, and Gaussians moved from where they do nothing to where the
scene is (3DGS-MCMC, Kheradmand et al. 2024).

What moves a scene over time has parameters of its own and stands behind the same interface (`SceneOptimiser`), so that
there is one loop for both.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from recon.splat.adam import BETAS, AdamStep, adam_steps
from recon.splat.gaussians import Gaussians
from recon.splat.rotations import rotations_from_quats


@dataclass(frozen=True)
class LearningRates:
    """Adam's step sizes for a scene of diameter 1. Attributes are named like those of `Gaussians`."""

    means: float = 2e-3
    """Centres, in world units."""
    quats: float = 2e-2
    """Rotations, as quaternions of length about 1."""
    log_scales: float = 2e-2
    """Widths, as natural logarithms."""
    logit_opacities: float = 5e-2
    """Opacities before the sigmoid."""
    sh: float = 2e-2
    """The constant harmonic of a colour."""
    sh_rest: float = 2e-3
    """The other harmonics."""


DEAD_OPACITY = 0.02
"""Gaussians below it show nothing that matters, and are moved."""


class SceneOptimiser(Protocol):
    """What a fit optimises: a scene, which may look different to each frame."""

    @property
    def device(self) -> torch.device:
        """Where the scene is."""
        ...

    @property
    def count(self) -> int:
        """Gaussians."""
        ...

    def shown_by(self, frame: int) -> Gaussians:
        """The scene as a frame shows it, without gradients."""
        ...

    def pulled_back(self, frame: int, gradients: Sequence[Tensor]) -> Sequence[Tensor]:
        """Gradients in the five tensors of `shown_by` to those in the parameters; may overwrite what it is given."""
        ...

    def step(self, gradients: Sequence[Tensor]) -> None:
        """One step along gradients from `pulled_back`."""
        ...

    def renew(self, max_gaussians: int, *, max_scale: float) -> object:
        """Moves Gaussians that show nothing to where the scene is, and grows it."""
        ...


class SplatOptimiser:
    """Holds the parameters and their moments; the only state of a fit of a scene that stands still.

    Args:
        gaussians: the start.
        rates: step sizes; those of `means` fall to a hundredth over `iterations`, the others to a tenth.
        iterations: length of the schedule.
        generator: source of all randomness, on the processor.
        attached: more of each Gaussian, tensors (N, ...) and their step sizes, which fall to a tenth.
    """

    def __init__(
        self,
        gaussians: Gaussians,
        rates: LearningRates,
        iterations: int,
        generator: torch.Generator,
        attached: Sequence[tuple[Tensor, float]] = (),
    ) -> None:
        self._rates = rates
        self._iterations = iterations
        self._generator = generator
        self._step = 0
        # A clone in another order of memory would be rearranged for every drawing, and the compiled step passes it by.
        tensors = (tensor.detach().float() for tensor in (*gaussians.tensors(), *(more for more, _ in attached)))
        self._parameters = [tensor.clone(memory_format=torch.contiguous_format) for tensor in tensors]
        self._moments = [(torch.zeros_like(p), torch.zeros_like(p)) for p in self._parameters]
        self._color_rates = torch.full(self._parameters[4].shape[1:], rates.sh_rest, device=gaussians.means.device)
        self._color_rates[:1] = rates.sh
        self._attached_rates = [rate for _, rate in attached]

    @property
    def gaussians(self) -> Gaussians:
        """The current scene, without gradients."""
        return Gaussians(*self._parameters[:5])

    @property
    def attached(self) -> list[Tensor]:
        """What is attached, as it is now, without gradients."""
        return self._parameters[5:]

    @property
    def device(self) -> torch.device:
        return self._parameters[0].device

    @property
    def count(self) -> int:
        return len(self._parameters[0])

    def shown_by(self, frame: int) -> Gaussians:
        """The current scene, the same for every frame."""
        return self.gaussians

    def pulled_back(self, frame: int, gradients: Sequence[Tensor]) -> Sequence[Tensor]:
        """The gradients as they are."""
        return gradients

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor]) -> None:
        """One Adam step.

        Args:
            gradients: one for each tensor of the scene, then for each that is attached.
        """
        self._step += 1
        progress = self._step / self._iterations
        rates = self._rates
        slow, fast = 0.1**progress, 0.01**progress
        colors = self._color_rates * slow
        sizes = [rates.means * fast, rates.quats * slow, rates.log_scales * slow, rates.logit_opacities * slow, colors]
        sizes += [rate * slow for rate in self._attached_rates]
        correction = math.sqrt(1 - BETAS[1] ** self._step) / (1 - BETAS[0] ** self._step)
        parts = zip(self._parameters, gradients, self._moments, sizes, strict=True)
        adam_steps([AdamStep(p, gradient, *moments, size * correction) for p, gradient, moments, size in parts])

    def state(self) -> dict[str, Any]:
        """All but the parameters that another optimiser needs to go on with them: steps, moments, randomness."""
        return {"step": self._step, "moments": self._moments, "generator": self._generator.get_state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on from a `state` of an optimiser of as many Gaussians.

        Raises:
            ValueError: if there were others.
        """
        moments = [
            tuple(moment.to(p).clone() for moment in pair) for p, pair in zip(self._parameters, state["moments"])
        ]
        if [pair[0].shape for pair in moments] != [p.shape for p in self._parameters]:
            raise ValueError("the optimiser's state is not that of these Gaussians")
        self._step, self._moments = int(state["step"]), [(first, second) for first, second in moments]
        self._generator.set_state(state["generator"].cpu())

    @torch.no_grad()
    def renew(self, max_gaussians: int, growth: float = 1.1, max_scale: float = math.inf) -> Tensor:
        """Moves Gaussians that show nothing onto others, drawn by opacity, and grows the scene.

        Returns (N,) indices: the earlier Gaussian that each is a copy of now, its own for one that stayed.

        A chosen Gaussian and its copy together look like the original did (equation 9 of the paper, two copies).

        Args:
            max_gaussians: the count never exceeds this.
            growth: factor on the count, until `max_gaussians` are reached.
            max_scale: Gaussians wider than this count as dead.
        """
        means, _, log_scales, logit_opacities = self._parameters[:4]
        finite = [torch.isfinite(parameter).reshape(len(means), -1).all(1) for parameter in self._parameters]
        broken = ~torch.stack(finite).all(0) | (log_scales.amax(-1) > math.log(max_scale))
        dead = (logit_opacities.sigmoid() < DEAD_OPACITY) | broken
        alive = (~dead).nonzero()[:, 0]
        origins = torch.arange(len(means), device=means.device)
        if len(alive) == 0:
            return origins
        total = max(len(means), min(max_gaussians, int(len(means) * growth)))
        wanted = min(int(dead.sum()) + total - len(means), len(alive))
        if wanted == 0:
            return origins
        drawn = torch.multinomial(logit_opacities[alive].sigmoid().cpu(), wanted, generator=self._generator)
        chosen = alive[drawn.to(alive.device)]
        self._split(chosen)
        slots = dead.nonzero()[:, 0][:wanted]
        self._copy(chosen, slots)
        origins[slots] = chosen[: len(slots)]
        return torch.cat((origins, chosen[len(slots) :]))

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
        noise = torch.randn(len(chosen), 3, generator=self._generator).to(self._parameters[0]) * 0.5
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
