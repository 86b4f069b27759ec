"""Capture with times -> `MovingGaussians`: a still scene, followed through time, explained by few rigid motions, and
then all of it fitted together to all frames, by the loop that fits still scenes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch

from recon.capture import Capture, Frame
from recon.motion.bases import BasisOptions, find_bases
from recon.motion.graph import control_nodes
from recon.motion.moving import MovingGaussians
from recon.motion.optimise import MotionOptions, MovingOptimiser
from recon.motion.tracking import TrackOptions, track
from recon.motion.trajectories import blended_points, rigid_matrices
from recon.splat.comparing import target_of
from recon.splat.corrections import CorrectionOptions, FrameCorrections, decided
from recon.splat.fit import fit_gaussians
from recon.splat.fit_options import FitOptions
from recon.splat.loop import optimise_scene
from recon.splat.optimise import LearningRates
from recon.splat.threads import one_torch_thread

_SAME_TIME = 1e-4
"""Seconds between frames of one time, at most."""

Progress = Callable[[str, int, int], None]
"""Called with (what is done, how much of it is, of how much)."""


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


@dataclass(frozen=True)
class MovingFit:
    """A moving scene and how it was found.

    Attributes:
        moving: the scene; its canonical pose is that of the reference time.
        reference: seconds.
        residual: root mean square of what the bases leave of the tracks, in world units.
        residual_of_one: what a single rigid motion leaves of them.
    """

    moving: MovingGaussians
    reference: float
    residual: float
    residual_of_one: float


@one_torch_thread()
def fit_moving(
    capture: Capture,
    options: MovingFitOptions | None = None,
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> MovingFit:
    """Fits moving Gaussians to a capture whose frames have times.

    Args:
        capture: frames of one object in the unit-diameter sphere, over its whole motion; several at each time.
        options: lengths, sizes and priors.
        seed: of everything random.
        progress: told what is going on.

    Raises:
        ValueError: if there are fewer than two times, or the silhouettes of the reference time do not meet anywhere.
    """
    options = options or MovingFitOptions()
    tell = progress or (lambda *_: None)
    groups = by_time(capture.frames)
    if len(groups) < 2:
        raise ValueError(f"a moving scene needs frames of at least two times, found {len(groups)}")
    times = torch.tensor([group[0].time for group in groups])
    reference = widest_time(groups)
    still = fit_gaussians(
        Capture(tuple(groups[reference])),
        replace(options.still, corrections=options.corrections),
        seed=seed,
        progress=lambda done, total, _: tell("standing", done, total),
    )
    nodes = control_nodes(still.means, options.nodes)
    quats, shifts = track(
        still,
        groups,
        reference,
        nodes,
        options.tracking,
        options.corrections,
        seed,
        lambda done, total: tell("following", done, total),
    )
    pivots = still.means[nodes.places]
    tracks = torch.stack(
        [
            blended_points(still.means, nodes.bases, nodes.weights, rigid_matrices(q, pivots, s))
            for q, s in zip(quats, shifts)
        ]
    )
    bases = find_bases(tracks, reference, still.opacities, times, options.bases)
    start = MovingGaussians(
        still, bases.motion, bases.bases, bases.weights, still.means.new_zeros(len(still), options.waves, 3)
    )
    moving = _together(start, groups, reference, options, seed, lambda done, total: tell("fitting", done, total))
    return MovingFit(moving, float(times[reference]), bases.residual, bases.alone)


def by_time(frames: Sequence[Frame]) -> list[list[Frame]]:
    """The frames of each time, in order of time."""
    groups: list[list[Frame]] = []
    for frame in sorted(frames, key=lambda frame: frame.time):
        if groups and frame.time - groups[-1][0].time <= _SAME_TIME:
            groups[-1].append(frame)
        else:
            groups.append([frame])
    return groups


def widest_time(groups: Sequence[Sequence[Frame]]) -> int:
    """Index of the time whose silhouettes have the longest outlines: where a subject's parts are farthest from each
    other, least of it hides or is grown together."""

    def outline(frame: Frame) -> float:
        mask = (frame.rgba()[..., 3] > 0.5).float()
        return float(mask.diff(dim=0).abs().sum() + mask.diff(dim=1).abs().sum()) / mask.shape[0]

    lengths = [sum(outline(frame) for frame in group) / len(group) for group in groups]
    return max(range(len(groups)), key=lengths.__getitem__)


def _together(
    start: MovingGaussians,
    groups: Sequence[Sequence[Frame]],
    reference: int,
    options: MovingFitOptions,
    seed: int,
    tell: Callable[[int, int], None],
) -> MovingGaussians:
    """Scene, motions and weights fitted to the frames of all times."""
    fit = options.together
    keys = [key for key, group in enumerate(groups) for _ in group]
    frames = [decided(frame) if options.corrections.decided_masks else frame for group in groups for frame in group]
    targets = [target_of(frame, fit.max_size) for frame in frames]
    steps = -(-fit.iterations // fit.views_per_step)
    generator = torch.Generator().manual_seed(seed)
    optimiser = MovingOptimiser(start, keys, options.motion, steps, generator, anchor=reference)
    optimise_scene(
        optimiser,
        _one_time_after_another(groups, fit.views_per_step, generator),
        targets,
        FrameCorrections(frames, options.corrections, steps),
        fit,
        generator,
        most=fit.max_gaussians,
        progress=lambda done, total, _: tell(done, total),
    )
    return optimiser.moving


def _one_time_after_another(groups: Sequence[Sequence[Frame]], views: int, generator: torch.Generator) -> Iterator[int]:
    """Endless: indices of `views` frames of one time, then of another; times in a new order in each pass, the frames of
    a time likewise."""
    first = [0]
    for group in groups:
        first.append(first[-1] + len(group))
    waiting: list[list[int]] = [[] for _ in groups]

    def following(time: int) -> int:
        if not waiting[time]:
            order = torch.randperm(len(groups[time]), generator=generator).tolist()
            waiting[time] = [first[time] + place for place in order]
        return waiting[time].pop()

    while True:
        for time in torch.randperm(len(groups), generator=generator).tolist():
            for _ in range(views):
                yield following(time)
