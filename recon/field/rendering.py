"""A field as its cameras see it."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from recon.capture import Camera, Frame, Source, frame_from_tensors
from recon.field.field import Field
from recon.field.march import grid_rays, surface_of_rays
from recon.splat.harmonics import degree_of, evaluate_basis
from recon.splat.rasterize import Rendering
from recon.splat.rendered import straight
from recon.splat.threads import one_torch_thread

_STEP = 0.5
"""Between samples on a ray, in grid spacings."""


@one_torch_thread()
@torch.no_grad()
def render_field(field: Field, camera: Camera) -> Rendering:
    """What one camera sees: pictures (1, H, W, ...), over black, without gradients."""
    origin, directions = camera.rays()
    lengths = directions.norm(dim=-1).flatten()
    flat = directions.reshape(-1, 3) / lengths[:, None]
    basis = evaluate_basis(flat, degree_of(field.colors.shape[1]))
    offset = torch.full((len(flat),), 0.5 * _STEP)
    rays = grid_rays(origin.expand_as(flat), flat, basis, field.resolution, offset)
    drawn, found = surface_of_rays(
        field.band, field.distances, field.colors.flatten(1), rays, step=_STEP, sharpness=field.sharpness
    )
    alpha = drawn[:, 3].clamp(0, 1)
    shape = (1, camera.height, camera.width)
    rgb = torch.minimum(drawn[:, :3].clamp_min(0), alpha[:, None])
    forward = field.spacing / lengths
    depth = torch.where(alpha > 0, drawn[:, 4] / alpha.clamp_min(1e-6), 0) * forward
    normal = torch.nn.functional.normalize(found[:, 1:], dim=-1)
    return Rendering(
        rgb.reshape(*shape, 3),
        alpha.reshape(shape),
        depth=depth.reshape(shape),
        median_depth=(found[:, 0] * forward).reshape(shape),
        normal=normal.reshape(*shape, 3),
    )


def render_field_frames(field: Field, cameras: Sequence[Camera]) -> tuple[Frame, ...]:
    """Straight-alpha frames of the cameras' sizes, with depth and normals."""
    frames = []
    for index, camera in enumerate(cameras):
        drawn = render_field(field, camera)
        rgba = straight(drawn.rgb[0], drawn.alpha[0])
        name, depth, normal = f"rendered_{index:03d}", drawn.depth[0], drawn.normal[0]
        frames.append(frame_from_tensors(camera, rgba, source=Source.RENDERED, name=name, depth=depth, normal=normal))
    return tuple(frames)
