"""Tracks of points -> the few rigid motions that explain them, as many as their residual asks for.

Clusters that move rigidly are split where they explain the tracks worst (Le & Deng 2014), then blend weights and
motions are solved for together (smooth skinning decomposition with rigid bones, Le & Deng 2012).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from recon.capture.conversions import quat_from_rotation
from recon.motion.moving import INFLUENCES
from recon.motion.trajectories import Trajectories, rigid_matrices

_NEIGHBOURS = 9
_LLOYD_ROUNDS = 12
_DIFFUSIONS = 4
_SOLVE_STEPS = 300
_SOLVE_RATE = 5e-2
_SMOOTH_WEIGHT = 1e-2


@dataclass(frozen=True)
class BasisOptions:
    """How many rigid motions explain a scene's tracks."""

    tolerance: float = 0.004
    """Bases are split until the root mean square of what they leave of the tracks, in world units, is below this,"""
    gain: float = 0.03
    """or a split lowers it by less than this share,"""
    most: int = 32
    """or there are so many of them."""
    least_share: float = 0.005
    """Bases that carry a smaller share of the scene are not made."""


@dataclass(frozen=True)
class Bases:
    """What explains tracks.

    Attributes:
        motion: B rigid motions from the canonical pose.
        bases, weights: (N, K) which carry a point, and how much each does.
        residual: root mean square distance from the tracks, in world units.
        alone: the same of one basis.
    """

    motion: Trajectories
    bases: Tensor
    weights: Tensor
    residual: float
    alone: float


def find_bases(
    tracks: Tensor, reference: int, trust: Tensor, times: Tensor, options: BasisOptions | None = None
) -> Bases:
    """The motions of points whose canonical pose is that of one of the times; there, the motions are at rest.

    Args:
        tracks: (T, N, 3) where the points are at each time.
        reference: index of the canonical pose's time.
        trust: (N,) what a point counts.
        times: (T,) seconds.
    """
    options = options or BasisOptions()
    points = tracks[reference]
    near = _neighbours(points)
    labels = torch.zeros(len(points), dtype=torch.long)
    rotations, places = _rigid_fits(points, tracks, trust, labels, 1)
    errors = _errors(points, tracks, rotations, places)
    alone = error = _root(errors[:, 0], trust)
    refused: set[int] = set()
    while error > options.tolerance and len(rotations) < options.most:
        own = errors.gather(1, labels[:, None])[:, 0] * trust
        sums = torch.zeros(len(rotations)).index_add_(0, labels, own)
        sums[list(refused)] = 0
        worst = int(sums.argmax())
        if float(sums[worst]) == 0:
            break
        trial = _split(labels, worst, points, errors, len(rotations))
        for _ in range(_LLOYD_ROUNDS):
            found = _rigid_fits(points, tracks, trust, trial, len(rotations) + 1)
            apart = _errors(points, tracks, *found)
            trial = apart[near].mean(1).argmin(1)
        share = torch.bincount(trial, minlength=len(found[0])).min() / len(trial)
        improved = _root(apart.gather(1, trial[:, None])[:, 0], trust)
        if float(share) < options.least_share or improved > (1 - options.gain) * error:
            refused.add(worst)
            continue
        labels, (rotations, places), errors, error = trial, found, apart, improved
        refused.clear()
    return _blended(tracks, reference, trust, times, labels, rotations, places, near, alone)


def _neighbours(points: Tensor) -> Tensor:
    """(N, K) each point and those nearest to it."""
    _, index = cKDTree(points.double().numpy()).query(points.double().numpy(), min(_NEIGHBOURS, len(points)))
    return torch.from_numpy(index.reshape(len(points), -1).astype(np.int64))


def _rigid_fits(points: Tensor, tracks: Tensor, trust: Tensor, labels: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Rotations (B, T, 3, 3) and translations (B, T, 3) that carry each cluster best (Kabsch 1976)."""
    rotations, places = [], []
    for cluster in range(count):
        chosen = labels == cluster
        if int(chosen.sum()) < 3:
            chosen = torch.ones_like(chosen)
        weight = trust[chosen] / trust[chosen].sum()
        source, target = points[chosen], tracks[:, chosen]
        center, centers = (weight[:, None] * source).sum(0), (weight[:, None] * target).sum(1)
        covariance = torch.einsum("n,tni,nj->tij", weight, target - centers[:, None], source - center)
        u, _, vh = torch.linalg.svd(covariance.double())
        sign = torch.ones(len(u), 3, dtype=u.dtype)
        sign[:, 2] = torch.linalg.det(u @ vh).sign()
        rotation = ((u * sign[:, None]) @ vh).to(points)
        rotations.append(rotation)
        places.append(centers - rotation @ center)
    return torch.stack(rotations), torch.stack(places)


def _errors(points: Tensor, tracks: Tensor, rotations: Tensor, places: Tensor) -> Tensor:
    """(N, B) mean squared distance over time between where each basis puts a point and where it is."""
    columns = []
    for rotation, place in zip(rotations, places):
        moved = points @ rotation.transpose(1, 2) + place[:, None]
        columns.append((moved - tracks).square().sum(-1).mean(0))
    return torch.stack(columns, dim=1)


def _root(squares: Tensor, trust: Tensor) -> float:
    return float(((squares * trust).sum() / trust.sum()).sqrt())


def _split(labels: Tensor, worst: int, points: Tensor, errors: Tensor, count: int) -> Tensor:
    """Labels with a new cluster around the point that one cluster explains worst: a tenth of its points, those next to
    it, from which the new one grows where it explains more."""
    members = (labels == worst).nonzero()[:, 0]
    seed = members[errors[members, worst].argmax()]
    distance = (points[members] - points[seed]).norm(dim=1)
    near = distance.argsort()[: max(4, len(members) // 10)]
    cut = labels.clone()
    cut[members[near]] = count
    return cut


def _blended(
    tracks: Tensor,
    reference: int,
    trust: Tensor,
    times: Tensor,
    labels: Tensor,
    rotations: Tensor,
    places: Tensor,
    near: Tensor,
    alone: float,
) -> Bases:
    """Blend weights between a point's own basis and those next to it, and motions, as fit the tracks best."""
    points, count = tracks[reference], len(rotations)
    mass = torch.nn.functional.one_hot(labels, count).float()
    for _ in range(_DIFFUSIONS):
        mass = mass[near].mean(1)
    influences = min(INFLUENCES, count)
    weights, bases = mass.topk(influences, dim=1)
    logits = (weights / weights.sum(1, keepdim=True)).clamp_min(1e-4).log().requires_grad_()
    pivots = torch.stack([points[labels == b].mean(0) for b in range(count)])
    quats = quat_from_rotation(rotations.transpose(0, 1)).requires_grad_()
    turned = (rotations.transpose(0, 1) @ pivots[..., None])[..., 0]
    shifts = (places.transpose(0, 1) + turned - pivots).requires_grad_()
    optimiser = torch.optim.Adam(
        [{"params": [logits], "lr": _SOLVE_RATE}, {"params": [quats, shifts], "lr": 0.04 * _SOLVE_RATE}]
    )
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimiser, 0.1 ** (1 / _SOLVE_STEPS))
    known = torch.zeros(len(points), count, dtype=torch.bool).scatter(1, bases, True)

    def dense_weights() -> Tensor:
        return torch.zeros(len(points), count).scatter(1, bases, logits.softmax(-1))

    for _ in range(_SOLVE_STEPS if count > 1 else 0):
        optimiser.zero_grad()
        dense = dense_weights()
        squares = _left(points, tracks, dense, rigid_matrices(quats, pivots, shifts))
        rough = ((dense[near].mean(1) - dense) * known).square().sum(1)
        loss = (trust * (squares + _SMOOTH_WEIGHT * alone**2 * rough)).sum() / trust.sum()
        loss.backward()
        optimiser.step()
        schedule.step()
    with torch.no_grad():
        quats[reference], shifts[reference] = torch.tensor([1.0, 0, 0, 0]), 0.0
        squares = _left(points, tracks, dense_weights(), rigid_matrices(quats, pivots, shifts))
    motion = Trajectories(times, pivots, torch.nn.functional.normalize(quats.detach(), dim=-1), shifts.detach())
    return Bases(motion, bases, logits.detach().softmax(-1), _root(squares, trust), alone)


def _left(points: Tensor, tracks: Tensor, weights: Tensor, matrices: Tensor) -> Tensor:
    """(N,) mean squared distance of the points, blended by `weights` (N, B), from their tracks."""
    flat = matrices.permute(1, 0, 2, 3).flatten(1)  # (B, T * 12): one product blends all times
    blended = (weights @ flat).unflatten(1, (-1, 3, 4))
    moved = (blended[..., :3] @ points[:, None, :, None])[..., 0] + blended[..., 3]
    return (moved - tracks.transpose(0, 1)).square().sum(-1).mean(1)
