"""`OrbitDataset`: a rendered dataset, memory-mapped, sampled as scenes of a few random views."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gen.data import format as files
from gen.data.format import DatasetError
from gen.data.names import find_excluded

TIER_SHARES = {"A": 0.60, "B": 0.35, "C": 0.05}
"""How often an object of each tier is drawn: A textured and realistic, B several colours, C near one colour."""


@dataclass(frozen=True)
class ViewCodes:
    """Views of B objects, F each, as the files code them (`gen.data.format`): a quarter of the bytes of their values.

    Attributes:
        rgba: (B, F, S, S, 4) uint8.
        depth: (B, F, S, S) int16 with the bits of uint16.
        normal: (B, F, S, S, 3) int8.
        cameras: (B, F, 18) float32.
        objects: (B,) int64 places in `OrbitDataset.ids`.
    """

    rgba: Tensor
    depth: Tensor
    normal: Tensor
    cameras: Tensor
    objects: Tensor

    def decode(self) -> OrbitViews:
        """Their values, where the codes lie."""
        c2w, intrinsics = files.decode_cameras(self.cameras)
        return OrbitViews(
            rgba=self.rgba.float() / 255,
            depth=files.decode_depth(self.depth, c2w[..., :3, 3].norm(dim=-1)),
            normal=torch.nn.functional.normalize(self.normal.float(), dim=-1),
            c2w=c2w,
            intrinsics=intrinsics,
            times=self.cameras[..., files.TIME_COLUMN],
            objects=self.objects,
        )


@dataclass(frozen=True)
class OrbitViews:
    """Views of B objects, F each.

    Attributes:
        rgba: (B, F, S, S, 4) float32 in [0, 1], straight alpha.
        depth: (B, F, S, S) float32 forward depth, 0 = nothing.
        normal: (B, F, S, S, 3) float32 unit world normals, 0 = nothing.
        c2w: (B, F, 4, 4); intrinsics: (B, F, 3, 3) in pixels.
        times: (B, F) seconds from the object's first view, 0 where nothing moves.
        objects: (B,) int64 places in `OrbitDataset.ids`.
    """

    rgba: Tensor
    depth: Tensor
    normal: Tensor
    c2w: Tensor
    intrinsics: Tensor
    times: Tensor
    objects: Tensor


class OrbitDataset:
    """A folder written by `gen.data.render.render_dataset`.

    Attributes:
        folder: where it lies.
        ids: object ids; their order is that of all object indices here.
        tiers: tier of each object.
        size: side of the pictures; views: pictures per object; times: moments that they show, 1 of objects that stand
            still.
        sha256: of `dataset.json`, which names the objects, the options and the seed that all pictures follow from.
        exclusion: how the objects that no training may see were kept out: `"list"`; `"none"` when there was no list;
            `"ignored"` when there was one and they were drawn all the same: for measuring only.

    Raises:
        DatasetError: if the folder is not a finished dataset, or holds an object that its own list excludes.
        OSError: if it cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        index, self.sha256 = _read_index(self.folder)
        try:
            self.ids: tuple[str, ...] = tuple(str(o["id"]) for o in index["objects"])
            self.tiers: tuple[str, ...] = tuple(str(o["tier"]) for o in index["objects"])
            self.size, self.views = int(index["options"]["size"]), int(index["options"]["views"])
            still = index["format"] == files.STILL_FORMAT
            self.times = 1 if still else int(index["options"]["times"])
            counts = [int(n) for n in index["shards"]]
            self.exclusion: str = str(index["exclusion"])
            excluded = {str(i) for i in index["excluded"]}
        except (KeyError, TypeError, ValueError) as error:
            raise DatasetError(
                f"{self.folder / files.INDEX_NAME}: misses or misstates {error}; render it again"
            ) from error
        if forbidden := sorted(find_excluded(self.ids, excluded)):
            raise DatasetError(f"{self.folder}: holds objects that its own list excludes: {', '.join(forbidden[:5])}")
        if self.times < 1 or self.views % self.times:
            raise DatasetError(f"{self.folder}: {self.views} views cannot show {self.times} times; render it again")
        if sum(counts) != len(self.ids) or not self.ids:
            raise DatasetError(
                f"{self.folder}: {sum(counts)} rendered objects for {len(self.ids)} ids; render it again"
            )
        self._starts = np.cumsum([0, *counts])
        self._shards = [
            {kind: self._map(kind, shard, count, still) for kind in (*files.ARRAYS, "camera")}
            for shard, count in enumerate(counts)
        ]
        tiers = np.array(self.tiers)
        shares = {tier: share for tier, share in TIER_SHARES.items() if (tiers == tier).any()}
        if unknown := set(self.tiers) - set(TIER_SHARES):
            raise DatasetError(f"{self.folder}: unknown tiers {sorted(unknown)}, expected {sorted(TIER_SHARES)}")
        weights = np.array([shares[tier] / (tiers == tier).sum() for tier in self.tiers])
        self._cumulative = np.cumsum(weights / weights.sum())

    def __len__(self) -> int:
        return len(self.ids)

    def sample(self, rng: np.random.Generator, frames: int, batch: int) -> ViewCodes:
        """`batch` random objects, weighted by tier, with `frames` different random views each, of any times.

        Raises:
            ValueError: if there are fewer views than `frames`.
        """
        if not 1 <= frames <= self.views:
            raise ValueError(f"asked for {frames} frames of an object, but the dataset has {self.views} views of each")
        objects = self._draw_objects(rng, batch)
        views = rng.random((batch, self.views)).argsort(axis=1)[:, :frames]
        return self.read(objects, views)

    def sample_videos(self, rng: np.random.Generator, moments: int, frames: int, batch: int) -> ViewCodes:
        """`batch` random objects at `moments` random times each: first, in the order of time, one camera's video of
        them, then views from other cameras, of each time as many as of the others or one more.

        Raises:
            ValueError: if the dataset has fewer times, or fewer views of each.
        """
        each = self.views // self.times
        if not 1 <= moments <= self.times or not moments <= frames <= moments * each:
            raise ValueError(
                f"asked for {frames} frames of {moments} times, but the dataset has {each} views of {self.times} times"
            )
        objects = self._draw_objects(rng, batch)
        times = np.sort(rng.random((batch, self.times)).argsort(axis=1)[:, :moments], axis=1)
        others = 1 + rng.random((batch, moments, each - 1)).argsort(axis=2)  # cameras of each time
        cameras = np.concatenate((np.zeros((batch, 1, moments), np.int64), others.transpose(0, 2, 1)), axis=1)
        views = cameras * self.times + times[:, None]
        return self.read(objects, views.reshape(batch, -1)[:, :frames])

    def _draw_objects(self, rng: np.random.Generator, batch: int) -> NDArray[np.int64]:
        return np.searchsorted(self._cumulative, rng.random(batch), side="right").clip(max=len(self) - 1)

    def read(self, objects: NDArray[np.int64], views: NDArray[np.int64]) -> ViewCodes:
        """Chosen views.

        Args:
            objects: (B,) places in `ids`; views: (B, F) in [0, `views`).

        Raises:
            IndexError: if a view is none.
        """
        if views.size and not 0 <= views.min() <= views.max() < self.views:
            raise IndexError(f"views lie between 0 and {self.views - 1}, asked for {views.min()} to {views.max()}")
        shards = np.searchsorted(self._starts, objects, side="right") - 1
        rows = objects - self._starts[shards]

        def gather(kind: str) -> Tensor:
            some = self._shards[0][kind]
            gathered = np.empty((*views.shape, *some.shape[2:]), some.dtype)
            for place, (shard, row, chosen) in enumerate(zip(shards, rows, views)):
                np.take(self._shards[shard][kind][row], chosen, axis=0, out=gathered[place], mode="clip")
            return torch.from_numpy(gathered.view(np.int16) if gathered.dtype == np.uint16 else gathered)

        return ViewCodes(
            rgba=gather("rgba"),
            depth=gather("depth"),
            normal=gather("normal"),
            cameras=_with_time(gather("camera")),
            objects=torch.from_numpy(np.asarray(objects, np.int64)),
        )

    def _map(self, kind: str, shard: int, count: int, still: bool) -> NDArray[Any]:
        path = files.shard_path(self.folder, kind, shard)
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, FileNotFoundError, EOFError) as error:
            raise DatasetError(f"{path}: cannot be read as an array ({error}); render the dataset again") from error
        expected = files.shard_shape(kind, count, self.views, self.size)
        if still and kind == "camera":
            expected = (*expected[:2], files.TIME_COLUMN)
        dtype = np.float32 if kind == "camera" else files.ARRAYS[kind][0]
        if array.shape != expected or array.dtype != dtype:
            raise DatasetError(
                f"{path}: expected {np.dtype(dtype)} {expected}, found {array.dtype} {array.shape}; render it again"
            )
        return array


def _with_time(cameras: Tensor) -> Tensor:
    """Cameras (..., 18); those of datasets without times show time 0."""
    missing = files.CAMERA_VALUES - cameras.shape[-1]
    return torch.nn.functional.pad(cameras, (0, missing)) if missing else cameras


def _read_index(folder: Path) -> tuple[dict[str, Any], str]:
    """What `dataset.json` says, and its SHA-256."""
    path = folder / files.INDEX_NAME
    if not path.is_file():
        raise DatasetError(f"{folder}: expected a finished dataset ({files.INDEX_NAME}); run pipelines.render_dataset")
    try:
        content = path.read_bytes()
        index = json.loads(content)
    except ValueError as error:
        raise DatasetError(f"{path}: is not JSON ({error})") from error
    if not isinstance(index, dict) or index.get("format") not in (files.FORMAT, files.STILL_FORMAT):
        raise DatasetError(f"{path}: expected format {files.FORMAT!r}; render the dataset again")
    return index, hashlib.sha256(content).hexdigest()
