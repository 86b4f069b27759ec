"""The loop of every fit, of still scenes and of moving ones: draw views, compare them with their frames, step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch

from recon.splat.comparing import Target, differentiated
from recon.splat.corrections import FrameCorrections
from recon.splat.fit_options import FitOptions
from recon.splat.gaussians import Gaussians
from recon.splat.optimise import SceneOptimiser

Progress = Callable[[int, int, dict[str, float]], None]
"""Called with (views compared, views in all, current figures)."""
Watch = Callable[[int, Gaussians], None]
"""Called with (views compared, the scene as it is then, detached); whoever keeps the scene copies it."""


def optimise_scene(
    optimiser: SceneOptimiser,
    order: Iterator[int],
    targets: Sequence[Target],
    corrections: FrameCorrections,
    options: FitOptions,
    generator: torch.Generator,
    *,
    most: int,
    progress: Progress | None = None,
    watch: Watch | None = None,
) -> None:
    """Compares `options.iterations` views, and steps.

    Args:
        order: indices of the frames to look at, without an end; those of one step (`options.views_per_step` each) are
            of one time.
        targets: the frames, on the device of the scene.
        corrections: what is estimated of the frames.
        generator: of the backgrounds.
        most: Gaussians at the end, at most.
        progress: told about every view that was compared.
        watch: shown the scene after every step.
    """
    views, renewals, step = 0, 0, 0
    while views < options.iterations:
        count = min(options.views_per_step * options.steps_at_once, options.iterations - views)
        looks = [(next(order), torch.rand(3, generator=generator).to(optimiser.device)) for _ in range(count)]
        groups = [looks[i : i + options.views_per_step] for i in range(0, count, options.views_per_step)]
        for result in differentiated(groups, optimiser, targets, corrections, options):
            step += 1
            optimiser.step(result.scene)
            corrections.step(step, result.corrections)
            for view in result.views:
                views += 1
                corrections.observe(view.index, view.residual, view.alpha, targets[view.index].alpha)
                if progress is not None:
                    progress(views, options.iterations, view.figures | {"gaussians": float(optimiser.count)})
            if watch is not None:
                watch(views, optimiser.shown_by(result.views[-1].index))
        # The last fifth only polishes: what moves then would have no time to settle.
        if views // options.renew_every > renewals and views < 0.8 * options.iterations:
            renewals = views // options.renew_every
            optimiser.renew(most, max_scale=options.max_scale)
