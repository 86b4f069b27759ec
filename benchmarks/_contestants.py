"""What `benchmarks.rasterize` times: our public function, and other people's rasterizers where they are found.

Every contestant draws the same Gaussians with the same camera. "rgb" is colour alone, "all" is colour from third-degree
harmonics, depth and normals, with gradients of the camera's pose too. Peers draw "rgb".
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from benchmarks._errors import BenchmarkError
from benchmarks._scenes import SceneSize, shell, views
from recon.splat.gaussians import Gaussians
from recon.splat.rasterize import rasterize

Case = Literal["rgb", "all"]
CASES: tuple[Case, ...] = ("rgb", "all")
OURS, OPENSPLAT, REFERENCE, GPU = "ours", "OpenSplat's kernels", "gsplat's torch reference", "gsplat on a GPU"
Contestant = Callable[[SceneSize, Case, bool], Callable[[], Any]]
"""(scene, case, whether to go backward) -> a function that does it once."""


def contestants(kernels: Path | None, reference: Path | None) -> dict[str, Contestant]:
    """Those that are there, by name.

    Args:
        kernels: folder of the Python module `opensplat_kernels`.
        reference: Python file with gsplat's torch reference as `render(...)`.

    Raises:
        BenchmarkError: if a path is given and leads nowhere.
    """
    found: dict[str, Contestant] = {OURS: ours}
    if kernels is not None:
        found[OPENSPLAT] = opensplat(kernels)
    if reference is not None:
        found[REFERENCE] = gsplat_reference(reference)
    if gpu_is_there():
        found[GPU] = gsplat_on_gpu
    return found


def gpu_is_there() -> bool:
    return torch.cuda.is_available() and importlib.util.find_spec("gsplat") is not None


def ours(scene: SceneSize, case: Case, backward: bool) -> Callable[[], Any]:
    return _rasterize(scene, case, backward, "cpu")


def gsplat_on_gpu(scene: SceneSize, case: Case, backward: bool) -> Callable[[], Any]:
    once = _rasterize(scene, case, backward, "cuda")

    def synchronised() -> None:
        once()
        torch.cuda.synchronize()

    return synchronised


def _rasterize(scene: SceneSize, case: Case, backward: bool, device: Literal["cpu", "cuda"]) -> Callable[[], Any]:
    camera, size = views(scene)[0], scene.size
    gaussians = shell(scene, sh_degree=3 if case == "all" else 0).to(device)
    leaves = [tensor.requires_grad_(backward) for tensor in gaussians.tensors()]
    viewmats = camera.w2c[None].to(device).requires_grad_(backward and case == "all")
    cameras = (viewmats, camera.intrinsics[None].to(device), size, size)
    weights = _upstream(size).to(device)

    def draw() -> Tensor:
        if case == "rgb":
            return (rasterize(Gaussians(*leaves), cameras, geometry=False).rgb * weights[..., :3]).sum()
        drawn = rasterize(Gaussians(*leaves), cameras)
        channels = torch.cat((drawn.rgb, drawn.normal, drawn.depth[..., None], drawn.alpha[..., None]), dim=-1)
        return (channels * weights).sum()

    return _forward_or_both(draw, [*leaves, viewmats], backward)


def opensplat(folder: Path) -> Contestant:
    """OpenSplat's CPU kernels, its own autograd functions around them."""
    if not any(folder.glob("opensplat_kernels*")):
        raise BenchmarkError(f"{folder}: expected the module opensplat_kernels in it, found none")
    sys.path.append(str(folder))
    kernels = importlib.import_module("opensplat_kernels")

    def contestant(scene: SceneSize, case: Case, backward: bool) -> Callable[[], Any]:
        gaussians, camera, size = shell(scene), views(scene)[0], scene.size
        colors = gaussians.base_colors
        raw = (gaussians.means, gaussians.quats, gaussians.log_scales, gaussians.logit_opacities[:, None], colors)
        leaves = [tensor.clone().requires_grad_(backward) for tensor in raw]
        k, viewmat = camera.intrinsics, camera.w2c
        projection = torch.zeros(4, 4)
        near, far = 0.001, 1000.0
        projection[0, 0], projection[1, 1] = 2 * k[0, 0] / size, 2 * k[1, 1] / size
        projection[2, 2], projection[2, 3], projection[3, 2] = (
            (far + near) / (far - near),
            -far * near / (far - near),
            1,
        )
        lens = (float(k[0, 0]), float(k[1, 1]), float(k[0, 2]), float(k[1, 2]))
        black, weights = torch.zeros(3), _upstream(size)[0, ..., :3]

        def draw() -> Tensor:
            means, quats, log_scales, logits, colors = leaves
            xys, radii, conics, cov2d, depths = kernels.project(
                means, log_scales.exp(), 1.0, quats / quats.norm(2, -1, True), viewmat, projection @ viewmat, *lens,
                size, size, 0.01,
            )  # fmt: skip
            # Contiguous: the kernels read the column of a matrix that they are given as if it were.
            picture = kernels.rasterize(
                xys, radii, conics, colors.clamp_min(0), logits.sigmoid(), cov2d, depths.contiguous(), size, size, black
            )
            return (picture.clamp_max(1.0) * weights).sum()

        return _forward_or_both(draw, leaves, backward)

    return contestant


def gsplat_reference(file: Path) -> Contestant:
    """gsplat's pure torch implementation, made to run without CUDA by the file that is named."""
    if not file.is_file():
        raise BenchmarkError(f"{file}: expected a Python file with gsplat's torch reference, found none")
    sys.path.append(str(file.parent))  # by its name, under which its compiled functions are kept
    module = importlib.import_module(file.stem)

    def contestant(scene: SceneSize, case: Case, backward: bool) -> Callable[[], Any]:
        gaussians, camera, size = shell(scene), views(scene)[0], scene.size
        raw = (gaussians.means, gaussians.quats, gaussians.log_scales, gaussians.logit_opacities, gaussians.base_colors)
        leaves = [tensor.clone().requires_grad_(backward) for tensor in raw]
        weights = _upstream(size)[..., :3]

        def draw() -> Tensor:
            means, quats, log_scales, logits, colors = leaves
            picture, _ = module.render(
                means, quats, log_scales.exp(), logits.sigmoid(), colors, camera.w2c[None], camera.intrinsics[None],
                size, size,
            )  # fmt: skip
            return (picture * weights).sum()

        return _forward_or_both(draw, leaves, backward)

    return contestant


def _forward_or_both(draw: Callable[[], Tensor], leaves: list[Tensor], backward: bool) -> Callable[[], Any]:
    def forward() -> None:
        with torch.no_grad():
            draw()

    def both() -> None:
        for leaf in leaves:
            leaf.grad = None
        draw().backward()

    return both if backward else forward


def _upstream(size: int) -> Tensor:
    """(1, S, S, 8) what the pictures are multiplied with, so that no gradient is trivial."""
    return torch.randn(1, size, size, 8, generator=torch.Generator().manual_seed(1))
