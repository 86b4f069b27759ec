"""The kernels of a fit made ready, so that a caller can say what the first seconds are spent on."""

from __future__ import annotations

from collections.abc import Callable

import torch

from recon.capture import orbit_camera
from recon.splat.adam import AdamStep, adam_steps
from recon.splat.gaussians import from_points
from recon.splat.losses import picture_loss
from recon.splat.rasterize import Picture, Rendering, rasterize
from recon.splat.volume import DepthView, fuse_depth_views, visual_hull

Progress = Callable[[int, int], None]
_SIZE = 8
_GRID = 32


def warm_up(progress: Progress | None = None) -> None:
    """Compiles the `cpu` backend's kernels, or loads them where an earlier process left them on disk.

    Each kernel is called once on next to nothing. Without this, the first calls of `rasterize` do the same unasked.

    Args:
        progress: told about (steps done, steps in all).
    """
    cameras = [orbit_camera(turn, 0.0, 0.6, _SIZE, _SIZE) for turn in (0.0, 1.6)]
    points = torch.linspace(-0.3, 0.3, 3).repeat(3, 1).T
    gaussians = from_points(points, torch.rand(3, 3), 0.1, opacity=0.5).map(lambda t: t.requires_grad_())
    drawn: dict[bool, Picture] = {}

    def start() -> None:
        mask = torch.zeros(_SIZE, _SIZE)
        mask[2:-2, 2:-2] = 1
        hull = visual_hull(cameras, [mask, mask], _GRID)
        fuse_depth_views([DepthView(cameras[0], 1.5 * mask, mask > 0, 1.0)], hull).crossings()

    def draw(geometry: bool) -> None:
        drawn[geometry] = rasterize(gaussians, cameras[:1], backend="cpu", geometry=geometry)

    def compare_and_step() -> None:
        rgb, alpha = drawn[False].rgb[0], drawn[False].alpha[0]
        target, ones = torch.zeros(_SIZE, _SIZE, 3), torch.ones(_SIZE, _SIZE)
        picture_loss(rgb, alpha, target, ones, torch.zeros(3), ones).color.backward()
        values = torch.zeros(4)
        adam_steps([AdamStep(values, values.clone(), values.clone(), values.clone(), 0.1)])

    def go_back() -> None:
        rendering = drawn[True]
        assert isinstance(rendering, Rendering)
        (rendering.rgb.sum() + rendering.depth.sum()).backward()

    steps = (start, lambda: draw(True), go_back, lambda: draw(False), compare_and_step)
    for done, step in enumerate(steps, start=1):
        step()
        if progress is not None:
            progress(done, len(steps))
