"""`Mesh` and `Material`: what surfaces are until they leave as files."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Material:
    """Unlit or base-colour material.

    Attributes:
        base_color: (4,) float32 sRGB-encoded RGBA factor, multiplies the texture.
        texture: (H, W, 3|4) uint8 sRGB image, row 0 on top, or None.
        alpha_cutoff: texels with alpha below it are holes; None = opaque.
        name: shown in other programs.
    """

    base_color: Tensor = field(default_factory=lambda: torch.ones(4))
    texture: Tensor | None = None
    alpha_cutoff: float | None = None
    name: str = "material"


@dataclass(frozen=True)
class Mesh:
    """Triangles in the house's world frame (+Y up, front +Z), counter-clockwise seen from outside.

    Attributes:
        vertices: (V, 3) float32.
        faces: (F, 3) int64.
        uvs: (V, 2) float32 in glTF's convention (origin at the image's top left, v down), or None.
        normals: (V, 3) float32 unit, or None (computed where needed).
        colors: (V, 3) float32 sRGB in [0, 1], or None.
        materials: at least one.
        face_material: (F,) int64 index into `materials`, or None = all 0.
    """

    vertices: Tensor
    faces: Tensor
    uvs: Tensor | None = None
    normals: Tensor | None = None
    colors: Tensor | None = None
    materials: tuple[Material, ...] = field(default_factory=lambda: (Material(),))
    face_material: Tensor | None = None

    def __post_init__(self) -> None:
        if self.vertices.ndim != 2 or self.vertices.shape[1] != 3 or self.faces.ndim != 2 or self.faces.shape[1] != 3:
            raise ValueError("mesh needs (V, 3) vertices and (F, 3) faces")
        for name in ("uvs", "normals", "colors"):
            value = getattr(self, name)
            if value is not None and len(value) != len(self.vertices):
                raise ValueError(f"mesh has {len(self.vertices)} vertices but {len(value)} {name}")

    def moved(self, scale: float = 1.0, translation: Tensor | None = None) -> Mesh:
        """The mesh scaled about the origin, then translated."""
        vertices = self.vertices * scale
        return replace(self, vertices=vertices if translation is None else vertices + translation)

    def bounds(self) -> tuple[Tensor, Tensor]:
        """Lowest and highest corner, each (3,)."""
        return self.vertices.min(0).values, self.vertices.max(0).values


def face_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """(F, 3) normals whose length is twice the triangle's area."""
    a, b, c = vertices[faces].unbind(1)
    return torch.linalg.cross(b - a, c - a)


def vertex_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """(V, 3) unit normals, averaged over faces by area; (0, 1, 0) where a vertex has no area around it."""
    summed = torch.zeros_like(vertices)
    per_face = face_normals(vertices, faces)
    for corner in range(3):
        summed.index_add_(0, faces[:, corner], per_face)
    length = summed.norm(dim=1, keepdim=True)
    fallback = torch.tensor([0.0, 1.0, 0.0]).to(summed).expand_as(summed)
    return torch.where(length > 1e-20, summed / length.clamp_min(1e-20), fallback)
