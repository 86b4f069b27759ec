import math

import torch

from recon.capture import Source, orbit_camera
from recon.field.rendering import render_field, render_field_frames
from tests.recon.field.spheres import ball_field


def test_a_ball_has_the_depth_normals_silhouette_and_colours_of_a_ball():
    radius, field = 0.35, ball_field(96, sharpness=8.0)
    camera = orbit_camera(0.7, 0.4, 0.6, 96, 96)
    drawn = render_field(field, camera)
    origin, directions = camera.rays()
    a, b = directions.square().sum(-1), (directions * origin).sum(-1)
    root = b**2 - a * (origin.square().sum() - radius**2)
    depth = (-b - root.clamp_min(0).sqrt()) / a
    nearest = (origin.square().sum() - b**2 / a).clamp_min(0).sqrt()
    normal = torch.nn.functional.normalize(origin + depth[..., None] * directions, dim=-1)
    inner = nearest < 0.9 * radius
    assert drawn.alpha[0][inner].min() > 0.98
    assert drawn.alpha[0][nearest > radius + field.spacing].max() < 0.05
    assert float(drawn.alpha.sum()) / float((nearest < radius).sum()) - 1 < 0.02
    for found in (drawn.depth[0], drawn.median_depth[0]):
        assert (found - depth)[inner].abs().max() < 0.4 * field.spacing
    assert (drawn.median_depth[0] - depth)[inner].abs().mean() < 0.05 * field.spacing
    assert (drawn.normal[0] * normal).sum(-1)[inner].min() > math.cos(math.radians(3))
    assert (drawn.rgb[0] - (0.5 + 0.5 * normal))[inner].abs().max() < 0.03
    assert drawn.depth[0][nearest > 0.45].max() == 0


def test_frames_of_a_field_are_straight_and_rendered():
    camera = orbit_camera(0.0, 0.0, 0.6, 24, 32)
    frame, other = render_field_frames(ball_field(32), [camera, orbit_camera(1.0, 0.0, 0.6, 16, 16)])
    assert frame.rgba().shape == (32, 24, 4)
    assert other.rgba().shape == (16, 16, 4)
    assert frame.source is Source.RENDERED
    drawn = render_field(ball_field(32), camera)
    assert torch.allclose(frame.premultiplied()[..., :3], drawn.rgb[0], atol=1e-5)
    assert torch.equal(frame.depth(), drawn.depth[0])
    assert torch.equal(frame.normal(), drawn.normal[0])
