"""The `cpu` backend: tiled Gaussian splatting in compiled kernels, one autograd function for all gradients.

The order of the files is the order of the stages: `projection`, `binning`, `compositing`, `projection_backward`;
`simd` and `jit` are what they are written with. Import this package only when something is to be drawn: it loads Numba.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recon.splat.backend_cpu import binning, compositing, projection, projection_backward
from recon.splat.backend_cpu.jit import chunk_bounds, for_each_chunk, thread_count
from recon.splat.backend_cpu.layout import ALPHA, CAMERA, FEATURES, MEDIAN, PLANES, RECORD, TILE_HEIGHT, TILE_WIDTH
from recon.splat.backend_torch import Accumulated

_GAUSSIANS_PER_CHUNK = 2048
_BINNING_CHUNKS = 8


def accumulate(
    means: Tensor,  # (N, 3)
    quats: Tensor,  # (N, 4)
    log_scales: Tensor,  # (N, 3)
    logit_opacities: Tensor,  # (N,)
    sh: Tensor,  # (N, K, 3)
    viewmats: Tensor,  # (C, 4, 4) world to camera
    intrinsics: Tensor,  # (C, 3, 3)
    width: int,
    height: int,
) -> Accumulated:
    """Draws every camera; differentiable in every tensor argument. Computes in float32, whatever it is given."""
    scene = (means.float(), quats.float(), log_scales.float(), logit_opacities.float(), sh.float())
    channels = _Rasterize.apply(*scene, viewmats.float(), intrinsics.float(), width, height)
    return Accumulated(*(channel.to(means.dtype) for channel in channels))


@dataclass(frozen=True)
class _Drawn:
    """What the backward pass of one camera needs of its forward pass."""

    camera: np.ndarray
    records: np.ndarray
    starts: np.ndarray
    counts: np.ndarray
    tile_starts: np.ndarray
    entries: np.ndarray
    entries_read: np.ndarray


@dataclass(frozen=True)
class _Grid:
    """The tiles of a picture."""

    width: int
    height: int

    @property
    def columns(self) -> int:
        return -(-self.width // TILE_WIDTH)

    @property
    def rows(self) -> int:
        return -(-self.height // TILE_HEIGHT)

    @property
    def padded(self) -> tuple[int, int]:
        """Height and width of whole tiles."""
        return self.rows * TILE_HEIGHT, self.columns * TILE_WIDTH


class _Rasterize(torch.autograd.Function):
    """(rgb, alpha, depth, normal, median depth) of C cameras."""

    @staticmethod
    def forward(ctx: Any, *args: Any) -> tuple[Tensor, ...]:
        *tensors, width, height = args
        means, quats, log_scales, logit_opacities, sh, viewmats, intrinsics = (_array(t) for t in tensors)
        scene = (means, quats, log_scales, logit_opacities, sh)
        grid = _Grid(width, height)
        pictures = torch.empty(viewmats.shape[0], PLANES, *grid.padded)
        ctx.drawn = [
            _draw(scene, _pack_camera(viewmat, matrix), grid, picture.numpy())
            for viewmat, matrix, picture in zip(viewmats, intrinsics, pictures)
        ]
        ctx.grid = grid
        ctx.save_for_backward(*tensors, pictures)
        ctx.set_materialize_grads(False)
        cropped = pictures[..., :height, :width]
        alpha, rgb, depth = cropped[:, ALPHA], cropped[:, 1:4].permute(0, 2, 3, 1), cropped[:, 4]
        normal, median = cropped[:, 5:8].permute(0, 2, 3, 1), cropped[:, MEDIAN]
        ctx.mark_non_differentiable(median)
        return rgb, alpha, depth, normal, median

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        rgb, alpha, depth, normal, _ = grads
        *tensors, pictures = ctx.saved_tensors
        scene = tuple(_array(t) for t in tensors[:5])
        scene_grads = tuple(np.zeros_like(array) for array in scene)
        viewmats = _array(tensors[5])
        viewmats_grad, intrinsics_grad = torch.zeros(viewmats.shape), torch.zeros(tensors[6].shape)
        height, width = ctx.grid.height, ctx.grid.width
        upstream = torch.zeros(1 + FEATURES, *ctx.grid.padded)
        planes = upstream[:, :height, :width]
        for index, drawn in enumerate(ctx.drawn):
            if alpha is not None:
                planes[0] = -alpha[index]
            if rgb is not None:
                planes[1:4] = rgb[index].permute(2, 0, 1)
            if depth is not None:
                planes[4] = depth[index]
            if normal is not None:
                planes[5:8] = normal[index].permute(2, 0, 1)
            geometry = depth is not None or normal is not None
            picture = pictures[index].numpy()
            camera_grad = _draw_backward(scene, drawn, ctx.grid, picture, upstream.numpy(), geometry, scene_grads)
            _unpack_camera_grad(camera_grad, viewmats[index], viewmats_grad[index], intrinsics_grad[index])
        return (*(torch.from_numpy(g) for g in scene_grads), viewmats_grad, intrinsics_grad, None, None)


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().contiguous().numpy()


def _pack_camera(viewmat: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    """View matrix (4, 4) and intrinsics (3, 3) to the (CAMERA,) doubles of the kernels."""
    packed = np.zeros(CAMERA)
    packed[:12] = viewmat[:3].ravel()
    packed[12:16] = intrinsics[0, 0], intrinsics[1, 1], intrinsics[0, 2], intrinsics[1, 2]
    packed[16:19] = -viewmat[:3, :3].T.astype(np.float64) @ viewmat[:3, 3]
    return packed


def _unpack_camera_grad(grad: np.ndarray, viewmat: np.ndarray, viewmat_grad: Tensor, intrinsics_grad: Tensor) -> None:
    """Adds the gradient of a packed camera to those of its matrices; the centre is minus Rᵀ t."""
    matrix = grad[:12].reshape(3, 4).copy()
    centre = grad[16:19]
    matrix[:, :3] -= np.outer(viewmat[:3, 3], centre)
    matrix[:, 3] -= viewmat[:3, :3] @ centre
    viewmat_grad[:3] += torch.from_numpy(matrix)
    fx, fy, cx, cy = grad[12:16].tolist()
    intrinsics_grad += torch.tensor([[fx, 0, cx], [0, fy, cy], [0, 0, 0]])


def _draw(scene: tuple[np.ndarray, ...], camera: np.ndarray, grid: _Grid, picture: np.ndarray) -> _Drawn:
    """Fills `picture` (PLANES, padded height, padded width)."""
    count = scene[0].shape[0]
    records = np.empty((count, RECORD), np.float32)
    keys, counts = np.empty(count, np.int32), np.empty(count, np.int32)
    chunks = -(-count // _GAUSSIANS_PER_CHUNK)

    def project(chunk: int) -> None:
        bounds = chunk_bounds(count, chunks, chunk)
        projection.project(*bounds, *scene, camera, grid.width, grid.height, records, keys, counts)

    for_each_chunk(chunks, project)
    order, starts = np.empty(count, np.int32), np.empty(count + 1, np.int64)
    visible = binning.sort_by_depth(keys, order, np.empty(count, np.int32))
    bound = binning.running_sum(counts, starts)
    pair_tiles, pair_rows = np.empty(bound, np.int32), np.empty(bound, np.uint8)

    def find_pairs(chunk: int) -> None:
        bounds = chunk_bounds(count, chunks, chunk)
        size = (grid.columns, grid.width, grid.height)
        binning.find_pairs(*bounds, records, counts, starts, *size, pair_tiles, pair_rows)

    for_each_chunk(chunks, find_pairs)
    tile_starts, entries = _bin(order[:visible], starts, counts, pair_tiles, pair_rows, grid)
    entries_read = np.empty(grid.columns * grid.rows, np.int32)

    def composite(tiles: np.ndarray) -> None:
        size = (grid.columns, grid.width, grid.height)
        compositing.composite(
            tiles, tile_starts, entries, records.reshape(-1), *size, picture.reshape(-1), entries_read
        )

    _for_tiles(tile_starts, composite)
    return _Drawn(camera, records, starts, counts, tile_starts, entries, entries_read)


def _bin(
    order: np.ndarray,
    starts: np.ndarray,
    counts: np.ndarray,
    pair_tiles: np.ndarray,
    pair_rows: np.ndarray,
    grid: _Grid,
) -> tuple[np.ndarray, np.ndarray]:
    """The tiles' lists: where each begins (tiles + 1,) and their entries (E, 3)."""
    tiles = grid.columns * grid.rows
    chunks = min(_BINNING_CHUNKS, -(-max(len(order), 1) // _GAUSSIANS_PER_CHUNK))
    histograms = np.empty((chunks, tiles), np.int64)
    tile_starts = np.empty(tiles + 1, np.int64)

    def count_entries(chunk: int) -> None:
        bounds = chunk_bounds(len(order), chunks, chunk)
        binning.count_entries(*bounds, order, starts, counts, pair_tiles, histograms[chunk])

    for_each_chunk(chunks, count_entries)
    entries = np.empty((binning.place_chunks(histograms, tile_starts), 3), np.int32)

    def scatter_entries(chunk: int) -> None:
        bounds = chunk_bounds(len(order), chunks, chunk)
        binning.scatter_entries(*bounds, order, starts, counts, pair_tiles, pair_rows, histograms[chunk], entries)

    for_each_chunk(chunks, scatter_entries)
    return tile_starts, entries


def _for_tiles(tile_starts: np.ndarray, work: Callable[[np.ndarray], None]) -> None:
    """Hands out the tiles, long lists first, so that all threads finish at about the same time."""
    longest_first = np.argsort(-np.diff(tile_starts), kind="stable").astype(np.int32)
    chunks = min(4 * thread_count(), len(longest_first))
    for_each_chunk(chunks, lambda chunk: work(np.ascontiguousarray(longest_first[chunk::chunks])))


def _draw_backward(
    scene: tuple[np.ndarray, ...],
    drawn: _Drawn,
    grid: _Grid,
    picture: np.ndarray,
    picture_grad: np.ndarray,
    geometry: bool,
    scene_grads: tuple[np.ndarray, ...],
) -> np.ndarray:
    """Adds one camera's gradients to `scene_grads`; returns that of the packed camera."""
    means, quats, log_scales, _, sh = scene
    size = (grid.width, grid.height)
    pair_grads = np.empty((int(drawn.starts[-1]), RECORD), np.float32)

    def composite_backward(tiles: np.ndarray) -> None:
        compositing.composite_backward(
            tiles,
            drawn.tile_starts,
            drawn.entries,
            drawn.records.reshape(-1),
            grid.columns,
            *size,
            picture.reshape(-1),
            picture_grad.reshape(-1),
            drawn.entries_read,
            geometry,
            pair_grads.reshape(-1),
        )

    _for_tiles(drawn.tile_starts, composite_backward)
    count = means.shape[0]
    chunks = -(-count // _GAUSSIANS_PER_CHUNK)
    camera_grads = np.zeros((max(chunks, 1), CAMERA))

    def project_backward(chunk: int) -> None:
        bounds = chunk_bounds(count, chunks, chunk)
        projection_backward.project_backward(
            *bounds,
            means,
            quats,
            log_scales,
            sh,
            drawn.camera,
            *size,
            drawn.records,
            drawn.starts,
            drawn.counts,
            pair_grads,
            *scene_grads,
            camera_grads[chunk],
        )

    for_each_chunk(chunks, project_backward)
    return camera_grads.sum(0)
