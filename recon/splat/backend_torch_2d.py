"""The oracle of flat Gaussians: 2-D Gaussian splatting (Huang et al. 2024) in plain, dense, differentiable torch.

A Gaussian is a disk: the plane of its first two axes, with their standard deviations; its third scale is ignored. Each
pixel's ray is intersected with that plane, so that opacity and depth follow the surface exactly, where `backend_torch`
linearises the projection and knows one depth per Gaussian. What is seen from the side or from afar is kept from falling
between pixels by the paper's low-pass filter: at least a round blob of standard deviation sqrt(1/2) px around the
projected centre. Where the filter wins, the depth is that of the centre.

All other conventions are those of `backend_torch`: order by the depth of the centres, the cut-offs, the compositing.
Disks are left out, in every backend, where the picture of a disk stops being an ellipse:

- when what would be drawn of it (out to the standard deviation where its opacity falls to 1/255) comes nearer to the
  camera plane than `NEAR`;
- when the cosine between its normal and the ray to its centre is under `EDGE_ON`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from recon.splat.backend_torch import (
    MAX_ALPHA,
    MIN_ALPHA,
    NEAR,
    Accumulated,
    DrawOptions,
    composite,
    facing,
    stack,
    view_colors,
)
from recon.splat.rotations import rotations_from_quats

EDGE_ON = 1e-2
"""Disks seen at a smaller angle (radians) to their plane are left out: they show as slivers a hundredth as thick as
wide, and float32 would place and shape them with errors of more than one part in a thousand."""


@dataclass(frozen=True)
class Disks:
    """M disks on one screen, nearest first.

    Attributes:
        means: (M, 2) projected centres in pixels.
        transforms: (M, 3, 3) from (u, v, 1), in standard deviations along the two axes, to homogeneous pixels (the
            matrix M of the paper): its last row gives the forward depth.
        depths: (M,) forward depth of the centres.
        opacities: (M,).
        colors: (M, 3), not negative.
        normals: (M, 3) unit, world, toward the camera.
    """

    means: Tensor
    transforms: Tensor
    depths: Tensor
    opacities: Tensor
    colors: Tensor
    normals: Tensor


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
    """Draws every camera; differentiable in every tensor argument."""
    images = []
    for viewmat, matrix in zip(viewmats, intrinsics, strict=True):
        disks = project(means, quats, log_scales, logit_opacities, sh, viewmat, matrix)
        alphas, depths = meet_pixels(disks, options.width, options.height)
        images.append(composite(alphas, depths, disks.colors, disks.normals))
    return stack(images, background, options)


def project(
    means: Tensor,
    quats: Tensor,
    log_scales: Tensor,
    logit_opacities: Tensor,
    sh: Tensor,
    viewmat: Tensor,  # (4, 4)
    intrinsics: Tensor,  # (3, 3)
) -> Disks:
    """The disks that one camera draws, sorted by the depth of their centres."""
    rotation, translation = viewmat[:3, :3], viewmat[:3, 3]
    axes = rotations_from_quats(quats)
    centres = means @ rotation.T + translation
    tangents = rotation @ axes[:, :, :2] * log_scales[:, None, :2].exp()  # (N, 3, 2), camera space
    opacities = logit_opacities.sigmoid()

    with torch.no_grad():
        depths = centres[:, 2]
        reach = 2 * (opacities / MIN_ALPHA).log().clamp_min(0)  # squared, in standard deviations
        nearest = depths - (reach * tangents[:, 2].square().sum(-1)).sqrt()
        cosine = (axes[:, :, 2] @ rotation.T * centres).sum(-1).abs() / centres.norm(dim=-1)
        order = torch.argsort(depths, stable=True)
        order = order[(nearest >= NEAR)[order] & (cosine >= EDGE_ON)[order]]
    means, axes, centres, tangents = means[order], axes[order], centres[order], tangents[order]

    x, y, z = torch.cat((tangents, centres[..., None]), dim=-1).unbind(-2)
    fx, fy, cx, cy = intrinsics[0, 0], intrinsics[1, 1], intrinsics[0, 2], intrinsics[1, 2]
    transforms = torch.stack((fx * x + cx * z, fy * y + cy * z, z), dim=-2)
    return Disks(
        means=transforms[:, :2, 2] / centres[:, 2:],
        transforms=transforms,
        depths=centres[:, 2],
        opacities=opacities[order],
        colors=view_colors(means, sh[order], viewmat),
        normals=facing(axes[:, :, 2], means, viewmat),
    )


def exponents(
    means: Tensor,  # (..., 2)
    transforms: Tensor,  # (..., 3, 3)
    x: Tensor,
    y: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """What the rays through pixels (x, y) see of disks, all shapes broadcast.

    Returns:
        plane: half the squared distance from the centre, in standard deviations, of where the ray meets the disk;
            infinite where it is parallel to it.
        filtered: the exponent of the low-pass filter; the disk is seen with the smaller of the two.
        depth: forward depth of where the ray meets the disk.
    """
    row_x, row_y, row_z = transforms.unbind(-2)
    across = torch.linalg.cross(x[..., None] * row_z - row_x, y[..., None] * row_z - row_y)
    parallel = across[..., 2] == 0
    u, v = (across[..., :2] / torch.where(parallel, 1, across[..., 2])[..., None]).unbind(-1)
    plane = torch.where(parallel, torch.inf, 0.5 * (u * u + v * v))
    filtered = (x - means[..., 0]) ** 2 + (y - means[..., 1]) ** 2
    return plane, filtered, row_z[..., 0] * u + row_z[..., 1] * v + row_z[..., 2]


def meet(
    means: Tensor, transforms: Tensor, depths: Tensor, opacities: Tensor, x: Tensor, y: Tensor
) -> tuple[Tensor, Tensor]:
    """Opacity, before small ones are dropped, and depth of disks (see `Disks`) at pixels (x, y), all broadcast."""
    plane, filtered, depth = exponents(means, transforms, x, y)
    alphas = (opacities * torch.exp(-torch.minimum(plane, filtered))).clamp_max(MAX_ALPHA)
    return alphas, torch.where(plane < filtered, depth, depths)


def pixel_centres(like: Tensor, width: int, height: int) -> tuple[Tensor, Tensor]:
    """x and y, each (H, W, 1)."""
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    return x[..., None].to(like), y[..., None].to(like)


def meet_pixels(disks: Disks, width: int, height: int) -> tuple[Tensor, Tensor]:
    """(H, W, M) opacities and depths at all pixel centres."""
    pixels = pixel_centres(disks.means, width, height)
    return meet(disks.means, disks.transforms, disks.depths, disks.opacities, *pixels)
