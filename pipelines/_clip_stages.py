"""The stages from a clip to `capture/`: a capture with times is read; of one camera's video the generator draws the
other sides, at every moment.

Heavy imports stay inside the functions, so that a stage that is kept costs nothing.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines._capture_stages import cut_out_pictures, frame_counts, placed, upright
from pipelines._moving_options import MovingSettings
from pipelines._run import Stage, StageLog

if TYPE_CHECKING:
    from torch import Tensor

    from recon.capture import Capture, Frame
    from recon.capture.photo import Photo

_LONGEST_SIDE = 1024
"""Pixels that a video's pictures are shrunk to before their subject is looked for."""


def timed_capture_stage(source: Path, used: Mapping[str, Any], settings: MovingSettings, matting: Path | None) -> Stage:
    """A capture with cameras and times to `capture/`; `used` is what its bytes depend on."""
    work = functools.partial(_timed_capture, source=source, settings=settings, matting=matting)
    return Stage("capture", (), ("capture",), used, work)


def clip_stage(source: Path, used: Mapping[str, Any], settings: MovingSettings, matting: Path | None) -> Stage:
    """A video to `clip/`: its subject, cut out, in one square for all moments."""
    work = functools.partial(_clip, source=source, settings=settings, matting=matting)
    return Stage("clip", (), ("clip",), used, work)


def sides_stage(model: Path, used: Mapping[str, Any], settings: MovingSettings) -> Stage:
    """`clip/` to `capture/`: at every moment, the sides that the video does not show."""
    work = functools.partial(_sides, model=model, settings=settings)
    return Stage("sides", ("clip",), ("capture",), used, work)


def _timed_capture(
    run: Path, out: Path, log: StageLog, *, source: Path, settings: MovingSettings, matting: Path | None
) -> None:
    from recon.capture import Capture
    from recon.capture.clip import choose_moments
    from recon.capture.io_nerfstudio import write_transforms
    from recon.capture.reading import find_reader, read_capture

    with log.step("reading"):
        given = read_capture(source)
        times = [frame.time for frame in given]
        moments = choose_moments(times, settings.times, settings.clip, source, several_views=True)
        chosen = [index for moment in moments for index in moment]
        begin = min(times[index] for index in chosen)
        # From 0 on, as in the files that come out: a clock's seconds would lose their fractions in single precision.
        frames = tuple(dataclasses.replace(given[index], time=times[index] - begin) for index in chosen)
    if len(frames) < len(given):
        log.warn(f"{len(frames)} of {len(given)} pictures are used, those of {len(moments)} moments (--times)")
    capture, guessed = cut_out_pictures(Capture(frames, given.to_source), matting, log)
    capture = _where_seen(capture, source, log)
    reader = find_reader(source)
    if reader is not None and not reader.states_up:
        capture = upright(capture, "auto", log)
    with log.step("placing"):
        capture = _agreed_by_moment(placed(capture, (), source), guessed, source)
    with log.step("writing"):
        write_transforms(capture, out / "capture")
    log.figures.update(frame_counts(capture) | {"moments": len(moments), "begin_seconds": begin})


def _where_seen(capture: Capture, source: Path, log: StageLog) -> Capture:
    """Without the moments at which no picture shows the subject.

    Raises:
        CaptureError: if fewer than two are left.
    """
    from recon.capture.clip import moments_of
    from recon.capture.errors import CaptureError

    moments = moments_of([frame.time for frame in capture])
    seen = [moment for moment in moments if any(bool((capture[i].rgba()[..., 3] > 0.5).any()) for i in moment)]
    if len(seen) == len(moments):
        return capture
    gone = ", ".join(f"{capture[moment[0]].time:g}" for moment in moments if moment not in seen)
    if len(seen) < 2:
        raise CaptureError(
            source,
            found=f"a subject in the pictures of {len(seen)} of {len(moments)} moments",
            expected="at least two",
            remedy="Correct the pictures' alpha, or name another part with --clip.",
        )
    log.warn(f"no picture shows the subject at {gone} s after the beginning; these moments are left out")
    kept = {index for moment in seen for index in moment}
    frames = tuple(frame for index, frame in enumerate(capture) if index in kept)
    return dataclasses.replace(capture, frames=frames)


def _agreed_by_moment(capture: Capture, guessed: Sequence[str], source: Path) -> Capture:
    """Guessed mattes held against the others of the same moment: those of other moments show another shape."""
    from recon.capture.clip import moments_of
    from recon.splat.agreeing import agreed_mattes

    if not guessed:
        return capture
    frames: list[Frame] = []
    for moment in moments_of([frame.time for frame in capture]):
        group = tuple(capture[index] for index in moment)
        frames += agreed_mattes(dataclasses.replace(capture, frames=group), guessed).frames
    return placed(dataclasses.replace(capture, frames=tuple(frames)), (), source)


def _clip(run: Path, out: Path, log: StageLog, *, source: Path, settings: MovingSettings, matting: Path | None) -> None:
    import torch

    from recon.capture import Capture
    from recon.capture.errors import CaptureError
    from recon.capture.io_nerfstudio import write_transforms
    from recon.capture.matting import find_foreground
    from recon.capture.photo import frame_subject, subject_fov

    photos: list[tuple[float, Photo, Tensor]] = []
    refused: list[str] = []
    with log.step("cutting out"):
        for index, (count, time, photo) in enumerate(_moments(source, settings, log)):
            try:
                photos.append((time, photo, find_foreground(photo, matting)))
            except CaptureError as error:
                refused.append(f"the picture at {time:g} s is left out: {error.found}; expected {error.expected}")
            log.watcher.advanced(index + 1, count)
    for reason in refused:
        log.warn(reason)
    if len(photos) < 2:
        raise CaptureError(
            source,
            found=f"{len(photos)} pictures with a subject ({refused[0]})",
            expected="at least two",
            remedy="Save the pictures as RGBA with a transparent background, or give --matting a network.",
        )
    _check_sizes(source, [photo for _, photo, _ in photos])
    # One square for the whole clip, so that what moves in it moves in the scene and the camera stands.
    outline = torch.stack([alpha for *_, alpha in photos]).amax(0)
    elevation = math.radians(settings.elevation)
    asked = None if settings.fov is None else math.radians(settings.fov)
    fov, fov_from = subject_fov(photos[0][1], outline, asked)
    if fov_from == "assumed":
        log.warn(f"a field of view of {math.degrees(fov):.1f} degrees is assumed (--fov says otherwise)")
    frames = []
    for index, (time, photo, alpha) in enumerate(photos):
        frame = frame_subject(photo, alpha, elevation=elevation, fov=fov, outline=outline, name=f"seen_{index:03d}")
        frames.append(dataclasses.replace(frame, time=time - photos[0][0]))
    with log.step("writing"):
        write_transforms(Capture(tuple(frames)), out / "clip")
    log.figures.update(
        {
            "moments": len(frames),
            "seconds": round(frames[-1].time, 3),
            "begin_seconds": round(photos[0][0], 4),
            "framed_pixels": frames[0].camera.width,
            "fov_degrees": round(math.degrees(fov), 3),
            "fov_from": fov_from,
            "elevation_degrees": settings.elevation,
        }
    )


def _moments(source: Path, settings: MovingSettings, log: StageLog) -> Iterator[tuple[int, float, Photo]]:
    """(how many, seconds, picture) of each moment that is used."""
    from recon.capture.clip import choose_moments
    from recon.capture.errors import CaptureError
    from recon.capture.photo import read_photo
    from recon.capture.unposed import is_video, photo_files, video_photos
    from recon.capture.video import scan_video

    if is_video(source):
        scan = scan_video(source, log.watcher.advanced)
        moments = choose_moments(scan.times.tolist(), settings.times, settings.clip, source)
        for time, photo in video_photos(source, [moment[0] for moment in moments]):
            yield len(moments), time, _shrunk(photo)
        return
    files = photo_files(source) if source.is_dir() else []
    if not files:
        raise CaptureError(
            source,
            found="no pictures" if source.is_dir() else "no kind of file that is known here",
            expected="a video (MP4, MOV, WebM, GIF, ...), a folder of its frames, or a capture with times",
            remedy="Check the path; animated WebP must be saved as GIF or MP4; a single photo goes to `img2mesh`.",
        )
    times = [index / settings.fps for index in range(len(files))]
    moments = choose_moments(times, settings.times, settings.clip, source)
    for moment in moments:
        yield len(moments), times[moment[0]], _shrunk(read_photo(files[moment[0]]))


def _shrunk(photo: Photo) -> Photo:
    import torch

    from recon.capture.unposed import shrunk_picture

    height, width = photo.rgb.shape[:2]
    scale = _LONGEST_SIDE / max(height, width)
    if scale >= 1:
        return photo
    alpha = torch.full((height, width), 255, dtype=torch.uint8) if photo.alpha is None else photo.alpha
    rgba = torch.cat((photo.rgb, alpha[..., None]), dim=-1).float() / 255
    small = (shrunk_picture(rgba, _LONGEST_SIDE) * 255).round().to(torch.uint8)
    return dataclasses.replace(photo, rgb=small[..., :3], alpha=None if photo.alpha is None else small[..., 3])


def _check_sizes(source: Path, photos: list[Photo]) -> None:
    from recon.capture.errors import CaptureError

    sizes = {tuple(photo.rgb.shape[:2]) for photo in photos}
    if len(sizes) > 1:
        found = ", ".join(f"{width} x {height}" for height, width in sorted(sizes)[:3])
        raise CaptureError(
            source,
            found=f"pictures of several sizes ({found})",
            expected="the frames of one camera that stands still",
            remedy="Several photos of what does not move go to `video2mesh`.",
        )


def _sides(run: Path, out: Path, log: StageLog, *, model: Path, settings: MovingSettings) -> None:
    import torch

    from gen.weights import load_pipeline
    from recon.capture import Capture
    from recon.capture.io_nerfstudio import read_transforms, write_transforms
    from recon.capture.orbit import orbit_cameras

    with log.step("loading"):
        pipe = load_pipeline(model, settings.device)
        seen = read_transforms(run / "clip")
    camera = seen[0].camera
    ring = orbit_cameras(settings.views, camera.elevation, camera.fov_y, pipe.transformer.config.sample_size)
    frames: list[Frame] = []
    with log.step("drawing"):
        for index, frame in enumerate(seen):
            # The same noise at every moment: what is imagined of one is then imagined of the next.
            noise = torch.Generator().manual_seed(settings.seed)
            still = dataclasses.replace(frame, time=0.0)
            orbit: Capture = pipe([still], ring[1:], generator=noise)
            for side, drawn in enumerate(orbit):
                name = frame.name if side == 0 else f"made_{index:03d}_{side:02d}"
                frames.append(dataclasses.replace(drawn, time=frame.time, name=name))
            log.watcher.advanced(index + 1, len(seen))
    capture = Capture(tuple(frames))
    with log.step("writing"):
        write_transforms(capture, out / "capture")
    log.figures.update(frame_counts(capture) | {"moments": len(seen)})
