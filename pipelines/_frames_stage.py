"""The stage from a video, photos, or a capture's pictures without its cameras to `frames/`: chosen and cut out."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines._run import Stage, StageLog
from pipelines._scene_stages import only
from pipelines._video_options import VideoSettings

if TYPE_CHECKING:
    from recon.capture.photo import Photo
    from recon.capture.unposed import UnposedFrame


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


def frames_stage(source: Path, inputs: Mapping[str, Any], settings: VideoSettings, matting: Path | None) -> Stage:
    """A video, photos, or a capture's pictures without its cameras, to `frames/`: chosen and, unless the subject is
    told by its place, cut out."""
    used = only(settings, ("frames",)) | {"inputs": inputs, "longest_side": settings.asset.texture_size}
    used |= {"cut_out": settings.crop is None}
    work = functools.partial(_frames, source=source, settings=settings, matting=matting)
    return Stage("frames", (), ("frames",), used, work)


def _frames(
    run: Path, out: Path, log: StageLog, *, source: Path, settings: VideoSettings, matting: Path | None
) -> None:
    from recon.capture.errors import CaptureError
    from recon.capture.frame_choice import FEWEST_FRAMES
    from recon.capture.unposed import write_unposed

    count, photos = _photos(source, settings.frames, log)
    refused: dict[str, str] = {}
    seen: set[bytes] = set()

    def cut_out() -> Iterator[UnposedFrame]:
        side = settings.asset.texture_size
        work = functools.partial(_unposed, longest_side=side, cut_out=settings.crop is None, matting=matting)
        for index, (name, found) in enumerate(_side_by_side(work, photos)):
            log.watcher.advanced(index + 1, count)
            try:
                frame = found()
            except CaptureError as error:
                refused[name] = f"{error.found}; expected {error.expected}"
                continue
            seen.add(hashlib.sha256(frame.rgba().contiguous().numpy().data).digest())
            yield frame
        used = count - len(refused)
        if len(seen) == 1 and used > 1:
            raise CaptureError(
                source,
                found=f"the same picture {used} times",
                expected="pictures from different sides",
                remedy="Take pictures all around the object; a single one goes to `img2mesh`.",
            )
        if used < FEWEST_FRAMES:
            name, reason = next(iter(refused.items()), (source.name, f"{count} pictures"))
            raise CaptureError(
                source,
                found=f"{used} of {count} pictures that can be used (first reason, {name}: {reason})",
                expected=f"at least {FEWEST_FRAMES} pictures of one object",
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
    from recon.capture.heic import INSTALL, SUFFIXES, reads_heic
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
    unread = 0 if reads_heic() or not source.is_dir() else sum(p.suffix.lower() in SUFFIXES for p in source.iterdir())
    if not files:
        nothing = f"{unread} HEIC pictures" if unread else "no pictures"
        raise CaptureError(
            source,
            found=nothing if source.is_dir() else "no kind of file that is known here",
            expected="a video, a folder of photos, or a capture with cameras",
            remedy=f"HEIC needs {INSTALL}." if unread else "Check the path; a single photo goes to `img2mesh`.",
        )
    if unread:
        log.warn(f"{unread} HEIC pictures in the folder are not read: {INSTALL}, or export them as JPEG")
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
    width_before = photo.rgb.shape[1]
    focal = photo.focal_pixels
    if photo.alpha is None:  # first, as large pictures in floating point fill the memory
        opaque = torch.ones(*photo.rgb.shape[:2], 1)
        small = shrunk_picture(torch.cat((photo.rgb.float() / 255, opaque), dim=-1), longest_side)
        photo = dataclasses.replace(photo, rgb=(small[..., :3] * 255).round().to(torch.uint8))
    rgb = photo.rgb.float() / 255
    if cut_out:
        rgba = with_matte(rgb, find_foreground(photo, matting))
    else:
        rgba = torch.cat((rgb, torch.ones_like(rgb[..., :1])), dim=-1)
    rgba = shrunk_picture(rgba, longest_side)
    height, width = rgba.shape[:2]
    focal = None if focal is None else focal * width / width_before
    return UnposedFrame(photo.path.stem, lambda: rgba, width, height, picture.time, focal, picture.name)
