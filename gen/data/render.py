"""Renders objects into a dataset folder: shard by shard, on several processes, resumable, the same bytes from the
same options whatever the number of processes and however often it was interrupted.

Objects that no training may see are removed from the work list before anything is loaded; the list itself is written
into `dataset.json`, where `OrbitDataset` checks it again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gen.data import format as files
from gen.data.format import DatasetError
from gen.data.scenes import SceneOptions, random_cameras, random_lights
from gen.data.sources import NEVER_TRAIN, FolderSource, ObjectInfo, PackSource, open_source, read_ids
from recon.capture import Camera
from recon.surface.mesh import Mesh
from recon.surface.render import Lights, Scratch, draw, light_arrays, prepare_mesh

SHARD_OBJECTS = 64
PLAN_NAME = "plan.json"
SUPERSAMPLE = 2


@dataclass(frozen=True)
class DatasetPlan:
    """Which objects, how, and what was kept out."""

    source: Path
    options: SceneOptions
    objects: tuple[ObjectInfo, ...]
    exclusion: str
    excluded: tuple[str, ...]

    @property
    def shards(self) -> tuple[tuple[ObjectInfo, ...], ...]:
        step = SHARD_OBJECTS
        return tuple(self.objects[i : i + step] for i in range(0, len(self.objects), step))

    def index(self) -> dict[str, Any]:
        """What `dataset.json` says."""
        return {
            "format": files.FORMAT,
            "source": self.source.name,
            "options": asdict(self.options),
            "supersample": SUPERSAMPLE,
            "depth": f"0 = nothing, else 1 + round(65534 * ((z - |eye|) / {files.DEPTH_RANGE} + 0.5))",
            "exclusion": self.exclusion,
            "excluded": list(self.excluded),
            "shards": [len(shard) for shard in self.shards],
            "objects": [asdict(o) | {"light": i} for i, o in enumerate(self.objects)],
        }


def plan_dataset(
    source: Path, options: SceneOptions, *, exclude: str | None = None, only: Path | None = None
) -> DatasetPlan:
    """Decides what will be rendered.

    Args:
        source: a pack or a folder of meshes.
        exclude: a file of ids that must not be rendered, "none" to render everything (never train on the result), or
            None for the `never_train.txt` beside the source.
        only: a file of ids; nothing else is rendered.

    Raises:
        DatasetError: if there is no list and no "none", a list is unreadable, or nothing is left.
    """
    default = (source if source.is_dir() else source.parent) / NEVER_TRAIN
    if exclude == "none":
        excluded: frozenset[str] = frozenset()
    elif exclude is not None:
        excluded = read_ids(Path(exclude))
    elif default.is_file():
        excluded = read_ids(default)
    else:
        raise DatasetError(
            f"{source}: expected a list of objects that no training may see ({NEVER_TRAIN} beside it), found none; "
            "give one with --exclude FILE, or --exclude none if there are none"
        )
    objects: Iterable[ObjectInfo] = open_source(source).objects
    if only is not None:
        wanted = read_ids(only)
        objects = [o for o in objects if o.id in wanted]
        if missing := sorted(wanted - {o.id for o in objects}):
            raise DatasetError(f"{only}: {len(missing)} ids are not in {source.name}: {', '.join(missing[:5])}")
    kept = tuple(o for o in objects if o.id not in excluded)
    if not kept:
        raise DatasetError(f"{source}: no object is left to render; check --only and --exclude")
    return DatasetPlan(source, options, kept, "none" if exclude == "none" else "list", tuple(sorted(excluded)))


def render_dataset(
    plan: DatasetPlan, folder: Path, *, workers: int = 1, progress: Callable[[int, int], None] | None = None
) -> None:
    """Renders what is missing of a plan into `folder`.

    Args:
        workers: processes; the result does not depend on it.
        progress: called with finished and all objects after every shard.

    Raises:
        DatasetError: if the folder holds something else, or an object cannot be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    index = json.dumps(plan.index(), indent=1, sort_keys=True) + "\n"
    claim = folder / PLAN_NAME
    if claim.exists():
        if claim.read_text(encoding="utf-8") != index:
            raise DatasetError(f"{folder}: holds a dataset of other options or objects; choose another folder")
    elif any(folder.iterdir()):
        raise DatasetError(f"{folder}: is not empty and holds no unfinished dataset; choose another folder")
    else:
        _write_text(claim, index)
    for leftover in folder.glob("*.tmp"):
        leftover.unlink()
    shards = plan.shards
    todo = [k for k in range(len(shards)) if not files.shard_path(folder, "camera", k).exists()]
    done = sum(len(shards[k]) for k in range(len(shards)) if k not in todo)
    jobs = [(k, shards[k], sum(map(len, shards[:k]))) for k in todo]

    def report(shard: int) -> None:
        nonlocal done
        done += len(shards[shard])
        if progress is not None:
            progress(done, len(plan.objects))

    if workers <= 1 or len(jobs) <= 1:
        worker = _Worker(plan.source, plan.options, folder)
        for job in jobs:
            report(worker.render_shard(*job))
    else:
        with ProcessPoolExecutor(
            min(workers, len(jobs)), get_context("spawn"), _start_worker, (plan.source, plan.options, folder)
        ) as pool:
            for shard in pool.map(_run_job, jobs):
                report(shard)
    _write_text(folder / files.INDEX_NAME, index)


def render_views(
    mesh: Mesh, cameras: tuple[Camera, ...], lights: Lights | None, light_index: int = 0
) -> dict[str, NDArray[Any]]:
    """All views of one object, coded as in `gen.data.format`: rgba, depth, normal and camera, each (V, ...)."""
    prepared, light = prepare_mesh(mesh), light_arrays(lights)
    width, height = cameras[0].width, cameras[0].height
    scratch = Scratch.allocate(prepared, width, height, SUPERSAMPLE)
    rgba = np.empty((height, width, 4), np.float32)
    depth = np.empty((height, width), np.float32)
    normal = np.empty((height, width, 3), np.float32)
    out: dict[str, NDArray[Any]] = {
        kind: np.empty((len(cameras), height, width, *tail), dtype) for kind, (dtype, tail) in files.ARRAYS.items()
    }
    out["camera"] = np.stack([files.encode_camera(camera, light_index) for camera in cameras])
    for view, camera in enumerate(cameras):
        w2c = np.ascontiguousarray(np.linalg.inv(camera.c2w.double().numpy())[:3])
        draw(prepared, w2c, out["camera"][view, 12:16].astype(np.float64), light, SUPERSAMPLE, scratch, rgba, depth, normal)
        out["rgba"][view] = np.rint(rgba * np.float32(255))
        out["normal"][view] = np.rint(normal * np.float32(127))
        out["depth"][view] = files.encode_depth(depth, float(np.linalg.norm(camera.centre.numpy())))
    return out


class _Worker:
    """Renders shards in one process."""

    def __init__(self, source: Path, options: SceneOptions, folder: Path) -> None:
        self._source: PackSource | FolderSource = open_source(source)
        self._options, self._folder = options, folder

    def render_shard(self, shard: int, objects: tuple[ObjectInfo, ...], first: int) -> int:
        size, views = self._options.size, self._options.views
        kinds = (*files.ARRAYS, "camera")
        paths = {kind: files.shard_path(self._folder, kind, shard) for kind in kinds}
        drafts = {kind: path.with_suffix(".tmp") for kind, path in paths.items()}
        arrays = {
            kind: np.lib.format.open_memmap(
                drafts[kind],
                mode="w+",
                dtype=np.float32 if kind == "camera" else files.ARRAYS[kind][0],
                shape=files.shard_shape(kind, len(objects), views, size),
            )
            for kind in kinds
        }
        for row, info in enumerate(objects):
            cameras = random_cameras(self._options, info.id)
            lights = random_lights(self._options, info.id, keep_colours=info.tier == "A")
            for kind, value in render_views(self._source.mesh(info.id), cameras, lights, first + row).items():
                arrays[kind][row] = value
        for kind in kinds:  # the cameras come last: where they are, the shard is whole
            arrays.pop(kind).flush()
            os.replace(drafts[kind], paths[kind])
        return shard


_worker: _Worker | None = None


def _start_worker(source: Path, options: SceneOptions, folder: Path) -> None:
    global _worker
    _worker = _Worker(source, options, folder)


def _run_job(job: tuple[int, tuple[ObjectInfo, ...], int]) -> int:
    assert _worker is not None
    return _worker.render_shard(*job)


def _write_text(path: Path, text: str) -> None:
    draft = path.with_suffix(".tmp")
    draft.write_text(text, encoding="utf-8")
    os.replace(draft, path)
