"""Pictures of a turning object -> where the camera stood, when nothing is known but the pictures and their masks.

First many guesses of direction, span, elevation and focal length are scored by `recon.capture.coherence`; the best are
improved frame by frame, then all unknowns together by least squares. The fit of a scene goes on from there
(`recon.splat.solve_poses`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import torch
from torch import Tensor

from recon.capture.coherence import WOBBLES, Floats, Orbit, Rays, turned_to
from recon.capture.least_squares import Uncertainty, least_squares
from recon.capture.ordering import differences, tour

Progress = Callable[[str, float], None]
"""Called with (what is being done, share of it that is done)."""

FEWEST, MOST = 6, 256
"""Pictures that can be solved."""
_KEYS = 32
"""Pictures that are solved together; further ones are placed between them."""
_SPANS = tuple(math.radians(s) for s in (110, 160, 210, 260, 310))
"""Guesses of how far the object turns, besides a full turn."""
_ELEVATIONS = tuple(math.radians(e) for e in (0, 15, 32, 50))
_FOV = math.radians(32)
"""Of all guesses at first; then these are tried."""
_FOVS = tuple(math.radians(f) for f in (15, 22, 45, 60))
_REACHES = tuple(math.radians(r) for r in (30, 20, 12, 6))
"""How far an azimuth may be moved, sweep after sweep."""
_ROUNDS = (((0,), 6), ((1,), 4), ((2, 3), 3))
"""Which sweeps are made, and of how many guesses."""
_UNSTEADY, _WRONG = 0.3, 1.0
"""Pixels, of pictures of 128 a side: where rays miss the best orbit of steady cameras by as much as this, wobbles are
found too. What misses by more than the second is another orbit, which wobbles would only gloss over."""
_STEADIER = 0.7
"""Share of what steady cameras miss by that may be left for wobbles to be believed."""
_WOBBLING_FOVS = tuple(math.radians(f) for f in (25, 40))
"""Tried besides what was found for steady cameras: where they are not, any focal length may fit them best."""
_WOBBLING_ROUNDS = ((3, 4), (5, 2))
"""Iterations of the least squares, and how many orbits go on."""
_HOPELESS = 3.0
"""Guesses that score so many times the best one's pixels are not adjusted any more as orbits of steady cameras."""
_PLACED_TOGETHER = 96
"""Pictures whose wobbles are found together at most, after those of the first few."""


@dataclass(frozen=True)
class Candidate:
    """An orbit that the pictures allow.

    Attributes:
        orbit: azimuths in the order of the pictures, the first 0.
        score: pixels by which rays miss, colours included; the smaller the better.
        uncertainty: what the least squares expect; None where they were not asked.
    """

    orbit: Orbit
    score: float
    uncertainty: Uncertainty | None = None


def find_orbits(
    pictures: Sequence[Tensor],
    *,
    ordered: bool,
    fov: float | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> list[Candidate]:
    """The best orbit, and others that were followed to the end: the opposite direction among them.

    Args:
        pictures: N of (H, W, 4) float32, straight alpha, of one camera; about 128 pixels a side are best.
        ordered: whether they were taken in this order, so that the turn is monotonic, however uneven. Otherwise the
            order is found from what they look like.
        fov: radians of the shorter side, where it is known; it is kept, and the uncertainty of the focal length is how
            far from it the pictures alone would have it.
        seed: of the choice of rays; the same seed finds the same.
        progress: told what is done.

    Raises:
        ValueError: if there are fewer than `FEWEST` or more than `MOST` pictures, if their sizes differ or are under
            16 pixels, if a mask is empty or full, or a number is not finite.
    """
    check_pictures(pictures)
    tell = progress or (lambda what, share: None)
    if len(pictures) <= _KEYS:
        found = _solved(pictures, ordered, fov, seed, tell)
    else:
        order = list(range(len(pictures))) if ordered else _orders(pictures, ordered=False)[0][0]
        keys = [order[i] for i in np.linspace(0, len(order) - 1, _KEYS).round().astype(int)]
        found = _solved([pictures[i] for i in keys], ordered, fov, seed, tell)
        rays = Rays(pictures, 14, 10, 24, seed)
        found = sorted((_placed(rays, c, keys, order, fov is not None) for c in found), key=_by_score)
    return [replace(c, orbit=_from_first(c.orbit)) for c in found]


def check_pictures(pictures: Sequence[Tensor]) -> None:
    """Raises:
    ValueError: if `find_orbits` cannot take them.
    """
    if not FEWEST <= len(pictures) <= MOST:
        raise ValueError(f"an orbit is solved from {FEWEST} to {MOST} pictures, got {len(pictures)}")
    shapes = {tuple(picture.shape) for picture in pictures}
    shape = shapes.pop()
    if shapes or len(shape) != 3 or shape[2] != 4 or min(shape[:2]) < 16:
        raise ValueError("an orbit is solved from RGBA pictures of one size, at least 16 pixels a side")
    for index, picture in enumerate(pictures):
        if not bool(torch.isfinite(picture).all()):
            raise ValueError(f"picture {index} holds numbers that are not finite")
        mask = picture[..., 3] > 0.5
        if not bool(mask.any()) or bool(mask.all()):
            raise ValueError(
                f"picture {index} shows nothing cut out: its alpha is {'full' if mask.any() else 'empty'}; an orbit is "
                "solved from masks of the object, so leave the picture out or cut the object out"
            )


def _solved(pictures: Sequence[Tensor], ordered: bool, fov: float | None, seed: int, tell: Progress) -> list[Candidate]:
    """Candidates, the best first."""
    coarse, known = Rays(pictures, 14, 10, 24, seed), fov is not None
    focal = _focal(_FOV if fov is None else fov, coarse)
    guesses = [guess for order, apart in _orders(pictures, ordered) for guess in _guesses(order, apart, focal)]
    found = [Candidate(guess, coarse.judge(guess).score()) for guess in guesses]
    for stage, (sweeps, count) in enumerate(_ROUNDS):
        tell("search", stage / len(_ROUNDS))
        kept = _different(sorted(found, key=_by_score), count)
        found = [_improved(coarse, candidate, sweeps, everywhere=not ordered, keep_focal=known) for candidate in kept]
    limit = _HOPELESS * min(candidate.score for candidate in found)
    close = [_adjusted(coarse, c, 6, known) if c.score <= limit else c for c in found]
    tell("least squares", 0.5)
    fine = Rays(pictures, 36, 28, 40, seed)
    best, *others = sorted(close, key=_by_score)
    others = [replace(c, score=fine.judge(c.orbit).score()) for c in others]
    tell("least squares", 1.0)
    best = _adjusted(fine, best, 10, known)
    # How far off the pictures alone would have a focal length that is given says what to think of it.
    free = _adjusted(fine, best, 10, False) if known else best
    if _UNSTEADY < free.score < _WRONG:
        wobbling = _unsteady(coarse, fine, close, known, tell)
        if wobbling[0].score < _STEADIER * best.score:
            others = [c for c in (*wobbling[1:], best, *others) if differs(c.orbit, wobbling[0].orbit)]
            best = wobbling[0]
            free = _adjusted(fine, best, 10, False) if known else best
    if known and best.uncertainty is not None:
        off = abs(math.log(free.orbit.focal / best.orbit.focal))
        best = replace(best, uncertainty=replace(best.uncertainty, focal=off))
    return sorted([best, *others], key=_by_score)


def _by_score(candidate: Candidate) -> float:
    return candidate.score


def _unsteady(coarse: Rays, fine: Rays, steady: list[Candidate], keep_focal: bool, tell: Progress) -> list[Candidate]:
    """The same orbits with cameras that wobble, the best first."""
    found = []
    for candidate in steady:
        focals = [candidate.orbit.focal, *(_focal(fov, coarse) for fov in _WOBBLING_FOVS if not keep_focal)]
        found += [replace(candidate, orbit=replace(candidate.orbit.loosened(), focal=focal)) for focal in focals]
    for stage, (iterations, count) in enumerate(_WOBBLING_ROUNDS):
        tell("unsteady cameras", stage / (len(_WOBBLING_ROUNDS) + 1))
        found = sorted((_adjusted(coarse, candidate, iterations, keep_focal) for candidate in found), key=_by_score)
        found = found[:1] + [c for c in found[1:] if differs(c.orbit, found[0].orbit)][: count - 1]
    tell("unsteady cameras", len(_WOBBLING_ROUNDS) / (len(_WOBBLING_ROUNDS) + 1))
    return sorted((_adjusted(fine, candidate, 10, keep_focal) for candidate in found), key=_by_score)


def _adjusted(rays: Rays, candidate: Candidate, iterations: int, keep_focal: bool) -> Candidate:
    orbit, uncertainty = least_squares(rays, candidate.orbit, iterations, keep_focal=keep_focal)
    return Candidate(orbit, rays.judge(orbit).score(), uncertainty)


def _from_first(orbit: Orbit) -> Orbit:
    """The orbit with azimuths from the first picture's, in (-pi, pi]."""
    return replace(orbit, azimuths=np.angle(np.exp(1j * (orbit.azimuths - orbit.azimuths[0]))))


def _orders(pictures: Sequence[Tensor], ordered: bool) -> list[tuple[list[int], Floats]]:
    """The given order, or the tours that the pictures suggest, each with the differences it is short in."""
    measures = differences(pictures)
    if ordered:
        return [(list(range(len(pictures))), measures[0])]
    return [(_opened(tour(apart), apart), apart) for apart in measures]


def _opened(path: list[int], apart: Floats) -> list[int]:
    """A closed tour, begun behind its longest step."""
    cut = int(apart[path, [*path[1:], path[0]]].argmax()) + 1
    return path[cut:] + path[:cut]


def _guesses(order: list[int], apart: Floats, focal: float) -> list[Orbit]:
    """Even turns, and turns by as much as neighbours differ; full ones and parts; both ways; from several heights."""
    count = len(order)
    steps = apart[order, [*order[1:], order[0]]] + 1e-6
    closed = [np.arange(count) / count, np.concatenate(([0.0], np.cumsum(steps)[:-1])) / steps.sum()]
    opened = [profile / profile[-1] for profile in closed]
    profiles = [2 * math.pi * p for p in closed] + [span * p for span, p in product(_SPANS, opened)]
    orbits = []
    for profile, sign, elevation in product(profiles, (1, -1), _ELEVATIONS):
        azimuths = np.empty(count)
        azimuths[order] = sign * profile
        orbits.append(Orbit(azimuths, elevation, focal))
    return orbits


def _focal(fov: float, rays: Rays) -> float:
    """In widths of the picture."""
    return min(rays.width, rays.height) / (2 * rays.width * math.tan(fov / 2))


def _different(candidates: list[Candidate], count: int) -> list[Candidate]:
    """The first few that are not the same; one that turns the other way among them."""
    kept: list[Candidate] = []
    for candidate in candidates:
        if all(differs(candidate.orbit, other.orbit) for other in kept):
            kept.append(candidate)
    heads, rest = kept[:count], kept[count:]
    if all(_same_way(heads[0].orbit, c.orbit) for c in heads):
        heads[-1:] = [c for c in rest if not _same_way(heads[0].orbit, c.orbit)][:1] or heads[-1:]
    return heads


def turned_apart(first: Floats, second: Floats) -> Floats:
    """(N,) radians in [0, pi] between azimuths, after the best common turn."""
    gap = np.exp(1j * (first - second))
    middle = gap.mean()
    # Where no turn is best, as between opposite directions, any will do.
    return np.abs(np.angle(gap * (np.conj(middle) / abs(middle) if abs(middle) > 1e-9 else 1)))


def _same_way(first: Orbit, second: Orbit) -> bool:
    same, opposite = (turned_apart(first.azimuths, way * second.azimuths).mean() for way in (1, -1))
    return bool(same <= opposite)


def differs(first: Orbit, second: Orbit) -> bool:
    """Whether two orbits are more than the same with small errors."""
    apart = turned_apart(first.azimuths, second.azimuths).mean()
    return bool(apart > math.radians(6) or abs(first.elevation - second.elevation) > math.radians(8))


def _improved(
    rays: Rays, candidate: Candidate, sweeps: Sequence[int], *, everywhere: bool, keep_focal: bool
) -> Candidate:
    """What all frames share and what is each frame's own, in turns; `everywhere`: a frame may also go far away."""
    orbit = candidate.orbit
    for sweep in sweeps:
        orbit = _best_shared(rays, orbit, 0.6**sweep, first=sweep == 0, keep_focal=keep_focal)
        orbit = _best_azimuths(rays, orbit, _REACHES[sweep], everywhere=everywhere and sweep in (1, 2))
    return Candidate(orbit, rays.judge(orbit).score())


def _best_shared(rays: Rays, orbit: Orbit, reach: float, *, first: bool, keep_focal: bool) -> Orbit:
    """Coordinate descent over elevation, focal length, shift and the span of the azimuths."""
    best, least = orbit, rays.judge(orbit).score()

    def offer(option: Orbit) -> None:
        nonlocal best, least
        score = rays.judge(option).score()
        if score < least:
            best, least = option, score

    for fov in _FOVS if first and not keep_focal else ():
        offer(replace(orbit, focal=_focal(fov, rays)))
    for way in (-reach, reach, -reach / 2, reach / 2):
        offer(replace(best, elevation=best.elevation + math.radians(8) * way))
        if not keep_focal:
            offer(replace(best, focal=best.focal * math.exp(0.25 * way)))
        offer(replace(best, shift=best.shift + 0.02 * way))
        offer(replace(best, azimuths=best.azimuths * (1 + 0.1 * way)))
    return best


def _best_azimuths(rays: Rays, orbit: Orbit, reach: float, *, everywhere: bool) -> Orbit:
    """Frame after frame, the azimuth at which its own rays fit the others best."""
    offsets = np.linspace(-1, 1, 9) * reach
    if everywhere:
        offsets = np.concatenate((offsets, np.linspace(0, 2 * math.pi, 37)[1:-1]))
    for frame in range(rays.count):
        asked, options = rays.of_frame(frame), [turned_to(orbit, frame, orbit.azimuths[frame] + o) for o in offsets]
        scores = [rays.judge(option, asked).score() for option in options]
        best = int(np.argmin(scores))
        if scores[best] < scores[4] - 1e-9:
            orbit = options[best]
    return orbit


def _placed(rays: Rays, candidate: Candidate, keys: Sequence[int], order: Sequence[int], keep_focal: bool) -> Candidate:
    """The orbit of all pictures from that of the key pictures: between them at first, then where their rays fit. The
    errors that were expected of the key pictures are kept."""
    at = [order.index(key) for key in keys]
    azimuths = np.empty(len(order))
    azimuths[list(order)] = np.interp(np.arange(len(order)), at, np.unwrap(candidate.orbit.azimuths))
    orbit = replace(candidate.orbit, azimuths=azimuths)
    if orbit.wobbles is not None:
        wobbles = np.zeros((len(order), WOBBLES))
        wobbles[list(keys)] = orbit.wobbles
        orbit = replace(orbit, wobbles=wobbles)
    for reach in (8, 3, 1):
        orbit = _best_azimuths(rays, orbit, math.radians(reach), everywhere=False)
    if orbit.wobbles is not None and len(order) <= _PLACED_TOGETHER:
        orbit, _ = least_squares(rays, orbit, 4, keep_focal=keep_focal)
    return replace(candidate, orbit=orbit, score=rays.judge(orbit).score())
