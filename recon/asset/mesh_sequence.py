"""Meshes that no bones move, as animated .glb files: one mesh in many shapes, or another mesh at every time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recon.asset._glb_document import Buffer, GlbDocument
from recon.asset.animation import ANIMATION, AnimationReport
from recon.asset.keys import filled, lerps, simplified
from recon.asset.placing import AssetError, Origin, placement
from recon.asset.textures import ImageFormat
from recon.surface.mesh import Mesh, vertex_normals

_SAME_NORMAL = 1e-3


def write_morph_glb(
    mesh: Mesh,
    vertices: Tensor,
    times: Tensor,
    path: Path,
    *,
    size: float | None = 1.0,
    origin: Origin = "centre",
    name: str = "object",
    extras: Mapping[str, Any] | None = None,
    unlit: bool = True,
    double_sided: bool = False,
    image_format: ImageFormat = "png",
    tolerance: float = 1e-3,
) -> AnimationReport:
    """Writes one mesh that goes from shape to shape (morph targets), each reached at its time and straight from the one
    before; the file appears whole or not at all.

    Arguments that are not named here are those of `write_glb`.

    Args:
        mesh: at rest.
        vertices: (T, V, 3) its vertices over time, in the same world.
        times: (T,) seconds, rising; the file's start at 0.
        size: longest side of the mesh at rest, in metres.
        origin: of the mesh at rest.
        tolerance: how far left-out shapes and vertices that hardly move may stray, as a share of the longest side.

    Raises:
        AssetError: as `write_glb`, or if the shapes do not fit to the mesh and the times, are not finite, or times do
            not rise.
        OSError: if the file cannot be written.
    """
    seconds = _seconds(times, len(vertices))
    if tuple(vertices.shape[1:]) != tuple(mesh.vertices.shape) or not bool(torch.isfinite(vertices).all()):
        raise AssetError(
            f"expected finite shapes ({len(times)}, {len(mesh.vertices)}, 3) of the mesh, found {tuple(vertices.shape)}"
        )
    similarity = placement(mesh, size=size, origin=origin)
    mesh = mesh.moved(similarity.scale, similarity.translation)
    low, high = mesh.bounds()
    side = float((high - low).max())
    rest = mesh.vertices.double().cpu().numpy()
    moved = similarity.apply(vertices.detach().double()).cpu().numpy() - rest
    # One half of what may be missed is for vertices, the other for times.
    kept = simplified(seconds, moved, tolerance * side / 2, lerps, _furthest)
    shapes = moved[kept]
    shapes[np.linalg.norm(shapes, axis=-1) <= tolerance * side / 2] = 0
    shapes = shapes.astype(np.float32)

    document = GlbDocument(unlit=unlit, double_sided=double_sided, image_format=image_format)
    shown = [place for place, shape in enumerate(shapes) if shape.any()]
    targets = [_target(document.buffer, mesh, shapes[place], lit=not unlit) for place in shown]
    document.nodes.append({"mesh": document.add_mesh(mesh, name, targets=targets), "name": name})
    further = {}
    if shown:
        document.name_targets(0, [f"{seconds[kept[place]]:.3f}s" for place in shown])
        weights = np.zeros((len(kept), len(shown)))
        weights[shown, range(len(shown))] = 1
        sampler = _sampler(document.buffer, seconds[kept], weights.reshape(-1), "SCALAR", "LINEAR")
        channel = {"sampler": 0, "target": {"node": 0, "path": "weights"}}
        further["animations"] = [{"name": ANIMATION, "channels": [channel], "samplers": [sampler]}]
    size_in_bytes = document.write(path, [0], dict(extras or {}), further)
    approached = moved.copy()
    approached[kept] = shapes
    return AnimationReport(
        duration=float(seconds[-1]),
        keys=len(kept),
        keys_before=len(seconds),
        largest_error=float(_furthest(filled(seconds, approached, kept, lerps), moved).max()) / side,
        bytes=size_in_bytes,
    )


def write_mesh_sequence_glb(
    meshes: Sequence[Mesh],
    times: Tensor,
    path: Path,
    *,
    size: float | None = 1.0,
    origin: Origin = "centre",
    name: str = "object",
    extras: Mapping[str, Any] | None = None,
    unlit: bool = True,
    double_sided: bool = False,
    image_format: ImageFormat = "png",
) -> AnimationReport:
    """Writes meshes that replace each other, each shown from its time to the next one's, the last for as long as the
    others on average; the file appears whole or not at all.

    For surfaces that tear or merge. Every mesh has a node, whose size is 1 while it is shown and 0 else, which is how
    glTF hides; materials that meshes share are written once. Arguments that are not named here are those of
    `write_glb`.

    Args:
        meshes: one a time, in one world.
        times: (T,) seconds, rising; the file's start at 0.
        size: longest side of the box around all meshes, in metres.
        origin: of that box.

    Raises:
        AssetError: as `write_glb`, or if there are not as many meshes as times, or times do not rise.
        OSError: if the file cannot be written.
    """
    seconds = _seconds(times, len(meshes))
    everything = torch.cat([mesh.vertices for mesh in meshes])
    similarity = placement(Mesh(everything, meshes[0].faces), size=size, origin=origin)
    end = seconds[-1] * len(seconds) / max(1, len(seconds) - 1)

    document = GlbDocument(unlit=unlit, double_sided=double_sided, image_format=image_format)
    document.nodes.append({"name": name, "children": list(range(1, 1 + len(meshes)))})
    channels, samplers = [], []
    for place, mesh in enumerate(meshes):
        if len(mesh.faces) == 0:
            raise AssetError(f"mesh {place} has no faces; leave its time out")
        label = f"{name}_{place:04d}"
        index = document.add_mesh(mesh.moved(similarity.scale, similarity.translation), label)
        document.nodes.append({"mesh": index, "name": label, "scale": [float(place == 0)] * 3})
        if len(meshes) > 1:
            keys = {0.0: 0.0, seconds[place]: 1.0, (*seconds, end)[place + 1]: float(place == len(meshes) - 1)}
            values = np.repeat(list(keys.values()), 3).reshape(-1, 3)
            samplers.append(_sampler(document.buffer, np.array(list(keys)), values, "VEC3", "STEP"))
            channels.append({"sampler": place, "target": {"node": 1 + place, "path": "scale"}})
    further = {"animations": [{"name": ANIMATION, "channels": channels, "samplers": samplers}]} if channels else {}
    size_in_bytes = document.write(path, [0], dict(extras or {}), further)
    return AnimationReport(float(end), len(meshes), len(meshes), 0.0, size_in_bytes)


def _seconds(times: Tensor, count: int) -> NDArray[np.float64]:
    """(T,) from 0."""
    if times.ndim != 1 or len(times) != count or count == 0:
        raise AssetError(f"expected one time for each of {count} shapes, at least one, found {tuple(times.shape)}")
    seconds = (times.double() - times[0].double()).cpu().numpy()
    if not (np.diff(seconds.astype(np.float32)) > 0).all() or not np.isfinite(seconds).all():
        raise AssetError("the times of the shapes must be finite and rise")
    return seconds


def _target(buffer: Buffer, mesh: Mesh, moved: NDArray[np.float32], *, lit: bool) -> dict[str, int]:
    """The accessors of one shape; light needs its normals, too."""
    target = {"POSITION": buffer.add_displacements(moved)}
    if lit:
        shape = replace(mesh, vertices=mesh.vertices.cpu() + torch.from_numpy(moved))
        change = vertex_normals(shape.vertices, mesh.faces) - vertex_normals(mesh.vertices, mesh.faces)
        change[change.norm(dim=1) < _SAME_NORMAL] = 0
        target["NORMAL"] = buffer.add_displacements(change.numpy())
    return target


def _sampler(buffer: Buffer, times: NDArray[Any], values: NDArray[Any], kind: str, way: str) -> dict[str, Any]:
    keys, output = buffer.add_values(times, "SCALAR", bounds=True), buffer.add_values(values, kind)
    return {"input": keys, "output": output, "interpolation": way}


def _furthest(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """(T,) the longest distance between the vertices of two shapes (T, V, 3)."""
    return np.linalg.norm(first - second, axis=-1).max(-1)
