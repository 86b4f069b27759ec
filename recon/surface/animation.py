"""Keyframes of glTF animations and the tree of nodes that they move (glTF 2.0, sections 3.5.3, 3.11, appendix C)."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from recon.splat.rotations import rotations_from_quats

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Track:
    """One property of one node over time.

    Attributes:
        node: index in the tree.
        path: `translation`, `rotation` (quaternions wxyz), `scale` or `weights` (of morph targets).
        interpolation: `LINEAR` (rotations: along the shorter arc of a great circle), `STEP` or `CUBICSPLINE`.
        times: (K,) seconds, not falling.
        values: (K, D); of a cubic spline (K, 3, D): tangent on the way in, value, tangent on the way out.
    """

    node: int
    path: str
    interpolation: str
    times: Array
    values: Array

    def at(self, time: float) -> Array:
        """(D,) the value at a time in seconds; before the first and after the last key it stands still."""
        after = int(np.searchsorted(self.times, time, side="right"))
        cubic = self.interpolation == "CUBICSPLINE"
        if after == 0 or after == len(self.times):
            key = self.values[min(after, len(self.times) - 1)]
            return self._clean(key[1] if cubic else key)
        before = after - 1
        if self.interpolation == "STEP":
            return self._clean(self.values[before])
        span = self.times[after] - self.times[before]
        share = float((time - self.times[before]) / span)
        if cubic:
            return self._clean(_hermite(self.values[before], self.values[after], span, share))
        if self.path == "rotation":
            return _slerp(_unit(self.values[before]), _unit(self.values[after]), share)
        return (1 - share) * self.values[before] + share * self.values[after]

    def _clean(self, value: Array) -> Array:
        return _unit(value) if self.path == "rotation" else value


@dataclass(frozen=True)
class Clip:
    """An animation.

    Attributes:
        name: as the file has it, else its number.
        duration: seconds from 0 to the last key; 0 for a pose that stands still.
        tracks: what it moves.
    """

    name: str
    duration: float
    tracks: tuple[Track, ...] = field(repr=False)


@dataclass(frozen=True)
class NodeTree:
    """A forest of N nodes, each placed in its parent's frame.

    Attributes:
        parents: (N,) -1 for a root.
        levels: the nodes by depth, roots first.
        translations: (N, 3); rotations: (N, 4) unit quaternions wxyz; scales: (N, 3).
        fixed: matrices (4, 4) of those nodes that have one instead.
    """

    parents: NDArray[np.int64]
    levels: tuple[NDArray[np.int64], ...]
    translations: Array
    rotations: Array
    scales: Array
    fixed: dict[int, Array]

    def world(self, clip: Clip | None = None, time: float = 0.0) -> Array:
        """(N, 4, 4) node to world; without a clip in the pose that the file stores."""
        moved = {name: getattr(self, f"{name}s") for name in ("translation", "rotation", "scale")}
        if clip is not None:
            moved = {name: rest.copy() for name, rest in moved.items()}
            for track in clip.tracks:
                if track.path in moved:
                    moved[track.path][track.node] = track.at(time)
        local = np.zeros((len(self.parents), 4, 4))
        local[:, :3, :3] = rotations_from_quats(torch.from_numpy(moved["rotation"])).numpy() * moved["scale"][:, None]
        local[:, :3, 3] = moved["translation"]
        local[:, 3, 3] = 1
        for node, matrix in self.fixed.items():
            local[node] = matrix
        for level in self.levels[1:]:
            local[level] = (
                local[self.parents[level]] @ local[level]
            )  # the parents, a level up, are in the world already
        return local


def tree_levels(parents: NDArray[np.int64]) -> tuple[NDArray[np.int64], ...]:
    """The nodes of a forest by depth.

    Raises:
        ValueError: if some hang on each other in a circle.
    """
    levels = [np.flatnonzero(parents < 0)]
    order = np.argsort(parents, kind="stable")
    sorted_parents = parents[order]
    while len(levels[-1]):
        first, last = (np.searchsorted(sorted_parents, levels[-1], side) for side in ("left", "right"))
        levels.append(np.concatenate([order[a:b] for a, b in zip(first, last)]))
    if sum(map(len, levels)) != len(parents):
        raise ValueError("nodes hang on each other in a circle")
    return tuple(levels[:-1])


def _hermite(before: Array, after: Array, span: float, t: float) -> Array:
    """Cubic Hermite spline between two keys (3, D), `span` seconds apart."""
    squared, cubed = t * t, t * t * t
    from_before = (2 * cubed - 3 * squared + 1) * before[1] + span * (cubed - 2 * squared + t) * before[2]
    from_after = (3 * squared - 2 * cubed) * after[1] + span * (cubed - squared) * after[0]
    return from_before + from_after


def _slerp(a: Array, b: Array, share: float) -> Array:
    """Between unit quaternions, along the shorter arc."""
    cosine = float(a @ b)
    if cosine < 0:
        b, cosine = -b, -cosine
    if cosine > 1 - 1e-9:  # the arc is a line, and its sine nearly 0
        return _unit((1 - share) * a + share * b)
    angle = np.arccos(cosine)
    return _unit((np.sin((1 - share) * angle) * a + np.sin(share * angle) * b) / np.sin(angle))


def _unit(quaternion: Array) -> Array:
    """At length 1; what has no length turns nothing."""
    length = float(np.linalg.norm(quaternion))
    return quaternion / length if length > 1e-12 else np.array([1.0, 0.0, 0.0, 0.0])
