"""Small moving things with a known answer."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from recon.capture import Capture, Source, frame_from_tensors, orbit_camera
from recon.motion.trajectories import Trajectories
from recon.surface.mesh import Mesh
from recon.surface.render import prepare_mesh, render_prepared
from tests.recon.metrics.shapes import box

FOV = math.radians(33.8)
SWING = math.radians(70)


def arm(bend: float) -> Mesh:
    """Two bars, hinged at the origin about the z axis; the upper one is bent by `bend` radians. The lower is red to
    yellow, the upper green to blue."""
    lower, upper = box((0.16, 0.42, 0.14), (0, -0.19, 0)), box((0.14, 0.42, 0.12), (0, 0.19, 0))
    c, s = math.cos(bend), math.sin(bend)
    turn = torch.tensor([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
    low, high = lower.vertices, upper.vertices @ turn.T
    red = torch.stack((torch.full((len(low),), 0.9), 1.0 + 2 * lower.vertices[:, 1], torch.full((len(low),), 0.1)), 1)
    blue = torch.stack((torch.full((len(high),), 0.1), 2 * upper.vertices[:, 1], torch.full((len(high),), 0.8)), 1)
    return Mesh(
        torch.cat((low, high)),
        torch.cat((lower.faces, upper.faces + len(low))),
        colors=torch.cat((red, blue)).clamp(0, 1),
    )


def bend_at(time: float) -> float:
    """Radians, over one second."""
    return SWING * (time - 0.5)


def arm_capture(times: int = 5, views: int = 8, size: int = 48) -> Capture:
    """The bending arm, seen from all around at each of some times within a second."""
    cameras = [
        orbit_camera(2 * math.pi * i / views, math.radians(-10 + 45 * (i % 3) / 2), FOV, size, size)
        for i in range(views)
    ]
    frames = []
    for k in range(times):
        time = k / (times - 1)
        prepared = prepare_mesh(arm(bend_at(time)))
        for i, camera in enumerate(cameras):
            rgba = render_prepared(prepared, camera).rgba
            frames.append(frame_from_tensors(camera, rgba, time=time, source=Source.OBSERVED, name=f"t{k}_v{i}"))
    return Capture(tuple(frames))


def hinged(points: Tensor, times: Tensor) -> Tensor:
    """(T, N, 3) tracks of points on the arm as it is at time 0.5: those above the hinge turn with the upper bar."""
    tracks = []
    for time in times.tolist():
        c, s = math.cos(bend_at(time)), math.sin(bend_at(time))
        turn = torch.tensor([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
        tracks.append(torch.where(points[:, 1:2] > 0, points @ turn.T, points))
    return torch.stack(tracks)


def still_motion(times: int, bases: int) -> Trajectories:
    """Bases that never move."""
    quats = torch.zeros(times, bases, 4)
    quats[..., 0] = 1
    return Trajectories(torch.linspace(0, 1, times), torch.zeros(bases, 3), quats, torch.zeros(times, bases, 3))
