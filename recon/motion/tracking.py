"""A still scene followed through time: control nodes on it move until it looks like the frames of each time.

From the reference time on, forward and backward, each time starts from where the one before it left the nodes and what
their velocity adds (Dynamic 3D Gaussians, Luiten et al. 2024); nodes blend what lies between them and are held as
rigid as possible (SC-GS, Huang et al. 2024).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from recon.capture import Frame
from recon.motion.graph import ControlNodes
from recon.motion.moving import MovingGaussians
from recon.motion.optimise import MotionOptions, MovingOptimiser
from recon.motion.trajectories import Trajectories
from recon.splat.comparing import target_of
from recon.splat.corrections import CorrectionOptions, FrameCorrections
from recon.splat.fit import shuffled, visits
from recon.splat.gaussians import Gaussians
from recon.splat.loop import optimise_scene
from recon.splat.refine_cameras import coarse_fit
from recon.splat.rotations import conjugate_quats, multiply_quats

Device = Literal["cpu", "cuda"]


@dataclass(frozen=True)
class TrackOptions:
    """How a scene is followed."""

    passes: int = 8
    """How often each frame of a time is compared, first at half the size, then as often at the whole."""
    max_size: int = 96
    """Longer pictures are shrunk to this many pixels on their longer side."""
    quats: float = 1.5e-2
    """Adam's step size for the nodes' rotations."""
    shifts: float = 5e-3
    """The same for their shifts, in world units."""
    rigidity: float = 10.0
    """See `MotionOptions.rigidity`."""


def track(
    canonical: Gaussians,
    frames: Sequence[Sequence[Frame]],
    reference: int,
    nodes: ControlNodes,
    options: TrackOptions,
    corrections: CorrectionOptions,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
    device: Device = "cpu",
) -> tuple[Tensor, Tensor]:
    """Rotations (T, M, 4), unit wxyz, and shifts (T, M, 3) of the nodes at each time.

    Args:
        canonical: the scene at the time `reference`.
        frames: those of each time.
        reference: index of the time that the scene was fitted to.
        nodes: on the scene.
        corrections: what is estimated of the frames.
        seed: of backgrounds and order.
        progress: told how many times are done, of how many.
        device: where the scene is drawn and stepped; what is returned is on the processor.
    """
    count, pivots = len(nodes.places), canonical.means[nodes.places]
    rest = torch.tensor([1.0, 0, 0, 0]).repeat(count, 1), torch.zeros(count, 3)
    found: dict[int, tuple[Tensor, Tensor]] = {reference: rest}
    generator = torch.Generator().manual_seed(seed)
    forward, backward = range(reference + 1, len(frames)), range(reference - 1, -1, -1)
    for sequence, step in ((forward, 1), (backward, -1)):
        for time in sequence:
            start = _extrapolated(found[time - step], found.get(time - 2 * step))
            found[time] = _followed(
                canonical, frames[time], pivots, start, nodes, options, corrections, generator, device
            )
            if progress is not None:
                progress(len(found), len(frames))
    ordered = [found[time] for time in range(len(frames))]
    return torch.stack([quats for quats, _ in ordered]), torch.stack([shifts for _, shifts in ordered])


def _extrapolated(last: tuple[Tensor, Tensor], before: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor]:
    """Where nodes will be that go on as they did."""
    if before is None:
        return last
    turn = multiply_quats(last[0], conjugate_quats(before[0]))
    return multiply_quats(turn, last[0]), 2 * last[1] - before[1]


def _followed(
    canonical: Gaussians,
    frames: Sequence[Frame],
    pivots: Tensor,
    start: tuple[Tensor, Tensor],
    nodes: ControlNodes,
    options: TrackOptions,
    corrections: CorrectionOptions,
    generator: torch.Generator,
    device: Device,
) -> tuple[Tensor, Tensor]:
    """The nodes at one time."""
    quats, shifts = start
    for size, factor in ((options.max_size // 2, 1.0), (options.max_size, 0.5)):
        targets = [target_of(frame, size).to(device) for frame in frames]
        iterations = options.passes * len(frames)
        motion = Trajectories(torch.zeros(1), pivots, quats[None], shifts[None])
        waves = canonical.means.new_zeros(len(canonical), 0, 3)
        moving = MovingGaussians(canonical, motion, nodes.bases, nodes.weights, waves).to(device)
        rates = MotionOptions(quats=factor * options.quats, shifts=factor * options.shifts, rigidity=options.rigidity)
        fit = coarse_fit(iterations, len(canonical), size, corrections)
        fit = replace(fit, views_per_step=2, renew_every=iterations + 1)  # the scene stays as it is
        optimiser = MovingOptimiser(
            moving, [0] * len(frames), rates, -(-iterations // fit.views_per_step), generator, nodes.edges
        )
        optimise_scene(
            optimiser,
            shuffled(visits(frames), generator),
            targets,
            FrameCorrections(frames, corrections, iterations),
            fit,
            generator,
            most=len(canonical),
        )
        motion = optimiser.moving.motion.to("cpu")
        quats, shifts = motion.quats[0], motion.shifts[0]
    return quats, shifts
