"""A run folder whose mesh and splats move, made by hand: nothing is fitted."""

from __future__ import annotations

import math
from pathlib import Path

import torch

from pipelines._report import MOVING
from recon.asset import write_skinned_glb
from recon.motion.moving import MovingGaussians
from recon.motion.moving_file import write_moving
from recon.motion.trajectories import Trajectories
from recon.splat.gaussians import Gaussians, from_points
from recon.surface.mesh import Mesh
from tests.recon.asset.skins import snake

SECONDS = 2.0


def moving_run(folder: Path, mesh: Mesh) -> Path:
    """The mesh writhes for two seconds; of two balls of splats, one above the other, the upper one goes round."""
    folder.mkdir(parents=True)
    extras = {"to_capture": {"scale": 0.8, "translation": [0.0, 0.05, 0.0]}}
    skinned = snake(3, 17, mesh=mesh, duration=SECONDS)
    write_skinned_glb(skinned, folder / "mesh.glb", size=None, origin="keep", tolerance=0, extras=extras)
    write_moving(moving_balls(), folder / MOVING)
    return folder


def moving_balls() -> MovingGaussians:
    """Times begin at 1 s."""
    times = torch.linspace(1.0, 1.0 + SECONDS, 17)
    angles = (times - 1) / SECONDS * math.pi
    quats = torch.zeros(17, 2, 4)
    quats[..., 0] = 1
    shifts = torch.zeros(17, 2, 3)
    shifts[:, 1, 0] = 0.3 * angles.cos()
    shifts[:, 1, 2] = 0.3 * angles.sin()
    low, high = _ball((0.9, 0.2, 0.1), -0.2), _ball((0.1, 0.3, 0.9), 0.2)
    both = Gaussians(*(torch.cat(pair) for pair in zip(low.tensors(), high.tensors())))
    bases = torch.cat((torch.zeros(len(low), 1), torch.ones(len(high), 1))).long()
    motion = Trajectories(times, torch.zeros(2, 3), quats, shifts)
    return MovingGaussians(both, motion, bases, torch.ones(len(bases), 1), torch.zeros(len(bases), 0, 3))


def _ball(color: tuple[float, float, float], height: float) -> Gaussians:
    """Of 0.3 across, in the middle but for its height."""
    generator = torch.Generator().manual_seed(0)
    points = torch.nn.functional.normalize(torch.randn(400, 3, generator=generator), dim=1) * 0.15
    points[:, 1] += height
    return from_points(points, torch.tensor(color).expand(400, 3), 0.02, opacity=0.9)
