"""`Field` on disk, exactly: one safetensors file."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from recon.field.field import Field
from recon.splat.files import SplatsError, read_tensors, whole_file
from recon.splat.harmonics import MAX_DEGREE

_FORMAT = "turnabout-field-1"
_TENSORS = ("points", "distances", "colors", "inside", "sharpness", "resolution")
_MAX_RESOLUTION = 1024
_MAX_BYTES = 4 << 30


class FieldFileError(SplatsError):
    """A file that holds no field, or a damaged one."""


def write_field(field: Field, path: Path) -> None:
    """Writes a field; the file appears whole or not at all.

    `points` (N,) are flat int32 indices, x slowest, of a grid of `resolution` points a side over the cube of half side
    0.55 around the origin; `inside` are the grid's signs, eight a byte, the first in the highest bit.

    Raises:
        OSError: if it cannot be written.
    """
    from safetensors.torch import save

    signs = np.packbits(field.inside.numpy().reshape(-1))
    tensors = {
        "points": field.points.to(torch.int32),
        "distances": field.distances,
        "colors": field.colors,
        "inside": torch.from_numpy(signs),
        "sharpness": torch.tensor(field.sharpness, dtype=torch.float64),
        "resolution": torch.tensor(field.resolution, dtype=torch.int64),
    }
    metadata = {"format": _FORMAT}  # one entry: safetensors writes several in any order
    with whole_file(Path(path)) as draft:
        draft.write_bytes(save({name: tensor.contiguous() for name, tensor in tensors.items()}, metadata))


def read_field(path: Path) -> Field:
    """Reads what `write_field` wrote.

    Raises:
        FieldFileError: if the file is damaged or something else.
        OSError: if it cannot be opened.
    """
    path = Path(path)
    try:
        tensors = read_tensors(path, _FORMAT, _TENSORS, _MAX_BYTES)
    except ValueError as error:
        raise _damaged(path, str(error)) from error
    return _checked(tensors, path)


def _checked(tensors: dict[str, Tensor], path: Path) -> Field:
    points, distances, colors, inside, sharpness, side = (tensors[name] for name in _TENSORS)
    kinds = [tensor.dtype for tensor in tensors.values()]
    if kinds != [torch.int32, torch.float32, torch.float32, torch.uint8, torch.float64, torch.int64]:
        raise _damaged(path, f"tensors of {', '.join(str(kind).removeprefix('torch.') for kind in kinds)}")
    resolution = int(side) if side.ndim == 0 else 0
    if not 3 <= resolution <= _MAX_RESOLUTION:
        raise _damaged(path, f"a grid of {resolution} points a side")
    count, harmonics = resolution**3, [(degree + 1) ** 2 for degree in range(MAX_DEGREE + 1)]
    good = points.ndim == 1 and distances.shape == points.shape and sharpness.ndim == 0
    good = good and colors.ndim == 3 and len(colors) == len(points) and colors.shape[1] in harmonics
    if not good or colors.shape[2] != 3 or inside.shape != (-(-count // 8),):
        raise _damaged(path, f"tensors of shapes {', '.join(str(tuple(t.shape)) for t in tensors.values())}")
    indices = points.long()
    if bool((indices.diff() <= 0).any()) or (len(indices) and not 0 <= int(indices[0]) <= int(indices[-1]) < count):
        raise _damaged(path, "grid points that repeat or lie outside of the grid")
    finite = all(bool(tensor.isfinite().all()) for tensor in (distances, colors))
    if not finite or not (math.isfinite(float(sharpness)) and float(sharpness) > 0):
        raise _damaged(path, "numbers that are not finite, or a sharpness that is not positive")
    signs = torch.from_numpy(np.unpackbits(inside.numpy(), count=count).astype(bool))
    return Field(resolution, indices, distances, colors, signs.reshape((resolution,) * 3), float(sharpness))


def _damaged(path: Path, found: str) -> FieldFileError:
    return FieldFileError(
        path, found=found, expected=f"a field ({_FORMAT})", remedy="Run the stage that writes it again."
    )
