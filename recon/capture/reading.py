"""`read_capture`: a folder or listing in any of the known formats, by what is in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from recon.capture import io_nerfstudio, io_synthetic
from recon.capture.errors import CaptureError
from recon.capture.io_colmap import find_colmap, read_colmap
from recon.capture.io_exported import is_exported, read_exported
from recon.capture.io_projection import is_projection_list, read_middlebury, read_projection_list, read_projections
from recon.capture.types import Capture


@dataclass(frozen=True)
class Reader:
    """How a capture is read.

    Attributes:
        read: reads it from the path.
        states_up: whether the format says which way is up; others leave the solver's world as it is.
    """

    read: Callable[[Path], Capture]
    states_up: bool


def _read_listing(path: Path) -> Capture:
    """NeRF-synthetic and `ns-export cameras` name their files alike."""
    if path.is_file() and is_exported(path):
        return read_exported(path)
    return io_synthetic.read_nerf_synthetic(path)


NERFSTUDIO = Reader(io_nerfstudio.read_transforms, states_up=True)
_SYNTHETIC = Reader(_read_listing, states_up=True)
COLMAP = Reader(read_colmap, states_up=False)
_MIDDLEBURY = Reader(read_middlebury, states_up=False)
_PROJECTIONS = Reader(read_projections, states_up=False)
_PROJECTION_LIST = Reader(read_projection_list, states_up=False)


def find_reader(path: Path) -> Reader | None:
    """The reader for what is at `path`, or None if nothing there describes cameras."""
    if path.is_dir():
        if (path / io_nerfstudio.FILE_NAME).is_file():
            return NERFSTUDIO
        if (path / io_synthetic.FILE_NAME).is_file():
            return _SYNTHETIC
        if find_colmap(path):
            return COLMAP
        if any(path.glob("*_par.txt")):
            return _MIDDLEBURY
        if any(path.glob("*_P.txt")):
            return _PROJECTIONS
    elif path.name == io_nerfstudio.FILE_NAME:
        return NERFSTUDIO
    elif path.name.startswith("transforms_") and path.suffix == ".json":
        return _SYNTHETIC
    elif find_colmap(path):
        return COLMAP
    elif path.name.endswith("_par.txt"):
        return _MIDDLEBURY
    elif path.name.endswith("_P.txt"):
        return _PROJECTIONS
    elif path.suffix == ".txt" and is_projection_list(path):
        return _PROJECTION_LIST
    return None


def read_capture(path: Path) -> Capture:
    """Read a capture: a folder with `transforms.json` (nerfstudio, ours), `transforms_train.json` (NeRF-synthetic),
    a COLMAP model (there or in `sparse/0`) or a Middlebury `*_par.txt`, or one of these files; a folder with a
    `NAME_P.txt` to its pictures, or a list of such matrices behind the pictures' names; or what `ns-export cameras`
    writes, beside the `transforms.json` that was trained on.

    Raises:
        CaptureError: if it is none of these, or the format's reader refuses it.
    """
    path = Path(path)
    reader = find_reader(path)
    if reader is None:
        raise CaptureError(
            path,
            found="nothing that describes cameras" if path.exists() else "no such file or folder",
            expected="a folder with transforms.json, transforms_train.json, a COLMAP model, *_par.txt or *_P.txt",
            remedy="Solve the cameras first, for instance with `turnabout video2mesh`.",
        )
    return reader.read(path)
