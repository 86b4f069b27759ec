"""The stage from `frames/` to `capture/`: cameras are found for pictures that have none."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
_IN_ORDER = 0.5
"""How well an orbit explains photos in the order of their names before they are taken to be in no order."""
_ONE_LENS = 1.05
"""Focal lengths that differ by more are not one."""
_EXPLAINED = 0.01
"""`recon.splat.misfit` below which cameras are right beyond doubt, so that nothing else is tried."""
_CLEARLY_LESS = 0.8
"""Share of structure from motion's misfit below which an orbit is preferred."""
_UNEXPLAINED = 0.05
"""Misfit above which a user is told."""
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
    """Cameras from structure from motion, with its points and their colours; or, where that registers too few or an
    orbit explains the pictures better, as an orbit, without points."""
    from recon.capture.sfm import SolveError

    ordered = any(frame.time > 0 for frame in frames)
    if settings.cameras == "orbit":
        return _told(_by_orbit(frames, settings, ordered, log), log), None
    try:
        solved = _by_sfm(frames, settings, ordered, log)
    except SolveError as error:
        if settings.cameras == "sfm" or settings.crop is not None:
            raise
        log.warn(f"structure from motion: {error.found}; the pictures are taken for an orbit")
        return _told(_by_orbit(frames, settings, ordered, log), log), None
    if solved.confidence == "poor" and settings.crop is not None:
        raise SolveError(
            "frames",
            found=f"structure from motion: {solved.describe()}",
            expected="cameras for most of the pictures",
            remedy="Take more pictures with more overlap; an object on a turntable needs no --crop.",
        )
    if solved.confidence == "poor" and settings.cameras == "auto":
        log.warn(f"structure from motion: {solved.describe()}; the pictures are taken for an orbit")
        return _told(_by_orbit(frames, settings, ordered, log), log), None
    return _better(solved, frames, settings, ordered, log)


def _better(
    solved: Solved, frames: Sequence[UnposedFrame], settings: VideoSettings, ordered: bool, log: StageLog
) -> tuple[Capture, tuple[Tensor, Tensor] | None]:
    """Structure from motion's cameras and points, or an orbit that explains the pictures better than they do."""
    figures: dict[str, Any] = {
        "by": "sfm",
        "registered": sum(solved.registered),
        "of": len(frames),
        "confidence": solved.confidence,
        "points": len(solved.points),
        "track_length": round(solved.track_length, 2),
        "reprojection_error": round(solved.reprojection_error, 3),
    }
    # Before a crop nothing is cut out that could be compared.
    left = _misfit(solved.capture, settings, log) if settings.crop is None else 0.0
    if left > _EXPLAINED and settings.cameras == "auto":
        orbit = _rival(frames, settings, ordered, log)
        as_orbit = math.inf if orbit is None else _misfit(orbit.capture, settings, log)
        figures["misfit_as_orbit"] = _rounded(as_orbit)
        if orbit is not None and as_orbit < _CLEARLY_LESS * left:
            orbit.figures |= {"misfit": _rounded(as_orbit), "misfit_by_sfm": _rounded(left)}
            log.warn(
                f"structure from motion: {solved.describe()}; but an orbit explains the pictures better (what is left "
                f"of them: {as_orbit:.3f} instead of {left:.3f}), so they are taken for one"
            )
            return _told(orbit, log), None
    if settings.crop is None:
        figures["misfit"] = _rounded(left)
    if left > _UNEXPLAINED:
        figures["confidence"] = "poor"
        log.warn(
            f"the cameras explain the pictures badly (what is left of them: {left:.3f}; more than {_UNEXPLAINED} is "
            "much); they may be wrong: look at preview.png"
        )
    elif solved.confidence != "good":
        log.warn(f"structure from motion: {solved.describe()}")
    log.figures["solved"] = figures
    return solved.capture, (solved.points, solved.colours)


def _misfit(capture: Capture, settings: VideoSettings, log: StageLog) -> float:
    from recon.splat.misfit import misfit

    compile_kernels(log)
    with log.step("judging cameras"):
        return misfit(capture, seed=settings.seed, progress=lambda done, total, _: log.watcher.advanced(done, total))


def _rounded(left: float) -> float | None:
    """For JSON, which has no infinity."""
    return round(left, 4) if math.isfinite(left) else None


@dataclasses.dataclass
class _SolvedOrbit:
    """Attributes:
    capture: the pictures with an orbit's cameras.
    figures: for the report.
    warning: what the user is told if they are taken; empty for nothing.
    """

    capture: Capture
    figures: dict[str, Any]
    warning: str


def _told(orbit: _SolvedOrbit, log: StageLog) -> Capture:
    """What was solved, noted in the report."""
    log.figures["solved"] = orbit.figures
    if orbit.warning:
        log.warn(orbit.warning)
    return orbit.capture


def _rival(
    frames: Sequence[UnposedFrame], settings: VideoSettings, ordered: bool, log: StageLog
) -> _SolvedOrbit | None:
    """The pictures as an orbit, if they can be one."""
    try:
        return _by_orbit(frames, settings, ordered, log)
    except ValueError:  # of several sizes, by several lenses, too few or too many, or around nothing
        return None


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


def _by_orbit(frames: Sequence[UnposedFrame], settings: VideoSettings, ordered: bool, log: StageLog) -> _SolvedOrbit:
    from recon.capture import Capture, Frame
    from recon.capture.normalise import NormaliseError
    from recon.capture.sfm import SolveError
    from recon.capture.unposed import shrunk_picture
    from recon.splat.solve_poses import solve_orbit

    sizes = sorted({(frame.width, frame.height) for frame in frames})
    focals = [frame.focal for frame in frames if frame.focal is not None]
    if settings.fov is None and focals and max(focals) > _ONE_LENS * min(focals):
        raise SolveError(
            "frames",
            found=f"pictures by focal lengths of {min(focals):.0f} to {max(focals):.0f} pixels, as their files say",
            expected="one lens that does not zoom, to be solved as an orbit",
            remedy="Structure from motion takes any, but needs more overlap: take more pictures.",
        )
    if len(sizes) > 1 or len(frames) < FEWEST_OF_ORBIT:
        raise SolveError(
            "frames",
            found=f"{len(frames)} pictures of {' and '.join(f'{w}x{h}' for w, h in sizes)} pixels",
            expected=f"at least {FEWEST_OF_ORBIT} of one size, to be solved as an orbit",
            remedy="Structure from motion takes any sizes, but needs more overlap: take more pictures.",
        )
    compile_kernels(log)
    pictures = [shrunk_picture(frame.rgba(), _ORBIT_SIDE) for frame in frames]
    solve = functools.partial(
        solve_orbit,
        pictures,
        fov=None if settings.fov is None else math.radians(settings.fov),
        seed=settings.seed,
        progress=lambda what, share: log.watcher.advanced(round(100 * share), 100),
    )
    answers = []
    with log.step("solving an orbit"), contextlib.suppress(*(() if ordered else (NormaliseError,))):
        answers.append(solve(ordered=True))
    if not ordered and all(answer.reasons["explained"] < _IN_ORDER for answer in answers):
        with log.step("solving an orbit in any order"):
            answers.append(solve(ordered=False))
    solved = max(answers, key=lambda answer: answer.reasons["explained"])
    figures = {
        "by": "orbit",
        "confidence": round(solved.confidence, 3),
        "reasons": {name: round(value, 3) for name, value in solved.reasons.items()},
        "elevation_degrees": round(math.degrees(solved.elevation), 2),
        "fov_degrees": round(math.degrees(solved.fov), 2),
        "fov_is": "solved" if settings.fov is None else "given",
        "azimuths_degrees": [round(math.degrees(float(a)), 2) for a in solved.azimuths],
    }
    warning = ""
    if solved.confidence < _CONFIDENT:
        doubts = ", ".join(f"{name} {value:.2f}" for name, value in solved.reasons.items())
        warning = f"the orbit is found with a confidence of {solved.confidence:.2f} of 1 ({doubts}); it may be wrong"
    pairs = zip(frames, solved.cameras, strict=True)
    capture = Capture(
        tuple(Frame(camera.resized(f.width, f.height), f.load_rgba, time=f.time, name=f.name) for f, camera in pairs)
    )
    return _SolvedOrbit(capture, figures, warning)


def _focal(frame: UnposedFrame, fov: float | None) -> float | None:
    """Pixels; from a given field of view (degrees, of the shorter side), else as the file says."""
    if fov is None:
        return frame.focal
    from recon.capture.camera import intrinsics_from_fov

    return float(intrinsics_from_fov(math.radians(fov), frame.width, frame.height)[0, 0])
