"""What the command tests share: a generator with random weights, a small photo, and what a run folder holds."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from PIL import Image, ImageDraw

from gen.model import PIXEL_CHANNELS
from tests.gen.small import tiny_pipeline


def save_generator(folder: Path) -> Path:
    pipeline = tiny_pipeline()
    with torch.no_grad():  # so thin that background shows, as around an object
        pipeline.transformer.net.head.bias.view(-1, PIXEL_CHANNELS)[:, 3] -= 0.7
    pipeline.save_pretrained(folder)
    return folder


def save_photo(path: Path) -> Path:
    """A red mushroom cut out of its background."""
    picture = Image.new("RGBA", (96, 96))
    pen = ImageDraw.Draw(picture)
    pen.rectangle((40, 44, 56, 84), fill=(230, 220, 200, 255))
    pen.pieslice((16, 12, 80, 76), 180, 360, fill=(200, 30, 40, 255))
    picture.save(path)
    return path


def content(folder: Path) -> dict[str, str]:
    """Hash of every file of a run but the one that may differ."""
    files = (file for file in folder.rglob("*") if file.is_file() and file.name != "timings.json")
    return {file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
