"""The `cpu` backend: tiled Gaussian splatting in compiled kernels, one autograd function for all gradients.

The order of the files is the order of the stages: `projection`, `binning`, `compositing`, `compositing_backward`,
`projection_backward`; the four but `binning` have a `_2d` version for flat Gaussians, and `shading` and `rotating` are
what both kinds share. `drawing` calls them for one camera; `simd`, `columns`, `layout`, `buffers` and `jit` are what
they are written with.
Import this package only when something is to be drawn: it loads Numba.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from recon.splat.backend_cpu import buffers
from recon.splat.backend_cpu.drawing import Grid, Scene, SceneGrads, draw, draw_backward, pack_camera
from recon.splat.backend_cpu.jit import for_each_apart, thread_count
from recon.splat.backend_cpu.layout import ALPHA, COLORS, FEATURES, MEDIAN, PLANES
from recon.splat.backend_torch import Accumulated, DrawOptions
from recon.splat.threads import one_torch_thread


def accumulate(
    means: Tensor,  # (N, 3)
    quats: Tensor,  # (N, 4)
    log_scales: Tensor,  # (N, 3)
    logit_opacities: Tensor,  # (N,)
    sh: Tensor,  # (N, K, 3)
    viewmats: Tensor,  # (C, 4, 4) world to camera
    intrinsics: Tensor,  # (C, 3, 3)
    background: Tensor,  # (3,)
    options: DrawOptions,
) -> Accumulated:
    """Draws every camera; differentiable in every tensor argument. Computes in float32, whatever it is given."""
    tensors = (means, quats, log_scales, logit_opacities, sh, viewmats, intrinsics, background)
    channels = _Rasterize.apply(*(tensor.float() for tensor in tensors), options)
    channels = (channel if channel is None else channel.to(means.dtype) for channel in channels)
    return Accumulated(*cast(tuple[Tensor, Tensor], tuple(channels)))


View = tuple[Tensor, Tensor, int, int]
"""View matrix (4, 4), intrinsics (3, 3), width and height."""
Slopes = Callable[[int, Tensor, Tensor], tuple[Tensor, Tensor]]
"""Called with (number of the view, its colours (H, W, 3) over black, its alpha (H, W)); returns a loss's gradients in
both, in the same shapes."""


def differentiate_colors(tensors: Sequence[Tensor], views: Sequence[View], slopes: Slopes) -> tuple[Tensor, ...]:
    """The gradients in the five tensors of `Gaussians` of a sum of losses, one of each view.

    They are what autograd finds, without a graph: the loss gives its gradients at once, and where steps are short and
    several threads take them, they would else spend much of their time on waiting for the interpreter.
    """
    scene = Scene(*(_array(tensor.float()) for tensor in tensors))
    sums, black = SceneGrads.empty(scene), np.zeros(COLORS, np.float32)
    for index, (viewmat, matrix, width, height) in enumerate(views):
        grid, options = Grid(width, height), DrawOptions(width, height, geometry=False)
        picture = buffers.empty_tensor(2 + COLORS, *grid.padded)
        planes = picture.numpy()
        drawn = draw(scene, pack_camera(_array(viewmat), _array(matrix)), grid, options, black, planes)
        cropped = picture[:, :height, :width]
        rgb_grad, alpha_grad = slopes(index, cropped[2:].permute(1, 2, 0), cropped[ALPHA])
        upstream = buffers.empty_tensor(1 + COLORS, *grid.padded).zero_()
        upstream[1:, :height, :width] = rgb_grad.permute(2, 0, 1)
        upstream[0, :height, :width] -= alpha_grad
        draw_backward(scene, drawn, grid, options, planes, upstream.numpy(), False, sums, index == 0)
    return sums.tensors(scene)


class _Rasterize(torch.autograd.Function):
    """(rgb, alpha, depth, normal, median depth) of C cameras; the last three are None without geometry."""

    @staticmethod
    @one_torch_thread()
    def forward(ctx: Any, *args: Any) -> tuple[Tensor | None, ...]:
        *tensors, options = args
        means, quats, log_scales, logit_opacities, sh, viewmats, intrinsics, background = (_array(t) for t in tensors)
        scene = Scene(means, quats, log_scales, logit_opacities, sh)
        grid = Grid(options.width, options.height)
        planes = PLANES if options.geometry else 2 + COLORS
        pictures = buffers.empty_tensor(len(viewmats), planes, *grid.padded)
        cameras = [pack_camera(viewmat, matrix) for viewmat, matrix in zip(viewmats, intrinsics)]
        drawn: list[Any] = [None] * len(cameras)

        def draw_one(index: int) -> None:
            drawn[index] = draw(scene, cameras[index], grid, options, background, pictures[index].numpy())

        _for_each_camera(len(cameras), draw_one)
        ctx.drawn, ctx.grid, ctx.options = drawn, grid, options
        ctx.save_for_backward(*tensors, pictures)
        ctx.set_materialize_grads(False)
        cropped = pictures[..., : options.height, : options.width]
        rgb, alpha = cropped[:, 2:5].permute(0, 2, 3, 1), cropped[:, ALPHA]
        if not options.geometry:
            return rgb, alpha, None, None, None
        median = cropped[:, MEDIAN]
        ctx.mark_non_differentiable(median)
        return rgb, alpha, cropped[:, 5], cropped[:, 6:9].permute(0, 2, 3, 1), median

    @staticmethod
    @one_torch_thread()
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        rgb, alpha, depth, normal, _ = grads
        *tensors, pictures = ctx.saved_tensors
        scene = Scene(*(_array(t) for t in tensors[:5]))
        viewmats = _array(tensors[5])
        options, height, width = ctx.options, ctx.grid.height, ctx.grid.width
        geometry = depth is not None or normal is not None
        shape = len(viewmats), 1 + (FEATURES if geometry else COLORS), *ctx.grid.padded
        upstream = buffers.empty_tensor(*shape).zero_()
        planes = upstream[..., :height, :width]
        if rgb is not None:
            planes[:, 1:4] = rgb.permute(0, 3, 1, 2)
        if alpha is not None:
            planes[:, 0] = -alpha
        if depth is not None:
            planes[:, 4] = depth
        if normal is not None:
            planes[:, 5:8] = normal.permute(0, 3, 1, 2)
        separate = _cameras_in_parallel(len(viewmats))
        sums = [SceneGrads.empty(scene) for _ in range(len(viewmats) if separate else 1)]
        camera_grads: list[Any] = [None] * len(viewmats)

        def draw_one_backward(index: int) -> None:
            camera_grads[index] = draw_backward(
                scene,
                ctx.drawn[index],
                ctx.grid,
                options,
                pictures[index].numpy(),
                upstream[index].numpy(),
                geometry,
                sums[index if separate else 0],
                separate or index == 0,
            )

        _for_each_camera(len(viewmats), draw_one_backward)
        viewmats_grad, intrinsics_grad = None, None
        if ctx.needs_input_grad[5] or ctx.needs_input_grad[6]:
            viewmats_grad, intrinsics_grad = _unpack_camera_grads(np.stack(camera_grads), viewmats)
        background_grad = None
        if ctx.needs_input_grad[7] and rgb is not None:
            light = pictures[:, 0, :height, :width]
            background_grad = (planes[:, 1:4] * light[:, None]).sum((0, 2, 3))
        return (*SceneGrads.total(sums).tensors(scene), viewmats_grad, intrinsics_grad, background_grad, None)


def _cameras_in_parallel(count: int) -> bool:
    """Whether each thread draws cameras of its own: where there is one for each, that saves all waiting."""
    return count >= thread_count() > 1


def _for_each_camera(count: int, work: Any) -> None:
    if _cameras_in_parallel(count):
        for_each_apart(count, work)
        return
    for index in range(count):
        work(index)


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().contiguous().numpy()


def _unpack_camera_grads(grads: np.ndarray, viewmats: np.ndarray) -> tuple[Tensor, Tensor]:
    """Gradients of packed cameras (C, CAMERA) to those of view matrices and intrinsics; the centre is minus Rᵀ t."""
    viewmats_grad = np.zeros(viewmats.shape)
    rotation, translation, centre = viewmats[:, :3, :3], viewmats[:, :3, 3], grads[:, 16:19]
    viewmats_grad[:, :3] = grads[:, :12].reshape(-1, 3, 4)
    viewmats_grad[:, :3, :3] -= translation[:, :, None] * centre[:, None, :]
    viewmats_grad[:, :3, 3] -= (rotation @ centre[:, :, None])[:, :, 0]
    intrinsics_grad = np.zeros((len(grads), 3, 3))
    for column, (i, j) in enumerate(((0, 0), (1, 1), (0, 2), (1, 2)), start=12):
        intrinsics_grad[:, i, j] = grads[:, column]
    return torch.from_numpy(viewmats_grad).float(), torch.from_numpy(intrinsics_grad).float()
