"""The stages from pictures to `capture/` where nothing is generated: a capture with cameras, a video, photos.

Heavy imports stay inside the functions, so that a stage that is kept costs nothing.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import os
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines._run import Stage, StageLog
from pipelines._scene_stages import only
from pipelines._video_options import UpName, VideoSettings

if TYPE_CHECKING:
    from torch import Tensor

    from recon.capture import Capture
    from recon.capture.photo import Photo
    from recon.capture.sfm import Solved
    from recon.capture.unposed import UnposedFrame


_FEWEST = 3
_ORBIT_SIDE = 256
"""Pixels that an orbit is solved on."""
_CONFIDENT = 0.5
"""Orbits of a lower confidence are told with a warning."""


@dataclass(frozen=True)
class _Load:
    """A picture that is still to be loaded.

    Attributes:
        name: its file's, or its frame's.
        time: seconds.
        photo: loads it.
    """

    name: str
    time: float
    photo: Callable[[], Photo]


def given_capture_stage(source: Path, used: Mapping[str, Any], settings: VideoSettings | None = None) -> Stage:
    """A capture with cameras to `capture/`; `used` is what its bytes depend on."""
    work = functools.partial(_capture, source=source, settings=settings)
    return Stage("capture", (), ("capture",), used, work)


def frames_stage(source: Path, inputs: Mapping[str, Any], settings: VideoSettings, matting: Path | None) -> Stage:
    """A video, photos, or a capture's pictures without its cameras, to `frames/`: chosen and, unless the subject is
    told by its place, cut out."""
    used = only(settings, ("frames",)) | {"inputs": inputs, "longest_side": settings.asset.texture_size}
    used |= {"cut_out": settings.crop is None}
    work = functools.partial(_frames, source=source, settings=settings, matting=matting)
    return Stage("frames", (), ("frames",), used, work)


def cameras_stage(settings: VideoSettings) -> Stage:
    """`frames/` to `capture/`: cameras are found for the pictures."""
    work = functools.partial(_cameras, settings=settings)
    return Stage("cameras", ("frames",), ("capture",), only(settings, ("cameras", "fov", "up", "crop", "seed")), work)


def _capture(run: Path, out: Path, log: StageLog, *, source: Path, settings: VideoSettings | None) -> None:
    from pipelines._pictures import evenly
    from recon.capture import Capture
    from recon.capture.errors import CaptureWarning
    from recon.capture.io_colmap import find_colmap, read_colmap_points
    from recon.capture.io_nerfstudio import write_transforms
    from recon.capture.reading import find_reader, read_capture

    with log.step("reading"), warnings.catch_warnings(record=True) as left_out:
        warnings.simplefilter("always", CaptureWarning)
        given = read_capture(source)
        if settings is not None and settings.frames is not None:
            given = Capture(tuple(evenly(given.frames, settings.frames)), given.to_source)
    for warning in left_out:
        log.warn(str(warning.message))
    if settings is None or settings.crop is None:
        capture, guessed = _cut_out(given, log)
    else:
        points = read_colmap_points(source) if find_colmap(source) else None
        capture, guessed = _cropped(given, points, settings, log), [frame.name for frame in given]
    reader, up = find_reader(source), "auto" if settings is None else settings.up
    if up != "auto" or (reader is not None and not reader.states_up):
        capture = _upright(capture, up, log)
    with log.step("placing"):
        capture = _placed(capture, guessed)
    with log.step("writing"):
        write_transforms(capture, out / "capture")
    log.figures.update(frame_counts(capture))


def _cut_out(given: Capture, log: StageLog) -> tuple[Capture, Sequence[str]]:
    """With a matte for every frame; and the names of those whose mattes were guessed."""
    from recon.capture.cutouts import cut_out

    with log.step("cutting out"):
        cut = cut_out(given, log.watcher.advanced)
    for name, reason in cut.refused.items():
        log.warn(f"picture {name} is left out: {reason}")
    if cut.found:
        log.warn(
            f"{len(cut.found)} of {len(given)} pictures have no transparency; their subject was found by GrabCut "
            f"(capture/images shows how well; RGBA pictures are taken as they are)"
        )
    log.figures.update({"mattes_found": len(cut.found), "left_out": len(cut.refused)})
    return cut.capture, cut.found


def _cropped(capture: Capture, points: tuple[Tensor, Tensor] | None, settings: VideoSettings, log: StageLog) -> Capture:
    """With mattes of what lies in the region that was asked for. `points`: places and colours in the source's world."""
    import torch

    from pipelines._scene_stages import compile_kernels
    from recon.splat.crop import Region, cropped, framed_region

    compile_kernels(log)
    asked = settings.crop
    in_source = capture.moved(capture.to_source)
    if isinstance(asked, tuple):
        numbers = torch.tensor(asked)
        if len(asked) == 4:
            region = Region(numbers[:3], numbers[3].expand(3))
        else:
            region = Region((numbers[:3] + numbers[3:]) / 2, (numbers[3:] - numbers[:3]) / 2, is_box=True)
    else:
        region = framed_region(in_source.cameras)
    with log.step("fitting the surroundings"):
        found = cropped(
            in_source,
            region,
            points,
            seed=settings.seed,
            progress=lambda done, total, _: log.watcher.advanced(done, total),
        )
    log.figures["region"] = {
        "shape": "box" if region.is_box else "sphere",
        "centre": [round(float(x), 5) for x in region.centre],
        "half": [round(float(x), 5) for x in region.half],
        "visible_in": len(found),
    }
    return found.moved(capture.to_source.inverse())


def _placed(capture: Capture, guessed: Sequence[str]) -> Capture:
    """The capture with its subject in the unit sphere. `guessed` names the frames whose mattes one picture alone told:
    with cameras they are held against each other, twice, as what is cut away also makes the sphere smaller."""
    from recon.capture.normalise import normalise
    from recon.splat.agreeing import agreed_mattes

    capture = normalise(capture)
    for _ in range(2 if guessed else 0):
        capture = normalise(agreed_mattes(capture, guessed), keep=False)
    return capture


def _upright(capture: Capture, up: UpName, log: StageLog) -> Capture:
    from recon.capture.upright import find_up, given_up, turned_upright

    found = find_up(capture.cameras) if up == "auto" else given_up(capture.cameras, up)
    log.figures["up"] = {
        "told_by": found.told_by,
        "direction": [round(float(x), 4) for x in found.direction],
        "unevenness_degrees": round(math.degrees(found.spread), 2),
    }
    return turned_upright(capture, found)


def _frames(
    run: Path, out: Path, log: StageLog, *, source: Path, settings: VideoSettings, matting: Path | None
) -> None:
    from recon.capture.errors import CaptureError
    from recon.capture.unposed import write_unposed

    count, photos = _photos(source, settings.frames, log)
    refused: dict[str, str] = {}

    def cut_out() -> Iterator[UnposedFrame]:
        side = settings.asset.texture_size
        work = functools.partial(_unposed, longest_side=side, cut_out=settings.crop is None, matting=matting)
        for index, (name, found) in enumerate(_side_by_side(work, photos)):
            log.watcher.advanced(index + 1, count)
            try:
                yield found()
            except CaptureError as error:
                refused[name] = f"{error.found}; expected {error.expected}"
        if count - len(refused) < _FEWEST:
            name, reason = next(iter(refused.items()), (source.name, f"{count} pictures"))
            raise CaptureError(
                source,
                found=f"{count - len(refused)} of {count} pictures that can be used (first reason, {name}: {reason})",
                expected=f"at least {_FEWEST} pictures of one object",
                remedy="Take more pictures, before a plain background, or save them as PNG with a transparent one.",
            )

    with log.step("cutting out"):
        write_unposed(cut_out(), out / "frames")
    for name, reason in refused.items():
        log.warn(f"picture {name} is left out: {reason}")
    log.figures.update({"used": count - len(refused), "left_out": len(refused)})


def _photos(source: Path, limit: int | None, log: StageLog) -> tuple[int, Iterator[_Load]]:
    """How many pictures, and how each is loaded, one by one."""
    from pipelines._pictures import evenly
    from recon.capture.errors import CaptureError
    from recon.capture.frame_choice import choose_frames
    from recon.capture.photo import read_photo
    from recon.capture.reading import find_reader, read_capture
    from recon.capture.unposed import frame_photo, is_video, photo_files, video_photos
    from recon.capture.video import scan_video

    if is_video(source):
        assert limit is not None
        with log.step("choosing frames"):
            scan = scan_video(source, log.watcher.advanced)
            choice = choose_frames(scan, limit, source)
        log.figures["video"] = {
            "frames": len(scan.times),
            "seconds": round(float(scan.times[-1] - scan.times[0]), 3),
            "pixels": [scan.width, scan.height],
            "chosen": list(choice.indices),
            "sharpness": [round(float(x), 3) for x in choice.sharpness],
            "overlap": [round(float(x), 3) for x in choice.overlap],
            "blurred": choice.blurred,
            "empty": choice.empty,
        }
        if choice.blurred:
            log.warn(f"{choice.blurred} stretches of the video are blurred throughout and were left out")
        chosen = video_photos(source, choice.indices)
        return len(choice.indices), (_Load(p.path.name, time, functools.partial(_loaded, p)) for time, p in chosen)
    if find_reader(source) is not None:
        frames = read_capture(source).frames
        frames = tuple(frames if limit is None else evenly(frames, limit))
        return len(frames), (_Load(f.name, f.time, functools.partial(frame_photo, f)) for f in frames)
    files = photo_files(source) if source.is_dir() else []
    if not files:
        raise CaptureError(
            source,
            found="no pictures" if source.is_dir() else "no kind of file that is known here",
            expected="a video, a folder of photos, or a capture with cameras",
            remedy="Check the path; a single photo goes to `img2mesh`.",
        )
    files = files if limit is None else evenly(files, limit)
    return len(files), (_Load(file.name, 0.0, functools.partial(read_photo, file)) for file in files)


def _loaded(photo: Photo) -> Photo:
    return photo


def _side_by_side(
    work: Callable[[_Load], UnposedFrame], pictures: Iterable[_Load]
) -> Iterator[tuple[str, Callable[[], UnposedFrame]]]:
    """(file name, what waits for its frame), in order; a few at a time, so that few pictures are in memory."""
    workers = min(os.cpu_count() or 1, 8)
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[tuple[str, Callable[[], UnposedFrame]]] = deque()
        for picture in pictures:
            waiting.append((picture.name, pool.submit(work, picture).result))
            if len(waiting) > workers:
                yield waiting.popleft()
        yield from waiting


def _unposed(picture: _Load, longest_side: int, cut_out: bool, matting: Path | None) -> UnposedFrame:
    """The picture, cut out unless it is to stay as it is, at most `longest_side` pixels long."""
    import torch

    from recon.capture.cutouts import with_matte
    from recon.capture.matting import find_foreground
    from recon.capture.unposed import UnposedFrame, shrunk_picture

    photo = picture.photo()
    rgb = photo.rgb.float() / 255
    if cut_out:
        rgba = with_matte(rgb, find_foreground(photo, matting))
    else:
        rgba = torch.cat((rgb, torch.ones_like(rgb[..., :1])), dim=-1)
    rgba = shrunk_picture(rgba, longest_side)
    height, width = rgba.shape[:2]
    focal = None if photo.focal_pixels is None else photo.focal_pixels * width / photo.rgb.shape[1]
    return UnposedFrame(photo.path.stem, lambda: rgba, width, height, picture.time, focal, picture.name)


def frame_counts(capture: Capture) -> dict[str, Any]:
    """For the report: how many frames are from where."""
    counts: dict[str, int] = {}
    for frame in capture:
        counts[frame.source.value] = counts.get(frame.source.value, 0) + 1
    return {"frames": counts}


def _cameras(run: Path, out: Path, log: StageLog, *, settings: VideoSettings) -> None:
    from recon.capture.io_nerfstudio import write_transforms
    from recon.capture.unposed import read_unposed
    from recon.capture.upright import facing_first

    capture, points = _solved(read_unposed(run / "frames"), settings, log)
    if settings.crop is not None:
        capture = _cropped(capture, points, settings, log)
    if points is not None:  # an orbit stands upright as it is solved
        capture = _upright(capture, settings.up, log)
    elif settings.up != "auto":
        log.warn("--up is not asked for: an orbit's axis is up")
    with log.step("placing"):
        capture = _placed(capture, [frame.name for frame in capture])
    if points is not None:
        capture = _refined(capture, settings, log)
    with log.step("writing"):
        write_transforms(facing_first(capture), out / "capture")
    log.figures.update(frame_counts(capture))


def _refined(capture: Capture, settings: VideoSettings, log: StageLog) -> Capture:
    """With cameras that agree with one scene."""
    from pipelines._scene_stages import compile_kernels
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
    if solved.confidence == "poor" and settings.cameras == "auto" and settings.crop is None:
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
    from pipelines._scene_stages import compile_kernels
    from recon.capture import Capture, Frame
    from recon.capture.unposed import shrunk_picture
    from recon.splat.solve_poses import solve_orbit

    compile_kernels(log)
    with log.step("solving an orbit"):
        solved = solve_orbit(
            [shrunk_picture(frame.rgba(), _ORBIT_SIDE) for frame in frames],
            ordered=ordered,
            seed=settings.seed,
            progress=lambda what, share: log.watcher.advanced(round(100 * share), 100),
        )
    log.figures["solved"] = {
        "by": "orbit",
        "confidence": round(solved.confidence, 3),
        "reasons": {name: round(value, 3) for name, value in solved.reasons.items()},
        "elevation_degrees": round(math.degrees(solved.elevation), 2),
        "fov_degrees": round(math.degrees(solved.fov), 2),
        "azimuths_degrees": [round(math.degrees(float(a)), 2) for a in solved.azimuths],
    }
    if solved.confidence < _CONFIDENT:
        doubts = ", ".join(f"{name} {value:.2f}" for name, value in solved.reasons.items())
        log.warn(f"the orbit is found with a confidence of {solved.confidence:.2f} of 1 ({doubts}); it may be wrong")
    if settings.fov is not None:
        log.warn("--fov is not asked for: the orbit was solved with its own")
    placed = zip(frames, solved.cameras, strict=True)
    return Capture(
        tuple(Frame(camera.resized(f.width, f.height), f.load_rgba, time=f.time, name=f.name) for f, camera in placed)
    )


def _focal(frame: UnposedFrame, fov: float | None) -> float | None:
    """Pixels; from a given field of view (degrees, of the shorter side), else as the file says."""
    if fov is None:
        return frame.focal
    return min(frame.width, frame.height) / (2 * math.tan(math.radians(fov) / 2))
