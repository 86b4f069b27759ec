"""The files of a rendered dataset and how their numbers are coded. `docs/dataset.md` says the same in words.

A dataset is a folder of raw `.npy` shards beside one `dataset.json`. Shard `k` holds `N` objects with `V` views each:

    rgba-k.npy    uint8   (N, V, S, S, 4)  sRGB, straight alpha
    depth-k.npy   uint16  (N, V, S, S)     0 = nothing; else 1 + round(65534 * ((z - |eye|) / 1.1 + 0.5))
    normal-k.npy  int8    (N, V, S, S, 3)  world normals * 127, 0 = nothing
    camera-k.npy  float32 (N, V, 18)       c2w 3x4 row-major, fx, fy, cx, cy in pixels, index of the scene's light,
                                           time in seconds from the object's first view

Of T times, view v shows time v mod T, and the first T views are one camera's: a video. Datasets of the first format
have no time column and do not move.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

INDEX_NAME = "dataset.json"
FORMAT = "turnabout-orbits-2"
STILL_FORMAT = "turnabout-orbits-1"
"""The format before there were times, which is still read."""
DEPTH_RANGE = 1.1
"""World units between the nearest and the farthest depth that can be coded, centred on the origin's distance."""
CAMERA_VALUES = 18
TIME_COLUMN = 17

ARRAYS: dict[str, tuple[type, tuple[int, ...]]] = {
    "rgba": (np.uint8, (4,)),
    "depth": (np.uint16, ()),
    "normal": (np.int8, (3,)),
}


class DatasetError(ValueError):
    """A rendered dataset, or what one should be made from, is not usable."""


def shard_path(folder: Path, kind: str, shard: int) -> Path:
    """Path of one array of one shard; `kind` is rgba, depth, normal or camera."""
    return folder / f"{kind}-{shard:04d}.npy"


def shard_shape(kind: str, objects: int, views: int, size: int) -> tuple[int, ...]:
    """Shape of an array as the module's text says."""
    if kind == "camera":
        return (objects, views, CAMERA_VALUES)
    return (objects, views, size, size, *ARRAYS[kind][1])


def decode_depth(codes: Tensor, eye_distance: Tensor) -> Tensor:
    """(..., S, S) codes, int16 with the bits of the file's uint16, and (...) distances of the cameras from the origin
    to forward depth, 0 = nothing."""
    unsigned = codes.int() & 0xFFFF
    relative = (unsigned.float() - 1) / 65534 - 0.5
    return torch.where(unsigned > 0, relative * DEPTH_RANGE + eye_distance[..., None, None], 0)


def decode_cameras(values: Tensor) -> tuple[Tensor, Tensor]:
    """(..., 18) to c2w (..., 4, 4) and intrinsics (..., 3, 3)."""
    c2w = values.new_zeros(*values.shape[:-1], 4, 4)
    c2w[..., :3, :] = values[..., :12].unflatten(-1, (3, 4))
    c2w[..., 3, 3] = 1
    intrinsics = values.new_zeros(*values.shape[:-1], 3, 3)
    intrinsics[..., 0, 0], intrinsics[..., 1, 1] = values[..., 12], values[..., 13]
    intrinsics[..., 0, 2], intrinsics[..., 1, 2] = values[..., 14], values[..., 15]
    intrinsics[..., 2, 2] = 1
    return c2w, intrinsics
