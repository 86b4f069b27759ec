"""A splat file as Kerbl et al.'s program writes it, byte by byte and by nothing of ours, and its list of cameras."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np

COUNT, WIDTH, HEIGHT = 400, 96, 64
FOCAL = 90.0
DISTANCE, ELEVATION = 4.0, math.radians(25)


def columns() -> dict[str, np.ndarray]:
    """The file's columns in its order: a random cloud with third-degree harmonics."""
    random = np.random.default_rng(7)
    names = ["x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2"]
    names += [f"f_rest_{i}" for i in range(45)] + ["opacity"]
    names += [f"scale_{i}" for i in range(3)] + [f"rot_{i}" for i in range(4)]
    table = {name: random.normal(size=COUNT) for name in names}
    for name in ("nx", "ny", "nz"):
        table[name] = np.zeros(COUNT)
    for name in table:
        if name.startswith("f_rest"):
            table[name] *= 0.2
        elif name.startswith("scale"):
            table[name] = table[name] * 0.5 - 2.3
        elif name in "xyz":
            table[name] *= 0.6
    return {name: values.astype("<f4") for name, values in table.items()}


def write_ply(path: Path) -> None:
    table = columns()
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {COUNT}"]
    header += [f"property float {name}" for name in table] + ["end_header", ""]
    path.write_bytes("\n".join(header).encode("ascii") + np.stack(list(table.values()), axis=1).tobytes())


def camera_to_world() -> np.ndarray:
    """(4, 4), OpenCV axes, y of the world pointing down as in COLMAP's worlds."""
    c, s = math.cos(ELEVATION), math.sin(ELEVATION)
    c2w = np.eye(4)
    c2w[:3, :3] = np.array([[1, 0, 0], [0, c, s], [0, -s, c]])
    c2w[:3, 3] = -DISTANCE * c2w[:3, 2]
    return c2w


def write_cameras(path: Path) -> None:
    c2w = camera_to_world()
    view = {"id": 0, "img_name": "0", "width": WIDTH, "height": HEIGHT, "position": c2w[:3, 3].tolist()}
    view |= {"rotation": c2w[:3, :3].tolist(), "fx": FOCAL, "fy": FOCAL}
    path.write_text(json.dumps([view]))
