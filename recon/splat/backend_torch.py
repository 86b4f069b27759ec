"""The oracle: Gaussian splatting written out in plain, dense, differentiable torch.

Slow and obvious on purpose: memory grows as Gaussians times pixels. Every other backend is tested against it,
values and gradients. Works in any floating dtype and on any device. Conventions (those of gsplat 1.x): an
anti-aliasing blur of 0.3 px² on the screen covariance, contributions under 1/255 dropped, opacity capped at 0.999,
a pixel closed *before* the Gaussian that would leave it less than 1e-4 of the light.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from recon.splat import harmonics
from recon.splat.rotations import rotations_from_quats

SCREEN_BLUR = 0.3
"""Variance in px² that is added to every projected Gaussian."""
MIN_ALPHA = 1 / 255
MAX_ALPHA = 0.999
MIN_TRANSMITTANCE = 1e-4
NEAR = 0.01
"""Gaussians whose centre is nearer than this to the camera plane are not drawn."""
FRUSTUM_MARGIN = 0.15
"""The projection is linearised inside the picture plus this fraction of its size on each side."""


@dataclass(frozen=True)
class DrawOptions:
    """What is asked of a backend, besides the scene.

    Attributes:
        width: of the picture in pixels.
        height: of the picture in pixels.
        geometry: whether depth and normals are wanted.
        antialias: whether the blur takes from a Gaussian's opacity what it adds to its area.
    """

    width: int
    height: int
    geometry: bool = True
    antialias: bool = False


@dataclass(frozen=True)
class Accumulated:
    """Front-to-back sums over Gaussians for C cameras, before any division. The last three are None unless asked for.

    Attributes:
        rgb: (C, H, W, 3), the sum of weight times colour, and the background behind it.
        alpha: (C, H, W), the sum of weights.
        depth: (C, H, W), the sum of weight times forward depth of the centres.
        normal: (C, H, W, 3), the sum of weight times world normals.
        median_depth: (C, H, W), depth of the Gaussian at which half of the light is stopped, 0 if none;
            carries no gradient.
    """

    rgb: Tensor
    alpha: Tensor
    depth: Tensor | None = None
    normal: Tensor | None = None
    median_depth: Tensor | None = None


@dataclass(frozen=True)
class Projected:
    """M Gaussians on one screen, nearest first.

    Attributes:
        means: (M, 2) pixels.
        conics: (M, 3) inverse covariance xx, xy, yy in 1/px².
        depths: (M,) forward depth.
        opacities: (M,).
        colors: (M, 3), not negative.
        normals: (M, 3) unit, world, toward the camera.
    """

    means: Tensor
    conics: Tensor
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
        projected = project(means, quats, log_scales, logit_opacities, sh, viewmat, matrix, options)
        images.append(composite(projected, options.width, options.height))
    rgb, alpha, *geometry = (torch.stack(channel) for channel in zip(*images, strict=True))
    rgb = rgb + (1 - alpha[..., None]) * background
    return Accumulated(rgb, alpha, *geometry) if options.geometry else Accumulated(rgb, alpha)


def project(
    means: Tensor,
    quats: Tensor,
    log_scales: Tensor,
    logit_opacities: Tensor,
    sh: Tensor,
    viewmat: Tensor,  # (4, 4)
    intrinsics: Tensor,  # (3, 3)
    options: DrawOptions,
) -> Projected:
    """First-order (EWA, Zwicker et al. 2001) projection of the Gaussians in front of one camera, sorted by depth.

    With `antialias`, opacities shrink as the blur widens what is smaller than a pixel (Mip-Splatting, Yu et al. 2024).
    """
    width, height = options.width, options.height
    depths = (means @ viewmat[2, :3] + viewmat[2, 3]).detach()
    order = torch.argsort(depths, stable=True)
    order = order[depths[order] >= NEAR]
    means, quats, log_scales, logit_opacities, sh = (t[order] for t in (means, quats, log_scales, logit_opacities, sh))

    rotation, translation = viewmat[:3, :3], viewmat[:3, 3]
    x, y, z = (means @ rotation.T + translation).unbind(-1)
    fx, fy, cx, cy = intrinsics[0, 0], intrinsics[1, 1], intrinsics[0, 2], intrinsics[1, 2]
    px, py = fx * x / z, fy * y / z
    # Far outside the picture the linearisation explodes: it is taken at the nearest point of a widened frame.
    clamped_x = torch.minimum(torch.maximum(px, -cx - FRUSTUM_MARGIN * width), (1 + FRUSTUM_MARGIN) * width - cx)
    clamped_y = torch.minimum(torch.maximum(py, -cy - FRUSTUM_MARGIN * height), (1 + FRUSTUM_MARGIN) * height - cy)
    zero = torch.zeros_like(z)
    jacobian = torch.stack(
        (torch.stack((fx / z, zero, -clamped_x / z), -1), torch.stack((zero, fy / z, -clamped_y / z), -1)), -2
    )
    axes = rotations_from_quats(quats)
    factor = jacobian @ rotation @ (axes * log_scales.exp()[:, None, :])  # (M, 2, 3)
    covariance = factor @ factor.transpose(-1, -2) + SCREEN_BLUR * torch.eye(2).to(factor)
    inverse = torch.linalg.inv(covariance)
    opacities = logit_opacities.sigmoid()
    if options.antialias:
        sharp = torch.linalg.cross(factor[:, 0], factor[:, 1]).square().sum(-1)  # the determinant before the blur
        opacities = opacities * (sharp * torch.linalg.det(inverse)).clamp_min(1e-30).sqrt()

    return Projected(
        means=torch.stack((px + cx, py + cy), -1),
        conics=torch.stack((inverse[:, 0, 0], inverse[:, 0, 1], inverse[:, 1, 1]), -1),
        depths=z,
        opacities=opacities,
        colors=view_colors(means, sh, viewmat),
        normals=view_normals(means, axes, log_scales, viewmat),
    )


def view_colors(means: Tensor, sh: Tensor, viewmat: Tensor) -> Tensor:
    """(M, 3) colours of Gaussians as one camera sees them, clamped to be non-negative."""
    centre = -viewmat[:3, :3].T @ viewmat[:3, 3]
    directions = torch.nn.functional.normalize(means - centre, dim=-1)
    basis = harmonics.evaluate_basis(directions, harmonics.degree_of(sh.shape[1]))
    return (torch.einsum("nk,nkc->nc", basis, sh) + 0.5).clamp_min(0)


def view_normals(means: Tensor, axes: Tensor, log_scales: Tensor, viewmat: Tensor) -> Tensor:
    """(M, 3) world normals: each Gaussian's shortest axis, turned toward the camera."""
    shortest = log_scales.argmin(-1)
    normals = axes.gather(2, shortest[:, None, None].expand(-1, 3, 1)).squeeze(2)
    centre = -viewmat[:3, :3].T @ viewmat[:3, 3]
    away = ((means - centre) * normals).sum(-1, keepdim=True) > 0
    return torch.where(away, -normals, normals)


def alphas_at_pixels(projected: Projected, width: int, height: int) -> Tensor:
    """(H, W, M) opacity of every Gaussian at every pixel centre, before small ones are dropped."""
    grid_y, grid_x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    dx = grid_x.to(projected.means)[..., None] - projected.means[:, 0]
    dy = grid_y.to(projected.means)[..., None] - projected.means[:, 1]
    xx, xy, yy = projected.conics.unbind(-1)
    power = 0.5 * (xx * dx * dx + yy * dy * dy) + xy * dx * dy
    return (projected.opacities * torch.exp(-power)).clamp_max(MAX_ALPHA)


def composite(projected: Projected, width: int, height: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The five sums of `Accumulated` for one camera."""
    alphas = alphas_at_pixels(projected, width, height)
    alphas = torch.where(alphas < MIN_ALPHA, 0, alphas)
    after = torch.cumprod(1 - alphas, dim=-1)
    before = torch.cat((torch.ones_like(after[..., :1]), after[..., :-1]), dim=-1)
    weights = torch.where(after > MIN_TRANSMITTANCE, alphas * before, 0)

    drawn = weights.detach() > 0
    halving = drawn & (before > 0.5) & (after <= 0.5)  # at most one Gaussian of a pixel
    return (
        weights @ projected.colors,
        weights.sum(-1),
        weights @ projected.depths,
        weights @ projected.normals,
        (halving * projected.depths).sum(-1).detach(),
    )
