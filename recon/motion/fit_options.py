"""How a moving scene is fitted: its options, and presets of them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from recon.motion.bases import BasisOptions
from recon.motion.optimise import MotionOptions
from recon.motion.tracking import TrackOptions
from recon.splat.corrections import CorrectionOptions
from recon.splat.fit_options import FIT_PRESETS, FitOptions
from recon.splat.optimise import LearningRates


@dataclass(frozen=True)
class MovingFitOptions:
    """How a moving scene is fitted."""

    still: FitOptions = field(
        default_factory=lambda: FitOptions(
            iterations=600,
            initial_gaussians=4000,
            max_gaussians=6000,
            pixels_per_gaussian=2.0,
            max_size=96,
            consistency_weight=0.0,
        )
    )
    """Of the scene at the reference time."""
    nodes: int = 150
    """Points that the scene is followed by."""
    tracking: TrackOptions = field(default_factory=TrackOptions)
    """How it is followed."""
    bases: BasisOptions = field(default_factory=BasisOptions)
    """How many rigid motions explain it."""
    waves: int = 2
    """Cosines by which colours may change over the clip."""
    together: FitOptions = field(
        default_factory=lambda: FitOptions(
            iterations=6000,
            views_per_step=2,
            initial_gaussians=6000,
            max_gaussians=8000,
            max_size=96,
            depth_weight=0.0,
            normal_weight=0.0,
            consistency_weight=0.0,
            renew_every=400,
        )
    )
    """Of everything, to the frames of all times; its rates are those of `motion`."""
    motion: MotionOptions = field(
        default_factory=lambda: MotionOptions(
            scene=LearningRates(means=1e-3, quats=1e-2, log_scales=1e-2, logit_opacities=3e-2, sh=1e-2),
            quats=3e-3,
            shifts=1e-3,
            weights=2e-2,
            waves=2e-3,
            smoothness=1.0,
            weight_prior=1e-3,
            wave_prior=1e-2,
        )
    )
    """What moves in it, and what is expected of that."""
    corrections: CorrectionOptions = field(default_factory=CorrectionOptions)
    """What is estimated of each frame beside the scene, in all of these fits."""


def _of_size(size: int, gaussians: int, passes: int, iterations: int) -> MovingFitOptions:
    base = MovingFitOptions()
    return replace(
        base,
        still=replace(base.still, initial_gaussians=gaussians // 2, max_gaussians=gaussians, max_size=size),
        tracking=replace(base.tracking, passes=passes),
        together=replace(
            base.together, iterations=iterations, initial_gaussians=gaussians, max_gaussians=gaussians, max_size=size
        ),
    )


MOVING_PRESETS: dict[str, MovingFitOptions] = {
    "fast": _of_size(96, 6000, 8, 4000),
    "balanced": _of_size(128, 10000, 8, 10000),
    "quality": _of_size(192, 24000, 12, 24000),
}
"""For frames that agree."""


def for_generated(options: MovingFitOptions) -> MovingFitOptions:
    """The same for frames of which most were generated: fitted as a single photo's orbit is, with depths and normals,
    and no more Gaussians than those pictures are worth."""
    most = min(FIT_PRESETS["fast"].max_gaussians, options.still.max_gaussians)
    still = replace(FIT_PRESETS["fast"].limited(most), max_size=options.still.max_size)
    together = replace(
        options.together,
        initial_gaussians=still.max_gaussians,
        max_gaussians=still.max_gaussians,
        depth_weight=still.depth_weight,
        normal_weight=still.normal_weight,
        consistency_weight=still.consistency_weight,
    )
    return replace(options, still=still, together=together)
