"""Small solids for the tests of the measures: boxes, spheres, and a shape that differs from its mirror image."""

from __future__ import annotations

import torch
import trimesh

from recon.surface.mesh import Mesh


def from_trimesh(shape: trimesh.Trimesh) -> Mesh:
    return Mesh(torch.tensor(shape.vertices, dtype=torch.float32), torch.tensor(shape.faces, dtype=torch.int64))


def to_trimesh(mesh: Mesh) -> trimesh.Trimesh:
    return trimesh.Trimesh(mesh.vertices.numpy(), mesh.faces.numpy(), process=True)


def box(sides: tuple[float, float, float] = (1, 1, 1), centre: tuple[float, float, float] = (0, 0, 0)) -> Mesh:
    return from_trimesh(trimesh.creation.box(sides)).moved(1.0, torch.tensor(centre, dtype=torch.float32))


def sphere(radius: float, subdivisions: int = 4) -> Mesh:
    return from_trimesh(trimesh.creation.icosphere(subdivisions=subdivisions, radius=radius))


def joined(*meshes: Mesh) -> Mesh:
    offsets = [0]
    for mesh in meshes:
        offsets.append(offsets[-1] + len(mesh.vertices))
    faces = [mesh.faces + offset for mesh, offset in zip(meshes, offsets, strict=False)]
    return Mesh(torch.cat([mesh.vertices for mesh in meshes]), torch.cat(faces))


def chair() -> Mesh:
    """Seat, four legs, back, and one arm: no mirror plane; inside the sphere of diameter 1."""
    legs = [box((0.06, 0.3, 0.06), (x, -0.2, z)) for x in (-0.17, 0.17) for z in (-0.17, 0.17)]
    seat, back = box((0.42, 0.06, 0.42), (0, -0.02, 0)), box((0.42, 0.4, 0.05), (0, 0.2, -0.19))
    arm = box((0.06, 0.2, 0.3), (0.19, 0.1, 0.02))
    return joined(*legs, seat, back, arm)


def mirrored(mesh: Mesh) -> Mesh:
    """Left and right exchanged, faces turned so that they still look outward."""
    return Mesh(mesh.vertices * torch.tensor([-1.0, 1.0, 1.0]), mesh.faces.flip(1))


def rotated(mesh: Mesh, rotation: torch.Tensor) -> Mesh:
    return Mesh(mesh.vertices @ rotation.T, mesh.faces)
