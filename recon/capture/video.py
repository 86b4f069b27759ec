"""Videos at the border of the package: what is in them, and the pictures that are wanted, upright and in sRGB.

Everything that opens a video goes through `_decode`, so that kind, size and damage are judged in one place. Videos are
read twice: once small, to find out where the camera or the object moves and which pictures are sharp, then only what
was chosen.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from recon.capture.errors import CaptureError
from recon.capture.hdr import TRANSFERS, tone_mapped
from recon.capture.images import MAX_PIXELS

MAX_FRAMES = 20_000
"""Longer videos are refused: eleven minutes at 30 frames a second."""
MAX_VIDEO_BYTES = 16 * 2**30
_DEMUXERS = ("mov", "mp4", "matroska", "webm", "gif", "avi", "mpegts", "ogg", "flv", "mpeg")
"""Kinds of files that are opened. Playlists are not among them: they name other files and addresses."""
_EBML, _SEGMENT = b"\x1aE\xdf\xa3", b"\x18S\x80g"
_GUARDED = {"format_whitelist": ",".join(_DEMUXERS), "protocol_whitelist": "none"}
_WIDEST = 4.0
"""Pixels of another shape than this, either way, are a broken header's."""
_SCAN_SIDE = 320
_FLOW_SIDE = 128
_LEAST_SIDE = 32
_STILL = 0.002
"""Motions below this share of the picture's longer side are noise."""
_COMPLETE = 0.9
"""A file with fewer of the frames that it promises is truncated."""
_MOVING_QUANTILE = 0.75
_SMALLEST = 0.005
"""Share of the pixels that must move; fewer are noise."""
_REMEDY = "Export it again, for instance as MP4 (H.264)."
_EXPECTED = "a video (MP4, MOV, WebM, MKV, AVI or animated GIF)"
_HD_HEIGHT = 720
_BT601, _BT709 = 5, 1
_UNKNOWN_MATRIX = (0, 2)

Progress = Callable[[int, int], None]
"""Told (frames done, frames in all as far as the file says, else 0)."""


@dataclass(frozen=True)
class Scan:
    """What a first look at a video tells about its N frames.

    Attributes:
        times: (N,) seconds, of presentation; uneven where the frame rate varies.
        sharpness: (N,) variance of the Laplacian of the luma at 320 pixels.
        motion: (N,) how far what moves has moved since the frame before, in shares of the longer side; the first is 0.
        contrast: (N,) standard deviation of the luma, 0 to 255.
        width, height: of the upright pictures.
    """

    times: np.ndarray
    sharpness: np.ndarray
    motion: np.ndarray
    contrast: np.ndarray
    width: int
    height: int


@dataclass(frozen=True)
class VideoPicture:
    """One frame of a video.

    Attributes:
        index: which, from 0.
        time: seconds.
        rgb: (H, W, 3) uint8 sRGB, upright.
        alpha: (H, W) uint8, or None where the video has no transparency.
    """

    index: int
    time: float
    rgb: np.ndarray
    alpha: np.ndarray | None


def scan_video(path: Path, progress: Progress = lambda done, total: None) -> Scan:
    """Look at every frame once, small.

    Raises:
        CaptureError: if the file is no video, has no pictures or is damaged, truncated, too long or too large.
    """
    times, sharpness, motion, contrast = [], [], [], []
    before, flow_of, size = None, _Flow(), (0, 0)
    for index, frame, header in _decode(path):
        width, height = header.square_width(frame), frame.height
        size = (height, width) if frame.rotation % 180 else (width, height)
        scale = min(1.0, _SCAN_SIDE / max(width, height))
        shape = (max(2, round(width * scale)), max(2, round(height * scale)))
        grey = frame.reformat(width=shape[0], height=shape[1], format="gray").to_ndarray()
        sharpness.append(float(cv2.Laplacian(grey, cv2.CV_32F).var()))
        contrast.append(float(grey.std()))
        small = cv2.resize(grey, _within(shape, _FLOW_SIDE), interpolation=cv2.INTER_AREA)
        motion.append(0.0 if before is None else flow_of(before, small))
        times.append(_seconds(frame, index))
        before = small
        progress(index + 1, header.frames)
    return Scan(np.array(times), np.array(sharpness), np.array(motion), np.array(contrast), *size)


def read_pictures(
    path: Path, indices: Sequence[int], progress: Progress = lambda done, total: None
) -> Iterator[VideoPicture]:
    """The frames numbered `indices`, in their order in the video.

    Raises:
        CaptureError: as `scan_video`, and if the video has no such frame any more.
    """
    wanted = set(indices)
    last = max(wanted)
    for index, frame, header in _decode(path, until=last):
        if index in wanted:
            rgb, alpha = _pixels(frame, header.square_width(frame))
            wanted.remove(index)
            progress(len(indices) - len(wanted), len(indices))
            yield VideoPicture(index, _seconds(frame, index), rgb, alpha)
    if wanted:
        raise CaptureError(path, found=f"no frame {min(wanted)}", expected="the video that was scanned", remedy=_REMEDY)


class _Flow:
    """Dense inverse search (Kroeger et al. 2016), summed up as the displacement that a quarter of what moves exceeds:
    before a still backdrop only the object counts, however small it is, in a walk around it everything."""

    def __init__(self) -> None:
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)

    def __call__(self, before: np.ndarray, after: np.ndarray) -> float:
        length = np.linalg.norm(self._flow.calc(before, after, None), axis=-1)
        moving = length[length > _STILL * max(before.shape)]
        if len(moving) < _SMALLEST * length.size:
            return 0.0
        return float(np.quantile(moving, _MOVING_QUANTILE)) / max(before.shape)


def _within(size: tuple[int, int], side: int) -> tuple[int, int]:
    """(width, height) shrunk to `side`; neither below 32, where OpenCV's flow ends the process without a word."""
    scale = min(1.0, side / max(size))
    return max(_LEAST_SIDE, round(size[0] * scale)), max(_LEAST_SIDE, round(size[1] * scale))


@dataclass(frozen=True)
class _Header:
    """What the file says of its pictures: how many there are, or 0; how wide a pixel is against its height."""

    frames: int
    aspect: float

    def square_width(self, frame: Any) -> int:
        """Of the picture with square pixels."""
        return max(1, round(frame.width * self.aspect))


def _header(stream: Any) -> _Header:
    aspect = float(stream.sample_aspect_ratio or 1)  # 0 or None: nobody said
    return _Header(int(stream.frames or 0), aspect if 1 / _WIDEST <= aspect <= _WIDEST else 1.0)


def _decode(path: Path, until: int | None = None) -> Iterator[tuple[int, Any, _Header]]:
    """(index, decoded frame, what the file promises)."""
    import av

    path = Path(path)
    _check_file(path)
    with _opened(path) as (container, stream):
        header, index = _header(stream), 0
        try:
            for frame in _frames(container, stream):
                if index >= MAX_FRAMES:
                    raise CaptureError(
                        path,
                        found=f"more than {MAX_FRAMES} frames",
                        expected="a short video of one object",
                        remedy="Cut out the part that goes around the object.",
                    )
                width = max(frame.width, header.square_width(frame))
                if width * frame.height > MAX_PIXELS:
                    raise _too_large(path, width, frame.height)
                yield index, frame, header
                if index == until:
                    return
                index += 1
        except av.error.FFmpegError as cause:
            raise CaptureError(
                path, found=f"damage after {index} frames ({_reason(cause)})", expected="a whole video", remedy=_REMEDY
            ) from cause
        if index == 0:
            raise CaptureError(path, found="a video without a picture", expected=_EXPECTED, remedy=_REMEDY)
        # An edit list hides frames that the header counts: what trims a video without encoding it anew leaves one.
        if index < _COMPLETE * header.frames and _packets(path) < _COMPLETE * header.frames:
            found = f"{index} of the {header.frames} frames that it promises"
            raise CaptureError(path, found=found, expected="a whole video", remedy="Copy the file again.")


def _packets(path: Path) -> int:
    """Frames that are stored, hidden ones included."""
    with _opened(path, {"ignore_editlist": "1"}) as (container, stream):
        return sum(packet.size > 0 for packet in container.demux(stream))


@contextmanager
def _opened(path: Path, further: dict[str, str] | None = None) -> Iterator[tuple[Any, Any]]:
    """The container and its first video stream."""
    import av

    # The library gets an open file, no name or address, and may open nothing else.
    with path.open("rb") as file:
        try:
            container = av.open(
                file,
                metadata_errors="replace",
                container_options={
                    "format_whitelist": ",".join(_DEMUXERS),
                    "protocol_whitelist": "none",
                    **(further or {}),
                },
            )
        except (av.error.FFmpegError, ValueError) as cause:
            found = f"no video that can be read ({_reason(cause)})"
            raise CaptureError(path, found=found, expected=_EXPECTED, remedy=_REMEDY) from cause
        with container:
            if not container.streams.video:
                sound = "sound only" if container.streams.audio else "no pictures"
                raise CaptureError(path, found=sound, expected=_EXPECTED, remedy="Choose another file.")
            stream = container.streams.video[0]
            if stream.codec_context is None:
                raise CaptureError(path, found="a codec that is not known", expected=_EXPECTED, remedy=_REMEDY)
            width, height = stream.codec_context.width, stream.codec_context.height
            if width * height > MAX_PIXELS:
                raise _too_large(path, width, height)
            # FFmpeg's own threads are reported to wait for each other for ever on busy cores, and gain little here.
            stream.codec_context.thread_count = 1
            yield container, stream


def _frames(container: Any, stream: Any) -> Iterator[Any]:
    """Decoded pictures. VP8 and VP9 keep transparency apart, where only libvpx finds it."""
    import av

    name = stream.codec_context.name
    if name not in ("vp8", "vp9") or stream.metadata.get("alpha_mode", stream.metadata.get("ALPHA_MODE")) != "1":
        yield from container.decode(stream)
        return
    decoder = av.CodecContext.create(f"libvpx-{name}" if name == "vp9" else "libvpx", "r")
    decoder.thread_count = 1
    for packet in container.demux(stream):
        yield from decoder.decode(packet if packet.size else None)


def _segment_end(path: Path) -> int:
    """Where a Matroska or WebM file's content ends by its own account (RFC 8794, 9559); 0 if it does not say."""
    with path.open("rb") as file:
        head = file.read(4096)
    place, end = 0, 0
    while place + 12 <= len(head) and head[place : place + 4] in (_EBML, _SEGMENT):
        first = head[place + 4]
        length = 9 - first.bit_length()
        if first == 0 or place + 4 + length > len(head):
            return 0
        size = int.from_bytes(head[place + 4 : place + 4 + length], "big") & ((1 << 7 * length) - 1)
        end = place + 4 + length + size
        if head[place : place + 4] == _SEGMENT:
            return 0 if size == (1 << 7 * length) - 1 else end  # all ones: unknown, as of a live stream
        place = end
    return 0


def _check_file(path: Path) -> None:
    if not path.is_file():
        found = "a folder" if path.is_dir() else "no file"
        raise CaptureError(path, found=found, expected=_EXPECTED, remedy="Check the path.")
    size = os.stat(path).st_size
    if size == 0 or size > MAX_VIDEO_BYTES:
        found = "an empty file (0 bytes)" if size == 0 else f"a file of {size / 2**30:.0f} GiB"
        raise CaptureError(path, found=found, expected=_EXPECTED, remedy=_REMEDY)
    if size < _segment_end(path):
        found = f"{size} of the {_segment_end(path)} bytes that it promises"
        raise CaptureError(path, found=found, expected="a whole video", remedy="Copy the file again.")
    if _is_cut_gif(path):
        found = "a GIF without its end"
        raise CaptureError(path, found=found, expected="a whole animation", remedy="Copy the file again.")


def _is_cut_gif(path: Path) -> bool:
    """Whether it is a GIF that does not end as they do, with a semicolon, perhaps padded."""
    with path.open("rb") as file:
        if file.read(4) != b"GIF8":
            return False
        file.seek(-min(1024, path.stat().st_size), os.SEEK_END)
        return not file.read().rstrip(b"\0\r\n").endswith(b";")


def _too_large(path: Path, width: int, height: int) -> CaptureError:
    return CaptureError(
        path,
        found=f"pictures of {width} x {height} pixels",
        expected=f"at most {MAX_PIXELS / 1e6:.0f} megapixels",
        remedy="Scale the video down first.",
    )


def _seconds(frame: Any, index: int) -> float:
    return float(index) if frame.time is None else float(frame.time)


def _widened(rgb: np.ndarray, alpha: np.ndarray | None, width: int) -> tuple[np.ndarray, np.ndarray | None]:
    """The picture at another width; colours of transparent pixels do not reach their neighbours."""
    opaque = np.full(rgb.shape[:2], 255, np.uint8) if alpha is None else alpha
    premultiplied = np.dstack((rgb * (opaque[..., None] / np.float32(255)), opaque)).astype(np.float32)
    mode = cv2.INTER_AREA if width < rgb.shape[1] else cv2.INTER_LINEAR
    resized = cv2.resize(premultiplied, (width, rgb.shape[0]), interpolation=mode)
    straight = resized[..., :3] * (255 / np.maximum(resized[..., 3:], 1))
    found = [(part + 0.5).clip(0, 255).astype(np.uint8) for part in (straight, resized[..., 3])]
    return found[0], None if alpha is None else found[1]


def _pixels(frame: Any, width: int) -> tuple[np.ndarray, np.ndarray | None]:
    """(H, W, 3) and (H, W) uint8, upright, sRGB, from a frame that is `width` pixels wide once they are square."""
    has_alpha = any(component.is_alpha for component in frame.format.components)
    matrix = int(frame.colorspace)
    if matrix in _UNKNOWN_MATRIX:  # by custom, as players do
        matrix = _BT709 if frame.height >= _HD_HEIGHT else _BT601
    transfer = TRANSFERS.get(int(frame.color_trc or 0))
    if transfer is not None:
        deep = frame.reformat(format="rgb48le", src_colorspace=matrix).to_ndarray()
        rgb, alpha = tone_mapped(deep, transfer), None
    else:
        pixels = frame.reformat(format="rgba" if has_alpha else "rgb24", src_colorspace=matrix).to_ndarray()
        rgb, alpha = pixels[..., :3], pixels[..., 3] if has_alpha else None
    if width != frame.width:
        rgb, alpha = _widened(rgb, alpha, width)
    turns = round(frame.rotation / 90) % 4
    rgb = np.ascontiguousarray(np.rot90(rgb, turns))
    return rgb, None if alpha is None else np.ascontiguousarray(np.rot90(alpha, turns))


def _reason(cause: BaseException) -> str:
    return (str(cause).splitlines() or [type(cause).__name__])[0][:120]
