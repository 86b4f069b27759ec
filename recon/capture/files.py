"""What readers of camera files share: bounded JSON, checked numbers, paths that stay inside, whole-folder writes."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recon.capture.errors import CaptureError

MAX_JSON_BYTES = 64 * 2**20
MAX_FRAMES = 100_000
_EXTENSIONS = (".png", ".webp", ".jpg", ".jpeg")


def read_json(path: Path, expected: str) -> Any:
    """The parsed content of a JSON file.

    Raises:
        CaptureError: if it is missing, too large or not JSON; `expected` completes the message.
    """
    remedy = "Check the path and that the file was written completely."
    if not path.is_file():
        raise CaptureError(path, found="no file", expected=expected, remedy=remedy)
    if path.stat().st_size > MAX_JSON_BYTES:
        found = f"{path.stat().st_size / 2**20:.0f} MiB of text"
        raise CaptureError(path, found=found, expected=expected, remedy="Split the capture.")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as cause:  # a UnicodeDecodeError is a ValueError
        raise CaptureError(path, found=f"no valid JSON ({cause})"[:200], expected=expected, remedy=remedy) from cause


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically, keys in the given order."""
    temporary = path.with_name(f".{path.name}.partial")
    temporary.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    os.replace(temporary, path)


def list_of_frames(path: Path, meta: Any) -> list[dict[str, Any]]:
    """`meta["frames"]` as a non-empty list of objects.

    Raises:
        CaptureError: if it is anything else.
    """
    frames: Any = meta.get("frames") if isinstance(meta, dict) else None
    good = isinstance(frames, list) and 1 <= len(frames) <= MAX_FRAMES
    if not good or not all(isinstance(frame, dict) for frame in frames):
        raise CaptureError(
            path,
            found=f'no list "frames" of 1 to {MAX_FRAMES} objects',
            expected="nerfstudio's or NeRF's layout",
            remedy="See docs.nerf.studio, data conventions.",
        )
    return list(frames)


def times_of(path: Path, frames: list[dict[str, Any]]) -> list[float]:
    """The frames' `time`, in seconds; 0 for all where none has any.

    Raises:
        CaptureError: if only some have one, or one is no number.
    """
    without = [index for index, frame in enumerate(frames) if "time" not in frame]
    if without and len(without) < len(frames):
        raise CaptureError(
            path,
            found=f'{len(without)} of {len(frames)} frames without "time" (the first is number {without[0]})',
            expected="a time for every frame, or for none",
            remedy="Add the times, or drop those frames.",
        )
    return [number(path, frame.get("time", 0.0), "time") for frame in frames]


def number(path: Path, value: Any, what: str) -> float:
    """A finite float.

    Raises:
        CaptureError: if `value` is anything else.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e30:
        found = f"{what} = {value!r}"[:120]
        raise CaptureError(path, found=found, expected="a finite number", remedy="Correct that entry.")
    return float(value)


def pixels(path: Path, value: Any, what: str) -> int:
    """A whole number of pixels between 1 and 100,000.

    Raises:
        CaptureError: if `value` is anything else.
    """
    count = number(path, value, what)
    if count != int(count) or not 1 <= count <= 100_000:
        found = f"{what} = {value!r}"[:120]
        raise CaptureError(path, found=found, expected="a size in whole pixels", remedy="Correct that entry.")
    return int(count)


def matrix(path: Path, value: Any, what: str, shapes: tuple[tuple[int, int], ...] = ((4, 4), (3, 4))) -> Tensor:
    """(4, 4) or (3, 3) float64; a (3, 4) matrix gets its last row.

    Raises:
        CaptureError: if `value` is not a finite matrix of one of `shapes`.
    """
    try:
        rows = torch.tensor(value, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        rows = torch.full((0, 0), float("nan"))
    if tuple(rows.shape) not in shapes or not torch.isfinite(rows).all():
        raise CaptureError(
            path,
            found=f"{what} that is no finite matrix",
            expected=" or ".join(f"{h}x{w}" for h, w in shapes) + " numbers",
            remedy="Correct that entry.",
        )
    last = torch.tensor([0.0, 0.0, 0.0, 1.0], dtype=torch.float64)
    if tuple(rows.shape) == (4, 4) and (rows[3] - last).abs().max() > 1e-3:
        raise CaptureError(
            path, found=f"{what} whose last row is {rows[3].tolist()}", expected="0, 0, 0, 1", remedy="Correct it."
        )
    if tuple(rows.shape) == (3, 4):
        rows = torch.cat((rows, torch.tensor([[0.0, 0.0, 0.0, 1.0]], dtype=torch.float64)))
    return rows


def inside(listing: Path, relative: Any, *, pictures: bool = False) -> Path:
    """The file that an entry of `listing` names, which must lie in the listing's folder, links resolved.

    Args:
        pictures: where the name has no ending, try the usual ones, as NeRF-synthetic's listings need.

    Raises:
        CaptureError: if the path leaves the folder or no such file exists.
    """
    folder = listing.parent.resolve()
    path = within(listing, relative, folder)
    candidates = [path]
    if pictures:
        candidates += [path.with_name(path.name + ending) for ending in _EXTENSIONS]
    for candidate in candidates:
        if candidate.is_file() and candidate.resolve().is_relative_to(folder):
            return candidate
    raise CaptureError(
        path, found="no file", expected=f"the file that {listing.name} names", remedy="Copy the missing file there."
    )


def within(listing: Path, relative: Any, folder: Path) -> Path:
    """The path below `folder` that an entry of `listing` names, links resolved, whether or not something is there.

    Raises:
        CaptureError: if the path leaves the folder.
    """
    folder = folder.resolve()
    if not isinstance(relative, str) or not relative or "\0" in relative or not _can_be_a_name(relative):
        raise CaptureError(listing, found=f"path {relative!r}"[:120], expected="a file name", remedy="Correct it.")
    path = (folder / relative.replace("\\", "/")).resolve()
    if not path.is_relative_to(folder):
        raise CaptureError(
            listing,
            found=f"path {relative!r} outside of the capture",
            expected=f"paths inside {folder}",
            remedy="Copy the file into the capture's folder and name it relative to that.",
        )
    return path


def _can_be_a_name(text: str) -> bool:
    """Whether a file can be called so: its characters can be written, and no part is longer than file systems take."""
    try:
        return max(len(part) for part in text.encode("utf-8").split(b"/")) <= 255
    except UnicodeEncodeError:
        return False


def unique_names(names: list[str]) -> list[str]:
    """The names made fit for file stems and unique, in order; good ones stay as they are."""
    taken: set[str] = set()
    counts: dict[str, int] = {}  # of each name: a listing may repeat one for ever
    out = []
    for name in names:
        clean = re.sub(r"[^A-Za-z0-9._-]", "_", name).lstrip(".")[:100] or "frame"
        candidate, count = clean, counts.get(clean.lower(), 1)
        while candidate.lower() in taken:
            count += 1
            candidate = f"{clean}-{count}"
        counts[clean.lower()] = count
        taken.add(candidate.lower())
        out.append(candidate)
    return out


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A temporary sibling that becomes `folder` when the block ends well, and vanishes when it does not.

    What a killed earlier attempt left behind is removed first.

    Raises:
        CaptureError: if `folder` exists and is not an empty folder.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CaptureError(
            folder, found="existing content", expected="a new or empty folder", remedy="Remove it or choose another."
        )
    temporary = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        os.replace(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
