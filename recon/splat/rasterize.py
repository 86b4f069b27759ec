"""`rasterize`: Gaussians and cameras in, pictures with depth and normals out, differentiable throughout.

One signature over interchangeable backends: `cpu` (compiled kernels of ours), `cuda` (gsplat, where it is installed)
and `torch` (the readable oracle). Backends deliver sums along the rays; what is common to them (background, division
by alpha, unit normals) is done here, once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, cast, overload

import torch
from torch import Tensor

from recon.capture.camera import Camera
from recon.splat import backend_torch, backend_torch_2d
from recon.splat.backend_torch import Accumulated, DrawOptions, Primitive
from recon.splat.gaussians import Gaussians
from recon.splat.harmonics import SH_DC

Backend = Literal["auto", "cpu", "cuda", "torch"]
Matrices = tuple[Tensor, Tensor, int, int]
Views = Sequence[Camera] | tuple[Tensor, Tensor, int, int]


class RasterizeError(ValueError):
    """The cameras, the scene and the backend do not fit together; the message says what to change."""


@dataclass(frozen=True)
class Picture:
    """What C cameras of one size see.

    Attributes:
        rgb: (C, H, W, 3), premultiplied by alpha and composed over the background.
        alpha: (C, H, W) in [0, 1].
        contribution: (C, N), by Gaussian the sum of its weights over all pixels, in pixels; None unless asked for.
            Carries no gradient.
    """

    rgb: Tensor
    alpha: Tensor
    contribution: Tensor | None = field(default=None, kw_only=True)


@dataclass(frozen=True)
class Rendering(Picture):
    """A picture with its geometry.

    Attributes:
        depth: (C, H, W) forward depth, the mean along the ray weighted by contribution; 0 where alpha is 0.
        median_depth: (C, H, W) forward depth at which half of the light is stopped, 0 where alpha stays under one
            half; carries no gradient.
        normal: (C, H, W, 3) unit world normals toward the camera, 0 where alpha is 0.
    """

    depth: Tensor
    median_depth: Tensor
    normal: Tensor


@overload
def rasterize(
    gaussians: Gaussians,
    cameras: Views,
    *,
    backend: Backend = ...,
    background: Tensor | None = ...,
    sh_degree: int | None = ...,
    antialias: bool = ...,
    primitive: Primitive = ...,
    contribution: bool = ...,
    geometry: Literal[True] = ...,
) -> Rendering: ...


@overload
def rasterize(
    gaussians: Gaussians,
    cameras: Views,
    *,
    backend: Backend = ...,
    background: Tensor | None = ...,
    sh_degree: int | None = ...,
    antialias: bool = ...,
    primitive: Primitive = ...,
    contribution: bool = ...,
    geometry: bool,
) -> Picture: ...


def rasterize(
    gaussians: Gaussians,
    cameras: Views,
    *,
    backend: Backend = "auto",
    background: Tensor | None = None,
    sh_degree: int | None = None,
    antialias: bool = False,
    primitive: Primitive = "3d",
    contribution: bool = False,
    geometry: bool = True,
) -> Picture:
    """Draws Gaussians (Kerbl et al. 2023, flat ones Huang et al. 2024) as seen by C pinhole cameras of one size.

    Pictures of one call share memory: copy one before changing it in place. `cpu` computes in float32, whatever it is
    given; `torch` in what it is given.

    Args:
        gaussians: the scene. Gradients reach all five tensors.
        cameras: `Camera`s of one size, or (viewmats (C, 4, 4) world-to-camera, K (C, 3, 3), width, height), whose
            tensors receive gradients too (pose, focal length, principal point; in 3-D `cuda` has none of the
            intrinsics).
        backend: `auto` takes `cuda` for tensors on a GPU and `cpu` otherwise.
        background: colour behind the scene, broadcast to (C, H, W, 3): (3,), (C, 1, 1, 3) or a picture;
            black if None. Receives gradients.
        sh_degree: use the harmonics up to this degree only; all if None.
        antialias: keep the light of Gaussians smaller than a pixel constant, so that a scene looks alike at all sizes
            (the screen filter of Mip-Splatting, Yu et al. 2024). Scenes must be fitted the way they are drawn.
        primitive: "3d" draws ellipsoids by their linearised projection, each at the depth of its centre; "2d" draws
            disks, spanned by the first two axes, exactly as the rays meet them, so that depth and normals are those of
            surfaces (the third log-scale is ignored and has no gradient). Disks that come too near to the plane of the
            camera, or are seen edge-on, are left out (see `backend_torch_2d`).
        contribution: also measure how much every Gaussian shows, at the price of drawing twice.
        geometry: draw depth and normals too. Without, the result is a `Picture` and comes sooner.

    Raises:
        RasterizeError: for no cameras, cameras of several sizes, distorted or skewed cameras, a backend that this
            machine or these tensors do not have, or antialiased disks.
        CudaBackendError: if gsplat is missing, or is asked for the gradient of the intrinsics.
    """
    if primitive not in ("3d", "2d"):
        raise RasterizeError(f"unknown primitive {primitive!r}; expected 3d or 2d")
    if primitive == "2d" and antialias:
        raise RasterizeError(
            "antialias=True is for 3-D Gaussians; 2-D ones have a low-pass filter of their own in its place, which is "
            "always on: leave antialias out"
        )
    viewmats, intrinsics, width, height = _unpack(cameras, gaussians.means)
    if sh_degree is not None and sh_degree < gaussians.sh_degree:
        gaussians = gaussians.with_sh_degree(sh_degree)
    accumulate = _choose(backend, primitive, gaussians.means.device)
    options = DrawOptions(width, height, geometry, antialias, primitive)
    black = gaussians.means.new_zeros(3)
    plain = background is not None and background.shape == (3,)
    behind = cast(Tensor, background).to(black) if plain else black
    sums = accumulate(*gaussians.tensors(), viewmats, intrinsics, behind, options)
    rgb = sums.rgb
    if background is not None and not plain:
        rgb = rgb + (1 - sums.alpha[..., None]) * background.to(rgb)
    shares = None
    if contribution:
        colors = replace(options, geometry=False)
        shares = _contributions(accumulate, gaussians.detach(), viewmats.detach(), intrinsics.detach(), colors)
    if sums.depth is None or sums.normal is None or sums.median_depth is None:
        return Picture(rgb, sums.alpha, contribution=shares)
    # Every drawn contribution is at least 1/255, so alpha is either 0 or well away from it.
    depth = sums.depth / torch.where(sums.alpha > 0, sums.alpha, 1)
    squared = (sums.normal * sums.normal).sum(-1, keepdim=True)
    normal = sums.normal * torch.rsqrt(torch.where(squared > 1e-12, squared, 1))
    return Rendering(rgb, sums.alpha, depth, sums.median_depth, normal, contribution=shares)


def _contributions(
    accumulate: Callable[..., Accumulated],
    gaussians: Gaussians,
    viewmats: Tensor,
    intrinsics: Tensor,
    options: DrawOptions,
) -> Tensor:
    """(C, N): a picture is linear in a colour, so the sum of weights is the gradient of its sum."""
    shares = []
    for viewmat, matrix in zip(viewmats[:, None], intrinsics[:, None]):
        grays = torch.zeros_like(gaussians.sh[:, :1]).requires_grad_()
        with torch.enable_grad():
            tensors = (*gaussians.tensors()[:4], grays, viewmat, matrix, viewmat.new_zeros(3))
            red = accumulate(*tensors, options).rgb[..., 0].sum()
            shares.append(torch.autograd.grad(red, grays)[0][:, 0, 0] / SH_DC)
    return torch.stack(shares)


def _unpack(cameras: Views, like: Tensor) -> Matrices:
    """View matrices (C, 4, 4), intrinsics (C, 3, 3), width, height."""
    if len(cameras) == 4 and isinstance(cameras[0], Tensor):
        viewmats, intrinsics, width, height = cast(Matrices, cameras)
        count = viewmats.shape[0] if viewmats.ndim else 0
        if viewmats.shape != (count, 4, 4) or intrinsics.shape != (count, 3, 3) or width < 1 or height < 1:
            raise RasterizeError(
                "expected view matrices (C, 4, 4), intrinsics (C, 3, 3) and a positive size, found "
                f"{tuple(viewmats.shape)}, {tuple(intrinsics.shape)} and {width}x{height}"
            )
    else:
        viewmats, intrinsics, width, height = _matrices(cast(Sequence[Camera], cameras))
    if viewmats.shape[0] == 0:
        raise RasterizeError("rasterize needs at least one camera")
    if bool((intrinsics[:, 0, 1] != 0).any()):
        raise RasterizeError("splats are drawn by cameras without skew, found K[0, 1] != 0")
    return viewmats.to(like), intrinsics.to(like), width, height


def _matrices(cameras: Sequence[Camera]) -> Matrices:
    sizes = {(camera.width, camera.height) for camera in cameras}
    if len(sizes) > 1:
        raise RasterizeError(f"cameras of one call must share a size, found {sorted(sizes)}; call once per size")
    if any(camera.distortion is not None for camera in cameras):
        raise RasterizeError("splats are drawn by pinhole cameras; undistort the capture when it is read")
    if not sizes:
        return torch.zeros(0, 4, 4), torch.zeros(0, 3, 3), 1, 1
    viewmats = torch.stack([camera.w2c for camera in cameras])
    return viewmats, torch.stack([camera.intrinsics for camera in cameras]), *sizes.pop()


def _choose(backend: Backend, primitive: Primitive, device: torch.device) -> Callable[..., Accumulated]:
    """The backend's `accumulate`; each is imported when it is first asked for."""
    if backend == "auto":
        backend = "cuda" if device.type == "cuda" else "cpu"
    if backend == "torch":
        return backend_torch_2d.accumulate if primitive == "2d" else backend_torch.accumulate
    if backend not in ("cpu", "cuda"):
        raise RasterizeError(f"unknown backend {backend!r}; expected auto, cpu, cuda or torch")
    if backend != device.type:
        raise RasterizeError(f"backend {backend!r} needs its tensors on {backend}, found them on {device}; move them")
    if backend == "cpu":
        from recon.splat import backend_cpu

        return backend_cpu.accumulate
    from recon.splat import backend_cuda, backend_cuda_2d

    return backend_cuda_2d.accumulate if primitive == "2d" else backend_cuda.accumulate
