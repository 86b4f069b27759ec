"""The `cuda` backend of flat Gaussians: gsplat's 2-D compositing (Ye et al. 2024) behind our signature.

`gsplat.rasterization_2dgs` is not called as a whole, for three reasons: its boxes cut disks short under strong
perspective, its low-pass filter sits at the middle of those boxes instead of the projected centre, and its depth is
that of the centres. So disks are projected by the oracle's own function, with boxes around all that is drawn of them;
gsplat sorts and composites them; depth, mean and median, is computed in torch from gsplat's lists of what each ray
meets. All gradients come with that, those of the intrinsics too.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from recon.splat.backend_cuda import LOG_HALF, find_gsplat, log_light
from recon.splat.backend_torch import MIN_ALPHA, Accumulated, DrawOptions, stack
from recon.splat.backend_torch_2d import Disks, meet, project

_TILE = 16


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
    """Draws every camera; differentiable in every tensor argument.

    Raises:
        CudaBackendError: if gsplat is not installed.
    """
    gsplat = find_gsplat()
    images = []
    for viewmat, matrix in zip(viewmats, intrinsics, strict=True):
        disks = project(means, quats, log_scales, logit_opacities, sh, viewmat, matrix)
        images.append(_draw(gsplat, disks, options))
    return stack(images, background, options)


def _draw(gsplat: Any, disks: Disks, options: DrawOptions) -> tuple[Tensor, ...]:
    """The sums of `Accumulated` for one camera, those of geometry where they are wanted."""
    width, height = options.width, options.height
    if len(disks.depths) == 0:
        empty = disks.means.new_zeros(height, width, 3)
        return empty, empty[..., 0], empty[..., 0], empty, empty[..., 0]
    tiles = -(-width // _TILE), -(-height // _TILE)
    middles, halves = outlines(disks)
    _, crossings, order = gsplat.isect_tiles(
        middles[None], halves.ceil().int()[None], disks.depths.detach()[None], _TILE, *tiles
    )
    lists = _TILE, gsplat.isect_offset_encode(crossings, 1, *tiles), order
    placed = disks.means[None], disks.transforms[None]
    opacities = disks.opacities[None]
    rgb, alpha, normal, *_ = gsplat.rasterize_to_pixels_2dgs(
        *placed, disks.colors[None], opacities, disks.normals[None], torch.zeros_like(placed[0]), width, height, *lists
    )
    if not options.geometry:
        return rgb[0], alpha[0, ..., 0]
    with torch.no_grad():
        light = torch.ones_like(alpha[..., 0])
        met = gsplat.rasterize_to_indices_in_range_2dgs(0, 1 << 30, light, *placed, opacities, width, height, *lists)
    depth, median = depths_along_rays(disks, met[0], met[1], width, height)
    return rgb[0], alpha[0, ..., 0], depth, normal[0], median


@torch.no_grad()
def outlines(disks: Disks) -> tuple[Tensor, Tensor]:
    """Middles (M, 2) and half sizes (M, 2) in pixels of boxes around all that is drawn of disks.

    A circle of squared radius r on a disk is seen as an ellipse; with the rows x, y, z of the disk's matrix and
    <a, b> = r a_1 b_1 + r a_2 b_2 - a_3 b_3, a vertical line at pixel p touches it where <x - p z, x - p z> = 0.
    """
    reach = 2 * (disks.opacities / MIN_ALPHA).log().clamp_min(0)
    x, y, z = disks.transforms.double().unbind(-2)
    form = torch.stack((reach, reach, -torch.ones_like(reach)), -1)
    zz = (form * z * z).sum(-1)
    middles, halves = [], []
    for row in (x, y):
        middle = (form * row * z).sum(-1) / zz
        middles.append(middle)
        halves.append((middle * middle - (form * row * row).sum(-1) / zz).clamp_min(0).sqrt())
    middle, half = torch.stack(middles, -1), torch.stack(halves, -1)
    filtered = (reach / 2).sqrt()[:, None]
    low = torch.minimum(middle - half, disks.means - filtered)
    high = torch.maximum(middle + half, disks.means + filtered)
    return ((low + high) / 2).to(disks.means), ((high - low) / 2).to(disks.means)


def depths_along_rays(
    disks: Disks,
    disk: Tensor,  # (P,) which disk
    pixel: Tensor,  # (P,) is met in which pixel, row by row; sorted by pixel and then front to back
    width: int,
    height: int,
) -> tuple[Tensor, Tensor]:
    """(H, W) sum of weight times depth, and (H, W) median depth, without gradient."""
    x, y = ((place + 0.5).to(disks.means) for place in (pixel % width, pixel // width))
    placed = disks.means[disk], disks.transforms[disk]
    alphas, depths = meet(*placed, disks.depths[disk], disks.opacities[disk], x, y)
    before, after = log_light(alphas, pixel)
    weights = alphas * before.exp().to(alphas)
    dark = depths.new_zeros(height * width)
    depth = dark.index_add(0, pixel, weights * depths)
    halving = (after <= LOG_HALF) & (before > LOG_HALF)
    median = dark.index_add(0, pixel, halving * depths.detach())
    return depth.reshape(height, width), median.reshape(height, width)
