"""`Trajectories`: rigid motions over time, and how points that several of them carry are moved (linear blend skinning).

The same bases carry Gaussians and mesh vertices, and leave as the bones of a glTF skin.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from recon.splat.rotations import multiply_quats, rotations_from_quats

_LEAST_VOLUME = 1e-3


@dataclass(frozen=True)
class Trajectories:
    """B rigid motions at T times: at time t, basis b takes a point x of the canonical pose to
    R_b(t) (x - pivot_b) + pivot_b + shift_b(t).

    Attributes:
        times: (T,) seconds, rising.
        pivots: (B, 3) points of the canonical pose about which the bases turn.
        quats: (T, B, 4) wxyz rotations, any positive length.
        shifts: (T, B, 3) displacements of the pivots.

    Raises:
        ValueError: if the shapes do not fit together, there is no time or no basis, or times do not rise.
    """

    times: Tensor
    pivots: Tensor
    quats: Tensor
    shifts: Tensor

    def __post_init__(self) -> None:
        count, bases = len(self.times), len(self.pivots)
        found = tuple(self.pivots.shape), tuple(self.quats.shape), tuple(self.shifts.shape)
        if self.times.ndim != 1 or found != ((bases, 3), (count, bases, 4), (count, bases, 3)) or not count * bases:
            raise ValueError(
                "trajectories need times (T,), pivots (B, 3), quats (T, B, 4) and shifts (T, B, 3), found "
                f"{tuple(self.times.shape)}, {found[0]}, {found[1]} and {found[2]}"
            )
        if not bool((self.times.diff() > 0).all()):
            raise ValueError("the times of trajectories must rise")

    @property
    def bases(self) -> int:
        """B."""
        return len(self.pivots)

    def to(self, device: torch.device | str) -> Trajectories:
        """Everything moved to a device, but for the times, which stay on the processor."""
        return Trajectories(self.times, self.pivots.to(device), self.quats.to(device), self.shifts.to(device))

    @property
    def duration(self) -> float:
        """Seconds from the first to the last time."""
        return float(self.times[-1] - self.times[0])

    def rest_time(self, times: Sequence[float] | None = None) -> float:
        """Seconds: the one of some times, its own if None, at which the bases are nearest to the canonical pose."""

        def away(time: float) -> float:
            quats, shifts = self.at(time)
            return float(shifts.norm(dim=-1).sum() + (1 - quats[:, 0].abs()).sum())

        return min(self.times.tolist() if times is None else times, key=away)

    def at(self, time: float) -> tuple[Tensor, Tensor]:
        """Unit quaternions (B, 4) and shifts (B, 3) at any time: rotations are interpolated along the shorter arc
        (slerp), shifts linearly, as glTF players do; before the first and after the last time all stands still."""
        place, share = self._between(time)
        following = min(place + 1, len(self.times) - 1)
        quats = slerp(self.quats[place], self.quats[following], share)
        return quats, torch.lerp(self.shifts[place], self.shifts[following], share)

    def matrices(self, time: float) -> Tensor:
        """(B, 3, 4) the motions at any time, each [R | t] with x -> R x + t."""
        quats, shifts = self.at(time)
        return rigid_matrices(quats, self.pivots, shifts)

    def _between(self, time: float) -> tuple[int, float]:
        """The key at or before a time, and how far the next one is reached, in [0, 1]."""
        if len(self.times) == 1 or time <= float(self.times[0]):
            return 0, 0.0
        place = min(int((self.times <= time).sum()) - 1, len(self.times) - 2)
        start, end = float(self.times[place]), float(self.times[place + 1])
        return place, min(1.0, (time - start) / (end - start))


def rigid_matrices(quats: Tensor, pivots: Tensor, shifts: Tensor) -> Tensor:
    """(..., B, 3, 4) matrices [R | t]: turns by `quats` (..., B, 4) about `pivots` (B, 3), then `shifts`."""
    rotation = rotations_from_quats(quats)
    translation = pivots + shifts - (rotation @ pivots[..., None])[..., 0]
    return torch.cat((rotation, translation[..., None]), dim=-1)


def slerp(first: Tensor, second: Tensor, share: float) -> Tensor:
    """(..., 4) unit quaternions between two, along the shorter arc (Shoemake 1985)."""
    first, second = (torch.nn.functional.normalize(q, dim=-1) for q in (first, second))
    cosine = (first * second).sum(-1, keepdim=True)
    second = torch.where(cosine < 0, -second, second)
    angle = cosine.abs().clamp(max=1).acos()
    sine = angle.sin()
    near = sine < 1e-4
    safe = torch.where(near, 1, sine)
    a = torch.where(near, 1 - share, ((1 - share) * angle).sin() / safe)
    b = torch.where(near, share, (share * angle).sin() / safe)
    return torch.nn.functional.normalize(a * first + b * second, dim=-1)


def blended_points(points: Tensor, bases: Tensor, weights: Tensor, matrices: Tensor) -> Tensor:
    """(N, 3) points after linear blend skinning.

    Args:
        points: (N, 3) in the canonical pose.
        bases: (N, K) int64, which of the B motions carry a point.
        weights: (N, K), how much each does; a point's sum to 1.
        matrices: (B, 3, 4).
    """
    blended = (weights[..., None, None] * matrices[bases]).sum(1)
    return (blended[..., :3] @ points[..., None])[..., 0] + blended[..., 3]


def unblended_points(points: Tensor, bases: Tensor, weights: Tensor, matrices: Tensor) -> Tensor:
    """(N, 3) the canonical places of points that `blended_points` takes to `points`.

    Raises:
        ValueError: if motions that blend cancel each other out, so that there is none.
    """
    blended = (weights[..., None, None] * matrices[bases]).sum(1).double()
    if bool((torch.linalg.det(blended[..., :3]) < _LEAST_VOLUME).any()):
        raise ValueError("the blended motions flatten the pose; no canonical pose can be found from it")
    return torch.linalg.solve(blended[..., :3], points.double() - blended[..., 3]).to(points)


def blended_quats(quats: Tensor, bases: Tensor, weights: Tensor, turns: Tensor) -> Tensor:
    """(N, 4) orientations `quats` (N, 4) turned by the weighted mean of the rotations `turns` (B, 4), wxyz."""
    turns = turns / turns.norm(dim=-1, keepdim=True)
    chosen = turns[bases]
    strongest = chosen[torch.arange(len(bases), device=bases.device), weights.argmax(1)]
    sign = torch.where((chosen * strongest[:, None]).sum(-1) < 0, -1.0, 1.0)
    mean = ((weights * sign)[..., None] * chosen).sum(1)
    return multiply_quats(mean / mean.norm(dim=-1, keepdim=True).clamp_min(1e-12), quats)
