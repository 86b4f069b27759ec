"""Whether one shape that bends is what a clip shows at all.

Rigid bases carry one surface through all times. What melts, opens or breaks has another surface at each time; a scene
that is fitted to one time alone then covers the silhouettes that the moving one misses. Colours do not tell: fitted to
the pictures of one time alone they are always nearer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from recon.capture import Capture, Frame
from recon.motion.fit import time_of, whole_groups
from recon.motion.moving import MovingGaussians
from recon.splat.comparing import target_of
from recon.splat.fit import fit_gaussians
from recon.splat.fit_options import FitOptions
from recon.splat.gaussians import Gaussians
from recon.splat.rasterize import rasterize


@dataclass(frozen=True)
class Explained:
    """Overlap of silhouettes (intersection over union, all frames of a time together) at the times that are explained
    worst.

    Attributes:
        times: seconds, the worst first.
        moving: of the moving scene.
        alone: of scenes fitted to each of these times alone.
    """

    times: tuple[float, ...]
    moving: tuple[float, ...]
    alone: tuple[float, ...]

    @property
    def gain(self) -> float:
        """How much overlap scenes of their own gain, on average."""
        return sum(a - m for a, m in zip(self.alone, self.moving)) / len(self.times)


def explained(
    moving: MovingGaussians, groups: Sequence[Sequence[Frame]], options: FitOptions, *, count: int = 3, seed: int = 0
) -> Explained:
    """Compares the moving scene with scenes of their own at the `count` times that it shows worst, of those that most
    cameras saw.

    Args:
        groups: the frames of each time; some frame of each shows the subject.
        options: of the fits to single times.
    """
    whole = whole_groups(groups)
    shown = {i: _overlap(moving.at(time_of(groups[i])), groups[i], options.max_size) for i in whole}
    worst = sorted(whole, key=shown.__getitem__)[:count]
    alone = [
        _overlap(fit_gaussians(Capture(tuple(groups[i])), options, seed=seed), groups[i], options.max_size)
        for i in worst
    ]
    return Explained(tuple(time_of(groups[i]) for i in worst), tuple(shown[i] for i in worst), tuple(alone))


def _overlap(scene: Gaussians, frames: Sequence[Frame], size: int) -> float:
    both, either = 0.0, 0.0
    for frame in frames:
        target = target_of(frame, size)
        drawn, wanted = rasterize(scene, [target.camera], geometry=False).alpha[0] > 0.5, target.alpha > 0.5
        both, either = both + float((drawn & wanted).sum()), either + float((drawn | wanted).sum())
    return both / max(either, 1.0)
