"""How badly cameras explain pictures: by the scene that can be fitted to them."""

from __future__ import annotations

import numpy as np

from recon.capture import Capture
from recon.capture.normalise import normalise
from recon.splat.corrections import NO_CORRECTIONS
from recon.splat.fit import fit_scene
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
    losses: list[float] = []

    def note(done: int, total: int, figures: dict[str, float]) -> None:
        losses.append(figures["color"] + figures["alpha"])
        if progress is not None:
            progress(done, total, figures)

    options = coarse_fit(_PASSES * len(capture), _GAUSSIANS, _SIZE, NO_CORRECTIONS)
    try:
        fit_scene(normalise(capture), options, seed=seed, progress=note)
    except ValueError:
        return float("inf")
    return float(np.mean(losses[-_LAST * len(capture) :]))
