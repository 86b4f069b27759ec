"""Random small scenes for the tests of splats, and which of their pixels have one right answer."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from recon.capture.camera import orbit_camera
from recon.splat import backend_torch as oracle
from recon.splat import backend_torch_2d as flat_oracle
from recon.splat.backend_torch import Primitive
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


def clear_pixels(
    scene: Scene,
    width: int,
    height: int,
    *,
    relative: float = 1e-4,
    antialias: bool = False,
    primitive: Primitive = "3d",
) -> Tensor:
    """(C, H, W) bool: where no decision of the rasterizer is within rounding of its threshold.

    Contributions are dropped under 1/255, pixels closed at 1e-4, opacities capped at 0.999, the median taken at 0.5
    and Gaussians ordered by depth; each is a jump in the picture or its gradient, at which float32 and float64 may
    rightly differ. Disks are also seen either where the ray meets them or through their low-pass filter, and rounding
    counts the more the closer they are to edge-on.
    """
    gaussians, viewmats, intrinsics = scene
    tensors = gaussians.to(torch.float64).tensors()
    images = []
    for viewmat, matrix in zip(viewmats.double(), intrinsics.double()):
        if primitive == "2d":
            disks = flat_oracle.project(*tensors, viewmat, matrix)
            pixels = flat_oracle.pixel_centres(disks.means, width, height)
            plane, filtered, _ = flat_oracle.exponents(disks.means, disks.transforms, *pixels)
            exact = disks.opacities * torch.exp(-torch.minimum(plane, filtered))
            widths = relative * (1 + 0.05 / cosines(disks, matrix))
            either = near(plane, filtered, widths) & (exact > 0.9 * oracle.MIN_ALPHA)
            depths = disks.depths
        else:
            options = oracle.DrawOptions(width, height, antialias=antialias)
            projected = oracle.project(*tensors, viewmat, matrix, options)
            exact, depths = uncapped(projected, width, height), projected.depths
            widths = torch.full_like(depths, relative)
            either = torch.zeros_like(exact, dtype=torch.bool)
        ambiguous = either | near(exact, oracle.MIN_ALPHA, widths) | near(exact, oracle.MAX_ALPHA, widths)
        alphas = torch.where(exact < oracle.MIN_ALPHA, 0, exact.clamp_max(oracle.MAX_ALPHA))
        light = torch.cumprod(1 - alphas, -1)
        ambiguous |= near(light, oracle.MIN_TRANSMITTANCE, 10 * widths) | near(light, 0.5, widths)
        drawn = alphas > 0
        tied = torch.zeros_like(drawn)
        tied[..., 1:] = (depths[1:] - depths[:-1] < 1e-6) & drawn[..., 1:]
        images.append(~(ambiguous | tied).any(-1))
    return torch.stack(images)


def cosines(disks: flat_oracle.Disks, intrinsics: Tensor) -> Tensor:
    """(M,) absolute cosine between each disk's normal and the ray to its centre."""
    first, second, centre = (torch.linalg.inv(intrinsics) @ disks.transforms).unbind(-1)
    normal = torch.linalg.cross(first, second)
    return (normal * centre).sum(-1).abs() / (normal.norm(dim=-1) * centre.norm(dim=-1))


def near(values: Tensor, threshold: float | Tensor, relative: Tensor) -> Tensor:
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
