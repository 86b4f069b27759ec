"""Pictures about a run: `orbit.mp4`, `preview.png` and the sheet of variants."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipelines._films import write_mp4
from recon.capture import Camera, Frame
from recon.metrics.images import over_white
from recon.surface.mesh import Mesh
from recon.surface.render import Lights, prepare_mesh, render_prepared
from recon.surface.studio import grey

VIDEO_SIZE = 256
VIDEO_SECONDS = 3
TILE = 160
GAP = 6
T = TypeVar("T")
CAPTION = 20
COLUMNS = 8


def azimuth(frame: Frame) -> float:
    """Where around the object a frame was taken from, in [0, 2 pi)."""
    x, _, z = frame.camera.centre.tolist()
    return math.atan2(x, z) % (2 * math.pi)


def orbit_order(frames: Sequence[Frame]) -> list[Frame]:
    """Frames by azimuth, from the first frame's on."""
    start = azimuth(frames[0])
    return sorted(frames, key=lambda frame: round(azimuth(frame) - start, 6) % (2 * math.pi))


def write_video(frames: Sequence[Frame], path: Path) -> None:
    """One loop through the frames over white as H.264, the same bytes every time.

    Raises:
        OSError: if the video cannot be written.
    """
    rate = Fraction(max(4, round(len(frames) / VIDEO_SECONDS)))
    write_mp4((fit_tile(frame.rgba(), VIDEO_SIZE) for frame in frames), path, rate)


def fit_tile(rgba: Tensor, size: int) -> NDArray[np.uint8]:
    """A straight-alpha picture (H, W, 4) over white, fitted into (size, size, 3) bytes, its proportions kept."""
    height, width = rgba.shape[:2]
    scale = size / max(height, width)
    shape = (max(1, round(height * scale)), max(1, round(width * scale)))
    white = over_white(rgba).permute(2, 0, 1)[None]
    antialias = scale < 1
    scaled = torch.nn.functional.interpolate(white, shape, mode="bicubic", align_corners=False, antialias=antialias)
    tile = np.full((size, size, 3), 255, np.uint8)
    top, left = (size - shape[0]) // 2, (size - shape[1]) // 2
    pixels = (scaled[0].permute(1, 2, 0).clamp(0, 1) * 255).round().to(torch.uint8).numpy()
    tile[top : top + shape[0], left : left + shape[1]] = pixels
    return tile


def evenly(items: Sequence[T], count: int = COLUMNS) -> list[T]:
    """At most `count` of the items, such as frames, evenly spaced, the first among them."""
    if len(items) <= count:
        return list(items)
    return [items[round(i * len(items) / count)] for i in range(count)]


def mesh_rows(mesh: Mesh, cameras: Sequence[Camera]) -> list[tuple[str, Sequence[Tensor]]]:
    """Rows of a sheet: a textured mesh, and its shape alone."""
    textured, clay, lights = prepare_mesh(mesh), prepare_mesh(grey(mesh)), Lights.studio()
    return [
        ("mesh, textured", [render_prepared(textured, camera).rgba for camera in cameras]),
        ("mesh, shape only", [render_prepared(clay, camera, lights=lights).rgba for camera in cameras]),
    ]


def write_sheet(rows: Sequence[tuple[str, Sequence[Tensor]]], path: Path) -> None:
    """Rows of straight-alpha pictures (H, W, 4), each under its caption, as a PNG."""
    from PIL import Image, ImageDraw, ImageFont

    columns = max(len(pictures) for _, pictures in rows)
    width = columns * (TILE + GAP) + GAP
    row_height = CAPTION + TILE + GAP
    sheet = Image.new("RGB", (width, len(rows) * row_height + GAP), (236, 236, 236))
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=13)
    for row, (caption, pictures) in enumerate(rows):
        top = row * row_height + GAP
        pen.text((GAP, top), caption, fill=(40, 40, 40), font=font)
        for column, picture in enumerate(pictures):
            tile = Image.fromarray(fit_tile(picture, TILE))
            sheet.paste(tile, (GAP + column * (TILE + GAP), top + CAPTION))
    sheet.save(path, format="PNG", compress_level=6)
