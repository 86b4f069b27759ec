"""Pictures that move, as files: H.264 in MP4, animated GIF and WebP. The same pictures give the same bytes."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]
"""(H, W, 3) or, with straight alpha, (H, W, 4)."""


def write_mp4(pictures: Iterable[Pixels], path: Path, rate: Fraction) -> None:
    """H.264, `rate` pictures a second; all of one size, whose sides are even.

    Raises:
        OSError: if the video cannot be written.
    """
    import av

    # One thread and no version strings: otherwise the bytes depend on the machine's cores and the muxer's mood.
    with av.open(str(path), "w", format="mp4", options={"fflags": "+bitexact", "movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "18", "preset": "medium", "threads": "1"})
        stream.pix_fmt = "yuv420p"
        stream.codec_context.flags |= av.codec.context.Flags.bitexact
        for index, pixels in enumerate(pictures):
            if index == 0:
                stream.height, stream.width = pixels.shape[:2]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")))
        container.mux(stream.encode())


def write_animation(pictures: Iterable[Pixels], path: Path, count: int, seconds: float, kind: str) -> None:
    """An endless animation of `count` pictures, `kind` "GIF" or "WEBP". GIF knows 256 colours a picture, no half
    transparency, and times in hundredths of a second: some pictures stay a hundredth longer than others.

    Raises:
        OSError: if it cannot be written.
    """
    images = (_indexed(pixels) if kind == "GIF" else Image.fromarray(pixels) for pixels in pictures)
    first = next(images)
    more = {"disposal": 2, "optimize": False} if kind == "GIF" else {"quality": 88, "method": 4}
    unit = 10 if kind == "GIF" else 1
    ends = [round(1000 * seconds * (i + 1) / count / unit) * unit for i in range(count)]
    milliseconds = [end - begin for begin, end in zip([0, *ends], ends)]
    with path.open("wb") as file:
        first.save(file, format=kind, save_all=True, append_images=images, duration=milliseconds, loop=0, **more)


def _indexed(pixels: Pixels) -> Image.Image:
    """A picture of at most 256 colours, one of which is for what is more transparent than not."""
    image = Image.fromarray(np.ascontiguousarray(pixels[..., :3])).quantize(255, method=Image.Quantize.MEDIANCUT)
    if pixels.shape[2] == 4:
        indices = np.array(image)
        indices[pixels[..., 3] < 128] = 255
        palette = image.getpalette() or []
        image = Image.fromarray(indices)
        image.putpalette(palette)
        image.info["transparency"] = 255
    return image
