"""One or several photos of one object, drawn by the generator along a path of one's own: a spiral, as an animation.

    python examples/07_photos_and_a_camera_path.py SPIRAL.webp PHOTO [PHOTO ...]

Several photos are taken to stand evenly around the object, in their order.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import torch
from PIL import Image

from gen.weights import load_pipeline
from recon.capture import Frame, orbit_camera
from recon.capture.matting import find_foreground
from recon.capture.orbit import DEFAULT_FOV
from recon.capture.photo import common_sides, frame_subject, read_photo
from recon.metrics.images import over_white

ELEVATION = math.radians(10)
FRAMES = 36
SIZE = 192


def main(animation: Path, photo_paths: list[Path]) -> None:
    context = framed_photos(photo_paths)
    turn = [2 * math.pi * i / FRAMES for i in range(FRAMES)]
    spiral = [orbit_camera(angle, ELEVATION + 0.4 * math.sin(angle / 2), DEFAULT_FOV, SIZE, SIZE) for angle in turn]

    generator = load_pipeline()
    drawn = generator(context, spiral, size=SIZE, generator=torch.Generator().manual_seed(0))

    pixels = [(over_white(frame.rgba()) * 255).round().byte().numpy() for frame in drawn.frames[len(context) :]]
    first, *rest = map(Image.fromarray, pixels)
    first.save(animation, save_all=True, append_images=rest, duration=80, loop=0)
    print(f"{animation}: {len(pixels)} views of {len(context)} photos' object")


def framed_photos(paths: list[Path]) -> list[Frame]:
    """Each in the square that shows the object at one scale in all of them, turned to where it was taken from."""
    photos = [read_photo(path) for path in paths]
    mattes = [find_foreground(photo) for photo in photos]
    frames = []
    for i, (photo, matte, side) in enumerate(zip(photos, mattes, common_sides(photos, mattes, ELEVATION))):
        frame = frame_subject(
            photo, matte, size=256, elevation=ELEVATION, fov=DEFAULT_FOV, side=side, name=f"photo_{i}"
        )
        azimuth = 2 * math.pi * i / len(paths)
        camera = orbit_camera(azimuth, ELEVATION, DEFAULT_FOV, 256, 256)
        frames.append(Frame(camera, frame.load_rgba, source=frame.source, name=frame.name))
    return frames


if __name__ == "__main__":
    main(Path(sys.argv[1]), list(map(Path, sys.argv[2:])))
