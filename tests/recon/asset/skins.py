"""Skinned meshes made by hand: chains of bones in a tube, and any mesh bent along its height."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from recon.motion.skeleton import Skeleton
from recon.motion.trajectories import Trajectories
from recon.splat.rotations import multiply_quats, rotations_from_quats
from recon.surface.mesh import Mesh
from recon.surface.skinned import SkinnedMesh


def tube(rings: int = 13, sides: int = 8, radius: float = 0.1) -> Mesh:
    """Along +Y from 0 to 1, open at both ends."""
    angles = torch.arange(sides) * (2 * math.pi / sides)
    heights = torch.linspace(0, 1, rings)
    ring = radius * torch.stack((angles.cos(), torch.zeros(sides), -angles.sin()), dim=1)
    vertices = (ring[None] + heights[:, None, None] * torch.tensor([0.0, 1.0, 0.0])).reshape(-1, 3)
    faces = []
    for i in range(rings - 1):
        for j in range(sides):
            a, b = i * sides + j, i * sides + (j + 1) % sides
            faces += [(a, b, b + sides), (a, b + sides, a + sides)]
    return Mesh(vertices, torch.tensor(faces))


def turn(axis: tuple[float, float, float], angle: float) -> Tensor:
    """(4,) wxyz."""
    direction = torch.nn.functional.normalize(torch.tensor(axis, dtype=torch.float64), dim=0)
    return torch.cat((torch.tensor([math.cos(angle / 2)]), math.sin(angle / 2) * direction))


def hinged(skeleton: Skeleton, times: Tensor, turns: Tensor, shifts: Tensor, pivots: Tensor) -> Trajectories:
    """World motions of bones that turn (T, B, 4) at their joints, as their parents see it; roots are shifted (T, 3)."""
    joints = skeleton.joints.double()
    quats, origins = turns.double().clone(), torch.zeros(len(times), len(joints), 3, dtype=torch.float64)
    for bone in skeleton.order():
        parent = skeleton.parents[bone]
        if parent < 0:
            origins[:, bone] = joints[bone] + shifts
        else:
            carried = rotations_from_quats(quats[:, parent]) @ (joints[bone] - joints[parent])
            quats[:, bone] = multiply_quats(quats[:, parent], turns[:, bone].double())
            origins[:, bone] = origins[:, parent] + carried
    arms = (rotations_from_quats(quats) @ (pivots.double() - joints)[:, :, None])[..., 0]
    return Trajectories(times, pivots, quats.float(), (origins + arms - pivots.double()).float())


def bent(mesh: Mesh, motion: Trajectories, skeleton: Skeleton) -> SkinnedMesh:
    """A mesh whose vertices follow the two bones nearest in height."""
    height = mesh.vertices[:, 1]
    ranked = (height[:, None] - skeleton.joints[None, :, 1]).abs().sort(dim=1, stable=True)
    near = ranked.indices[:, :2]
    share = 1 / (ranked.values[:, :2] + 0.05) ** 4
    bones, weights = torch.zeros(len(height), 4, dtype=torch.int64), torch.zeros(len(height), 4)
    bones[:, : near.shape[1]] = near
    weights[:, : near.shape[1]] = share / share.sum(1, keepdim=True)
    return SkinnedMesh(mesh, motion, skeleton, bones, weights)


def snake(
    bones: int = 3, count: int = 17, *, seed: int = 0, duration: float = 2.0, mesh: Mesh | None = None
) -> SkinnedMesh:
    """A chain along the mesh's height that sways and turns, its first bone shifted about."""
    generator = torch.Generator().manual_seed(seed)
    mesh = mesh or tube()
    low, high = mesh.bounds()
    joints = (low + high)[None] / 2 * torch.tensor([1.0, 0.0, 1.0]) + torch.zeros(bones, 3)
    joints[:, 1] = low[1] + (high[1] - low[1]) * torch.arange(bones) / bones
    skeleton = Skeleton(tuple(range(-1, bones - 1)), joints, tuple(f"bone{i}" for i in range(bones)))
    times = torch.linspace(1.0, 1.0 + duration, count)
    phases = (times - 1) / duration
    axes = torch.rand(bones, 3, generator=generator) - 0.5
    speeds = torch.randint(1, 3, (bones,), generator=generator)
    turns = torch.stack(
        [
            torch.stack(
                [
                    turn(tuple(axes[b].tolist()), 0.7 * math.sin(2 * math.pi * float(speeds[b] * p)))
                    for b in range(bones)
                ]
            )
            for p in phases
        ]
    )
    shifts = torch.stack((0.3 * phases, 0.1 * (6 * phases).sin(), 0 * phases), dim=1).double()
    pivots = joints + 0.2 * torch.rand(bones, 3, generator=generator)
    return bent(mesh, hinged(skeleton, times, turns, shifts, pivots), skeleton)
