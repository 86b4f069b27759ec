"""Which part of a surface cameras see; what is left when the rest is not to be closed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recon.capture import Camera, Frame
from recon.surface.manifold import keep_faces, split_to_manifold, twin_edges
from recon.surface.mesh import Mesh, face_normals
from recon.surface.render import prepare_mesh, render_prepared
from recon.surface.silhouettes import pixels_of

_ROUNDS = 4
"""Of smoothing the border, each by about a face."""
_LEAST_PART = 0.01
"""Of the seen faces; smaller separate parts are crumbs of what is hidden."""


def seen_part(mesh: Mesh, cameras: Sequence[Camera], tolerance: float) -> Mesh:
    """The open surface that at least one of the cameras sees, with smooth borders; shape only.

    Args:
        mesh: an oriented manifold.
        tolerance: how far behind what a pixel shows a face may lie and still count as seen, in world units.

    Raises:
        ValueError: if no camera sees any of it.
    """
    share = seen_faces(mesh, cameras, tolerance).double()
    twins = twin_edges(mesh.faces.numpy())
    neighbours = torch.from_numpy(np.where(twins < 0, 3 * np.arange(len(twins))[:, None], twins) // 3)
    for _ in range(_ROUNDS):  # a face goes the way of those around it: ragged borders get smooth
        share = (share + share[neighbours].sum(dim=1)) / 4
    chosen = share > 0.5
    if not bool(chosen.any()):
        raise ValueError("no camera sees the surface; are they in the same world?")
    part = split_to_manifold(keep_faces(mesh, chosen))
    return keep_faces(part, _large_parts(part))


def seen_faces(mesh: Mesh, cameras: Sequence[Camera], tolerance: float) -> Tensor:
    """(F,) bool: faces whose middle some camera sees from the front."""
    prepared = prepare_mesh(mesh)
    middles = mesh.vertices[mesh.faces].mean(dim=1)
    normals = face_normals(mesh.vertices, mesh.faces)
    seen = torch.zeros(len(mesh.faces), dtype=torch.bool)
    for camera in cameras:
        depth = render_prepared(prepared, camera, supersample=1).depth
        column, row, forward, on_picture = pixels_of(camera, middles)
        shown = depth[row, column]
        facing = ((camera.centre - middles) * normals).sum(dim=-1) > 0
        seen |= on_picture & facing & (shown > 0) & (forward < shown + tolerance)
    return seen


def seen_by(mesh: Mesh, frames: Sequence[Frame], tolerance: float, size: int = 256) -> Tensor:
    """(F,) in [0, 1]: how well the frame that sees it best sees the middle of each face: the cosine of the angle to it,
    times how much the frame's pixel is trusted; 0 for what is in no picture.

    Args:
        mesh: whose faces point outward.
        tolerance: how far behind what a pixel shows a face may lie and still count as seen, in world units.
        size: pixels of a picture's longer side in which is looked, at most.
    """
    prepared = prepare_mesh(mesh)
    middles = mesh.vertices[mesh.faces].mean(dim=1)
    normals = torch.nn.functional.normalize(face_normals(mesh.vertices, mesh.faces), dim=-1)
    best = torch.zeros(len(mesh.faces))
    for frame in frames:
        camera, weight = frame.camera, frame.weight()
        share = min(1.0, size / max(camera.width, camera.height))
        small = camera.resized(round(camera.width * share), round(camera.height * share))
        depth = render_prepared(prepared, small, supersample=1).depth
        column, row, forward, on_picture = pixels_of(small, middles)
        shown = depth[row, column]
        visible = on_picture & (shown > 0) & (forward < shown + tolerance)
        across, down, _, _ = pixels_of(camera, middles)
        towards = torch.nn.functional.normalize(camera.centre - middles, dim=-1)
        cosine = (towards * normals).sum(-1).clamp_min(0)
        best = torch.maximum(best, visible * cosine * weight[down, across])
    return best


def _large_parts(mesh: Mesh) -> Tensor:
    """(F,) bool: faces of connected parts that are no crumbs."""
    part = connected_parts(mesh)
    sizes = np.bincount(part)
    return torch.from_numpy((sizes >= max(_LEAST_PART * len(mesh.faces), 1))[part])


def connected_parts(mesh: Mesh) -> NDArray[np.int64]:
    """(F,) the number of the part that each face of a manifold belongs to, from 0."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    twins = twin_edges(mesh.faces.numpy()).ravel()
    edge = np.flatnonzero(twins >= 0)
    count = len(mesh.faces)
    graph = coo_matrix((np.ones(len(edge), bool), (edge // 3, twins[edge] // 3)), (count, count))
    return np.asarray(connected_components(graph, directed=False)[1], np.int64)
