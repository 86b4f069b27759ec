"""The optimiser of a moving scene: Gaussians, the motions that carry them, and how much each of these does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from recon.motion.moving import MovingGaussians, posed
from recon.motion.trajectories import Trajectories, rigid_matrices, slerp
from recon.splat.adam import AdamRows
from recon.splat.gaussians import Gaussians
from recon.splat.optimise import LearningRates, SplatOptimiser

STILL = LearningRates(means=0, quats=0, log_scales=0, logit_opacities=0, sh=0, sh_rest=0)
"""The canonical scene stays as it is."""
_LEAST_WEIGHT = 1e-4


@dataclass(frozen=True)
class MotionOptions:
    """What of a moving scene is optimised, how fast, and what is expected of it. Priors are weighed against the
    photometric loss."""

    scene: LearningRates = STILL
    """Step sizes of the canonical scene."""
    quats: float = 1e-2
    """Adam's step size for the bases' rotations, as quaternions of length about 1."""
    shifts: float = 3e-3
    """The same for their shifts, in world units."""
    weights: float = 0.0
    """The same for the logits of blend weights; 0 leaves them."""
    waves: float = 0.0
    """The same for the change of colours; 0 leaves it."""
    rigidity: float = 0.0
    """Weight of the mean squared distance, in world units, between where two neighbouring bases put what lies between
    them (as rigid as possible: Sorkine & Alexa 2007)."""
    smoothness: float = 0.0
    """Weight of the mean squared distance of the bases from halfway between the times before and after."""
    weight_prior: float = 0.0
    """Weight of the mean squared change of blend weights."""
    wave_prior: float = 0.0
    """Weight of the mean squared change of colours over time."""


class MovingOptimiser:
    """Holds the parameters of a moving scene and their moments; a `recon.splat.optimise.SceneOptimiser`.

    Args:
        moving: the start.
        keys: for each frame the index of its time in `moving.motion.times`.
        options: rates and priors.
        iterations: length of the schedule; step sizes fall to a tenth, those of centres to a hundredth.
        generator: source of all randomness.
        edges: (E, 2) bases that rigidity holds together.
    """

    def __init__(
        self,
        moving: MovingGaussians,
        keys: Sequence[int],
        options: MotionOptions,
        iterations: int,
        generator: torch.Generator,
        edges: Tensor | None = None,
    ) -> None:
        self._options, self._iterations, self._steps, self._keys = options, iterations, 0, keys
        logits = moving.weights.clamp_min(_LEAST_WEIGHT).log()
        attached = [(logits, options.weights), (moving.waves, options.waves)]
        self._scene = SplatOptimiser(moving.canonical, options.scene, iterations, generator, attached)
        self._bases, self._expected = moving.bases, logits.softmax(-1)
        self._times, self._pivots = moving.motion.times, moving.motion.pivots
        self._phases = [moving.phase(float(time)) for time in self._times]
        self._quats = AdamRows(moving.motion.quats.clone(), options.quats)
        self._shifts = AdamRows(moving.motion.shifts.clone(), options.shifts)
        self._edges = None if edges is None else edges.to(moving.bases.device)

    @property
    def device(self) -> torch.device:
        return self._scene.device

    @property
    def count(self) -> int:
        return self._scene.count

    @property
    def moving(self) -> MovingGaussians:
        """The current scene, in memory of its own."""
        logits, waves = self._scene.attached
        quats = torch.nn.functional.normalize(self._quats.values.detach(), dim=-1)
        motion = Trajectories(self._times, self._pivots, quats, self._shifts.values.detach().clone())
        scene = self._scene.gaussians.map(Tensor.clone)
        return MovingGaussians(scene, motion, self._bases, logits.softmax(-1), waves.clone())

    @torch.no_grad()
    def shown_by(self, frame: int) -> Gaussians:
        """The scene at the frame's time."""
        logits, waves = self._scene.attached
        key = self._keys[frame]
        return self._posed(self._scene.gaussians, logits, waves, self._quats.values[key], self._shifts.values[key], key)

    def pulled_back(self, frame: int, gradients: Sequence[Tensor]) -> Sequence[Tensor]:
        """Through the blend to the canonical scene, blend weights, colours' change and the bases at the frame's time;
        the priors' gradients are added."""
        key = self._keys[frame]
        gaussians = self._scene.gaussians
        sources = (gaussians.means, gaussians.quats, *self._scene.attached)
        means, quats, logits, waves = (tensor.detach().requires_grad_() for tensor in sources)
        turns, shifts = (rows.values[key].detach().requires_grad_() for rows in (self._quats, self._shifts))
        with torch.enable_grad():
            scene = replace(gaussians, means=means, quats=quats)
            shown = self._posed(scene, logits, waves, turns, shifts, key)
            outputs, upstream = [shown.means, shown.quats, shown.sh], [gradients[0], gradients[1], gradients[4]]
            expected = self._priors(logits, waves, turns, shifts, key)
            if expected.requires_grad:
                outputs, upstream = [*outputs, expected], [*upstream, torch.ones_like(expected)]
            leaves = [means, quats, logits, waves, turns, shifts]
            found = torch.autograd.grad(outputs, leaves, upstream, materialize_grads=True, allow_unused=True)
        in_turns, in_shifts = torch.zeros_like(self._quats.values), torch.zeros_like(self._shifts.values)
        in_turns[key], in_shifts[key] = found[4:]
        return [found[0], found[1], *gradients[2:], found[2], found[3], in_turns, in_shifts]

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor]) -> None:
        """One Adam step; bases move at the times that have gradients."""
        self._steps += 1
        self._scene.step(gradients[:-2])
        slow = 0.1 ** (self._steps / self._iterations)
        self._quats.step(gradients[-2], slow)
        self._shifts.step(gradients[-1], slow)

    @torch.no_grad()
    def renew(self, max_gaussians: int, *, max_scale: float) -> None:
        """Moves and grows the canonical scene; copies are carried by what carries the original."""
        origins = self._scene.renew(max_gaussians, max_scale=max_scale)
        self._bases, self._expected = self._bases[origins], self._expected[origins]

    def _posed(
        self, scene: Gaussians, logits: Tensor, waves: Tensor, quats: Tensor, shifts: Tensor, key: int
    ) -> Gaussians:
        phase = self._phases[key]
        return posed(scene, self._bases, logits.softmax(-1), waves, self._pivots, quats, shifts, phase)

    def _priors(self, logits: Tensor, waves: Tensor, quats: Tensor, shifts: Tensor, key: int) -> Tensor:
        options = self._options
        total = shifts.new_zeros(())
        if options.rigidity and self._edges is not None and len(self._edges):
            total = total + options.rigidity * self._strain(quats, shifts)
        if options.smoothness and 0 < key < len(self._times) - 1:
            total = total + options.smoothness * self._jerkiness(quats, shifts, key)
        if options.weight_prior:
            total = total + options.weight_prior * (logits.softmax(-1) - self._expected).square().sum(-1).mean()
        if options.wave_prior and waves.shape[1]:
            total = total + options.wave_prior * waves.square().sum((1, 2)).mean()
        return total

    def _strain(self, quats: Tensor, shifts: Tensor) -> Tensor:
        """Mean squared distance between where both bases of an edge put the edge's two ends."""
        matrices = rigid_matrices(quats, self._pivots, shifts)
        first, second = self._edges.unbind(1)  # type: ignore[union-attr]
        apart = []
        for end in (first, second):
            places = self._pivots[end][:, :, None]
            by_first, by_second = (matrices[side, :, :3] @ places + matrices[side, :, 3:] for side in (first, second))
            apart.append((by_first - by_second).square().sum((1, 2)).mean())
        return apart[0] + apart[1]

    def _jerkiness(self, quats: Tensor, shifts: Tensor, key: int) -> Tensor:
        """Mean squared distance of the bases from where the times around `key` would have them."""
        before, now, after = (float(time) for time in self._times[key - 1 : key + 2])
        share = (now - before) / (after - before)
        all_quats, all_shifts = self._quats.values.detach(), self._shifts.values.detach()
        turn = slerp(all_quats[key - 1], all_quats[key + 1], share)
        cosine = (torch.nn.functional.normalize(quats, dim=-1) * turn).sum(-1)
        place = torch.lerp(all_shifts[key - 1], all_shifts[key + 1], share)
        return (shifts - place).square().sum(-1).mean() + (1 - cosine.square()).mean()
