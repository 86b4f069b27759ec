"""The `cuda` backend: gsplat's kernels behind our signature (Ye et al. 2024). Optional; gsplat is imported when used.

Colours and normals are computed by the oracle's own functions and go through gsplat as six features of one call,
depth as a seventh, so that everything but the projection and the compositing is the same code in all backends.
"""

from __future__ import annotations

import importlib.util
import math
from typing import Any

import torch
from torch import Tensor

from recon.splat.backend_torch import (
    MAX_ALPHA,
    NEAR,
    SCREEN_BLUR,
    Accumulated,
    DrawOptions,
    facing,
    shortest_axes,
    view_colors,
)
from recon.splat.rotations import rotations_from_quats

LOG_HALF = math.log(0.5)


class CudaBackendError(ValueError):
    """The cuda backend cannot do what it was asked for; the message says what to do instead."""


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
    """Draws every camera; differentiable in all but the intrinsics, of which gsplat has no gradient.

    Raises:
        CudaBackendError: if gsplat is not installed, or the intrinsics want a gradient.
    """
    if intrinsics.requires_grad and torch.is_grad_enabled():
        raise CudaBackendError("gsplat has no gradient of the intrinsics; refine focal lengths with the cpu backend")
    gsplat = find_gsplat()
    normals = shortest_axes(rotations_from_quats(quats), log_scales)
    features = torch.stack(
        [torch.cat((view_colors(means, sh, viewmat), facing(normals, means, viewmat)), dim=-1) for viewmat in viewmats]
    )  # (C, N, 6)
    sums, alpha, meta = gsplat.rasterization(
        means,
        torch.nn.functional.normalize(quats, dim=-1),
        log_scales.exp(),
        logit_opacities.sigmoid(),
        features,
        viewmats,
        intrinsics,
        options.width,
        options.height,
        near_plane=NEAR,
        eps2d=SCREEN_BLUR,
        packed=False,
        render_mode="RGB+D",
        rasterize_mode="antialiased" if options.antialias else "classic",
    )
    rgb, alpha = sums[..., :3] + (1 - alpha) * background, alpha[..., 0]
    if not options.geometry:
        return Accumulated(rgb, alpha)
    median = _median_depths(gsplat, meta, options.width, options.height)
    return Accumulated(rgb, alpha, sums[..., 6], sums[..., 3:6], median)


def draw_scenes(
    means: Tensor,  # (B, N, 3)
    quats: Tensor,  # (B, N, 4) unit, wxyz
    scales: Tensor,  # (B, N, 3)
    opacities: Tensor,  # (B, N)
    colors: Tensor,  # (B, N, 3)
    viewmats: Tensor,  # (B, C, 4, 4) world to camera
    intrinsics: Tensor,  # (B, C, 3, 3)
    width: int,
    height: int,
) -> tuple[Tensor, Tensor]:
    """Premultiplied colours (B, C, H, W, 3) and alpha (B, C, H, W, 1) of B scenes of equally many Gaussians, each from
    C cameras of its own, in one call. Values as they are drawn, not raw ones.

    Raises:
        CudaBackendError: if gsplat is not installed.
    """
    rgb, alpha, _ = find_gsplat().rasterization(
        means,
        quats,
        scales,
        opacities,
        colors,
        viewmats,
        intrinsics,
        width,
        height,
        near_plane=NEAR,
        eps2d=SCREEN_BLUR,
        packed=False,
    )
    return rgb, alpha


def gsplat_is_here() -> bool:
    """Whether gsplat is installed."""
    return importlib.util.find_spec("gsplat") is not None


def find_gsplat() -> Any:
    """The module.

    Raises:
        CudaBackendError: if it is not installed.
    """
    try:
        import gsplat
    except ImportError as error:
        raise CudaBackendError(
            "the cuda backend needs gsplat, which is not installed; run `pip install gsplat` or move the tensors to "
            "the cpu backend"
        ) from error
    return gsplat


@torch.no_grad()
def _median_depths(gsplat: Any, meta: dict[str, Any], width: int, height: int) -> Tensor:
    """(C, H, W) depth of the Gaussian at which the light left falls to one half, 0 where it stays above.

    gsplat's splatting has no such output; it does list, pixel by pixel and front to back, which Gaussians are drawn.
    """
    means, conics, opacities = meta["means2d"], meta["conics"], meta["opacities"]
    light = torch.ones(means.shape[0], height, width, device=means.device)
    lists = meta["isect_offsets"], meta["flatten_ids"]
    gaussian, pixel, camera = gsplat.rasterize_to_indices_in_range(
        0, 1 << 30, light, means, conics, opacities, width, height, meta["tile_size"], *lists
    )
    median = torch.zeros(means.shape[0], height * width, dtype=means.dtype, device=means.device)
    if len(gaussian) == 0:
        return median.reshape(-1, height, width)
    dx = pixel % width + 0.5 - means[camera, gaussian, 0]
    dy = pixel // width + 0.5 - means[camera, gaussian, 1]
    xx, xy, yy = conics[camera, gaussian].unbind(-1)
    power = 0.5 * (xx * dx * dx + yy * dy * dy) + xy * dx * dy
    alpha = (opacities[camera, gaussian] * torch.exp(-power)).clamp_max(MAX_ALPHA)

    before, after = log_light(alpha, camera * (height * width) + pixel)
    halving = (after <= LOG_HALF) & (before > LOG_HALF)
    median[camera[halving], pixel[halving]] = meta["depths"][camera, gaussian][halving]
    return median.reshape(-1, height, width)


def log_light(alpha: Tensor, ray: Tensor) -> tuple[Tensor, Tensor]:
    """Logarithm, in doubles, of the light before and after each entry (P,) of a list that is sorted by ray and, within
    a ray, front to back."""
    # Products along each ray's run of the list: differences of a running sum of logarithms.
    logs = torch.log1p(-alpha.double())
    through = torch.cumsum(logs, 0)
    runs = torch.unique_consecutive(ray, return_counts=True)[1]
    first = torch.cumsum(runs, 0) - runs
    after = through - torch.repeat_interleave(through[first] - logs[first], runs)
    return after - logs, after
