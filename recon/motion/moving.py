"""`MovingGaussians`: one canonical scene and the rigid motions that carry it (Shape of Motion, Wang et al. 2024;
SC-GS, Huang et al. 2024)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from recon.motion.trajectories import Trajectories, blended_points, blended_quats, rigid_matrices
from recon.splat.gaussians import Gaussians

INFLUENCES = 4
"""Bases that carry a point, at most: what every player of glTF skins takes."""


@dataclass(frozen=True)
class MovingGaussians:
    """Gaussians whose centres and axes follow a blend of a few rigid motions, and whose colours may change slowly.

    Attributes:
        canonical: N Gaussians in the canonical pose.
        motion: the B bases.
        bases: (N, K) int64, which of them carry a Gaussian, K <= 4.
        weights: (N, K) how much each does, not negative, each row's sum 1.
        waves: (N, C, 3) change of the constant harmonic over time, by the cosines cos(pi c u), c = 1 ... C, where u
            runs from 0 to 1 over the clip; C = 0 for colours that stay.

    Raises:
        ValueError: if the shapes do not fit together.
    """

    canonical: Gaussians
    motion: Trajectories
    bases: Tensor
    weights: Tensor
    waves: Tensor

    def __post_init__(self) -> None:
        count, influences = len(self.canonical), self.bases.shape[-1]
        shapes = tuple(self.bases.shape), tuple(self.weights.shape), tuple(self.waves.shape)
        if shapes != ((count, influences), (count, influences), (count, self.waves.shape[1], 3)):
            raise ValueError(
                f"{count} moving Gaussians need bases and weights ({count}, K) and waves ({count}, C, 3), "
                f"found {shapes}"
            )

    def __len__(self) -> int:
        return len(self.canonical)

    def to(self, device: torch.device | str) -> MovingGaussians:
        """Everything moved to a device, but for the times, which stay on the processor."""
        return MovingGaussians(
            self.canonical.to(device),
            self.motion.to(device),
            self.bases.to(device),
            self.weights.to(device),
            self.waves.to(device),
        )

    def at(self, time: float) -> Gaussians:
        """The scene at any time within the clip."""
        quats, shifts = self.motion.at(time)
        return posed(
            self.canonical, self.bases, self.weights, self.waves, self.motion.pivots, quats, shifts, self.phase(time)
        )

    def phase(self, time: float) -> float:
        """How much of the clip has passed, in [0, 1]."""
        duration = self.motion.duration
        return 0.0 if duration == 0 else min(1.0, max(0.0, (time - float(self.motion.times[0])) / duration))


def posed(
    canonical: Gaussians,
    bases: Tensor,
    weights: Tensor,
    waves: Tensor,
    pivots: Tensor,
    quats: Tensor,
    shifts: Tensor,
    phase: float,
) -> Gaussians:
    """A scene carried by its bases as they are at one time; differentiable in every tensor but `bases`.

    Args:
        canonical, bases, weights, waves: as in `MovingGaussians`.
        pivots, quats, shifts: (B, 3), (B, 4) and (B, 3), as in `Trajectories`.
        phase: how much of the clip has passed, in [0, 1].
    """
    cosines = waves_at(phase, waves.shape[1]).to(waves)
    changed = (cosines[:, None] * waves).sum(1, keepdim=True)
    return replace(
        canonical,
        means=blended_points(canonical.means, bases, weights, rigid_matrices(quats, pivots, shifts)),
        quats=blended_quats(canonical.quats, bases, weights, quats),
        sh=torch.cat((canonical.sh[:, :1] + changed, canonical.sh[:, 1:]), dim=1),
    )


def waves_at(phase: float, count: int) -> Tensor:
    """(C,) the cosines that colours change by; their mean over the clip is 0."""
    return torch.tensor([math.cos(math.pi * c * phase) for c in range(1, count + 1)])
