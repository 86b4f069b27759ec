"""How a fit is made: its options, and presets of them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from recon.splat.corrections import CorrectionOptions
from recon.splat.initialise import THICKNESS
from recon.splat.optimise import LearningRates

_FEW_FRAMES = 16


@dataclass(frozen=True)
class FitOptions:
    """How a scene is fitted. Weights are relative to the photometric loss."""

    iterations: int = 400
    """Views drawn and compared."""
    views_per_step: int = 1
    """Views, of any sizes, whose gradients are averaged in one step."""
    steps_at_once: int = 2
    """Steps whose gradients are found side by side, from one and the same scene, and then taken one after the other
    (delayed gradients: Langford et al. 2009). It keeps as many threads busy with nothing to wait for."""
    initial_gaussians: int = 8000
    """Gaussians at the start."""
    initial_thickness: float = THICKNESS
    """How thick the first Gaussians are, against their width along the surface, where a frame looks straight at it."""
    initial_thickness_edge_on: float = THICKNESS
    """The same where all frames see the surface edge-on. Thin Gaussians cover it for them and leave holes in it for who
    looks from elsewhere, round ones do not."""
    initial_brightness_edge_on: float = 1.0
    """How bright the first Gaussians are there, against the pictures. Some of what frames see edge-on lies in shade,
    some is a lid of the visual hull over a hollow, which should look wrong, so that it goes away."""
    max_gaussians: int = 12000
    """Gaussians at the end, at most."""
    pixels_per_gaussian: float = 4.0
    """Fewer Gaussians are used where the frames show fewer pixels of the object than this for each: with more, every
    frame would get its own and the surface would be noise."""
    max_size: int = 128
    """Longer pictures are shrunk to this many pixels on their longer side."""
    sh_degree: int = 0
    """Degree of view-dependent colour; 0 forces views that disagree to share one colour."""
    grid: int = 96
    """Points a side of the volume that the fit starts from."""
    ssim_share: float = 0.2
    """Part of the photometric loss that is structural dissimilarity."""
    alpha_weight: float = 0.5
    """Absolute difference of the drawn and the given mask."""
    depth_weight: float = 0.5
    """Difference of depths, where frames have them."""
    depth_reach: float = 0.03
    """Depth errors beyond this, in world units, count less and less."""
    normal_weight: float = 0.05
    """Angle between drawn normals and the frames' own, where they have them."""
    consistency_weight: float = 0.05
    """Angle between drawn normals and those of the drawn depth."""
    opacity_weight: float = 0.1
    """Mean opacity, against the sum over all frames: the fewer there are, the more a Gaussian must show to stay. Lets
    superfluous ones fade, so that they can be moved."""
    renew_every: int = 50
    """Views between moving dead Gaussians and growing the scene."""
    max_scale: float = 0.15
    """Wider Gaussians, in world units, are moved."""
    rates: LearningRates = field(default_factory=LearningRates)
    """Adam's step sizes."""
    corrections: CorrectionOptions = field(default_factory=CorrectionOptions)
    """What is estimated of each frame beside the scene."""

    def __post_init__(self) -> None:
        if self.views_per_step < 1 or self.steps_at_once < 1:
            raise ValueError(
                f"a fit takes at least one step at once and one view a step, got steps_at_once={self.steps_at_once} "
                f"and views_per_step={self.views_per_step}"
            )
        if self.renew_every < 1 or self.max_size < 1 or self.grid < 2 or not self.pixels_per_gaussian > 0:
            raise ValueError(
                "a fit needs renew_every and max_size of at least 1, a grid of at least 2 and a positive "
                f"pixels_per_gaussian, got {self.renew_every}, {self.max_size}, {self.grid} and "
                f"{self.pixels_per_gaussian}"
            )
        if not (self.initial_thickness > 0 and self.initial_thickness_edge_on > 0):
            raise ValueError(
                "the first Gaussians need a positive initial_thickness and initial_thickness_edge_on, got "
                f"{self.initial_thickness} and {self.initial_thickness_edge_on}"
            )
        if self.iterations < 1 or self.initial_gaussians < 1 or self.max_gaussians < self.initial_gaussians:
            raise ValueError(
                f"a fit needs at least one iteration and 1 <= initial_gaussians <= max_gaussians, got "
                f"{self.iterations}, {self.initial_gaussians} and {self.max_gaussians}"
            )

    def opacity_weight_of(self, frames: int) -> float:
        """What mean opacity weighs against the comparison with one of so many frames. For fewer than 16 it grows
        no further: surfaces would get holes."""
        return self.opacity_weight / max(frames, _FEW_FRAMES)

    def limited(self, max_gaussians: int) -> FitOptions:
        """The same fit under another limit; it starts with fewer Gaussians where the limit asks for that."""
        return replace(self, max_gaussians=max_gaussians, initial_gaussians=min(self.initial_gaussians, max_gaussians))


FIT_PRESETS: dict[str, FitOptions] = {
    "fast": FitOptions(),
    "balanced": FitOptions(iterations=1200, initial_gaussians=12000, max_gaussians=24000, max_size=192, grid=128),
    "quality": FitOptions(
        iterations=4000, initial_gaussians=30000, max_gaussians=80000, max_size=384, grid=160, sh_degree=2
    ),
    "views": FitOptions(
        iterations=2000,
        initial_gaussians=20000,
        initial_thickness=0.25,
        initial_thickness_edge_on=1.0,
        initial_brightness_edge_on=0.4,
        max_gaussians=40000,
        pixels_per_gaussian=16.0,
        max_size=256,
        rates=LearningRates(means=3e-3, logit_opacities=1e-1),
        sh_degree=1,
        grid=128,
        ssim_share=0.1,
        alpha_weight=0.1,
        depth_weight=0.0,
        normal_weight=0.0,
        consistency_weight=0.0,
    ),
}
"""The first three are for surfaces. "views" is for pictures from places where no camera stood: colour depends on the
direction, and nothing holds Gaussians to a surface, which is also what makes its steps quick."""
