"""Capture with times -> `MovingGaussians`: a still scene, followed through time, explained by few rigid motions, and
then all of it fitted together to all frames, by the loop that fits still scenes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from recon.capture import Capture, Frame
from recon.capture.clip import gathered, moments_of
from recon.motion.bases import find_bases
from recon.motion.fit_options import MovingFitOptions
from recon.motion.graph import control_nodes
from recon.motion.moving import MovingGaussians
from recon.motion.optimise import MovingOptimiser
from recon.motion.tracking import Device, track
from recon.motion.trajectories import blended_points, rigid_matrices
from recon.splat.comparing import target_of
from recon.splat.corrections import FrameCorrections, decided
from recon.splat.fit import fit_gaussians, visits
from recon.splat.loop import optimise_scene
from recon.splat.threads import one_torch_thread

_WHOLE = 0.75
"""Share of the most frames that any time has; times with fewer are no reference."""

Progress = Callable[[str, int, int], None]
"""Called with (what is done, how much of it is, of how much)."""


@dataclass(frozen=True)
class MovingFit:
    """A moving scene and how it was found.

    Attributes:
        moving: the scene; its canonical pose is about that of the reference time.
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
    device: Device = "cpu",
) -> MovingFit:
    """Fits moving Gaussians to a capture whose frames have times.

    Args:
        capture: frames of one object in the unit-diameter sphere, over its whole motion; several at each time.
        options: lengths, sizes and priors.
        seed: of everything random.
        progress: told what is going on.
        device: where it is drawn, compared and stepped: "cpu", or "cuda" with gsplat. What is returned is on the
            processor.

    Raises:
        ValueError: if there are fewer than two times, or the silhouettes of the reference time do not meet anywhere.
        CudaBackendError: if there is no GPU or no gsplat for it.
    """
    options = options or MovingFitOptions()
    tell = progress or (lambda *_: None)
    groups = by_time(capture.frames)
    if len(groups) < 2:
        raise ValueError(f"a moving scene needs frames of at least two times, found {len(groups)}")
    times = torch.tensor([time_of(group) for group in groups])
    reference = widest_time(groups)
    still = fit_gaussians(
        Capture(tuple(groups[reference])),
        replace(options.still, corrections=options.corrections),
        seed=seed,
        progress=lambda done, total, _: tell("standing", done, total),
        device=device,
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
        device,
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
    moving = _together(start.to(device), groups, options, seed, lambda done, total: tell("fitting", done, total))
    return MovingFit(moving, float(times[reference]), bases.residual, bases.alone)


def by_time(frames: Sequence[Frame]) -> list[list[Frame]]:
    """The frames of each time, in order of time. Where most times have one view or few, those of neighbouring times are
    taken together, and what moves between them is blurred."""
    moments = gathered(moments_of([frame.time for frame in frames]))
    return [[frames[index] for index in moment] for moment in moments]


def whole_groups(groups: Sequence[Sequence[Frame]]) -> list[int]:
    """Indices of the times that are seen from about as many sides as any; what a scene can be fitted to alone."""
    most = max(map(len, groups))
    return [index for index, group in enumerate(groups) if len(group) >= _WHOLE * most]


def time_of(group: Sequence[Frame]) -> float:
    """The mean time of frames that are taken together."""
    return sum(frame.time for frame in group) / len(group)


def widest_time(groups: Sequence[Sequence[Frame]]) -> int:
    """Index of the time, among those that most cameras saw, whose silhouettes have the longest outlines: where a
    subject's parts are farthest from each other, least of it hides or is grown together."""

    def outline(frame: Frame) -> float:
        mask = (frame.rgba()[..., 3] > 0.5).float()
        return float(mask.diff(dim=0).abs().sum() + mask.diff(dim=1).abs().sum()) / mask.shape[0]

    lengths = [sum(outline(frame) for frame in group) / len(group) for group in groups]
    return max(whole_groups(groups), key=lengths.__getitem__)


def _together(
    start: MovingGaussians,
    groups: Sequence[Sequence[Frame]],
    options: MovingFitOptions,
    seed: int,
    tell: Callable[[int, int], None],
) -> MovingGaussians:
    """Scene, motions and weights fitted to the frames of all times."""
    fit = options.together
    keys = [key for key, group in enumerate(groups) for _ in group]
    frames = [decided(frame) if options.corrections.decided_masks else frame for group in groups for frame in group]
    targets = [target_of(frame, fit.max_size).to(start.bases.device.type) for frame in frames]
    steps = -(-fit.iterations // fit.views_per_step)
    generator = torch.Generator().manual_seed(seed)
    optimiser = MovingOptimiser(start, keys, options.motion, steps, generator)
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
    return optimiser.moving.to("cpu")


def _one_time_after_another(groups: Sequence[Sequence[Frame]], views: int, generator: torch.Generator) -> Iterator[int]:
    """Endless: indices of `views` frames of one time, then of another; times in a new order in each pass, the frames of
    a time likewise, those that were not generated more often."""
    passes, first = [], 0
    for group in groups:
        passes.append([first + place for place in visits(group)])
        first += len(group)
    waiting: list[list[int]] = [[] for _ in groups]

    def following(time: int) -> int:
        if not waiting[time]:
            order = torch.randperm(len(passes[time]), generator=generator).tolist()
            waiting[time] = [passes[time][place] for place in order]
        return waiting[time].pop()

    while True:
        for time in torch.randperm(len(groups), generator=generator).tolist():
            for _ in range(views):
                yield following(time)
