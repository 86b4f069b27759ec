"""Cameras that are a little off come nearer to the true ones, and the focal length with them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import trimesh

from recon.capture import Capture, frame_from_tensors, orbit_camera
from recon.capture.conversions import rotation_from_quat
from recon.splat.refine_cameras import refine_cameras
from recon.surface.mesh import Mesh
from recon.surface.render import render_mesh

COUNT, SIZE = 12, 96


def lump() -> Mesh:
    ball = trimesh.creation.icosphere(3, radius=0.4)
    x, y, z = ball.vertices.T
    ball.vertices *= (1 + 0.2 * np.sin(4 * x + 1) * np.cos(5 * y) + 0.15 * np.sin(6 * z))[:, None]
    colors = np.stack([0.5 + 0.4 * np.sin(9 * v + shift) for v, shift in ((x, 0), (y, 1), (z, 2))], axis=-1)
    vertices = torch.from_numpy(ball.vertices).float()
    return Mesh(vertices, torch.from_numpy(ball.faces).int(), colors=torch.from_numpy(colors).float())


@pytest.fixture(scope="module")
def truth() -> Capture:
    mesh = lump()
    cameras = [orbit_camera(2 * math.pi * i / COUNT, 0.35, math.radians(40), SIZE, SIZE) for i in range(COUNT)]
    frames = [frame_from_tensors(c, render_mesh(mesh, c).rgba, name=f"{i}") for i, c in enumerate(cameras)]
    return Capture(tuple(frames))


def disturbed(truth: Capture, degrees: float) -> Capture:
    """Every camera turned about the object by so much, about an axis of its own."""
    generator = torch.Generator().manual_seed(4)
    frames = []
    for frame in truth:
        axis = torch.nn.functional.normalize(torch.randn(3, generator=generator), dim=0)
        half = math.radians(degrees) / 2
        turn = rotation_from_quat(torch.cat((torch.tensor([math.cos(half)]), axis * math.sin(half))))
        frames.append(replace(frame, camera=frame.camera.moved(turn, torch.zeros(3))))
    return Capture(tuple(frames))


def errors(found: Capture, truth: Capture) -> float:
    """Median degrees between the cameras' turns, after the best common one."""
    mine = torch.stack([c.c2w[:3, :3] for c in found.cameras]).double()
    true = torch.stack([c.c2w[:3, :3] for c in truth.cameras]).double()
    u, _, v = torch.linalg.svd((true @ mine.transpose(1, 2)).sum(0))
    cosine = (torch.einsum("nij,nij->n", (u @ v) @ mine, true) - 1) / 2
    return float(cosine.clamp(-1, 1).acos().rad2deg().median())


def test_turned_cameras_come_back(truth):
    start = disturbed(truth, 0.7)
    refined = refine_cameras(start)
    assert errors(start, truth) > 0.5
    assert errors(refined, truth) < 0.7 * errors(start, truth)
    focal = [float(capture[0].camera.intrinsics[0, 0]) for capture in (refined, truth)]
    assert focal[0] == pytest.approx(focal[1], rel=0.03)


def test_the_same_seed_gives_the_same_cameras(truth):
    start = Capture(disturbed(truth, 1.0).frames[:5])
    first, second = refine_cameras(start, seed=3), refine_cameras(start, seed=3)
    assert all(torch.equal(a.c2w, b.c2w) for a, b in zip(first.cameras, second.cameras))
