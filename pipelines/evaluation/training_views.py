"""`TrainingViews` of a whole training set at an evaluation's cameras, kept in a cache: drawing them takes minutes."""

from __future__ import annotations

import contextlib
import hashlib
import os
import zipfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import torch

from gen.baselines import TrainingViews, remember_training_views
from pipelines.evaluation.protocol import PathName, path_cameras
from pipelines.evaluation.sets import EvaluationSet
from recon.surface.render import Lights, render_mesh

CACHE = Path.home() / ".cache" / "turnabout" / "evaluation"


def training_views(
    objects: EvaluationSet,
    set_digest: str,
    path: PathName,
    size: int,
    *,
    track: Callable[[Sequence[str]], Iterable[str]] = iter,
) -> TrainingViews:
    """What the baselines remember, at `size` pixels; drawn at the first call, read from `CACHE` afterwards.

    Args:
        set_digest: of the set's files.
        track: wraps the ids in a progress display.
    """
    file = CACHE / f"training-{path}-{size}-{_key(set_digest, path, size)}.npz"
    views = _read(file)
    if views is not None and _still_true(views, objects, path, size):
        return views
    cameras = path_cameras(path, size)
    views = remember_training_views(
        objects.training, objects.mesh, cameras[0], cameras[1:], lights=Lights.studio(), track=track
    )
    with contextlib.suppress(OSError):  # a place to keep them is convenient, not needed
        _write(file, views)
    return views


def _write(file: Path, views: TrainingViews) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(f".{os.getpid()}.part")
    try:
        with temporary.open("wb") as stream:
            np.savez_compressed(
                stream,
                ids=np.array(views.ids),
                input_views=views.input_views.numpy(),
                mean_views=views.mean_views.numpy(),
            )
        os.replace(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)


def _read(file: Path) -> TrainingViews | None:
    """What the file holds; None if it is not there or damaged, as it is drawn anew then."""
    try:
        with np.load(file, allow_pickle=False) as stored:
            return TrainingViews(
                tuple(str(name) for name in stored["ids"]),
                torch.from_numpy(stored["input_views"]),
                torch.from_numpy(stored["mean_views"]),
            )
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None


def _still_true(views: TrainingViews, objects: EvaluationSet, path: PathName, size: int) -> bool:
    """Whether the renderer still draws an object as it did then, give or take one grey level on average."""
    drawn = render_mesh(objects.mesh(views.ids[0]), path_cameras(path, size)[0], lights=Lights.studio()).rgba
    return float((drawn * 255 - views.input_views[0].float()).abs().mean()) < 1


def _key(set_digest: str, path: PathName, size: int) -> str:
    """Changes with the objects and the cameras."""
    digest = hashlib.sha256(set_digest.encode())
    for camera in path_cameras(path, size):
        digest.update(camera.c2w.numpy().tobytes() + camera.intrinsics.numpy().tobytes())
    return digest.hexdigest()[:12]
