"""Pictures of turning objects, drawn for the tests of the orbit solver."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
import trimesh

from benchmarks.orbit_solver import wobbling
from pipelines.evaluation.protocol import draw_views
from pipelines.evaluation.sets import open_set, shipped
from recon.capture import orbit_camera
from recon.capture.coherence import Orbit
from recon.surface.mesh import Material, Mesh
from tests.recon.metrics.shapes import chair, from_trimesh


@dataclass(frozen=True)
class Turning:
    """Pictures and what they were drawn with; radians."""

    pictures: list[torch.Tensor]
    azimuths: np.ndarray
    elevation: float
    fov: float

    def picked(self, places) -> Turning:
        """The same pictures in another order, or some of them."""
        return replace(self, pictures=[self.pictures[i] for i in places], azimuths=self.azimuths[np.asarray(places)])

    def orbit(self) -> Orbit:
        return Orbit(self.azimuths, self.elevation, 0.5 / math.tan(self.fov / 2))


def turned(mesh: Mesh, azimuths, *, elevation=25.0, fov=40.0, size=64, lit=True, wobble=0.0) -> Turning:
    """A mesh as a camera at such azimuths (radians) sees it; elevation and field of view in degrees. `wobble`: standard
    deviation by which each camera is turned about the object, in degrees, and moved, in hundredths of its distance."""
    azimuths, elevation, fov = np.asarray(azimuths, float), math.radians(elevation), math.radians(fov)
    cameras = [orbit_camera(float(a), elevation, fov, size, size) for a in azimuths]
    random = np.random.default_rng(0)
    cameras = [wobbling(camera, wobble, random) for camera in cameras]
    return Turning(list(draw_views(mesh, cameras, lit=lit)), azimuths, elevation, fov)


def shipped_object(name: str) -> Mesh:
    """One of the dozen objects that come with the program."""
    objects = open_set(shipped())
    return objects.mesh(next(item.id for item in objects.objects if name in item.id))


def plain_chair() -> Mesh:
    """No mirror plane and no texture."""
    return replace(chair(), materials=(Material(torch.tensor([0.6, 0.6, 0.6, 1.0])),))


def plain_vase() -> Mesh:
    """A solid of revolution without texture."""
    outline = np.array([[0.0, -0.4], [0.2, -0.4], [0.28, -0.1], [0.1, 0.2], [0.16, 0.4], [0.0, 0.4]])
    lathe = trimesh.creation.revolve(outline, sections=96)
    points = np.asarray(lathe.vertices)[:, [0, 2, 1]] * [1, 1, -1]
    mesh = from_trimesh(trimesh.Trimesh(points, lathe.faces, process=False))
    return replace(mesh, materials=(Material(torch.tensor([0.6, 0.6, 0.6, 1.0])),))


def azimuth_errors(found, truth) -> np.ndarray:
    """(N,) degrees after the best common turn."""
    gap = np.exp(1j * (np.asarray(found, float) - truth))
    return np.degrees(np.abs(np.angle(gap * np.conj(gap.mean() / abs(gap.mean())))))
