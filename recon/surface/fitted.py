"""What was fitted to a capture, whichever way, Gaussians or a field, and what cameras see of it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from recon.capture import Camera, Frame
from recon.field.field import Field
from recon.field.rendering import render_field, render_field_frames
from recon.splat.gaussians import Gaussians
from recon.splat.rasterize import Rendering, rasterize
from recon.splat.rendered import render_frames, straight

Fitted = Gaussians | Field


@torch.no_grad()
def draw_fitted(scene: Fitted, camera: Camera) -> Rendering:
    """What one camera sees (1, H, W, ...), over black, with depth and normals."""
    return render_field(scene, camera) if isinstance(scene, Field) else rasterize(scene, [camera])


def picture_of(scene: Fitted, camera: Camera) -> Tensor:
    """(H, W, 4) straight-alpha picture of what a camera sees."""
    drawn = draw_fitted(scene, camera)
    return straight(drawn.rgb[0], drawn.alpha[0])


def frames_of(scene: Fitted, cameras: Sequence[Camera]) -> tuple[Frame, ...]:
    """Straight-alpha frames of the cameras' sizes, with depth and normals."""
    return render_field_frames(scene, cameras) if isinstance(scene, Field) else render_frames(scene, cameras)
