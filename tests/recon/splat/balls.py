"""Views of an analytic scene, a coloured ball, for tests of volumes and fits."""

from __future__ import annotations

import math

import torch

from recon.capture import Camera, Capture, Frame, Source, frame_from_tensors, orbit_camera

RADIUS = 0.35
CENTRE = torch.tensor([0.05, -0.03, 0.02])


def ball_frame(camera: Camera, name: str, *, geometry: bool = False, source: Source = Source.RENDERED) -> Frame:
    """A ball whose colour is its normal, with soft edges, seen by a camera."""
    origin, directions = camera.rays()
    offset = origin - CENTRE
    a = directions.square().sum(-1)
    b = (directions * offset).sum(-1)
    nearest = (offset.square().sum() - b**2 / a).clamp_min(0).sqrt()
    depth = (-b - (b**2 - a * (offset.square().sum() - RADIUS**2)).clamp_min(0).sqrt()) / a
    pixel = float(camera.centre.norm() / camera.intrinsics[0, 0])
    alpha = ((RADIUS - nearest) / pixel + 0.5).clamp(0, 1)
    normal = torch.nn.functional.normalize(origin + depth[..., None] * directions - CENTRE, dim=-1)
    hit = (nearest < RADIUS).float()
    return frame_from_tensors(
        camera,
        torch.cat((0.5 + 0.5 * normal, alpha[..., None]), -1),
        name=name,
        source=source,
        depth=depth * hit if geometry else None,
        normal=normal * hit[..., None] if geometry else None,
    )


def ball_capture(
    views: int = 12, size: int = 48, *, geometry: bool = False, source: Source = Source.RENDERED
) -> Capture:
    """An orbit that nods, so that every side is seen."""
    frames = []
    for index in range(views):
        azimuth = 2 * math.pi * index / views
        camera = orbit_camera(azimuth, math.radians(50) * math.sin(3 * azimuth), math.radians(40), size, size)
        frames.append(ball_frame(camera, f"view-{index:02d}", geometry=geometry, source=source))
    return Capture(tuple(frames))


def distance_to_ball(points: torch.Tensor) -> torch.Tensor:
    """(N,) distance to the ball's surface, positive outside."""
    return (points - CENTRE).norm(dim=-1) - RADIUS
