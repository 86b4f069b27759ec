"""Synthetic scenes on which rasterizers and steps of a fit are timed: a shell of small Gaussians, seen from outside.

A shell of radius 0.8 to 1 has an object's share of hidden Gaussians; three standard deviations are 2 to 6 pixels, as in
fits that have as many Gaussians as their pictures are good for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from recon.capture import Camera, intrinsics_from_fov, orbit_camera
from recon.splat.gaussians import Gaussians
from recon.splat.harmonics import SH_DC
from recon.splat.zorder import morton_order

DISTANCE = 3.0
_FOV = math.radians(44)
_RADII = (2.0, 6.0)  # pixels at the centre's distance, three standard deviations
_ELEVATION = math.radians(20)


@dataclass(frozen=True)
class SceneSize:
    """Attributes:
    count: Gaussians.
    size: side of the square pictures in pixels.
    """

    count: int
    size: int

    def __str__(self) -> str:
        count = f"{self.count // 1000}k" if self.count >= 1000 else str(self.count)
        return f"{count} @ {self.size}²"


def shell(scene: SceneSize, *, sh_degree: int = 0, seed: int = 0) -> Gaussians:
    """The Gaussians, neighbours in space near each other in memory."""
    random = np.random.default_rng(seed)
    count = scene.count
    directions = random.normal(size=(count, 3))
    means = directions / np.linalg.norm(directions, axis=1, keepdims=True) * random.uniform(0.8, 1.0, (count, 1))
    quats = random.normal(size=(count, 4))
    radii = np.exp(random.uniform(math.log(_RADII[0]), math.log(_RADII[1]), (count, 1)))
    pixel = DISTANCE / float(intrinsics_from_fov(_FOV, scene.size, scene.size)[0, 0])
    scales = radii / 3 * pixel * np.exp(random.uniform(-0.35, 0.35, (count, 3)))
    opacities = random.uniform(0.1, 0.95, count)
    sh = random.normal(size=(count, (sh_degree + 1) ** 2, 3)) * 0.1
    sh[:, 0] = (random.uniform(size=(count, 3)) - 0.5) / SH_DC
    quats /= np.linalg.norm(quats, axis=1, keepdims=True)
    logits = np.log(opacities / (1 - opacities))
    tensors = (torch.from_numpy(array).float() for array in (means, quats, np.log(scales), logits, sh))
    return Gaussians(*tensors).select(torch.from_numpy(morton_order(means)))


def views(scene: SceneSize, count: int = 1) -> tuple[Camera, ...]:
    """Cameras around the shell."""
    return tuple(
        orbit_camera(0.8 + 2 * math.pi * index / count, _ELEVATION, _FOV, scene.size, scene.size, distance=DISTANCE)
        for index in range(count)
    )
