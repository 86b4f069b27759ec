"""Pictures whose cameras are not known yet: what a video or a folder of photos is before anybody solved it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from recon.capture.errors import CaptureError
from recon.capture.files import inside, list_of_frames, number, read_json, unique_names, whole_folder, write_json
from recon.capture.images import picture_size, read_rgba, write_rgba
from recon.capture.photo import Photo, read_photo
from recon.capture.video import Progress, read_pictures

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
    """The pictures in a folder, numbers in their names in order of their values (2 before 10).

    Raises:
        CaptureError: if there are more than `MAX_PHOTOS`.
    """
    files = [path for path in folder.iterdir() if path.suffix.lower() in PICTURES and path.is_file()]
    if len(files) > MAX_PHOTOS:
        raise CaptureError(
            folder,
            found=f"{len(files)} pictures",
            expected=f"at most {MAX_PHOTOS}",
            remedy="Leave some out.",
        )
    return sorted(files, key=lambda path: [(int(p), "") if p.isdigit() else (-1, p) for p in _parts(path.name)])


def read_photos(files: Sequence[Path], progress: Progress = lambda done, total: None) -> Iterator[Photo]:
    """The pictures, upright as EXIF says and in sRGB.

    Raises:
        PhotoError: if one is damaged, animated or too large.
    """
    for index, file in enumerate(files):
        progress(index, len(files))
        yield read_photo(file)


def read_video_photos(
    path: Path, indices: Sequence[int], progress: Progress = lambda done, total: None
) -> Iterator[tuple[float, Photo]]:
    """Frames of a video as photos, each with its time in seconds.

    Raises:
        CaptureError: as `read_pictures`.
    """
    for picture in read_pictures(path, indices, progress):
        alpha = None if picture.alpha is None else torch.from_numpy(picture.alpha)
        yield picture.time, Photo(path.with_name(f"frame_{picture.index:05d}"), torch.from_numpy(picture.rgb), alpha)


def write_unposed(frames: Sequence[UnposedFrame], folder: Path) -> None:
    """A new folder: `unposed.json` and `images/`, 8-bit RGBA. It appears whole or not at all.

    Raises:
        CaptureError: if `folder` exists and is not empty.
    """
    names = unique_names([frame.name for frame in frames])
    with whole_folder(folder) as temporary:
        (temporary / "images").mkdir()
        entries = []
        for name, frame in zip(names, frames, strict=True):
            write_rgba(temporary / "images" / f"{name}.png", frame.rgba())
            entry = {"file_path": f"images/{name}.png", "time": float(frame.time), "origin": frame.origin}
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
    return [part for part in re.split(r"(\d+)", name.lower()) if part]
