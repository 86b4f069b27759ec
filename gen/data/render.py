"""Renders objects into a dataset folder: shard by shard, on several processes, resumable, the same bytes from the
same options whatever the number of processes and however often it was interrupted.

Objects that no training may see are removed from the work list before anything is loaded; the list itself is written
into `dataset.json`, where `OrbitDataset` checks it again.
"""

from __future__ import annotations

import json
import os
import signal
from collections import OrderedDict
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gen.data import format as files
from gen.data._coding_kernels import encode_view
from gen.data.format import DatasetError
from gen.data.names import find_excluded, without_suffix
from gen.data.scenes import SceneCameras, SceneOptions, moving, random_cameras, random_lights, stretched
from gen.data.sources import (
    NEVER_TRAIN,
    VALIDATION,
    AnimatedSource,
    FolderSource,
    ObjectInfo,
    PackSource,
    open_source,
    read_ids,
)
from recon.surface.mesh import Mesh
from recon.surface.render import (
    Lights,
    PreparedMesh,
    Pyramid,
    Scratch,
    draw,
    light_arrays,
    prepare_mesh,
    texture_pyramid,
)
from recon.surface.rigged import RiggedMesh

SHARD_OBJECTS = 64
PLAN_NAME = "plan.json"
SUPERSAMPLE = 2


@dataclass(frozen=True)
class DatasetPlan:
    """Which objects, how, and what was kept out.

    Attributes:
        exclusion: "list"; "none" when there was no list; "ignored" when there was one and everything was asked for.
        excluded: everything that the list names.
        found: those of `excluded` that the source has.
    """

    source: Path
    options: SceneOptions
    objects: tuple[ObjectInfo, ...]
    exclusion: str
    excluded: tuple[str, ...]
    found: tuple[str, ...]

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
        source: a pack or a folder of meshes; a folder of animated meshes if `options.times` is more than 1.
        exclude: a file of ids that must not be rendered, besides those of the `never_train.txt` beside the source (and
            of animated meshes the `validation.txt`), if there is one; "none" to render everything: where there is such
            a list, training refuses the result; None for the lists beside the source alone.
        only: a file of ids, with or without their suffixes; nothing else is rendered.

    Raises:
        DatasetError: if there is no list and no "none", a list is unreadable, or nothing is left.
    """
    animated = options.times > 1
    place = source if source.is_dir() else source.parent
    lists = [place / name for name in ((NEVER_TRAIN, VALIDATION) if animated else (NEVER_TRAIN,))]
    beside = frozenset[str]().union(*(read_ids(listing) for listing in lists if listing.is_file()))
    exclusion = "list"
    if exclude == "none":
        exclusion, excluded = "ignored" if beside else "none", frozenset[str]()
    elif exclude is not None:
        excluded = read_ids(Path(exclude)) | beside
    elif beside:
        excluded = beside
    else:
        raise DatasetError(
            f"{source}: expected a list of objects that no training may see ({lists[-1].name} beside it), found none; "
            "give one with --exclude FILE, or --exclude none if there are none"
        )
    objects: Iterable[ObjectInfo] = AnimatedSource(source).objects if animated else open_source(source).objects
    forbidden = find_excluded((o.id for o in objects), excluded)
    if only is not None:
        wanted = read_ids(only)
        if missing := sorted(wanted - {name for o in objects for name in (o.id, without_suffix(o.id))}):
            raise DatasetError(f"{only}: {len(missing)} ids are not in {source.name}: {', '.join(missing[:5])}")
        objects = [o for o in objects if o.id in wanted or without_suffix(o.id) in wanted]
    kept = tuple(replace(o, variant=v) for o in objects if o.id not in forbidden for v in range(options.variants))
    if not kept:
        raise DatasetError(f"{source}: no object is left to render; check --only and --exclude")
    return DatasetPlan(
        source,
        options,
        kept,
        exclusion=exclusion,
        excluded=tuple(sorted(excluded)),
        found=tuple(sorted({entry for entries in forbidden.values() for entry in entries})),
    )


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
    prepared: PreparedMesh,
    cameras: SceneCameras,
    lights: Lights | None,
    size: int,
    light_index: int = 0,
    time: float = 0.0,
) -> dict[str, NDArray[Any]]:
    """Views of one object at one time, coded as in `gen.data.format`: rgba, depth, normal and camera, each (V, ...)."""
    count, light = len(cameras.c2w), light_arrays(lights)
    scratch = Scratch.allocate(prepared, size, size, SUPERSAMPLE)
    rgba = np.empty((size, size, 4), np.float32)
    depth = np.empty((size, size), np.float32)
    normal = np.empty((size, size, 3), np.float32)
    out: dict[str, NDArray[Any]] = {
        kind: np.empty((count, size, size, *tail), dtype) for kind, (dtype, tail) in files.ARRAYS.items()
    }
    middle = np.full(count, size / 2)
    intrinsics = np.stack((cameras.focal, cameras.focal, middle, middle), axis=-1)
    w2c = np.linalg.inv(cameras.c2w)[:, :3]
    for view in range(count):
        draw(prepared, w2c[view], intrinsics[view], light, SUPERSAMPLE, scratch, rgba, depth, normal)
        encode_view(
            rgba, depth, normal, np.float32(cameras.distance[view]), np.float32(files.DEPTH_RANGE),
            out["rgba"][view], out["depth"][view], out["normal"][view],
        )  # fmt: skip
    rest = np.broadcast_to((light_index, time), (count, 2))
    out["camera"] = np.concatenate((cameras.c2w[:, :3].reshape(count, 12), intrinsics, rest), axis=1).astype(np.float32)
    return out


class PyramidCache:
    """Texture pyramids of the textures last used: many objects share an image, and making its levels takes longer than
    drawing a view."""

    def __init__(self, capacity: int = 256 << 20) -> None:
        self._capacity, self._bytes = capacity, 0
        self._known: OrderedDict[int, tuple[Tensor, Pyramid]] = OrderedDict()

    def __call__(self, texture: Tensor) -> Pyramid:
        """The levels of a texture that does not change."""
        key = id(texture)  # the entry keeps the tensor alive, so its id stays its own
        if key in self._known:
            self._known.move_to_end(key)
            return self._known[key][1]
        pyramid = texture_pyramid(texture)
        self._known[key] = (texture, pyramid)
        self._bytes += pyramid[0].nbytes
        while self._bytes > self._capacity and len(self._known) > 1:
            _, (_, dropped) = self._known.popitem(last=False)
            self._bytes -= dropped[0].nbytes
        return pyramid


class _Worker:
    """Renders shards in one process."""

    def __init__(self, source: Path, options: SceneOptions, folder: Path) -> None:
        self._source: PackSource | FolderSource | AnimatedSource
        self._source = AnimatedSource(source) if options.times > 1 else open_source(source)
        self._options, self._folder = options, folder
        self._pyramids = PyramidCache()
        self._loaded: tuple[str, Mesh | RiggedMesh] | None = None

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
            cameras = random_cameras(self._options, info.scene)
            lights = random_lights(self._options, info.scene, keep_colours=info.tier == "A")
            times, poses = self._poses(info)
            for moment, (time, mesh) in enumerate(zip(times, poses)):
                prepared, which = prepare_mesh(mesh, pyramid=self._pyramids), slice(moment, None, len(times))
                coded = render_views(prepared, cameras.only(which), lights, size, first + row, time)
                for kind, value in coded.items():
                    arrays[kind][row, which] = value
        for kind in kinds:  # the cameras come last: where they are, the shard is whole
            arrays.pop(kind).flush()
            os.replace(drafts[kind], paths[kind])
        return shard

    def _poses(self, info: ObjectInfo) -> tuple[list[float], list[Mesh]]:
        """The times at which the object is shown, and how it then is."""
        if self._loaded is None or self._loaded[0] != info.id:  # the variants of an object follow each other
            source = self._source
            self._loaded = (
                info.id,
                source.rigged(info.id) if isinstance(source, AnimatedSource) else source.mesh(info.id),
            )
        shape = self._loaded[1]
        if isinstance(shape, Mesh):
            return [0.0], [stretched(self._options, info.scene, shape) if info.variant else shape]
        try:
            return moving(self._options, info.scene, shape, stretch=info.variant > 0)
        except ValueError as error:
            raise DatasetError(f"{info.id}: {error}; remove it or list it under --exclude") from error


_worker: _Worker | None = None


def _start_worker(source: Path, options: SceneOptions, folder: Path) -> None:
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent stops handing out work; a begun shard is finished
    torch.set_num_threads(1)  # the processes share the cores; with threads of their own they were six times slower
    _worker = _Worker(source, options, folder)


def _run_job(job: tuple[int, tuple[ObjectInfo, ...], int]) -> int:
    assert _worker is not None
    return _worker.render_shard(*job)


def _write_text(path: Path, text: str) -> None:
    draft = path.with_suffix(".tmp")
    draft.write_text(text, encoding="utf-8")
    os.replace(draft, path)
