"""One camera drawn, and its gradients: the stages in order, each spread over chunks of Gaussians or tiles."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from recon.splat.backend_cpu import (
    binning,
    buffers,
    compositing,
    compositing_2d,
    compositing_2d_backward,
    compositing_backward,
    projection,
    projection_2d,
    projection_2d_backward,
    projection_backward,
)
from recon.splat.backend_cpu.jit import for_each_chunk, thread_count
from recon.splat.backend_cpu.layout import CAMERA, DISK_RECORD, ENTRY, PAIR, RECORD, TILE_HEIGHT, TILE_WIDTH
from recon.splat.backend_cpu.simd import LANES
from recon.splat.backend_torch import DrawOptions

_CHUNKS = ((1 << 11, 1), (1 << 15, 4), (1 << 17, 8))
"""Scenes up to so many Gaussians are cut into so many chunks, larger ones into 16. That is few, because a call of a
kernel holds the interpreter for some microseconds, and it does not depend on the number of threads, because sums do
on the chunks."""
_SPARE = 1.25


class _Room:
    """How many pairs a Gaussian was last seen to need, as the mean over a chunk; a guess that saves drawing twice."""

    pairs = 2.0


_MODEST_PAIRS = 8.0
_MODEST_TOTAL = 1 << 18
"""Pairs for a Gaussian, and pairs of a whole scene, beyond which a guess is not trusted: it comes from another scene or
another view, and room is memory."""
_MOST_PAIRS = 1 << 31
"""Lists hold the numbers of pairs in 32 bits."""


@dataclass(frozen=True)
class Scene:
    """The five tensors of `Gaussians` as contiguous float32 arrays."""

    means: np.ndarray
    quats: np.ndarray
    log_scales: np.ndarray
    logit_opacities: np.ndarray
    sh: np.ndarray

    @property
    def count(self) -> int:
        return len(self.means)

    @property
    def padded(self) -> int:
        """The count rounded up to whole vectors."""
        return -(-self.count // LANES) * LANES

    @property
    def chunks(self) -> int:
        """Parts that the scene is worked on in."""
        if self.count == 0:
            return 0
        return next((chunks for most, chunks in _CHUNKS if self.count <= most), 16)

    def bounds(self, chunk: int) -> tuple[int, int]:
        """First Gaussian of a chunk, a multiple of any vector's length, and the one after its last."""
        size = -(-self.count // (16 * self.chunks)) * 16
        return min(chunk * size, self.count), min((chunk + 1) * size, self.count)

    def arrays(self) -> tuple[np.ndarray, ...]:
        return self.means, self.quats, self.log_scales, self.logit_opacities, self.sh


@dataclass(frozen=True)
class SceneGrads:
    """Gradients of a scene's five arrays, flat and padded to whole vectors."""

    flat: tuple[Tensor, ...]

    @classmethod
    def empty(cls, scene: Scene) -> SceneGrads:
        """Of any content: the first camera's overwrite it."""
        sizes = [scene.padded * math.prod(array.shape[1:]) for array in scene.arrays()]
        return cls(tuple(buffers.empty_tensor(size) for size in sizes))

    @classmethod
    def total(cls, parts: Sequence[SceneGrads]) -> SceneGrads:
        """Their sum, in order; overwrites the first."""
        for part in parts[1:]:
            for ours, theirs in zip(parts[0].flat, part.flat):
                ours += theirs
        return parts[0]

    def tensors(self, scene: Scene) -> tuple[Tensor, ...]:
        return tuple(flat[: array.size].view(array.shape) for flat, array in zip(self.flat, scene.arrays()))


@dataclass(frozen=True)
class Grid:
    """The tiles of a picture."""

    width: int
    height: int

    @property
    def tiles(self) -> int:
        rows, columns = self.padded
        return (rows // TILE_HEIGHT) * (columns // TILE_WIDTH)

    @property
    def padded(self) -> tuple[int, int]:
        """Height and width of whole tiles."""
        return -(-self.height // TILE_HEIGHT) * TILE_HEIGHT, -(-self.width // TILE_WIDTH) * TILE_WIDTH


@dataclass(frozen=True)
class Pairs:
    """Which Gaussians are drawn in which tiles, as `binning.find_pairs` lists them.

    Attributes:
        starts: (N,) first pair of each Gaussian.
        counts: (N,) its number of pairs.
        room: pairs that there is room for.
        offsets: (chunks, tiles + 1) where each tile's run begins in each chunk's list.
        bases: (chunks,) where each chunk's list begins.
        entries: (room * ENTRY,) the lists.
    """

    starts: np.ndarray
    counts: np.ndarray
    room: int
    offsets: np.ndarray
    bases: np.ndarray
    entries: np.ndarray


@dataclass(frozen=True)
class Drawn:
    """What the backward pass of one camera needs of its forward pass."""

    camera: np.ndarray
    records: np.ndarray
    pair_starts: np.ndarray
    pair_counts: np.ndarray
    room: int
    tile_starts: np.ndarray
    entries: np.ndarray
    entries_read: np.ndarray


def pack_camera(viewmat: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    """View matrix (4, 4) and intrinsics (3, 3) to the (CAMERA,) floats of the kernels."""
    packed = np.zeros(CAMERA, np.float32)
    packed[:12] = viewmat[:3].ravel()
    packed[12:16] = intrinsics[0, 0], intrinsics[1, 1], intrinsics[0, 2], intrinsics[1, 2]
    packed[16:19] = -viewmat[:3, :3].T.astype(np.float64) @ viewmat[:3, 3]
    return packed


def draw(
    scene: Scene, camera: np.ndarray, grid: Grid, options: DrawOptions, background: np.ndarray, picture: np.ndarray
) -> Drawn:
    """Fills `picture` (planes, padded height, padded width)."""
    flat = options.primitive == "2d"
    stride = DISK_RECORD if flat else RECORD
    records, half_widths = buffers.empty(scene.padded * stride, np.float32), buffers.empty(scene.padded, np.float32)
    arrays = (*(array.reshape(-1) for array in scene.arrays()), scene.sh.shape[1], camera, grid.width, grid.height)

    def project(chunk: int) -> None:
        if flat:
            projection_2d.project(*scene.bounds(chunk), *arrays, records, half_widths)
        else:
            projection.project(*scene.bounds(chunk), *arrays, options.antialias, records, half_widths)

    pairs = _list_pairs(scene, grid, records, stride, half_widths, project)
    tile_starts = np.zeros(grid.tiles + 1, np.int64)
    binning.place_tiles(pairs.offsets, tile_starts)
    sorted_entries = buffers.empty(int(tile_starts[-1]) * ENTRY, np.int32)
    entries_read = np.empty(grid.tiles, np.int64)
    bits = records.view(np.int32)
    stage = compositing_2d if flat else compositing
    kernel = stage.composite_geometry if options.geometry else stage.composite_colors

    def composite(tiles: np.ndarray) -> None:
        kernel(
            tiles, tile_starts, pairs.offsets, pairs.bases, pairs.entries, sorted_entries, entries_read, records, bits,
            grid.width, grid.height, background, picture.reshape(-1),
        )  # fmt: skip

    _for_tiles(tile_starts, composite)
    return Drawn(camera, records, pairs.starts, pairs.counts, pairs.room, tile_starts, sorted_entries, entries_read)


def _list_pairs(
    scene: Scene,
    grid: Grid,
    records: np.ndarray,
    stride: int,
    half_widths: np.ndarray,
    project: Callable[[int], None],
) -> Pairs:
    """Projects the Gaussians and lists the tiles that each is drawn in; again with more room where it did not do."""
    chunks = scene.chunks
    starts, counts = buffers.empty(scene.count, np.int64), buffers.empty(scene.count, np.int64)
    offsets = np.empty((chunks, grid.tiles + 1), np.int32)
    found = np.zeros(chunks, np.int64)

    def fill(room: int) -> np.ndarray:
        entries = buffers.empty(chunks * room * ENTRY, np.int32)

        def list_pairs(chunk: int) -> None:
            if found[chunk] == 0:
                project(chunk)
            found[chunk] = binning.find_pairs(
                *scene.bounds(chunk), records, stride, half_widths, grid.width, grid.height, chunk * room, room,
                starts, counts, entries, offsets[chunk],
            )  # fmt: skip

        for_each_chunk(chunks, list_pairs)
        return entries

    largest = scene.bounds(0)[1] if chunks else 0
    room = 1
    if chunks:
        room += int(min(largest * _Room.pairs, max(largest * _MODEST_PAIRS, _MODEST_TOTAL / chunks)))
    entries = fill(room)
    if chunks and int(found.max()) > room:
        room = int(found.max())
        if chunks * room >= _MOST_PAIRS:
            raise MemoryError(
                f"{scene.count} Gaussians touch up to {chunks * room} tiles of a picture of {grid.width} x "
                f"{grid.height}, more than can be listed; they are too wide, or the picture too large"
            )
        _Room.pairs = room / largest * _SPARE
        entries = fill(room)
    return Pairs(starts, counts, chunks * room, offsets, np.arange(chunks, dtype=np.int64) * room, entries)


def draw_backward(
    scene: Scene,
    drawn: Drawn,
    grid: Grid,
    options: DrawOptions,
    picture: np.ndarray,
    picture_grad: np.ndarray,
    geometry: bool,
    grads: SceneGrads,
    first: bool,
) -> np.ndarray:
    """Adds one camera's gradients to `grads`, or writes them where it is the first; returns that of the packed camera,
    in doubles."""
    size = (grid.width, grid.height)
    flat = options.primitive == "2d"
    pair_grads = buffers.empty(drawn.room * PAIR, np.float32)
    stage = compositing_2d_backward if flat else compositing_backward
    kernel = stage.composite_geometry_backward if geometry else stage.composite_colors_backward

    def composite_backward(tiles: np.ndarray) -> None:
        kernel(
            tiles, drawn.tile_starts, drawn.entries, drawn.entries_read, drawn.records, *size, picture.reshape(-1),
            picture_grad.reshape(-1), pair_grads,
        )  # fmt: skip

    _for_tiles(drawn.tile_starts, composite_backward)
    chunks = scene.chunks
    camera_grads = np.zeros((max(chunks, 1), CAMERA))
    arrays = [array.reshape(-1) for array in (scene.means, scene.quats, scene.log_scales, scene.sh)]
    upstream = drawn.records, drawn.pair_starts, drawn.pair_counts, pair_grads
    grad_arrays = [tensor.numpy() for tensor in grads.flat]

    def project_backward(chunk: int) -> None:
        inputs = (*scene.bounds(chunk), *arrays, scene.sh.shape[1], drawn.camera)
        outputs = (first, *grad_arrays, camera_grads[chunk])
        if flat:
            projection_2d_backward.project_backward(*inputs, *upstream, *outputs)
        else:
            projection_backward.project_backward(*inputs, *size, options.antialias, *upstream, *outputs)

    for_each_chunk(chunks, project_backward)
    return camera_grads.sum(0)


def _for_tiles(tile_starts: np.ndarray, work: Callable[[np.ndarray], None]) -> None:
    """Hands out the tiles, long lists first, so that all threads finish at about the same time."""
    if thread_count() == 1:
        work(np.arange(len(tile_starts) - 1, dtype=np.int32))
        return
    longest_first = np.argsort(-np.diff(tile_starts), kind="stable").astype(np.int32)
    chunks = min(4 * thread_count(), len(longest_first))
    for_each_chunk(chunks, lambda chunk: work(np.ascontiguousarray(longest_first[chunk::chunks])))
