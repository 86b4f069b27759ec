"""The stage from `frames/` to `capture/`: cameras are found for pictures that have none."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines._capture_stages import cut_out_region, frame_counts, placed, upright
from pipelines._run import Stage, StageLog
from pipelines._scene_stages import compile_kernels, only
from pipelines._video_options import FEWEST_OF_ORBIT, VideoSettings

if TYPE_CHECKING:
    from torch import Tensor

    from recon.capture import Capture
    from recon.capture.sfm import Solved
    from recon.capture.unposed import UnposedFrame

_ORBIT_SIDE = 256
"""Pixels that an orbit is solved on."""
_CONFIDENT = 0.5
"""Orbits of a lower confidence are told with a warning."""


def cameras_stage(settings: VideoSettings) -> Stage:
    """`frames/` to `capture/`: cameras are found for the pictures."""
    work = functools.partial(_cameras, settings=settings)
    return Stage("cameras", ("frames",), ("capture",), only(settings, ("cameras", "fov", "up", "crop", "seed")), work)


def _cameras(run: Path, out: Path, log: StageLog, *, settings: VideoSettings) -> None:
    from recon.capture.io_nerfstudio import write_transforms
    from recon.capture.unposed import read_unposed
    from recon.capture.upright import facing_first

    capture, points = _solved(read_unposed(run / "frames"), settings, log)
    if settings.crop is not None:
        capture = cut_out_region(capture, points, settings, log)
    if points is not None:  # an orbit stands upright as it is solved
        capture = upright(capture, settings.up, log)
    elif settings.up != "auto":
        log.warn("--up is left aside: the axis of an orbit is up")
    with log.step("placing"):
        capture = placed(capture, [frame.name for frame in capture], "frames")
    if points is not None:
        capture = _refined(capture, settings, log)
    with log.step("writing"):
        write_transforms(facing_first(capture), out / "capture")
    log.figures.update(frame_counts(capture))


def _refined(capture: Capture, settings: VideoSettings, log: StageLog) -> Capture:
    """With cameras that agree with one scene."""
    from recon.splat.refine_cameras import refine_cameras

    compile_kernels(log)
    with log.step("refining cameras"):
        refined = refine_cameras(
            capture, seed=settings.seed, progress=lambda done, total, _: log.watcher.advanced(done, total)
        )
    before, after = (c[0].camera.intrinsics[0, 0] / c[0].camera.width for c in (capture, refined))
    log.figures["refined"] = {"focal": round(float(after / before), 4)}
    return refined


def _solved(
    frames: Sequence[UnposedFrame], settings: VideoSettings, log: StageLog
) -> tuple[Capture, tuple[Tensor, Tensor] | None]:
    """Cameras from structure from motion, with its points and their colours; or, where that registers too few, as an
    orbit, without points."""
    from recon.capture.sfm import SolveError

    ordered = any(frame.time > 0 for frame in frames)
    if settings.cameras == "orbit":
        return _by_orbit(frames, settings, ordered, log), None
    try:
        solved = _by_sfm(frames, settings, ordered, log)
    except SolveError as error:
        if settings.cameras == "sfm" or settings.crop is not None:
            raise
        log.warn(f"structure from motion: {error.found}; the pictures are taken for an orbit")
        return _by_orbit(frames, settings, ordered, log), None
    if solved.confidence == "poor" and settings.crop is not None:
        raise SolveError(
            "frames",
            found=f"structure from motion: {solved.describe()}",
            expected="cameras for most of the pictures",
            remedy="Take more pictures with more overlap; an object on a turntable needs no --crop.",
        )
    if solved.confidence == "poor" and settings.cameras == "auto":
        log.warn(f"structure from motion: {solved.describe()}; the pictures are taken for an orbit")
        return _by_orbit(frames, settings, ordered, log), None
    log.figures["solved"] = {
        "by": "sfm",
        "registered": sum(solved.registered),
        "of": len(frames),
        "confidence": solved.confidence,
        "points": len(solved.points),
        "track_length": round(solved.track_length, 2),
        "reprojection_error": round(solved.reprojection_error, 3),
    }
    if solved.confidence != "good":
        log.warn(f"structure from motion: {solved.describe()}")
    return solved.capture, (solved.points, solved.colours)


def _by_sfm(frames: Sequence[UnposedFrame], settings: VideoSettings, ordered: bool, log: StageLog) -> Solved:
    from recon.capture.sfm import SfmOptions, solve_cameras

    known = [dataclasses.replace(frame, focal=_focal(frame, settings.fov)) for frame in frames]
    with log.step("structure from motion"):
        return solve_cameras(
            known,
            SfmOptions(seed=settings.seed, ordered=ordered),
            lambda what, done, total: log.watcher.advanced(done, total),
            source="frames",
        )


def _by_orbit(frames: Sequence[UnposedFrame], settings: VideoSettings, ordered: bool, log: StageLog) -> Capture:
    from recon.capture import Capture, Frame
    from recon.capture.sfm import SolveError
    from recon.capture.unposed import shrunk_picture
    from recon.splat.solve_poses import solve_orbit

    sizes = sorted({(frame.width, frame.height) for frame in frames})
    if len(sizes) > 1 or len(frames) < FEWEST_OF_ORBIT:
        raise SolveError(
            "frames",
            found=f"{len(frames)} pictures of {' and '.join(f'{w}x{h}' for w, h in sizes)} pixels",
            expected=f"at least {FEWEST_OF_ORBIT} of one size, to be solved as an orbit",
            remedy="Structure from motion takes any sizes, but needs more overlap: take more pictures.",
        )
    compile_kernels(log)
    with log.step("solving an orbit"):
        solved = solve_orbit(
            [shrunk_picture(frame.rgba(), _ORBIT_SIDE) for frame in frames],
            ordered=ordered,
            fov=None if settings.fov is None else math.radians(settings.fov),
            seed=settings.seed,
            progress=lambda what, share: log.watcher.advanced(round(100 * share), 100),
        )
    log.figures["solved"] = {
        "by": "orbit",
        "confidence": round(solved.confidence, 3),
        "reasons": {name: round(value, 3) for name, value in solved.reasons.items()},
        "elevation_degrees": round(math.degrees(solved.elevation), 2),
        "fov_degrees": round(math.degrees(solved.fov), 2),
        "fov_is": "solved" if settings.fov is None else "given",
        "azimuths_degrees": [round(math.degrees(float(a)), 2) for a in solved.azimuths],
    }
    if solved.confidence < _CONFIDENT:
        doubts = ", ".join(f"{name} {value:.2f}" for name, value in solved.reasons.items())
        log.warn(f"the orbit is found with a confidence of {solved.confidence:.2f} of 1 ({doubts}); it may be wrong")
    pairs = zip(frames, solved.cameras, strict=True)
    return Capture(
        tuple(Frame(camera.resized(f.width, f.height), f.load_rgba, time=f.time, name=f.name) for f, camera in pairs)
    )


def _focal(frame: UnposedFrame, fov: float | None) -> float | None:
    """Pixels; from a given field of view (degrees, of the shorter side), else as the file says."""
    if fov is None:
        return frame.focal
    from recon.capture.camera import intrinsics_from_fov

    return float(intrinsics_from_fov(math.radians(fov), frame.width, frame.height)[0, 0])
