"""Quality over time: what a fit's held-out pictures are worth after so much work, and when one fit reaches another."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from benchmarks._held_out import Split
from recon.splat.fit import fit_gaussians
from recon.splat.fit_options import FitOptions
from recon.splat.gaussians import Gaussians

NEAR_ENOUGH = 0.1
"""dB below its best at which a fit counts as converged: the last hundredths take longest and nobody sees them."""


@dataclass(frozen=True)
class Point:
    """One moment of a fit.

    Attributes:
        steps: done so far.
        cpu: seconds so far, all threads together.
        wall: seconds so far; None where it was not measured.
        psnr: of the held-out pictures, in dB.
        gaussians: their number.
    """

    steps: int
    cpu: float
    wall: float | None
    psnr: float
    gaussians: int


Curve = Sequence[Point]


def our_curve(split: Split, options: FitOptions, samples: int, seed: int = 0) -> list[Point]:
    """Fits the capture and looks `samples` times. The clocks begin before the start is made of the pictures, and stand
    still while the held-out pictures are drawn."""
    every = max(1, options.iterations // samples)
    points: list[Point] = []
    paused = [0.0, 0.0]
    begin = (time.process_time(), time.perf_counter())

    def watch(done: int, gaussians: Gaussians) -> None:
        if done % every and done != options.iterations:
            return
        now = (time.process_time(), time.perf_counter())
        cpu, wall = (b - a - pause for a, b, pause in zip(begin, now, paused))
        points.append(Point(done, cpu, wall, split.score(gaussians), len(gaussians)))
        paused[0] += time.process_time() - now[0]
        paused[1] += time.perf_counter() - now[1]

    fit_gaussians(split.capture, options, seed=seed, watch=watch)
    return points


def converged(curve: Curve) -> tuple[float, float]:
    """(PSNR, CPU seconds) at which the curve first comes within `NEAR_ENOUGH` of its best."""
    wanted = max(point.psnr for point in curve) - NEAR_ENOUGH
    reached = seconds_to(curve, wanted)
    assert reached is not None
    return wanted, reached


def seconds_to(curve: Curve, psnr: float) -> float | None:
    """CPU seconds after which the curve first has `psnr`, linear between two looks; None if it never has."""
    return _first(curve, psnr, [point.cpu for point in curve])


def wall_seconds_to(curve: Curve, psnr: float) -> float | None:
    """The same by the clock on the wall."""
    return _first(curve, psnr, [point.wall or 0.0 for point in curve])


def psnr_after(curve: Curve, seconds: float) -> float | None:
    """The PSNR after so many CPU seconds, linear between two looks; None outside of the curve."""
    for a, b in pairwise(curve):
        if a.cpu <= seconds <= b.cpu:
            return a.psnr + (b.psnr - a.psnr) * (seconds - a.cpu) / max(b.cpu - a.cpu, 1e-9)
    return None


def _first(curve: Curve, psnr: float, times: Sequence[float]) -> float | None:
    for i, point in enumerate(curve):
        if point.psnr >= psnr:
            if i == 0:
                return times[0]
            before = curve[i - 1]
            return times[i - 1] + (times[i] - times[i - 1]) * (psnr - before.psnr) / (point.psnr - before.psnr)
    return None
