"""`TrainingViews` of the whole training set at the protocol's cameras, kept in a cache: drawing them takes minutes."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import torch
from rich.progress import track

from benchmarks._protocol import PathName, TestSet, path_cameras
from gen.baselines import TrainingViews, remember_training_views
from recon.surface.render import Lights, render_mesh

DEFAULT_CACHE = Path.home() / ".cache" / "turnabout" / "benchmarks"


def training_views(test_set: TestSet, path: PathName, size: int, cache: Path) -> TrainingViews:
    """What the baselines remember, at `size` pixels; drawn at the first call, read from `cache` afterwards."""
    file = cache / f"training-{path}-{size}-{_key(test_set, path, size)}.npz"
    if file.exists():
        views = _read(file)
        if _still_true(views, test_set, path, size):
            return views
    cameras = path_cameras(path, size)
    views = remember_training_views(
        test_set.training,
        test_set.mesh,
        cameras[0],
        cameras[1:],
        lights=Lights.studio(),
        track=lambda ids: track(ids, "Drawing the training objects"),
    )
    cache.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(".part")
    with temporary.open("wb") as stream:
        np.savez_compressed(
            stream, ids=np.array(views.ids), input_views=views.input_views.numpy(), mean_views=views.mean_views.numpy()
        )
    os.replace(temporary, file)
    return views


def _read(file: Path) -> TrainingViews:
    with np.load(file, allow_pickle=False) as stored:
        return TrainingViews(
            tuple(str(name) for name in stored["ids"]),
            torch.from_numpy(stored["input_views"]),
            torch.from_numpy(stored["mean_views"]),
        )


def _still_true(views: TrainingViews, test_set: TestSet, path: PathName, size: int) -> bool:
    """Whether the renderer still draws an object as it did then, give or take one grey level on average."""
    drawn = render_mesh(test_set.mesh(views.ids[0]), path_cameras(path, size)[0], lights=Lights.studio()).rgba
    return float((drawn * 255 - views.input_views[0].float()).abs().mean()) < 1


def _key(test_set: TestSet, path: PathName, size: int) -> str:
    """Changes with the objects and the cameras."""
    digest = hashlib.sha256("\n".join(test_set.training).encode())
    for camera in path_cameras(path, size):
        digest.update(camera.c2w.numpy().tobytes() + camera.intrinsics.numpy().tobytes())
    return digest.hexdigest()[:12]
