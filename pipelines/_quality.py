"""Quality figures of a run's own: how well splats and mesh repeat the pictures they were made from.

They say how faithful the reconstruction is to its input, not how right the invented sides are: nobody knows those.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from recon.capture import Camera, Capture, Frame, Source
from recon.metrics.topology import component_count, is_watertight
from recon.metrics.views import compare_views, resize_views
from recon.splat.gaussians import Gaussians
from recon.splat.rasterize import rasterize
from recon.splat.rendered import straight
from recon.surface.fitted import Fitted, picture_of
from recon.surface.mesh import Mesh
from recon.surface.render import prepare_mesh, render_prepared

SIZE = 128
"""Pixels a side in which pictures are compared."""
Draw = Callable[[Camera, float], Tensor]
"""Draws (H, W, 4), straight alpha, what a camera sees at a time in seconds."""


def fitted_figures(scene: Fitted, capture: Capture) -> dict[str, Any]:
    """Number of Gaussians, or of grid points that hold a field, and renders of the scene against the frames."""
    unit = "gaussians" if isinstance(scene, Gaussians) else "grid_points"
    return {unit: len(scene), **against_frames(lambda camera, _: picture_of(scene, camera), capture)}


def mesh_figures(mesh: Mesh, capture: Capture) -> dict[str, Any]:
    """Size and soundness of a mesh in the capture's world, and its renders against the frames."""
    prepared = prepare_mesh(mesh)
    return soundness(mesh) | against_frames(lambda camera, _: render_prepared(prepared, camera).rgba, capture)


def soundness(mesh: Mesh) -> dict[str, Any]:
    """Size of a mesh, whether it is closed, and of how many parts it is."""
    return {
        "vertices": len(mesh.vertices),
        "faces": len(mesh.faces),
        "watertight": is_watertight(mesh),
        "components": component_count(mesh),
    }


def draw_splats(gaussians: Gaussians, camera: Camera) -> Tensor:
    """(H, W, 4) straight-alpha picture of a scene."""
    with torch.no_grad():
        drawing = rasterize(gaussians, [camera])
    return straight(drawing.rgb[0], drawing.alpha[0])


def against_frames(draw: Draw, frames: Iterable[Frame]) -> dict[str, Any]:
    """Mean figures over the frames of each source: {"against_observed": {"masked_psnr": ...}, ...}."""
    frames = tuple(frames)
    figures = {}
    for source in Source:
        those = [frame for frame in frames if frame.source == source]
        if those:
            figures[f"against_{source.value}"] = _compare(draw, those)
    return figures


def _compare(draw: Draw, frames: Iterable[Frame]) -> dict[str, float]:
    drawn, given = [], []
    for frame in frames:
        camera = square(frame.camera, SIZE)
        drawn.append(draw(camera, frame.time))
        given.append(resize_views(frame.rgba()[None], SIZE)[0])
    scores = compare_views(torch.stack(drawn), torch.stack(given), with_flip=False)
    wanted = ("masked_psnr", "masked_ssim", "mask_iou")
    return {name: round(float(values.mean()), 3) for name, values in scores.items() if name in wanted}


def square(camera: Camera, size: int) -> Camera:
    """The view squeezed into `size` by `size` pixels."""
    return camera.resized(size, size)
