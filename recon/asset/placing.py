"""Gives a mesh its size and place in the world of whoever opens the file."""

from __future__ import annotations

from typing import Literal

import torch

from recon.capture import Similarity
from recon.surface.mesh import Mesh

Origin = Literal["centre", "base", "keep"]


class AssetError(ValueError):
    """A mesh that cannot become a file; the message says what to change."""


def place_mesh(mesh: Mesh, *, size: float | None = 1.0, origin: Origin = "centre") -> Mesh:
    """The mesh after its `placement`, of which arguments and errors are the same."""
    similarity = placement(mesh, size=size, origin=origin)
    return mesh.moved(similarity.scale, similarity.translation)


def placement(mesh: Mesh, *, size: float | None = 1.0, origin: Origin = "centre") -> Similarity:
    """What scales the mesh so that its longest side is `size` metres, and moves its origin to where it is wanted.

    All writers place meshes by this, with the same defaults; its inverse leads from a file back to the mesh's world.

    Args:
        size: length of the bounding box's longest side, or None to keep the scale.
        origin: "centre" of the bounding box, the middle of its "base" (so that it stands on the ground), or "keep"
            (scaled about the mesh's own origin).

    Raises:
        AssetError: if the mesh is empty, not finite or without extent, or the size is not a positive number.
    """
    if len(mesh.faces) == 0 or len(mesh.vertices) == 0:
        raise AssetError("the mesh has no faces; there is nothing to write")
    if not bool(torch.isfinite(mesh.vertices).all()):
        raise AssetError("the mesh has vertices that are NaN or infinite")
    if size is not None and not 0 < size < float("inf"):
        raise AssetError(f"expected a positive size in metres, got {size}")
    low, high = mesh.bounds()
    extent = float((high - low).max())
    if not extent > 0:
        raise AssetError("the mesh is a single point; it has no size to scale")
    scale = 1.0 if size is None else size / extent
    pivot = torch.zeros(3, dtype=mesh.vertices.dtype)
    if origin != "keep":
        pivot = (low + high) / 2
        if origin == "base":
            pivot[1] = low[1]
    return Similarity(translation=-pivot * scale, scale=scale)
