"""Small videos of any kind, written for tests."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np


def write_video(
    path: Path,
    pictures: Sequence[np.ndarray],
    *,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    times: Sequence[float] | None = None,
    options: dict[str, str] | None = None,
    colors: dict[str, int] | None = None,
    deep: bool = False,
    container_options: dict[str, str] | None = None,
    aspect: Fraction | None = None,
) -> Path:
    """Pictures (H, W, 3 or 4) uint8, or uint16 where `deep`, as a video; `times` in seconds, else 25 a second.
    `aspect`: of a pixel, its width over its height."""
    height, width = pictures[0].shape[:2]
    kind = "rgb48le" if deep else "rgba" if pictures[0].shape[2] == 4 else "rgb24"
    with av.open(str(path), "w", container_options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=25, options=options or {})
        stream.codec_context.thread_count = 1
        stream.width, stream.height, stream.pix_fmt = width, height, pixels
        stream.codec_context.time_base = Fraction(1, 1000)
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        for name, value in (colors or {}).items():
            setattr(stream.codec_context, name, value)
        for index, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format=kind)
            if colors:
                frame = frame.reformat(format=pixels, dst_colorspace=colors.get("colorspace", 2))
            frame.time_base = Fraction(1, 1000)
            frame.pts = round(1000 * (index / 25 if times is None else times[index]))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_sound(path: Path) -> Path:
    """A file with sound alone."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def turned_in_its_header(path: Path, degrees: int) -> Path:
    """An MP4 whose track header says that players turn the picture clockwise, as phones write it."""
    matrix = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}[degrees]
    data = bytearray(path.read_bytes())
    start = data.index(b"tkhd") + 4 + 40  # the matrix follows version, times, ids, duration, layer, volume
    a, b, c, d = (value * 65536 for value in matrix)
    for place, value in zip((0, 1, 3, 4), (a, b, c, d)):
        data[start + 4 * place : start + 4 * place + 4] = value.to_bytes(4, "big", signed=True)
    path.write_bytes(bytes(data))
    return path


def noise(seed: int = 0, shape: tuple[int, int] = (96, 144)) -> np.ndarray:
    """(H, W, 3) uint8 of blocks of 8 pixels, soft enough for codecs."""
    height, width = shape
    blocks = np.random.default_rng(seed).integers(40, 216, (height // 8, width // 8, 3), dtype=np.uint8)
    return blocks.repeat(8, 0).repeat(8, 1)


def sliding(steps: Sequence[int], seed: int = 0) -> list[np.ndarray]:
    """Pictures of one pattern, moved to the right by so many pixels each."""
    pattern, places = noise(seed), np.cumsum(steps)
    return [np.roll(pattern, int(place), axis=1) for place in places]
