"""How a field is fitted: its options, and presets of them."""

from __future__ import annotations

from dataclasses import dataclass

from recon.splat.harmonics import MAX_DEGREE

FEWEST_POINTS, MOST_POINTS = 32, 512
"""A side of the grid."""


@dataclass(frozen=True)
class FieldOptions:
    """How a field is fitted. Weights are relative to the colours' loss."""

    resolutions: tuple[int, ...] = (96, 128)
    """Grid points a side, one level after the other."""
    steps: tuple[int, ...] = (250, 350)
    """Steps of each level."""
    rays: int = 4096
    """Pixels that are drawn and compared in a step."""
    max_size: int = 128
    """Longer pictures are shrunk to this many pixels on their longer side."""
    grid: int = 96
    """Points a side of the volume that the fit starts from."""
    sh_degree: int = 0
    """Degree of view-dependent colour."""
    width: float = 3.5
    """Half the width of the band of grid points around the surface, in spacings."""
    step: float = 0.6
    """Between samples on a ray, in spacings."""
    sharpness: tuple[float, float] = (2.0, 6.0)
    """Of the surface, per spacing, at the beginning and the end of every level."""
    renew_every: int = 100
    """Steps between layings of the band around the surface as it is then."""
    distance_rate: float = 0.4
    """Adam's step size for distances, in spacings."""
    generated_distance_rate: float = 0.15
    """The same where all frames were generated: they disagree, and what suits each of them would be ragged."""
    color_rate: float = 0.02
    """Adam's step size for colours."""
    last_rate: float = 0.1
    """What both have fallen to at the end of a level."""
    mask_weight: float = 0.5
    """Absolute difference of the drawn and the given mask."""
    depth_weight: float = 0.5
    """Difference of depths, where frames that were not generated have them."""
    depth_reach: float = 0.03
    """Depth errors beyond this, in world units, count less and less."""
    distance_weight: float = 0.05
    """Squared difference of the distances' slope and 1."""
    smooth_weight: float = 0.005
    """Squared Laplacian of the distances."""
    generated_smooth_weight: float = 3.0
    """The same where all frames were generated."""
    start_weight: float = 0.02
    """Squared way, in spacings, of distances from what they were when the band was laid; long ways cost no more. What
    the pictures say little about stays where the first solid had it."""
    around: float = 0.08
    """Pixels outside of the masks are asked as far away as this share of the picture."""

    def __post_init__(self) -> None:
        if not self.resolutions or len(self.resolutions) != len(self.steps):
            raise ValueError(f"a field needs steps for each resolution, got {self.resolutions} and {self.steps}")
        low, high = min(self.resolutions), max(self.resolutions)
        if low < FEWEST_POINTS or high > MOST_POINTS or min(self.steps) < 1:
            raise ValueError(
                f"a field needs grids of {FEWEST_POINTS} to {MOST_POINTS} points a side and at least a step on each, "
                f"got {self.resolutions} and {self.steps}"
            )
        if self.rays < 1 or self.max_size < 1 or self.grid < FEWEST_POINTS or self.renew_every < 1:
            raise ValueError(
                "a field needs rays, max_size and renew_every of at least 1 and a grid of at least "
                f"{FEWEST_POINTS}, got {self.rays}, {self.max_size}, {self.renew_every} and {self.grid}"
            )
        if not 0 <= self.sh_degree <= MAX_DEGREE or not self.width >= 1 or not 0 < self.step <= 1:
            raise ValueError(
                f"a field needs an sh_degree of 0 to {MAX_DEGREE}, a width of at least 1 and a step in (0, 1], got "
                f"{self.sh_degree}, {self.width} and {self.step}"
            )
        if not 0 < self.sharpness[0] <= self.sharpness[1]:
            raise ValueError(f"a field needs a positive sharpness that does not fall, got {self.sharpness}")


FIELD_PRESETS: dict[str, FieldOptions] = {
    "fast": FieldOptions(),
    "balanced": FieldOptions(resolutions=(128, 192), steps=(300, 700), max_size=192, grid=128),
    "quality": FieldOptions(resolutions=(160, 256), steps=(500, 1500), rays=8192, max_size=384, grid=160, sh_degree=1),
}
"""Of the same names as the splats' (`recon.splat.fit_options`)."""
