"""Which moments of a clip are used: evenly spaced in time, whatever the rate of its pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from recon.capture.errors import CaptureError

_SAME_TIME = 1e-4
"""Seconds between frames of one moment, at most."""
_FEWEST_VIEWS = 4
"""Where moments have fewer frames than this on average, as those of one moving camera, neighbouring ones are taken
together,"""
_ENOUGH_VIEWS = 6
"""until there are so many."""


def moments_of(times: Sequence[float]) -> list[list[int]]:
    """The indices of the times, in seconds, that are the same but for rounding; in order of time."""
    moments: list[list[int]] = []
    for index in np.argsort(np.asarray(times, float), kind="stable").tolist():
        if moments and times[index] - times[moments[-1][0]] <= _SAME_TIME:
            moments[-1].append(index)
        else:
            moments.append([index])
    return moments


def gathered(moments: list[list[int]]) -> list[list[int]]:
    """The same moments, or, where most have one view or few, neighbouring ones taken together."""
    if sum(map(len, moments)) >= _FEWEST_VIEWS * len(moments):
        return moments
    together: list[list[int]] = [[]]
    for moment in moments:
        if len(together[-1]) >= _ENOUGH_VIEWS:
            together.append([])
        together[-1] = together[-1] + moment
    if len(together) > 1 and len(together[-1]) < _FEWEST_VIEWS:
        together[-2:] = [together[-2] + together[-1]]
    return together


def choose_moments(
    times: Sequence[float],
    count: int,
    within: tuple[float, float] | None,
    source: Path,
    *,
    several_views: bool = False,
) -> list[list[int]]:
    """The frames of at most `count` moments, each a list of indices into `times`, in order of time.

    Args:
        times: seconds, of each frame.
        within: begin and end, in seconds; all if None.
        source: what an error names.
        several_views: whether the frames are views from different places, of which a moment needs several: then
            moments are `gathered`.

    Raises:
        CaptureError: if fewer than two moments lie within.
    """
    low, high = within or (-math.inf, math.inf)
    inside = [i for i, time in enumerate(times) if low - _SAME_TIME <= time <= high + _SAME_TIME]
    moments = [[inside[place] for place in moment] for moment in moments_of([times[i] for i in inside])]
    if several_views:
        moments = gathered(moments)
    if len(moments) < 2:
        part = "" if within is None else f" from {within[0]:g} to {within[1]:g} s"
        found = ("no moment" if not moments else "one moment") + part
        remedy = "What stands still goes to `video2mesh`, a single picture to `img2mesh`."
        if within is not None:
            remedy = f"The source goes from {min(times):g} to {max(times):g} s; name a longer part with --clip."
        raise CaptureError(source, found=found, expected="at least two, at different times", remedy=remedy)
    if len(moments) <= count:
        return moments
    begins = np.array([np.mean([times[index] for index in moment]) for moment in moments])
    wanted = np.linspace(begins[0], begins[-1], count)
    chosen = np.unique([np.abs(begins - time).argmin() for time in wanted])
    return [moments[index] for index in chosen.tolist()]
