import math

import numpy as np
import pytest
import torch

from recon.capture.coherence import Rays
from recon.capture.least_squares import least_squares
from recon.capture.turntable import Candidate, _placed, find_orbits
from tests.recon.capture.turning import azimuth_errors, plain_chair, shipped_object, turned

COUNT = 16
UNEVEN = -2 * math.pi * np.cumsum([0, 1.5, 1.2, 0.8, 0.6, 0.7, 1.0, 1.6, 1.3, 0.9, 0.5, 0.6, 1.0, 1.4, 1.1, 0.9]) / 16
"""The other way round, at a speed that varies threefold."""


def focal_error(candidate, seen):
    return abs(candidate.orbit.focal / seen.orbit().focal - 1)


def test_a_reversed_and_uneven_turn_is_found():
    seen = turned(shipped_object("house"), UNEVEN)
    best = find_orbits(seen.pictures, ordered=True)[0]
    assert np.median(azimuth_errors(best.orbit.azimuths, seen.azimuths)) < 2
    assert focal_error(best, seen) < 0.03
    assert best.orbit.elevation == pytest.approx(seen.elevation, abs=math.radians(2))


def test_a_long_lens_is_found():
    seen = turned(shipped_object("house"), 2 * math.pi * np.arange(COUNT) / COUNT, fov=20)
    best = find_orbits(seen.pictures, ordered=True)[0]
    assert np.median(azimuth_errors(best.orbit.azimuths, seen.azimuths)) < 2
    assert focal_error(best, seen) < 0.08


def test_shuffled_pictures_are_found_whatever_their_order():
    seen = turned(shipped_object("radio"), 2 * math.pi * np.arange(COUNT) / COUNT)
    answers = []
    for seed in (0, 1):
        given = np.random.default_rng(seed).permutation(COUNT)
        shuffled = seen.picked(given)
        best = find_orbits(shuffled.pictures, ordered=False)[0]
        assert best.orbit.azimuths[0] == 0
        assert np.median(azimuth_errors(best.orbit.azimuths, shuffled.azimuths)) < 2
        answers.append(best.orbit.azimuths[np.argsort(given)])
    assert np.median(azimuth_errors(answers[0], answers[1])) < 2


def test_an_object_without_texture_is_found_by_its_outlines():
    seen = turned(plain_chair(), UNEVEN, lit=False)
    best, *others = find_orbits(seen.pictures, ordered=True)
    assert np.median(azimuth_errors(best.orbit.azimuths, seen.azimuths)) < 2
    assert focal_error(best, seen) < 0.03
    assert min(other.score for other in others) > 1.5 * best.score


def test_cameras_that_do_not_keep_their_place_are_found_beside_it():
    arc = np.radians(220) * np.arange(12) / 11
    seen = turned(shipped_object("house"), arc, wobble=0.5)
    best = find_orbits(seen.pictures, ordered=True)[0]
    assert best.orbit.wobbles is not None
    assert np.median(azimuth_errors(best.orbit.azimuths, seen.azimuths)) < 1.5
    assert focal_error(best, seen) < 0.03
    steady = find_orbits(turned(shipped_object("house"), arc).pictures, ordered=True)[0]
    assert steady.orbit.wobbles is None


def test_a_known_field_of_view_is_kept():
    seen = turned(plain_chair(), 2 * math.pi * np.arange(12) / 12, size=32)
    for candidate in find_orbits(seen.pictures, ordered=True, fov=seen.fov):
        assert candidate.orbit.fov(32, 32) == pytest.approx(seen.fov, rel=1e-9)
    best = find_orbits(seen.pictures, ordered=True, fov=seen.fov)[0]
    assert np.median(azimuth_errors(best.orbit.azimuths, seen.azimuths)) < 3
    assert best.uncertainty.focal < 0.1
    wrong = find_orbits(seen.pictures, ordered=True, fov=1.6 * seen.fov)[0]
    assert wrong.uncertainty.focal > 0.3


def test_the_same_seed_finds_the_same():
    seen = turned(plain_chair(), 2 * math.pi * np.arange(8) / 8, size=32)
    first, second = (find_orbits(seen.pictures, ordered=True)[0] for _ in range(2))
    assert first.orbit.vector().tobytes() == second.orbit.vector().tobytes()


def test_more_pictures_than_are_solved_together_are_placed_between_them():
    seen = turned(plain_chair(), 2 * math.pi * np.arange(40) / 40, size=32)
    best = find_orbits(seen.pictures, ordered=True)[0]
    assert best.orbit.azimuths.shape == (40,)
    assert np.median(azimuth_errors(best.orbit.azimuths, seen.azimuths)) < 3


def test_wobbles_of_the_pictures_between_are_found_too():
    seen = turned(shipped_object("house"), np.radians(220) * np.arange(15) / 14, wobble=0.5)
    keys = list(range(0, 15, 2))
    some, every = (Rays(pictures, 14, 10, 24, 0) for pictures in (seen.picked(keys).pictures, seen.pictures))
    orbit, _ = least_squares(some, seen.picked(keys).orbit().loosened(), 8)
    placed = _placed(every, Candidate(orbit, some.judge(orbit).score()), keys, list(range(15)), False)
    assert (np.abs(placed.orbit.wobbles).max(1) > 1e-3).all()
    assert np.median(azimuth_errors(placed.orbit.azimuths, seen.azimuths)) < 1.5
    steady, _ = least_squares(every, seen.orbit(), 8)
    assert placed.score == every.judge(placed.orbit).score() < 0.7 * every.judge(steady).score()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda p: p[:5], "6 to 256 pictures, got 5"),
        (lambda p: p * 50, "6 to 256 pictures, got 300"),
        (lambda p: [*p[:-1], torch.zeros(20, 24, 4)], "of one size"),
        (lambda p: [picture[..., :3] for picture in p], "RGBA"),
        (lambda p: [picture[:, :, 0] for picture in p], "RGBA"),
        (lambda p: [*p[:-1], p[0] / 0], "picture 5 .* not finite"),
        (lambda p: [*p[:-1], torch.zeros_like(p[0])], "picture 5 .* empty"),
        (lambda p: [*p[:-1], torch.ones_like(p[0])], "picture 5 .* full"),
    ],
)
def test_pictures_that_cannot_be_solved_are_refused(change, words):
    pictures = turned(plain_chair(), range(6), size=24).pictures
    with pytest.raises(ValueError, match=words):
        find_orbits(change(pictures), ordered=True)
