"""Pictures of a turning object -> where the camera stood, when nothing is known but the pictures and their masks.

First many guesses of direction, span, elevation and focal length are scored by `recon.capture.coherence`; the best are
improved frame by frame, then all unknowns together by least squares. What is left to tell apart, the fit of a scene
tells (`recon.splat.solve_poses`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from torch import Tensor

from recon.capture.coherence import Floats, Orbit, Rays, turned_to
from recon.capture.ordering import differences, tour

Progress = Callable[[str, float], None]
"""Called with (what is done, share of it that is done)."""

_SPANS = tuple(math.radians(s) for s in (110, 160, 210, 260, 310))
"""Besides the full turn."""
_ELEVATIONS = tuple(math.radians(e) for e in (0, 15, 32, 50))
_FOV = math.radians(32)
_FOVS = tuple(math.radians(f) for f in (15, 22, 32, 45, 60))
_ROUNDS = (((0,), 6), ((1,), 4), ((2, 3), 3))
"""Which sweeps are made, and of how many guesses."""
_FINENESS = (1.0, 0.6, 0.35)
"""Degrees by which angles are moved for differences, iteration after iteration; the last one goes on."""
_SHIFT_PRIOR, _ROLL_PRIOR = 0.02, math.radians(2)
_PRIOR_WEIGHT = 0.3


@dataclass(frozen=True)
class Candidate:
    """An orbit that the pictures allow.

    Attributes:
        orbit: azimuths in the order of the pictures, the first 0.
        score: pixels; the smaller the better.
        azimuth_error, elevation_error, focal_error: expected standard errors: radians, radians, relative.
    """

    orbit: Orbit
    score: float
    azimuth_error: float = math.inf
    elevation_error: float = math.inf
    focal_error: float = math.inf


def find_orbits(
    pictures: Sequence[Tensor], *, ordered: bool, seed: int = 0, progress: Progress | None = None
) -> list[Candidate]:
    tell = progress or (lambda what, share: None)
    apart = differences(pictures)
    order = list(range(len(pictures))) if ordered else _opened(tour(apart), apart)
    coarse = Rays(pictures, 14, 10, 24, seed)
    found = [Candidate(o, coarse.judge(o).score()) for o in _guesses(order, apart, coarse)]
    for sweeps, count in _ROUNDS:
        found = [_improved(coarse, c, sweeps, everywhere=not ordered) for c in _diverse(sorted(found, key=_by_score), count)]
    kept = [least_squares(coarse, c.orbit, 6) for c in found]
    tell("search", 1.0)
    fine = Rays(pictures, 36, 28, 40, seed)
    kept = sorted(kept, key=_by_score)
    found = [least_squares(fine, kept[0].orbit, 10)]
    found += [replace(c, score=fine.judge(c.orbit).score()) for c in kept[1:]]
    tell("least squares", 1.0)
    return [replace(c, orbit=_from_first(c.orbit)) for c in sorted(found, key=_by_score)]


def _by_score(candidate: Candidate) -> float:
    return candidate.score


def _from_first(orbit: Orbit) -> Orbit:
    turned = orbit.azimuths - orbit.azimuths[0]
    return replace(orbit, azimuths=(turned + math.pi) % (2 * math.pi) - math.pi)


def _opened(path: list[int], apart: Floats) -> list[int]:
    steps = apart[path, [*path[1:], path[0]]]
    cut = int(steps.argmax()) + 1
    return path[cut:] + path[:cut]


def _guesses(order: list[int], apart: Floats, rays: Rays) -> list[Orbit]:
    count = len(order)
    steps = apart[order, [*order[1:], order[0]]] + 1e-6
    even = np.arange(count) / count
    uneven = np.concatenate(([0.0], np.cumsum(steps)[:-1])) / steps.sum()
    closed = [even, uneven]
    opened = [profile / profile[-1] for profile in closed]
    profiles = [2 * math.pi * p for p in closed] + [span * p for span, p in product(_SPANS, opened)]
    orbits = []
    for profile, sign, elevation in product(profiles, (1, -1), _ELEVATIONS):
        azimuths = np.empty(count)
        azimuths[order] = sign * profile
        orbits.append(Orbit(azimuths, elevation, _focal(_FOV, rays)))
    return orbits


def _focal(fov: float, rays: Rays) -> float:
    return min(rays.width, rays.height) / (2 * rays.width * math.tan(fov / 2))


def _diverse(candidates: list[Candidate], count: int) -> list[Candidate]:
    """The first few that differ; both directions among them."""
    kept: list[Candidate] = []
    for candidate in candidates:
        if all(_far(candidate.orbit, other.orbit) for other in kept):
            kept.append(candidate)
    heads = kept[:count]
    way = _direction(heads[0].orbit, heads[0].orbit)
    if all(_direction(heads[0].orbit, c.orbit) == way for c in heads):
        heads[-1:] = [c for c in kept[count:] if _direction(heads[0].orbit, c.orbit) != way][:1] or heads[-1:]
    return heads


def _turns(first: Orbit, second: Orbit) -> float:
    """Radians by which azimuths differ, after the best common turn: the mean."""
    gap = np.exp(1j * (first.azimuths - second.azimuths))
    return float(np.abs(np.angle(gap * np.conj(gap.mean() / max(abs(gap.mean()), 1e-9)))).mean())


def _direction(first: Orbit, second: Orbit) -> int:
    mirrored = replace(second, azimuths=-second.azimuths)
    return 1 if _turns(first, second) <= _turns(first, mirrored) else -1


def _far(first: Orbit, second: Orbit) -> bool:
    return _turns(first, second) > math.radians(6) or abs(first.elevation - second.elevation) > math.radians(8)


def _improved(rays: Rays, candidate: Candidate, sweeps: Sequence[int], *, everywhere: bool) -> Candidate:
    orbit = candidate.orbit
    for sweep in sweeps:
        orbit = _best_globals(rays, orbit, 0.6**sweep, first=sweep == 0)
        reach = math.radians((30, 20, 12, 6, 3)[sweep])
        orbit = _best_azimuths(rays, orbit, reach, everywhere=everywhere and sweep in (1, 2))
    return Candidate(orbit, rays.judge(orbit).score())


def _best_globals(rays: Rays, orbit: Orbit, reach: float, *, first: bool) -> Orbit:
    best = orbit, rays.judge(orbit).score()

    def offer(*options: Orbit) -> None:
        nonlocal best
        best = min((best, *((o, rays.judge(o).score()) for o in options)), key=lambda pair: pair[1])

    if first:
        offer(*(replace(orbit, focal=_focal(f, rays)) for f in _FOVS))
    for size in (reach, reach / 2):
        for way in (-size, size):
            offer(replace(best[0], elevation=best[0].elevation + way * math.radians(8)))
        for way in (-size, size):
            offer(replace(best[0], focal=best[0].focal * math.exp(0.25 * way)))
        for way in (-size, size):
            offer(replace(best[0], shift=best[0].shift + 0.02 * way))
        for way in (-size, size):
            offer(_stretched(best[0], 1 + 0.1 * way))
    return best[0]


def _stretched(orbit: Orbit, factor: float) -> Orbit:
    return replace(orbit, azimuths=orbit.azimuths * factor)


def _best_azimuths(rays: Rays, orbit: Orbit, reach: float, *, everywhere: bool) -> Orbit:
    """Frame after frame, the azimuth at which its own rays fit the others best."""
    for frame in range(rays.count):
        here = orbit.azimuths[frame]
        offsets = np.linspace(-1, 1, 9) * reach
        if everywhere:
            offsets = np.concatenate((offsets, np.linspace(0, 2 * math.pi, 37)[1:-1]))
        asked = rays.of_frame(frame)
        scores = [rays.judge(turned_to(orbit, frame, here + o), asked).score() for o in offsets]
        best = int(np.argmin(scores))
        if scores[best] < scores[4] - 1e-9:
            orbit = turned_to(orbit, frame, here + offsets[best])
    return orbit


def least_squares(rays: Rays, orbit: Orbit, iterations: int) -> Candidate:
    """All unknowns together: Levenberg-Marquardt with differences for derivatives, ever finer ones."""
    values, damping = orbit.vector(), 1e-2
    unit = np.concatenate((np.full(rays.count, 1.0), [1.0, 1.5, 0.2, 0.4])) * math.radians(1)
    current = _residuals(rays, values)
    slopes, failures = np.zeros((len(current), len(values))), 0
    for iteration in range(iterations):
        steps = unit * _FINENESS[min(iteration, len(_FINENESS) - 1)]
        slopes = _slopes(rays, values, steps)
        moved = _step(rays, values, current, slopes, steps, damping)
        if moved is None:
            damping, failures = damping * 10, failures + 1
        else:
            gained = 1 - (moved[1] @ moved[1]) / (current @ current)
            values, current, damping = *moved, max(damping / 4, 1e-4)
            failures = 0 if gained > 5e-3 else failures + 1
        if failures == 2:
            break
    found = Orbit.of_vector(values)
    variance = float(current @ current) / max(1, len(current) - len(values))
    normal = slopes[:, 1:].T @ slopes[:, 1:]
    spread = np.sqrt(np.diag(np.linalg.inv(normal + 1e-9 * np.eye(len(normal)))) * variance)
    score = rays.judge(found).score()
    return Candidate(found, score, float(np.sqrt((spread[:-4] ** 2).mean())), float(spread[-4]), float(spread[-3]))


def _residuals(rays: Rays, values: Floats) -> Floats:
    """(2 M + 2,) of all rays and of what is expected."""
    prior = _PRIOR_WEIGHT * np.array([values[-2] / _SHIFT_PRIOR, values[-1] / _ROLL_PRIOR])
    return np.concatenate((rays.judge(Orbit.of_vector(values)).residuals().ravel(), prior))


def _slopes(rays: Rays, values: Floats, steps: Floats) -> Floats:
    """(R, V) central differences of the residuals; the first azimuth is the gauge and has none. A frame's turn is only
    asked of the rays that it can matter to."""
    verdict = rays.judge(Orbit.of_vector(values))
    size = 2 * len(verdict.deficits)
    slopes = np.zeros((size + 2, len(values)))
    touched = rays.touched(Orbit.of_vector(values), verdict)
    for i in range(1, len(values)):
        ahead, behind = values.copy(), values.copy()
        ahead[i] += steps[i]
        behind[i] -= steps[i]
        if i < rays.count:
            asked = touched[i]
            up, down = (rays.judge(Orbit.of_vector(v), asked).residuals() for v in (ahead, behind))
            rows = slopes[:size, i].reshape(-1, 2)
            rows[asked] = (up - down) / (2 * steps[i])
        else:
            slopes[:, i] = (_residuals(rays, ahead) - _residuals(rays, behind)) / (2 * steps[i])
    return slopes


def _step(
    rays: Rays, values: Floats, current: Floats, slopes: Floats, steps: Floats, damping: float
) -> tuple[Floats, Floats] | None:
    """A damped step that lowers the sum of squares, and the residuals there; None if there is none."""
    normal, gradient = slopes[:, 1:].T @ slopes[:, 1:], slopes[:, 1:].T @ current
    for _ in range(4):
        matrix = normal + damping * np.diag(np.diag(normal) + 1e-3 / steps[1:] ** 2)
        move = -np.linalg.solve(matrix, gradient)
        move *= min(1.0, 15 / np.abs(move / steps[1:]).max())
        trial = values.copy()
        trial[1:] += move
        tried = _residuals(rays, trial)
        if tried @ tried < current @ current:
            return trial, tried
        damping *= 8
    return None
