"""An animated .glb replayed in Blender: what it shows at given times, and where its vertices then are."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks._clock import ROOT
from benchmarks._errors import BenchmarkError
from recon.capture import Camera, Similarity
from recon.capture.images import read_rgba

_PYTHON = ROOT / ".tools" / "bpy-venv" / "bin" / "python"
_CLIENT = ROOT / "tests" / "acceptance" / "tools" / "blender_client.py"


@dataclass(frozen=True)
class Replay:
    """What Blender showed.

    Attributes:
        views: (T, C, H, W, 4) straight-alpha pictures.
        vertices: (T, V, 3) in the cameras' world.
        faces: (F, 3).
    """

    views: Tensor
    vertices: Tensor
    faces: Tensor


def replay(glb: Path, world: Similarity, times: Sequence[float], cameras: Sequence[Camera]) -> Replay:
    """Opens a file in Blender and draws it at all times, in seconds, before all cameras, which are of one kind.

    Args:
        world: from the file's world to that of the cameras.

    Raises:
        BenchmarkError: if Blender is not installed or cannot open the file.
    """
    back = world.inverse()
    there = [camera.moved(back.rotation, back.translation, back.scale) for camera in cameras]
    moments = sorted(set(times))
    asked = {
        "times": moments,
        "c2w": [camera.c2w.tolist() for camera in there],
        "fov_x": cameras[0].fov_x,
        "width": cameras[0].width,
        "height": cameras[0].height,
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "asked.json").write_text(json.dumps(asked), encoding="utf-8")
        _run_blender(glb, folder)
        pictures = [
            [read_rgba(folder / f"{place:03d}_{number:03d}.png") for number in range(len(cameras))]
            for place in range(len(moments))
        ]
        shape = np.load(folder / "shape.npz")
        vertices, faces = torch.from_numpy(shape["vertices"]), torch.from_numpy(shape["faces"])
    index = [moments.index(time) for time in times]
    views = torch.stack([torch.stack(row) for row in pictures])
    return Replay(views[index], world.apply(vertices)[index], faces)


def _run_blender(glb: Path, folder: Path) -> None:
    if not _PYTHON.exists():
        raise BenchmarkError("Blender's module is not here: run tests/acceptance/tools/install.sh")
    command = [str(_PYTHON), str(_CLIENT), str(glb), str(folder / "asked.json"), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode or not (folder / "shape.npz").exists():
        raise BenchmarkError(f"{glb}: Blender could not replay it\n{(done.stdout + done.stderr)[-2000:]}")
