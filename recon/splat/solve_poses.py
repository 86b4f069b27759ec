"""Cameras of a turntable-like capture whose pictures structure from motion cannot connect.

`recon.capture.turntable` finds orbits that silhouettes and colours allow; here a scene is fitted to each that is left,
its cameras and focal length are refined together with it, and the best one is told with how far it can be believed.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from recon.capture import Camera, Capture, frame_from_tensors
from recon.capture.normalise import NormaliseError, normalise
from recon.capture.turntable import Candidate, check_pictures, differs, find_orbits
from recon.capture.unposed import shrunk_picture
from recon.splat.corrections import CorrectionOptions
from recon.splat.misfit import fit_and_misfit
from recon.splat.refine_cameras import coarse_fit

Progress = Callable[[str, float], None]
"""Called with (what is being done, share of it that is done)."""

_FOUND_FOCAL, _GIVEN_FOCAL = 0.03, 0.15
"""Relative errors that halve the confidence: of one that was found, the error to be expected; of one that was given,
how far off the pictures alone would have it, which few of them hardly tell."""
_FOCAL_DOUBT = 6.0
"""How much larger than the search expects its errors of the focal length may be."""


@dataclass(frozen=True)
class OrbitOptions:
    """How an orbit is solved."""

    search_size: int = 128
    """Longer pictures are shrunk to this for the search."""
    fit_size: int = 128
    """The same for the fits of scenes."""
    passes: int = 30
    """Times that the fit looks at every picture; 0 leaves the cameras as the search found them."""
    gaussians: int = 3000
    """Of the fitted scene."""
    rival: float = 1.6
    """If the second best orbit misses by up to so many times the best one's pixels, a scene is fitted to it too."""
    jitter: float = 0.05
    """Standard deviation of the motions, radians and object diameters, by which cameras are expected to leave the
    orbit."""


@dataclass(frozen=True)
class SolvedOrbit:
    """Where the camera stood.

    Attributes:
        cameras: one a picture, in the order given, for pictures of the size given. The object is in the unit-diameter
            sphere at the origin, +Y is the axis it turned about, and the first camera's azimuth is 0.
        azimuths: (N,) radians, the first 0, in (-pi, pi].
        elevation: radians by which the optical axis looks down, mean over the frames.
        fov: radians of the shorter side.
        confidence: in [0, 1]; low where the pictures allow other orbits as well, or none.
        reasons: the factors of `confidence`, each in [0, 1], by name: `explained` (rays fit), `alone` (no other orbit
            fits nearly as well), `azimuth` and `focal` (expected errors are small).
        found: the best orbit of the search alone, before any fit.
        alternatives: the others that were followed to the end, the best first.
    """

    cameras: tuple[Camera, ...]
    azimuths: Tensor
    elevation: float
    fov: float
    confidence: float
    reasons: dict[str, float]
    found: Candidate
    alternatives: tuple[Candidate, ...] = field(repr=False)


def solve_orbit(
    frames: Sequence[Tensor],
    options: OrbitOptions | None = None,
    *,
    ordered: bool = True,
    fov: float | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> SolvedOrbit:
    """Cameras around an object that turned before one camera, or around which one camera went, from pictures alone.

    The focal length, the elevation, every azimuth, the direction and the speed are unknown; the principal point is
    taken to be in the middle and the axis to pass near it. The same seed gives the same bytes.

    Args:
        frames: N pictures (H, W, 4) float32, straight alpha, all of one size.
        options: sizes and lengths.
        ordered: whether the frames follow each other in time.
        fov: radians of the shorter side, where it is known; it is kept, and doubted where the pictures contradict it.
        seed: of everything random.
        progress: told what is done.

    Raises:
        ValueError: if there are too few or too many pictures, of several sizes, or without silhouettes
            (`find_orbits`), or if the best orbit's silhouettes meet nowhere.
    """
    options = options or OrbitOptions()
    check_pictures(frames)
    small = [shrunk_picture(frame, options.search_size) for frame in frames]
    candidates = find_orbits(small, ordered=ordered, fov=fov, seed=seed, progress=progress)
    best, refined = candidates[0], _capture(candidates[0], frames)
    if options.passes:
        starts = [(best, refined)]
        for rival in candidates[1:2]:
            if rival.score <= options.rival * best.score:
                with contextlib.suppress(NormaliseError):  # a rival around nothing is none
                    starts.append((rival, _capture(rival, frames)))
        fits = [_refined(candidate, start, options, fov is None, seed, progress) for candidate, start in starts]
        place = int(np.argmin([loss for _, loss in fits]))
        best, refined = starts[place][0], fits[place][0]
    others = tuple(candidate for candidate in candidates if candidate is not best)
    reasons = _reasons(best, others, _GIVEN_FOCAL if fov is not None else _FOUND_FOCAL)
    cameras = _turned_to_first(normalise(refined).cameras)
    forward = torch.stack([camera.forward for camera in cameras]).double()
    azimuths = torch.atan2(-forward[:, 0], -forward[:, 2])
    return SolvedOrbit(
        cameras=cameras,
        azimuths=azimuths - azimuths[0],
        elevation=float(torch.asin(-forward[:, 1].clamp(-1, 1)).mean()),
        fov=min(cameras[0].fov_x, cameras[0].fov_y),
        confidence=math.prod(reasons.values()),
        reasons=reasons,
        found=best,
        alternatives=others,
    )


def _reasons(best: Candidate, others: Sequence[Candidate], focal_error: float) -> dict[str, float]:
    """Each a smooth step: 1/2 where rays miss by 0.4 pixels, where the next orbit misses by half as much again, where
    the expected error of the azimuths is 1 degree, that of the focal length `focal_error`."""
    rivals = [other.score for other in others if differs(other.orbit, best.orbit)]
    ratio = min(rivals, default=math.inf) / max(best.score, 1e-6)
    errors = best.uncertainty
    azimuth, focal = (math.degrees(errors.azimuth), errors.focal) if errors else (math.inf, math.inf)
    return {
        "explained": _half_at(0.4, best.score),
        "alone": 1 - _half_at(0.5, max(ratio - 1, 0.0)),
        "azimuth": _half_at(1.0, azimuth),
        "focal": _half_at(focal_error, focal),
    }


def _half_at(scale: float, value: float) -> float:
    return 1 / (1 + (value / scale) ** 2)


def _capture(candidate: Candidate, frames: Sequence[Tensor]) -> Capture:
    """The frames with the candidate's cameras, the object in the unit-diameter sphere."""
    height, width = frames[0].shape[:2]
    cameras = candidate.orbit.cameras(width, height)
    pairs = enumerate(zip(cameras, frames, strict=True))
    return normalise(Capture(tuple(frame_from_tensors(c, f, name=f"{i:03d}") for i, (c, f) in pairs)))


def _refined(
    candidate: Candidate,
    start: Capture,
    options: OrbitOptions,
    focal: bool,
    seed: int,
    progress: Progress | None,
) -> tuple[Capture, float]:
    """The candidate's capture with cameras and, if asked, focal length refined in the fit of a scene, and the loss at
    its end."""
    expected = candidate.uncertainty.focal if candidate.uncertainty else 0.1
    corrections = CorrectionOptions(
        observed_pose=True,
        focal=focal,
        settled=0.4,
        pose_rate=2e-3,
        pose_prior=options.jitter,
        focal_prior=min(max(_FOCAL_DOUBT * expected, 0.02), 0.1),
    )
    fit_options = coarse_fit(options.passes * len(start.frames), options.gaussians, options.fit_size, corrections)
    fit, loss = fit_and_misfit(
        start,
        fit_options,
        seed=seed,
        progress=None if progress is None else lambda done, total, _: progress("fit", done / total),
    )
    return fit.capture, loss


def _turned_to_first(cameras: Sequence[Camera]) -> tuple[Camera, ...]:
    """The world turned about +Y until the first camera looks from azimuth 0."""
    x, _, z = cameras[0].forward.tolist()
    angle = math.atan2(-x, -z)
    c, s = math.cos(angle), math.sin(angle)
    turn = torch.tensor([[c, 0.0, -s], [0.0, 1.0, 0.0], [s, 0.0, c]])
    return tuple(camera.moved(turn, torch.zeros(3)) for camera in cameras)
