"""The kernels of a fit made ready, so that a caller can say what the first seconds are spent on."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable

import torch

from recon.capture import orbit_camera
from recon.splat.adam import AdamStep, adam_steps
from recon.splat.gaussians import Gaussians, from_points
from recon.splat.losses import picture_loss
from recon.splat.rasterize import Picture, Rendering, rasterize
from recon.splat.volume import DepthView, fuse_depth_views, visual_hull

Progress = Callable[[int, int], None]
_SIZE = 8
_GRID = 32
_PATIENCE = 60.0  # seconds
_CAMERAS = [orbit_camera(turn, 0.0, 0.6, _SIZE, _SIZE) for turn in (0.0, 1.6)]


def warm_up(progress: Progress | None = None) -> None:
    """Compiles the `cpu` backend's kernels for fits and for ellipsoids, or loads them where an earlier process left
    them on disk.

    Each kernel is called once on next to nothing. Without this, the first calls of `rasterize` do the same unasked, and
    more slowly: here a second process, where there is a core for it, compiles half of the kernels.

    Args:
        progress: told about (steps done, steps in all).
    """
    first, second = _first_half(), _second_half()
    helper = _helper()
    try:
        for done, step in enumerate((*first, *second), start=1):
            if helper is not None and done == len(first) + 1:
                # Where it failed or hangs, its half is compiled here.
                with contextlib.suppress(subprocess.TimeoutExpired):
                    helper.wait(timeout=_PATIENCE)
            step()
            if progress is not None:
                progress(done, len(first) + len(second))
    finally:
        if helper is not None:
            helper.kill()
            helper.wait()


def _helper() -> subprocess.Popen[bytes] | None:
    """A process that compiles the second half, where nothing has been kept on disk yet."""
    from recon.splat.backend_cpu.jit import all_threads, nothing_is_kept

    frozen = getattr(sys, "frozen", False)  # then the executable is not Python's
    if all_threads() == 1 or not sys.executable or frozen or not nothing_is_kept():
        return None
    variables = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    # -P: not from the folder that the caller happens to be in.
    command = [sys.executable, "-P", "-c", "from recon.splat import warm_up; warm_up.compile_second_half()"]
    try:
        return subprocess.Popen(command, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    except OSError:
        return None


def compile_second_half() -> None:
    """What the helper of `warm_up` does."""
    for step in _second_half():
        step()


def _first_half() -> list[Callable[[], None]]:
    points = torch.linspace(-0.3, 0.3, 3).repeat(3, 1).T
    gaussians = from_points(points, torch.full((3, 3), 0.5), 0.1, opacity=0.5).map(lambda t: t.requires_grad_())
    drawn: list[Picture] = []

    def draw() -> None:
        drawn.append(rasterize(gaussians, _CAMERAS[:1], backend="cpu"))

    def go_back() -> None:
        rendering = drawn[0]
        assert isinstance(rendering, Rendering)
        (rendering.rgb.sum() + rendering.depth.sum()).backward()

    return [draw, go_back]


def _second_half() -> list[Callable[[], None]]:
    # Without Gaussians, so that the stages that do not know colours from geometry are left to the first half.
    nobody = Gaussians(*(torch.zeros(0, *shape) for shape in ((3,), (4,), (3,), (), (1, 3))))
    nobody = nobody.map(lambda t: t.requires_grad_())

    def find_start() -> None:
        mask = torch.zeros(_SIZE, _SIZE)
        mask[2:-2, 2:-2] = 1
        hull = visual_hull(_CAMERAS, [mask, mask], _GRID)
        fuse_depth_views([DepthView(_CAMERAS[0], 1.5 * mask, mask > 0, 1.0)], hull).crossings()

    def draw_and_compare() -> None:
        drawn = rasterize(nobody, _CAMERAS[:1], backend="cpu", geometry=False)
        target, ones = torch.zeros(_SIZE, _SIZE, 3), torch.ones(_SIZE, _SIZE)
        picture_loss(drawn.rgb[0], drawn.alpha[0], target, ones, torch.zeros(3), ones).color.backward()

    def step() -> None:
        values = torch.zeros(4)
        adam_steps([AdamStep(values, values.clone(), values.clone(), values.clone(), 0.1)])

    return [find_start, draw_and_compare, step]
