"""Cameras that were solved apart, made to agree with one scene: poses and focal length follow the fit's gradients."""

from __future__ import annotations

from recon.capture import Capture
from recon.splat.corrections import CorrectionOptions
from recon.splat.fit import fit_scene
from recon.splat.fit_options import FitOptions
from recon.splat.loop import Progress

_PASSES = 60
_GAUSSIANS = 4000
_SIZE = 128

REFINEMENT = CorrectionOptions(
    observed_pose=True, focal=True, settled=0.4, pose_rate=1e-3, pose_prior=0.02, focal_prior=0.03
)


def refine_cameras(capture: Capture, *, seed: int = 0, progress: Progress | None = None) -> Capture:
    """The capture with its cameras and their common focal length refined in the fit of a coarse scene.

    Args:
        capture: frames with silhouettes, their subject in the unit-diameter sphere, their cameras nearly right.
        seed: of the fit.
        progress: told about every view that was compared.

    Raises:
        ValueError: if the silhouettes do not meet anywhere.
    """
    options = coarse_fit(_PASSES * len(capture), _GAUSSIANS, _SIZE, REFINEMENT)
    return fit_scene(capture, options, seed=seed, progress=progress).capture


def coarse_fit(iterations: int, gaussians: int, size: int, corrections: CorrectionOptions) -> FitOptions:
    """A fit whose scene only serves to correct the frames: so many Gaussians throughout, colours and masks alone."""
    return FitOptions(
        iterations=iterations,
        initial_gaussians=gaussians,
        max_gaussians=gaussians,
        max_size=size,
        grid=64,
        depth_weight=0.0,
        normal_weight=0.0,
        consistency_weight=0.0,
        corrections=corrections,
    )
