"""Which moments of a clip are used: evenly spaced in time, whatever the rate of its pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from recon.capture.errors import CaptureError

_SAME_TIME = 1e-4
"""Seconds between frames of one moment, at most."""


def moments_of(times: Sequence[float]) -> list[list[int]]:
    """The indices of the times, in seconds, that are the same but for rounding; in order of time."""
    moments: list[list[int]] = []
    for index in np.argsort(np.asarray(times, float), kind="stable").tolist():
        if moments and times[index] - times[moments[-1][0]] <= _SAME_TIME:
            moments[-1].append(index)
        else:
            moments.append([index])
    return moments


def choose_moments(
    times: Sequence[float], count: int, within: tuple[float, float] | None, source: Path
) -> list[list[int]]:
    """The frames of at most `count` moments, each a list of indices into `times`, in order of time.

    Args:
        times: seconds, of each frame.
        within: begin and end, in seconds; all if None.
        source: what an error names.

    Raises:
        CaptureError: if fewer than two moments lie within.
    """
    low, high = within or (-math.inf, math.inf)
    inside = [i for i, time in enumerate(times) if low - _SAME_TIME <= time <= high + _SAME_TIME]
    moments = [[inside[place] for place in moment] for moment in moments_of([times[i] for i in inside])]
    if len(moments) < 2:
        raise CaptureError(
            source,
            found=f"{len(moments)} moments" + ("" if within is None else f" from {within[0]:g} to {within[1]:g} s"),
            expected="at least two, at different times",
            remedy="Name a longer part with --clip; what stands still goes to `video2mesh`.",
        )
    if len(moments) <= count:
        return moments
    begins = np.array([times[moment[0]] for moment in moments])
    wanted = np.linspace(begins[0], begins[-1], count)
    chosen = np.unique([np.abs(begins - time).argmin() for time in wanted])
    return [moments[index] for index in chosen.tolist()]
