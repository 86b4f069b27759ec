"""Solves for the texture whose renders are nearest to the pictures: a baked texture, refined through the renderer.

Baking asks each texel for its colour in every picture; here each pixel asks for the colours of the texels that it
shows. An unlit picture is linear in the texture, so the best texture is one least-squares problem over all pictures
jointly (super-resolution: Goldluecke & Cremers 2009), held to the baked one where pictures leave freedom.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from recon._open3d import import_open3d
from recon.capture import Camera, Frame, Source
from recon.splat.resizing import resized, shrunk
from recon.surface.mesh import Mesh, face_normals
from recon.surface.texture import BakeError, pad_islands

Floats = NDArray[np.float32]

_SAMPLES = 2
"""Rays a pixel, per side."""
_STEEPEST = 0.2
"""Cosine of the viewing angle below which a pixel says nothing."""
_SOLID = 0.98
"""Alpha from which on a pixel shows the object alone."""
_HOLD = 0.05
"""Weight of the baked texture in each texel, against one pixel that shows nothing else."""
_ROUNDS = 20
"""Of conjugate gradients; by then nothing changes that a byte shows."""
_MOST_PIXELS = 6_000_000
"""Of all pictures together; larger ones are shrunk. Each that shows the object takes some 200 bytes."""


def refine_texture(mesh: Mesh, frames: Sequence[Frame]) -> Mesh:
    """The mesh with its texture refined; texels that no observed frame shows stay as they were.

    Args:
        mesh: baked (`recon.surface.texture.bake`): one material with an (S, S, 3) texture, islands padded.
        frames: undistorted pictures of the mesh's world. Generated and rendered ones are left out: they disagree.

    Raises:
        BakeError: if the mesh has no texture.
    """
    from recon.surface._texel_kernels import rasterize_atlas

    texture = mesh.materials[0].texture
    if texture is None or mesh.uvs is None:
        raise BakeError("the mesh has no texture to refine; bake one first")
    size = texture.shape[0]
    scene = import_open3d().t.geometry.RaycastingScene(nthreads=2)
    scene.add_triangles(
        np.ascontiguousarray(mesh.vertices.numpy(), np.float32), np.ascontiguousarray(mesh.faces.numpy(), np.uint32)
    )
    observed = [frame for frame in frames if frame.source is Source.OBSERVED]
    most = int((_MOST_PIXELS / max(len(observed), 1)) ** 0.5)
    found = [_equations(mesh, frame, shrunk(frame.camera, min(most, size)), scene, size) for frame in observed]
    blocks = [(rows, colors) for rows, colors in found if len(colors)]
    if not blocks:
        return mesh
    start = texture.reshape(-1, 3).numpy().astype(np.float32) / 255
    matrices = [rows for rows, _ in blocks]
    change = _least_squares(matrices, [colors - rows @ start for rows, colors in blocks])
    flat = ((start + change).clip(0, 1) * 255 + 0.5).astype(np.uint8)
    owner, _, _ = rasterize_atlas(mesh.uvs.double().numpy() * size, mesh.faces.numpy(), size)
    material = replace(mesh.materials[0], texture=pad_islands(flat, np.flatnonzero(owner >= 0), size))
    return replace(mesh, materials=(material,))


def _equations(mesh: Mesh, frame: Frame, camera: Camera, scene: Any, size: int) -> tuple[Any, Floats]:
    """Weighted rows (P, S * S) of the pixels that show nothing but the surface, and their weighted colours (P, 3).

    Args:
        camera: the frame's, of the size that its picture is to have.
    """
    from scipy.sparse import csr_matrix

    fine = camera.resized(camera.width * _SAMPLES, camera.height * _SAMPLES)
    origin, directions = fine.rays()
    rays = torch.cat((origin.expand_as(directions), directions), -1).numpy()
    cast = scene.cast_rays(np.ascontiguousarray(rays), nthreads=2)
    hit = np.isfinite(cast["t_hit"].numpy())
    face = np.where(hit, cast["primitive_ids"].numpy().astype(np.int64), 0)
    inner = cast["primitive_uvs"].numpy()
    normals = torch.nn.functional.normalize(face_normals(mesh.vertices, mesh.faces), dim=1)[torch.from_numpy(face)]
    facing = -(normals * torch.nn.functional.normalize(directions, dim=-1)).sum(-1).numpy()

    def per_pixel(values: NDArray[Any]) -> NDArray[Any]:
        """(P, samples, ...) of (H n, W n, ...)."""
        shape = (camera.height, _SAMPLES, camera.width, _SAMPLES, *values.shape[2:])
        return values.reshape(shape).swapaxes(1, 2).reshape(-1, _SAMPLES**2, *values.shape[2:])

    shape = (camera.height, camera.width)
    rgba = resized(frame.rgba(), shape, "area").reshape(-1, 4).numpy()
    trust = resized(frame.weight()[..., None], shape, "area").reshape(-1).numpy()
    least = per_pixel(facing).min(axis=1)
    good = np.flatnonzero(per_pixel(hit).all(axis=1) & (rgba[:, 3] > _SOLID) & (least > _STEEPEST) & (trust > 0))
    faces, inner = per_pixel(face)[good], per_pixel(inner)[good]
    assert mesh.uvs is not None
    corners = mesh.uvs.numpy()[mesh.faces.numpy()[faces]]  # (P, n, 3, 2)
    bary = np.stack((1 - inner.sum(-1), inner[..., 0], inner[..., 1]), axis=-1)
    place = (corners * bary[..., None]).sum(axis=2) * size - 0.5
    low = np.floor(place).astype(np.int64)
    part = place - low
    weight = np.sqrt(trust[good] * least[good] ** 2).astype(np.float32)
    columns, shares = [], []
    for dx, dy in ((0, 0), (1, 0), (0, 1), (1, 1)):
        x, y = (low[..., 0] + dx).clip(0, size - 1), (low[..., 1] + dy).clip(0, size - 1)
        columns.append(y * size + x)
        shares.append(np.abs(1 - dx - part[..., 0]) * np.abs(1 - dy - part[..., 1]) / _SAMPLES**2)
    count = len(good)
    column = np.concatenate(columns, axis=1)
    share = np.concatenate(shares, axis=1) * weight[:, None]
    pointer = np.arange(count + 1) * column.shape[1]
    rows = csr_matrix((share.ravel().astype(np.float32), column.ravel(), pointer), shape=(count, size * size))
    return rows, rgba[good, :3] * weight[:, None]


def _least_squares(matrices: Sequence[Any], targets: Sequence[Floats]) -> Floats:
    """(T, 3) x of least sum |matrix x - target|^2 + hold |x|^2, by conjugate gradients."""
    residual: Floats = sum(m.T @ target for m, target in zip(matrices, targets, strict=True))
    x, direction = np.zeros_like(residual), residual.copy()
    norm = (residual**2).sum()
    floor = 1e-8 * norm
    for _ in range(_ROUNDS):
        if norm <= floor:
            break
        image = sum(m.T @ (m @ direction) for m in matrices) + _HOLD * direction
        step = norm / (direction * image).sum()
        x += step * direction
        residual -= step * image
        before, norm = norm, (residual**2).sum()
        direction = residual + norm / before * direction
    return x
