"""All unknowns of an orbit together: Levenberg-Marquardt on what rays miss (`recon.capture.coherence`)."""

from __future__ import annotations

import math
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from recon.capture.coherence import WOBBLES, Floats, Orbit, Rays

_FINENESS = (1.0, 0.6, 0.35)
"""Degrees by which angles are moved for differences, iteration after iteration; the last one goes on. One-sided or
coarser differences end well before the best place: most rays fit without slack, and miss to either side."""
_SHIFT_PRIOR, _ROLL_PRIOR = 0.02, math.radians(2)
_WOBBLE_PRIOR = np.array([math.radians(1)] * 3 + [0.01] * 2)
"""Standard deviations that are expected."""
_PRIOR_WEIGHT = 0.3
_LONGEST = 15
"""Steps of the differences that one move may be long."""


@dataclass(frozen=True)
class Uncertainty:
    """Standard errors that the residuals and their slopes tell.

    Attributes:
        azimuth: radians, over the frames.
        elevation: radians.
        focal: relative.
    """

    azimuth: float
    elevation: float
    focal: float


def least_squares(rays: Rays, orbit: Orbit, iterations: int, *, keep_focal: bool = False) -> tuple[Orbit, Uncertainty]:
    """The orbit near the given one at which the rays miss least (Levenberg 1944, Marquardt 1963); derivatives are
    central differences, because every ray chooses its best point anew. Wobbles are unknown where the orbit has them.
    """
    values, damping, count = orbit.vector(), 1e-2, rays.count
    unit = np.concatenate((np.full(count, 1.0), [1.0, 1.5, 0.2, 0.4], np.full(len(values) - count - 4, 0.3)))
    unit *= math.radians(1)
    current = _residuals(rays, values)
    slopes, failures = np.zeros((len(current), len(values))), 0
    for iteration in range(iterations):
        steps = unit * _FINENESS[min(iteration, len(_FINENESS) - 1)]
        slopes = _slopes(rays, values, steps)
        if keep_focal:
            slopes[:, count + 1] = 0  # what changes nothing is not moved
        moved = _step(rays, values, current, slopes, steps, damping)
        if moved is None:
            damping, failures = damping * 10, failures + 1
        else:
            gained = 1 - (moved[1] @ moved[1]) / (current @ current)
            values, current, damping = *moved, max(damping / 4, 1e-4)
            failures = 0 if gained > 5e-3 else failures + 1
        if failures == 2:
            break
    variance = float(current @ current) / max(1, len(current) - len(values))
    normal = slopes[:, 1:].T @ slopes[:, 1:]
    spread = np.sqrt(np.diag(np.linalg.inv(normal + 1e-6 * np.eye(len(normal)))) * variance)
    azimuths, (elevation, focal) = spread[: count - 1], spread[count - 1 : count + 1].tolist()
    errors = Uncertainty(float(np.sqrt((azimuths**2).mean())), elevation, 0.0 if keep_focal else focal)
    return Orbit.of_vector(values, count), errors


def _residuals(rays: Rays, values: Floats) -> Floats:
    """(2 M + P,) of all rays and of what is expected."""
    return np.concatenate((rays.judge(Orbit.of_vector(values, rays.count)).residuals().ravel(), _prior(rays, values)))


def _prior(rays: Rays, values: Floats) -> Floats:
    """(P,) how far the shift, the roll and the wobbles are from none, in what is expected of them."""
    shift, roll = values[rays.count + 2 : rays.count + 4]
    wobbles = values[rays.count + 4 :].reshape(-1, WOBBLES) / _WOBBLE_PRIOR
    return _PRIOR_WEIGHT * np.concatenate(([shift / _SHIFT_PRIOR, roll / _ROLL_PRIOR], wobbles.ravel()))


def _slopes(rays: Rays, values: Floats, steps: Floats) -> Floats:
    """(2 M + P, V) differences of the residuals; the first azimuth is the gauge and has none. What is a frame's own is
    only asked of the rays that it can matter to."""
    count = rays.count
    orbit = Orbit.of_vector(values, count)
    verdict = rays.judge(orbit)
    size = 2 * len(verdict.deficits)
    slopes = np.zeros((size + len(_prior(rays, values)), len(values)))
    touched = rays.touched(orbit, verdict)

    def fill(i: int) -> None:
        ahead, behind = values.copy(), values.copy()
        ahead[i] += steps[i]
        behind[i] -= steps[i]
        frame = i if i < count else (i - count - 4) // WOBBLES
        asked = touched[frame] if i < count or i >= count + 4 else None
        up, down = (rays.judge(Orbit.of_vector(v, count), asked).residuals() for v in (ahead, behind))
        changes = np.zeros((size // 2, 2))
        changes[slice(None) if asked is None else asked] = up - down
        slopes[:, i] = np.concatenate((changes.ravel(), _prior(rays, ahead) - _prior(rays, behind))) / (2 * steps[i])

    with ThreadPoolExecutor(min(os.cpu_count() or 1, 8)) as pool:
        list(pool.map(fill, range(1, len(values))))
    return slopes


def _step(
    rays: Rays, values: Floats, current: Floats, slopes: Floats, steps: Floats, damping: float
) -> tuple[Floats, Floats] | None:
    """A damped step that lowers the sum of squares, and the residuals there; None if there is none."""
    normal, gradient = slopes[:, 1:].T @ slopes[:, 1:], slopes[:, 1:].T @ current
    for _ in range(4):
        matrix = normal + damping * np.diag(np.diag(normal) + 1e-3 / steps[1:] ** 2)
        move = -np.linalg.solve(matrix, gradient)
        move *= min(1.0, _LONGEST / np.abs(move / steps[1:]).max())
        trial = values.copy()
        trial[1:] += move
        tried = _residuals(rays, trial)
        if tried @ tried < current @ current:
            return trial, tried
        damping *= 8
    return None
