"""Random small scenes for the tests of splats, and which of their pixels have one right answer."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from recon.capture.camera import orbit_camera
from recon.splat import backend_torch as oracle
from recon.splat.gaussians import Gaussians

Scene = tuple[Gaussians, Tensor, Tensor]


def random_scene(seed: int, count: int, degree: int, size: tuple[int, int], cameras: int, sharpness: float) -> Scene:
    """Gaussians around the origin (some behind or beside the cameras), view matrices and intrinsics, float32."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    gaussians = Gaussians(
        means=normal(count, 3) * 0.3,
        quats=normal(count, 4),
        log_scales=normal(count, 3) * 0.6 - sharpness,
        logit_opacities=normal(count) * 2,
        sh=normal(count, (degree + 1) ** 2, 3) * 0.4,
    )
    views = [
        orbit_camera(float(normal(1)), float(normal(1)) * 0.3, math.radians(45), *size, distance=0.9, roll=0.2)
        for _ in range(cameras)
    ]
    viewmats = torch.stack([camera.w2c for camera in views])
    intrinsics = torch.stack([camera.intrinsics for camera in views])
    intrinsics[:, 0, 2] += 1.7  # an off-centre principal point and pixels that are not square
    intrinsics[:, 1, 1] *= 1.1
    return gaussians, viewmats, intrinsics


def clear_pixels(scene: Scene, width: int, height: int, *, relative: float = 1e-4, antialias: bool = False) -> Tensor:
    """(C, H, W) bool: where no decision of the rasterizer is within rounding of its threshold.

    Contributions are dropped under 1/255, pixels closed at 1e-4, opacities capped at 0.999, the median taken at 0.5
    and Gaussians ordered by depth; each is a jump in the picture or its gradient, at which float32 and float64 may
    rightly differ.
    """
    gaussians, viewmats, intrinsics = scene
    tensors = gaussians.to(torch.float64).tensors()
    images = []
    for viewmat, matrix in zip(viewmats.double(), intrinsics.double()):
        projected = oracle.project(*tensors, viewmat, matrix, oracle.DrawOptions(width, height, antialias=antialias))
        alphas = oracle.alphas_at_pixels(projected, width, height)
        ambiguous = near(alphas, oracle.MIN_ALPHA, relative) | near(uncapped(projected, width, height), 0.999, relative)
        alphas = torch.where(alphas < oracle.MIN_ALPHA, 0, alphas)
        light = torch.cumprod(1 - alphas, -1)
        ambiguous |= near(light, oracle.MIN_TRANSMITTANCE, 10 * relative) | near(light, 0.5, relative)
        drawn = alphas > 0
        tied = torch.zeros_like(drawn)
        tied[..., 1:] = (projected.depths[1:] - projected.depths[:-1] < 1e-6) & drawn[..., 1:]
        images.append(~(ambiguous | tied).any(-1))
    return torch.stack(images)


def near(values: Tensor, threshold: float, relative: float) -> Tensor:
    return (values / threshold - 1).abs() < relative


def uncapped(projected: oracle.Projected, width: int, height: int) -> Tensor:
    """Opacities at pixels as if there were no cap: drawn at a hundredth, scaled back."""
    faint = oracle.Projected(
        projected.means,
        projected.conics,
        projected.depths,
        projected.opacities / 100,
        projected.colors,
        projected.normals,
    )
    return oracle.alphas_at_pixels(faint, width, height) * 100
