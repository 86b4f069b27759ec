"""Whether one shape that bends is what a clip shows at all.

Rigid bases carry one surface through all times. What melts, opens or breaks has another surface at each time; a scene
that is fitted to one time alone then shows it clearly better than the moving one does, and that in views which it was
not fitted to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from recon.capture import Capture, Frame
from recon.motion.fit import time_of
from recon.motion.moving import MovingGaussians
from recon.splat.comparing import target_of
from recon.splat.fit import fit_gaussians
from recon.splat.fit_options import FitOptions
from recon.splat.gaussians import Gaussians
from recon.splat.rasterize import rasterize

_EVERY = 4


@dataclass(frozen=True)
class Explained:
    """Mean PSNR, in dB over the pixels that frames or scene cover, at the times that are explained worst: of every
    fourth frame of each.

    Attributes:
        times: seconds, the worst first.
        moving: of the moving scene, which knows these frames.
        alone: of scenes fitted to the other frames of each of these times alone.
    """

    times: tuple[float, ...]
    moving: tuple[float, ...]
    alone: tuple[float, ...]

    @property
    def gain(self) -> float:
        """How many dB scenes of their own gain, on average."""
        return sum(a - m for a, m in zip(self.alone, self.moving)) / len(self.times)


def explained(
    moving: MovingGaussians, groups: Sequence[Sequence[Frame]], options: FitOptions, *, count: int = 3, seed: int = 0
) -> Explained:
    """Compares the moving scene with scenes of their own at the `count` times that it shows worst.

    Args:
        groups: the frames of each time, at least two.
        options: of the fits to single times.
    """
    judges = [group[::_EVERY] for group in groups]
    shown = [_psnr(moving.at(time_of(group)), judge, options.max_size) for group, judge in zip(groups, judges)]
    worst = sorted(range(len(groups)), key=shown.__getitem__)[:count]
    alone = []
    for i in worst:
        others = tuple(frame for place, frame in enumerate(groups[i]) if place % _EVERY)
        scene = fit_gaussians(Capture(others), options, seed=seed)
        alone.append(_psnr(scene, judges[i], options.max_size))
    return Explained(tuple(time_of(groups[i]) for i in worst), tuple(shown[i] for i in worst), tuple(alone))


def _psnr(scene: Gaussians, frames: Sequence[Frame], size: int) -> float:
    total, pixels = 0.0, 0.0
    for frame in frames:
        target = target_of(frame, size)
        drawn = rasterize(scene, [target.camera], geometry=False)
        wrong = (drawn.rgb[0] - target.color).square().mean(-1)
        covered = (target.alpha > 0.5) | (drawn.alpha[0] > 0.5)
        total, pixels = total + float(wrong[covered].sum()), pixels + float(covered.sum())
    return float(-10 * torch.log10(torch.tensor(max(total, 1e-12) / max(pixels, 1.0))))
