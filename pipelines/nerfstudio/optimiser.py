"""The optimiser of our fits behind the interface of PyTorch's, so that nerfstudio's trainer steps and saves it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from nerfstudio.engine.optimizers import OptimizerConfig
from torch.nn import Parameter

from recon.splat.fit_options import FIT_PRESETS
from recon.splat.gaussians import Gaussians
from recon.splat.optimise import LearningRates, SplatOptimiser


class SplatSteps(torch.optim.Optimizer):
    """Adam with our schedule, and Gaussians moved and added between its steps.

    Args:
        parameters: the five tensors of `Gaussians`, in its order. Their data become those of the optimiser, and have
            more rows after `renew`.
        rates: for a scene of diameter 1.
    """

    def __init__(self, parameters: Iterable[Parameter], rates: LearningRates) -> None:
        self._own = list(parameters)
        self._rates, self._extent, self._iterations, self._seed = rates, 1.0, 1, 0
        self._optimiser: SplatOptimiser | None = None
        super().__init__(self._own, {"lr": rates.means})

    def begin(self, iterations: int, extent: float, seed: int) -> None:
        """States the length of the schedule, the scene's diameter and the seed of all randomness, before all steps."""
        self._iterations, self._extent, self._seed = iterations, extent, seed
        kept = None if self._optimiser is None else self._optimiser.state()
        self._optimiser = self._made()
        if kept is not None:
            self._optimiser.restore(kept)
        self._share()

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One step along the parameters' gradients."""
        optimiser = self._begun()
        optimiser.step([torch.zeros_like(p) if p.grad is None else p.grad for p in self._own])

    def renew(self, max_gaussians: int, max_scale: float) -> None:
        """Moves Gaussians that show nothing to where the scene is, and grows it; `max_scale` for a diameter of 1."""
        self._begun().renew(max_gaussians, max_scale=max_scale * self._extent)
        self._share()

    def state_dict(self) -> dict[str, Any]:
        """Moments, count of steps and the state of the randomness."""
        return self._begun().state()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on from such a state; the parameters' data must have been loaded before."""
        self._optimiser = self._made()
        self._optimiser.restore(state_dict)
        self._share()

    def _begun(self) -> SplatOptimiser:
        if self._optimiser is None:
            self._optimiser = self._made()
            self._share()
        return self._optimiser

    def _made(self) -> SplatOptimiser:
        rates = replace(self._rates, means=self._rates.means * self._extent)
        generator = torch.Generator().manual_seed(self._seed)
        return SplatOptimiser(Gaussians(*(p.data for p in self._own)), rates, self._iterations, generator)

    def _share(self) -> None:
        for parameter, data in zip(self._own, self._begun().gaussians.tensors(), strict=True):
            parameter.grad = None
            parameter.data = data


@dataclass
class SplatStepsConfig(OptimizerConfig):
    """Step sizes fall over the whole training, the centres' to a hundredth, the others to a tenth."""

    _target: type = SplatSteps
    lr: float = 1.0
    """Factor on all step sizes."""
    rates: LearningRates = field(default_factory=lambda: FIT_PRESETS["views"].rates)
    """Step sizes for a scene of diameter 1."""

    def setup(self, params: Iterable[Parameter]) -> SplatSteps:
        """The optimiser of a model's five tensors."""
        rates = {name: value * self.lr for name, value in vars(self.rates).items()}
        return SplatSteps(params, LearningRates(**rates))
