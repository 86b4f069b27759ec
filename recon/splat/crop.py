"""Mattes by place: what lies within a sphere or a box is the subject, what lies behind or before it is not.

For captures whose pictures are opaque and whose subject no picture alone tells from its surroundings: the whole scene
is fitted, everything outside of the region is taken away, and what remains visible in each picture is its matte.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from recon.capture import Camera, Capture, Frame, Similarity
from recon.capture.camera import OBJECT_RADIUS
from recon.capture.cutouts import with_matte
from recon.capture.matte import refine
from recon.splat.colors import with_colors
from recon.splat.fit import fit_gaussians
from recon.splat.fit_options import FIT_PRESETS, FitOptions
from recon.splat.gaussians import Gaussians
from recon.splat.initialise import initial_from_points, sample_colors
from recon.splat.loop import Progress
from recon.splat.rasterize import rasterize
from recon.splat.resizing import shrunk

SCENE_FIT = replace(
    FIT_PRESETS["views"],
    iterations=1500,
    max_size=192,
    max_gaussians=30_000,
    pixels_per_gaussian=8.0,
    sh_degree=0,
    max_scale=20.0,
)
"""Of everything around the subject too, coarse: only its outlines are wanted."""
_INNER, _OUTER = 4_000, 4_000
"""Gaussians that are strewn in the region, and around all cameras, so that what no given point shows has a start."""
_FAR = 3.0
"""Radius of the shell that stands for the distance, against the farthest camera's distance."""
_VISIBLE = 0.5
_GAP = 2
"""Pixels of the fit: narrower gaps in what is visible are closed."""


@dataclass(frozen=True)
class Region:
    """Where the subject is: a sphere, or a box along the axes of the capture's world.

    Attributes:
        centre: (3,).
        half: (3,) half the lengths of the sides; a sphere's three are its radius.
        is_box: whether the corners belong to it.
    """

    centre: Tensor
    half: Tensor
    is_box: bool = False

    def contains(self, points: Tensor) -> Tensor:
        """(N,) of points (N, 3)."""
        inside = (points - self.centre) / self.half
        return (inside.abs() <= 1).all(-1) if self.is_box else inside.norm(dim=-1) <= 1

    def to_unit_sphere(self) -> Similarity:
        """What moves the region's bounding sphere to diameter 1 around the origin."""
        radius = float(self.half.norm()) if self.is_box else float(self.half[0])
        scale = OBJECT_RADIUS / radius
        return Similarity(translation=-scale * self.centre, scale=scale)

    def moved(self, similarity: Similarity) -> Region:
        """After the world is moved, by a similarity that does not turn."""
        return replace(self, centre=similarity.apply(self.centre), half=similarity.scale * self.half)


def framed_region(cameras: tuple[Camera, ...]) -> Region:
    """The sphere that the cameras look at.

    Its centre is where the optical axes meet, the radius what a quarter of the pictures hold: the farther ones, as
    close-ups show a part only.

    Raises:
        ValueError: if the axes do not meet in front of the cameras.
    """
    centres = torch.stack([camera.centre for camera in cameras]).double()
    axes = torch.stack([camera.forward for camera in cameras]).double()
    across = torch.eye(3, dtype=torch.float64) - axes[:, :, None] * axes[:, None, :]
    if torch.linalg.eigvalsh(across.sum(0))[0] < 1e-3 * len(cameras):
        raise ValueError("all cameras look the same way, so what they look at cannot be told; give the region yourself")
    middle = torch.linalg.solve(across.sum(0), (across @ centres[:, :, None]).sum(0))[:, 0]
    distance = ((middle - centres) * axes).sum(-1)
    if bool((distance <= 0).float().mean() > 0.25):
        raise ValueError("the cameras do not look at one place; give the region yourself")
    narrow = torch.tensor([min(camera.fov_x, camera.fov_y) / 2 for camera in cameras], dtype=torch.float64)
    offset = torch.linalg.cross(axes, middle - centres).norm(dim=-1)
    radius = (distance * narrow.tan() - offset) * narrow.cos()
    held = float(torch.quantile(radius, 0.75))
    if held <= 0:
        raise ValueError("no place is in view of the cameras as a whole; give the region yourself")
    return Region(middle.float(), torch.full((3,), held))


def cropped(
    capture: Capture,
    region: Region,
    points: tuple[Tensor, Tensor] | None = None,
    options: FitOptions = SCENE_FIT,
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> Capture:
    """The capture with mattes of what lies in the region.

    Frames in which nothing of it is visible are left out.

    Args:
        capture: opaque pictures with cameras.
        region: in the capture's world.
        points: (N, 3) places in it and their colours (N, 3) in [0, 1], e.g. of structure from motion.
        options: of the fit of the whole scene.
        seed: of the fit.
        progress: told about every view that was compared.

    Raises:
        ValueError: if nothing in the region is visible.
    """
    similarity = region.to_unit_sphere()
    moved, inside = capture.moved(similarity), region.moved(similarity)
    start = _start(capture, region, points, seed)
    scene = fit_gaussians(moved, options, seed=seed, progress=progress, start=start)
    marked = inside.contains(scene.means)
    frames = [
        _with_visible(frame, mask)
        for frame, camera in zip(capture, moved.cameras, strict=True)
        if bool((mask := _visible(scene, marked, camera, options.max_size)).any())
    ]
    if not frames:
        raise ValueError("nothing in the region is visible in any picture; give another one")
    return replace(capture, frames=tuple(frames))


def scene_start(
    capture: Capture, points: tuple[Tensor, Tensor] | None = None, *, seed: int = 0
) -> tuple[Gaussians, Similarity]:
    """Where the fit of a whole scene without silhouettes starts, and the world that it is made for.

    Args:
        capture: opaque pictures with cameras, in any world.
        points: (N, 3) places in that world and their colours.
        seed: of the Gaussians that are strewn where no point is.

    Returns:
        Gaussians, and what moves the capture to their world: there the region that the cameras look at, or, where
        they look past each other, the middle of the points, is the unit-diameter sphere.

    Raises:
        ValueError: if neither is known.
    """
    try:
        region = framed_region(capture.cameras)
    except ValueError:
        if points is None or len(points[0]) == 0:
            raise
        middle = points[0].median(0).values
        radius = float(torch.quantile((points[0] - middle).norm(dim=-1), 0.5))
        region = Region(middle, torch.full((3,), radius))
    return _start(capture, region, points, seed), region.to_unit_sphere()


def _start(capture: Capture, region: Region, points: tuple[Tensor, Tensor] | None, seed: int) -> Gaussians:
    """The given points and strewn ones, in the world in which the region is the unit-diameter sphere."""
    similarity = region.to_unit_sphere()
    capture, region = capture.moved(similarity), region.moved(similarity)
    generator = torch.Generator().manual_seed(seed)
    inner = region.centre + region.half * (2 * torch.rand(_INNER, 3, generator=generator) - 1)
    far = _FAR * max(float(camera.centre.norm()) for camera in capture.cameras)
    outer = far * torch.nn.functional.normalize(torch.randn(_OUTER, 3, generator=generator), dim=-1)
    strewn = torch.cat((inner, outer))
    toward = torch.nn.functional.normalize(-strewn, dim=-1)  # from the shell inward, where the cameras are
    facing = torch.cat((-toward[:_INNER], toward[_INNER:]))
    colors = sample_colors(strewn, facing, capture.frames)
    if points is not None:
        strewn, colors = torch.cat((similarity.apply(points[0]), strewn)), torch.cat((points[1], colors))
    return initial_from_points(strewn, colors)


@torch.no_grad()
def _visible(scene: Gaussians, marked: Tensor, camera: Camera, max_size: int) -> Tensor:
    """(h, w) bool: where most of what a picture shows is marked."""
    from scipy.ndimage import binary_closing

    painted = with_colors(scene, marked.float()[:, None].expand(-1, 3))
    drawn = rasterize(painted, [shrunk(camera, max_size)], geometry=False)
    visible = (drawn.rgb[0, ..., 0] > _VISIBLE).numpy()
    return torch.from_numpy(binary_closing(np.pad(visible, _GAP, mode="edge"), iterations=_GAP)[_GAP:-_GAP, _GAP:-_GAP])


def _with_visible(frame: Frame, mask: Tensor) -> Frame:
    """The frame, its matte refined to the picture's own resolution."""

    def load() -> Tensor:
        rgb = frame.rgba()[..., :3]
        alpha = refine((rgb * 255).round().to(torch.uint8).numpy(), mask.numpy())
        return with_matte(rgb, torch.from_numpy(alpha))

    return replace(frame, load_rgba=load)
