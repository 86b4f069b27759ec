"""What a `transforms.json` names, as it lies on disk: for programs that load pictures and points themselves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from recon.capture.camera import Camera
from recon.capture.conversions import Z_UP_TO_Y_UP
from recon.capture.files import inside, list_of_frames, read_json, times_of
from recon.capture.images import picture_size
from recon.capture.io_nerfstudio import FILE_NAME, LAYOUT, is_ours, read_camera
from recon.capture.types import Similarity


@dataclass(frozen=True)
class StoredFrame:
    """A frame as its files have it.

    Attributes:
        picture: the file, distorted as the lens left it.
        camera: of that file's pixels, with its distortion, in the world of `read_transforms`.
        trusted: the file of weights, or the mask, that says which pixels count; None where all do.
        time: seconds.
    """

    picture: Path
    camera: Camera
    trusted: Path | None
    time: float


def read_stored(path: Path) -> tuple[StoredFrame, ...]:
    """The frames of a folder with a `transforms.json`, or of such a file, in its order. No picture is decoded.

    Raises:
        CaptureError: if the file, a camera or a picture's header is unusable, or a path leaves the folder.
    """
    listing = _listing(path)
    meta = read_json(listing, LAYOUT)
    entries = list_of_frames(listing, meta)
    turn = _to_our_world(meta)
    frames = []
    for entry, time in zip(entries, times_of(listing, entries), strict=True):
        picture = inside(listing, entry.get("file_path"), pictures=True)
        camera = read_camera(listing, meta, entry, picture_size(picture))
        trusted = entry.get("weight_path") or entry.get("mask_path")
        frames.append(
            StoredFrame(
                picture,
                camera.moved(turn.rotation, turn.translation, turn.scale),
                inside(listing, trusted) if trusted else None,
                time,
            )
        )
    return tuple(frames)


def points_file(path: Path) -> tuple[Path, Similarity] | None:
    """The point cloud that a `transforms.json` names (`ply_file_path`, nerfstudio's `sparse_pc.ply`), and what moves
    its points to the world of `read_transforms`; None if it names none.

    Raises:
        CaptureError: if the listing is unusable, the file is missing, or its path leaves the folder.
    """
    listing = _listing(path)
    meta = read_json(listing, LAYOUT)
    list_of_frames(listing, meta)
    if meta.get("ply_file_path") is None:
        return None
    return inside(listing, meta["ply_file_path"]), _to_our_world(meta)


def _listing(path: Path) -> Path:
    path = Path(path)
    return path / FILE_NAME if path.is_dir() else path


def _to_our_world(meta: dict[str, object]) -> Similarity:
    return Similarity() if is_ours(meta) else Z_UP_TO_Y_UP
