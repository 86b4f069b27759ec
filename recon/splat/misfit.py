"""How badly cameras explain pictures: by the scene that can be fitted to them."""

from __future__ import annotations

import numpy as np

from recon.capture import Capture
from recon.capture.normalise import normalise
from recon.splat.corrections import NO_CORRECTIONS
from recon.splat.fit import Fit, fit_scene
from recon.splat.fit_options import FitOptions
from recon.splat.loop import Progress
from recon.splat.refine_cameras import coarse_fit

_PASSES = 30
_GAUSSIANS = 4000
_SIZE = 128
_LAST = 2
"""Passes at the end that are told of."""


def misfit(capture: Capture, *, seed: int = 0, progress: Progress | None = None) -> float:
    """What is left of the loss of colours and masks when a coarse scene has been fitted to the pictures, with their
    cameras as they are. Of two guesses of the same pictures' cameras the better one leaves less. Cameras that agree
    about some points, as structure from motion's always do, can be wrong all the same where one side of a subject
    looks like another; then no scene looks like the pictures.

    Args:
        capture: frames with silhouettes, anywhere and of any size.
        seed: of the fit.
        progress: told about every view that was compared.

    Returns:
        At least 0, without a unit; infinity where the silhouettes do not even meet.
    """
    options = coarse_fit(_PASSES * len(capture), _GAUSSIANS, _SIZE, NO_CORRECTIONS)
    try:
        return fit_and_misfit(normalise(capture), options, seed=seed, progress=progress)[1]
    except ValueError:
        return float("inf")


def fit_and_misfit(
    capture: Capture, options: FitOptions, *, seed: int, progress: Progress | None = None
) -> tuple[Fit, float]:
    """A fit, and the mean loss of colours and masks in its last two passes over the frames.

    Raises:
        ValueError: as `fit_scene`.
    """
    losses: list[float] = []

    def note(done: int, total: int, figures: dict[str, float]) -> None:
        losses.append(figures["color"] + figures["alpha"])
        if progress is not None:
            progress(done, total, figures)

    fit = fit_scene(capture, options, seed=seed, progress=note)
    return fit, float(np.mean(losses[-_LAST * len(capture) :]))
