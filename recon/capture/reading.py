"""`read_capture`: a folder or listing in any of the known formats, by what is in it."""

from __future__ import annotations

from pathlib import Path

from recon.capture import io_nerfstudio, io_synthetic
from recon.capture.errors import CaptureError
from recon.capture.io_colmap import find_colmap, read_colmap
from recon.capture.io_projection import read_middlebury, read_projections
from recon.capture.types import Capture


def read_capture(path: Path) -> Capture:
    """Read a capture: a folder with `transforms.json` (nerfstudio, ours), `transforms_train.json` (NeRF-synthetic),
    a COLMAP model (there or in `sparse/0`) or a Middlebury `*_par.txt`, or one of these files; or a folder with a
    `NAME_P.txt` to its pictures.

    Raises:
        CaptureError: if it is none of these, or the format's reader refuses it.
    """
    path = Path(path)
    if path.is_dir():
        if (path / io_nerfstudio.FILE_NAME).is_file():
            return io_nerfstudio.read_transforms(path)
        if (path / io_synthetic.FILE_NAME).is_file():
            return io_synthetic.read_nerf_synthetic(path)
        if find_colmap(path):
            return read_colmap(path)
        if any(path.glob("*_par.txt")):
            return read_middlebury(path)
        if any(path.glob("*_P.txt")):
            return read_projections(path)
    elif path.name == io_nerfstudio.FILE_NAME:
        return io_nerfstudio.read_transforms(path)
    elif path.name.startswith("transforms_") and path.suffix == ".json":
        return io_synthetic.read_nerf_synthetic(path)
    elif find_colmap(path):
        return read_colmap(path)
    elif path.name.endswith("_par.txt"):
        return read_middlebury(path)
    raise CaptureError(
        path,
        found="nothing that describes cameras" if path.exists() else "no such file or folder",
        expected="a folder with transforms.json, transforms_train.json, a COLMAP model, *_par.txt or *_P.txt",
        remedy="Solve the cameras first, for instance with COLMAP or nerfstudio's ns-process-data.",
    )
