"""Pictures whose cameras are not known yet: what a video or a folder of photos is before anybody solved it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recon.capture.errors import CaptureError
from recon.capture.files import inside, list_of_frames, number, read_json, unique_names, whole_folder, write_json
from recon.capture.heic import SUFFIXES as HEIC
from recon.capture.heic import reads_heic
from recon.capture.images import picture_size, read_rgba, write_rgba
from recon.capture.photo import Photo
from recon.capture.types import Frame
from recon.capture.video import read_pictures

FILE_NAME = "unposed.json"
PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".avif")
VIDEOS = (".mp4", ".mov", ".m4v", ".webm", ".mkv", ".avi", ".gif", ".ts", ".mpg", ".mpeg", ".ogv", ".flv", ".3gp")
MAX_PHOTOS = 2_000
"""More pictures in one folder are refused: solving them on a processor would take days."""
_LAYOUT = "a list of pictures without cameras, as this program writes it"


@dataclass(frozen=True)
class UnposedFrame:
    """One picture that waits for its camera.

    Attributes:
        name: unique, fit for a file's stem.
        load_rgba: returns (H, W, 4) float32 in [0, 1], straight alpha, upright, sRGB.
        width, height: of it, in pixels.
        time: seconds; 0 for photos.
        focal: pixels of this picture, where the file says; else None.
        origin: name of the file, or number of the video's frame, that it is from.
    """

    name: str
    load_rgba: Callable[[], Tensor]
    width: int
    height: int
    time: float = 0.0
    focal: float | None = None
    origin: str = ""

    def rgba(self) -> Tensor:
        """(H, W, 4) straight-alpha picture."""
        return self.load_rgba()


def is_video(path: Path) -> bool:
    """Whether a file's name says that it is a video or an animation."""
    return path.is_file() and path.suffix.lower() in VIDEOS


def photo_files(folder: Path) -> list[Path]:
    """The pictures in a folder that can be read, numbers in their names in order of their values (2 before 10).

    Raises:
        CaptureError: if there are more than `MAX_PHOTOS`.
    """
    read = (*PICTURES, *HEIC) if reads_heic() else PICTURES
    files = [path for path in folder.iterdir() if path.suffix.lower() in read and path.is_file()]
    if len(files) > MAX_PHOTOS:
        raise CaptureError(
            folder,
            found=f"{len(files)} pictures",
            expected=f"at most {MAX_PHOTOS}",
            remedy="Leave some out.",
        )
    return sorted(files, key=lambda path: [(int(p), "") if p.isdecimal() else (-1, p) for p in _parts(path.name)])


def video_photos(path: Path, indices: Sequence[int]) -> Iterator[tuple[float, Photo]]:
    """Frames of a video as photos, each with its time in seconds.

    Raises:
        CaptureError: as `read_pictures`.
    """
    for picture in read_pictures(path, indices):
        alpha = None if picture.alpha is None else torch.from_numpy(picture.alpha)
        yield picture.time, Photo(path.with_name(f"frame_{picture.index:05d}"), torch.from_numpy(picture.rgb), alpha)


def frame_photo(frame: Frame) -> Photo:
    """A capture's picture as a photo, as if nobody knew its camera."""
    rgba = (frame.rgba() * 255).round().to(torch.uint8)
    opaque = bool((rgba[..., 3] == 255).all())
    return Photo(Path(frame.name), rgba[..., :3], None if opaque else rgba[..., 3])


def shrunk_picture(rgba: Tensor, longest: int) -> Tensor:
    """Straight alpha (H, W, 4) with at most `longest` pixels on its longer side, averaged over areas."""
    height, width = rgba.shape[:2]
    scale = longest / max(height, width)
    if scale >= 1:
        return rgba
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    premultiplied = torch.cat((rgba[..., :3] * rgba[..., 3:], rgba[..., 3:]), dim=-1).permute(2, 0, 1)
    small = torch.nn.functional.interpolate(premultiplied[None], size, mode="area")[0].permute(1, 2, 0)
    return torch.cat((small[..., :3] / small[..., 3:].clamp_min(1e-6), small[..., 3:]), dim=-1).clamp(0, 1)


def write_unposed(frames: Iterable[UnposedFrame], folder: Path) -> None:
    """A new folder: `unposed.json` and `images/`, 8-bit RGBA, frame by frame. It appears whole or not at all.

    Raises:
        CaptureError: if `folder` exists and is not empty.
    """
    entries: list[dict[str, Any]] = []
    names: list[str] = []
    with whole_folder(folder) as temporary:
        (temporary / "images").mkdir()
        for frame in frames:
            names = unique_names([*names, frame.name])
            write_rgba(temporary / "images" / f"{names[-1]}.png", frame.rgba())
            entry = {"file_path": f"images/{names[-1]}.png", "time": float(frame.time), "origin": frame.origin}
            entries.append(entry | ({} if frame.focal is None else {"focal": float(frame.focal)}))
        write_json(temporary / FILE_NAME, {"frames": entries})


def read_unposed(folder: Path) -> tuple[UnposedFrame, ...]:
    """What `write_unposed` wrote; pictures are loaded when asked for.

    Raises:
        CaptureError: if the listing or a picture is unusable, or a path leaves the folder.
    """
    listing = folder / FILE_NAME
    frames = []
    for entry in list_of_frames(listing, read_json(listing, _LAYOUT)):
        file = inside(listing, entry.get("file_path"))
        time = number(listing, entry.get("time", 0.0), "time")
        focal = number(listing, entry["focal"], "focal") if "focal" in entry else None
        if focal is not None and focal <= 0:
            raise CaptureError(listing, found=f"focal = {focal:g}", expected="pixels", remedy="Correct or remove it.")
        origin = str(entry.get("origin", ""))
        frames.append(UnposedFrame(file.stem, partial(read_rgba, file), *picture_size(file), time, focal, origin))
    return tuple(frames)


def _parts(name: str) -> list[str]:
    return [part for part in re.split(r"([0-9]+)", name.lower()) if part]
