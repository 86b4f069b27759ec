"""Which keys of an animation may go without its looking different.

Within a channel, a key stays where the straight line between its neighbours would miss it (Ramer 1972, Douglas and
Peucker 1973). How much a channel may miss depends on what hangs on it; that is tried, and the outcome is measured on
what the bones carry.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recon.asset.animation import BoneMotion

Array = NDArray[np.float64]
Between = Callable[[Array, Array, Array], Array]
"""Values (n, ...) at n shares of the way from one (1, ...) to another."""

_SHARES = (*(0.75**step for step in range(24)), 0.0)
"""Of the tolerance that one channel may miss by; with the last, every key that says anything stays."""


@dataclass(frozen=True)
class Keys:
    """The keys that are left of a motion.

    Attributes:
        motion: before the reduction, in the float32 numbers that files hold.
        turns: a bone's kept times, as rising indices; the first and last, or a single one for what never changes.
        places: the same of where it is.
    """

    motion: BoneMotion
    turns: tuple[NDArray[np.int64], ...]
    places: tuple[NDArray[np.int64], ...]

    def played(self, *, spherical: bool = True) -> BoneMotion:
        """The motion as players show it at the times that it had before.

        Args:
            spherical: turns along the arc, as glTF says; else by their components, as Blender does.
        """
        turns, places = self.motion.turns.clone(), self.motion.places.clone()
        times = self.motion.times.numpy()
        between = slerps if spherical else nlerps
        for bone, (turn_keys, place_keys) in enumerate(zip(self.turns, self.places, strict=True)):
            turns[:, bone] = torch.from_numpy(filled(times, turns[:, bone].numpy(), turn_keys, between))
            places[:, bone] = torch.from_numpy(filled(times, places[:, bone].numpy(), place_keys, lerps))
        return replace(self.motion, turns=turns, places=places)


def reduced(motion: BoneMotion, carried: tuple[Tensor, ...], tolerance: float) -> Keys:
    """As few keys as keep everything where it was, at all times of the motion, whichever way a player takes between
    two turns.

    Args:
        carried: a bone's points (n, 3) of the canonical pose, none for one that only carries other bones; what several
            bones carry moves between them, so that bounds of each hold for all.
        tolerance: how far a point may stray, in the points' units, >= 0.
    """
    exact = motion.matrices()
    rounded = replace(motion, turns=motion.turns.float().double(), places=motion.places.float().double())
    corners = torch.stack([_corners(points) for points in carried])
    known = torch.tensor([len(points) > 0 for points in carried])
    reach = _reach(motion, corners, known)
    times, turns, places = (values.numpy() for values in (motion.times, rounded.turns, rounded.places))
    for share in _SHARES:
        limit = share * tolerance
        keys = Keys(
            rounded,
            tuple(_kept_turns(times, turns[:, bone], limit, reach[bone]) for bone in range(len(carried))),
            tuple(simplified(times, places[:, bone], limit, lerps, _distances) for bone in range(len(carried))),
        )
        if all(_strays(keys.played(spherical=s).matrices(), exact, corners, known) <= tolerance for s in (True, False)):
            break
    return keys


def simplified(
    times: Array, values: Array, limit: float, between: Between, distances: Callable[[Array, Array], Array]
) -> NDArray[np.int64]:
    """Rising indices of the (T, ...) values between which all others lie within `limit`; only the first, if all lie
    that near to it."""
    if not (distances(values, np.broadcast_to(values[:1], values.shape)) > limit).any():
        return np.array([0])
    kept, open_ = {0, len(values) - 1}, [(0, len(values) - 1)]
    while open_:
        start, end = open_.pop()
        if end - start < 2:
            continue
        shares = (times[start + 1 : end] - times[start]) / (times[end] - times[start])
        missed = distances(between(values[start : start + 1], values[end : end + 1], shares), values[start + 1 : end])
        if missed.max() > limit:
            middle = start + 1 + int(missed.argmax())
            kept.add(middle)
            open_ += [(start, middle), (middle, end)]
    return np.array(sorted(kept))


def filled(times: Array, values: Array, keys: NDArray[np.int64], between: Between) -> Array:
    """(T, ...) what a player makes at all times of the values at the kept ones."""
    out = np.repeat(values[keys[:1]], len(values), axis=0)
    for start, end in itertools.pairwise(keys):
        shares = (times[start : end + 1] - times[start]) / (times[end] - times[start])
        out[start : end + 1] = between(values[start : start + 1], values[end : end + 1], shares)
    return out


def lerps(first: Array, last: Array, shares: Array) -> Array:
    """(n, ...) values on the straight line between two (1, ...)."""
    shares = shares.reshape(-1, *[1] * (first.ndim - 1))
    return first + shares * (last - first)


def nlerps(first: Array, last: Array, shares: Array) -> Array:
    """(n, 4) quaternions on the straight line between two, made unit."""
    mixed = lerps(first, last, shares)
    return mixed / np.maximum(np.linalg.norm(mixed, axis=1, keepdims=True), 1e-12)


def slerps(first: Array, last: Array, shares: Array) -> Array:
    """(n, 4) quaternions on the shorter arc between two unit ones (Shoemake 1985)."""
    cosine = float((first * last).sum())
    last, cosine = (last, cosine) if cosine >= 0 else (-last, -cosine)
    angle = np.arccos(min(1.0, cosine))
    if angle < 1e-6:
        return nlerps(first, last, shares)
    return (np.sin((1 - shares) * angle)[:, None] * first + np.sin(shares * angle)[:, None] * last) / np.sin(angle)


def _kept_turns(times: Array, turns: Array, limit: float, reach: float) -> NDArray[np.int64]:
    """What is kept for the one way between turns, and what for the other."""

    def distances(first: Array, second: Array) -> Array:
        # A turn by a small angle moves what is in reach by angle * reach, and is half of it away as a quaternion.
        chords = [np.linalg.norm(first - sign * second, axis=1) for sign in (1, -1)]
        return 2 * reach * np.minimum(*chords)

    return np.union1d(*(simplified(times, turns, limit, between, distances) for between in (slerps, nlerps)))


def _distances(first: Array, second: Array) -> Array:
    return np.linalg.norm(first - second, axis=-1)


def _corners(points: Tensor) -> Tensor:
    """(8, 3) corners of the points' box: no point of it moves further than the furthest of them."""
    if len(points) == 0:
        return torch.zeros(8, 3, dtype=torch.float64)
    low, high = points.double().min(0).values, points.double().max(0).values
    return torch.cartesian_prod(*torch.stack((low, high), dim=1))


def _reach(motion: BoneMotion, corners: Tensor, known: Tensor) -> list[float]:
    """How far from a bone's joint there is something that turns with it, at any time."""
    matrices = motion.matrices()
    placed = (matrices[..., None, :, :3] @ corners[..., None])[..., 0] + matrices[..., None, :, 3]  # (T, B, 8, 3)
    joints = motion.skeleton.joints
    origins = (matrices[..., :3] @ joints[:, :, None])[..., 0] + matrices[..., 3]
    reach = [0.0] * len(joints)
    for bone in range(len(joints)):
        if not known[bone]:
            continue
        above = bone
        while above >= 0:
            far = (placed[:, bone] - origins[:, above, None]).norm(dim=-1).max()
            reach[above] = max(reach[above], float(far))
            above = motion.skeleton.parents[above]
    return reach


def _strays(found: Tensor, exact: Tensor, corners: Tensor, known: Tensor) -> float:
    """The furthest that a corner of what a bone carries is from where it should be."""
    difference = found - exact
    moved = (difference[..., None, :, :3] @ corners[..., None])[..., 0] + difference[..., None, :, 3]
    return float(moved[:, known].norm(dim=-1).max()) if bool(known.any()) else 0.0
