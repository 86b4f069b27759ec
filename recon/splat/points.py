"""Point clouds: where the fit of a scene without silhouettes starts (`crop.scene_start`)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from recon.capture.io_colmap import has_points, read_colmap_points
from recon.capture.reading import COLMAP, NERFSTUDIO, find_reader
from recon.capture.stored import points_file
from recon.splat.files import SplatsError
from recon.splat.ply import read_columns

_GREY = 0.5


def read_points(path: Path) -> tuple[Tensor, Tensor]:
    """The points of a PLY file, as structure from motion, scanners, Open3D and `ns-export pointcloud` write them.

    Returns:
        (N, 3) float32 places, and (N, 3) float32 colours in [0, 1], grey where the file has none.

    Raises:
        SplatsError: if the file is no PLY, is cut off, or holds numbers that are not finite.
        OSError: if it cannot be opened.
    """
    path = Path(path)
    columns = read_columns(path)
    missing = [name for name in ("x", "y", "z") if name not in columns]
    if missing:
        found = f"no columns {', '.join(missing)}"
        raise SplatsError(path, found=found, expected="points with x, y and z", remedy="Export a point cloud.")
    with np.errstate(over="ignore"):  # what does not fit float32 is refused below
        places = torch.from_numpy(np.stack([columns[name].astype(np.float32) for name in ("x", "y", "z")], 1))
    if not bool(torch.isfinite(places).all()):
        raise SplatsError(path, found="a place that is not finite", expected="numbers", remedy="Export it again.")
    return places, _colors(columns, len(places))


def _colors(columns: dict[str, np.ndarray], count: int) -> Tensor:
    names = ("red", "green", "blue")
    if not all(name in columns for name in names):
        return torch.full((count, 3), _GREY)
    values = np.stack([columns[name] for name in names], 1)
    whole = np.iinfo(values.dtype).max if np.issubdtype(values.dtype, np.integer) else 1
    return torch.from_numpy(values.astype(np.float32) / whole).nan_to_num(_GREY).clamp(0, 1)


def read_capture_points(path: Path) -> tuple[Tensor, Tensor] | None:
    """The sparse points that come with a capture, nerfstudio's or COLMAP's, in the world that `read_capture` gives.

    Returns:
        (N, 3) places and (N, 3) colours in [0, 1], or None if there are none.

    Raises:
        ValueError: if the capture names points that cannot be read.
    """
    reader = find_reader(Path(path))
    if reader is COLMAP:
        return read_colmap_points(path) if has_points(path) else None
    named = points_file(path) if reader is NERFSTUDIO else None
    if named is None:
        return None
    file, move = named
    places, colors = read_points(file)
    return move.apply(places), colors
