"""Bakes pictures onto an unwrapped mesh: one sRGB texture from everything that saw the surface.

Every texel asks every frame: is it inside, unoccluded (depth of the ray-cast surface), away from outlines, facing the
camera, how finely resolved, how trusted? The answers multiply to one smooth weight, so there is no hard seam to hide.
Pictures are blended in two bands (Burt & Adelson 1983): slow colour over wide borders, detail over narrow ones.
Observed frames outweigh generated ones; where both see the surface, the generated ones are fitted to the observed ones'
colours, first by one affine map, then by a membrane over the surface. What neither saw is taken from frames that a
fitted scene was rendered to, and what nothing saw is filled from around it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from recon.capture import Frame, Source
from recon.surface.diffuse import diffuse
from recon.surface.mesh import Material, Mesh, vertex_normals
from recon.surface.render import prepare_mesh
from recon.surface.views import View, prepare_view

Floats = NDArray[np.float64]
Colors = NDArray[np.floating[Any]]

_MAX_WORKERS = 4
"""Frames that are made ready at once: each takes memory."""
_FEW = 4
"""Photographs below which a shape is a guess."""
_ORDER = (Source.OBSERVED, Source.GENERATED, Source.RENDERED)
_FILL_WEIGHT = 0.004
"""Weight of the fill against pictures (squared, as theirs are): it shows only where they fade out."""
_MEMBRANE_REACH = 0.25
"""Distance, as a part of the object's size, over which colour differences to the photograph fade."""


class BakeError(ValueError):
    """A mesh or a set of frames that no texture can be made from."""


@dataclass(frozen=True)
class BakeOptions:
    """How pictures are turned into a texture."""

    texture_size: int = 1024
    """Side of the square texture in texels."""
    observed_trust: float = 1.0
    """Weight of photographs."""
    generated_trust: float = 0.12
    """Weight of generated frames."""
    observed_edge: float = 0.03
    """Width, as a part of the object's size, over which a photograph's weight rises from its outline inward."""
    generated_edge: float = 0.02
    """The same for generated and rendered frames."""
    grazing: tuple[float, float] = (0.1, 0.35)
    """Cosines of the viewing angle between which a frame's weight rises from nothing."""
    depth_tolerance: float = 0.012
    """How far behind the visible surface a texel may lie and still count as seen, as a part of the object's size."""
    fit_outline: bool = True
    """Bend photographs a little so that their subject's outline falls on the mesh's, where the mesh's shape is a guess:
    with generated frames, or few photographs."""
    match_colors: bool = True
    """Fit generated frames to the photographs' colours where both see the surface."""

    def __post_init__(self) -> None:
        if not 16 <= self.texture_size <= 8192:
            raise BakeError(f"texture size: expected 16 to 8192 texels, got {self.texture_size}")


@dataclass(frozen=True)
class Baked:
    """A textured mesh and where its texels come from.

    Attributes:
        mesh: with one material.
        observed, generated, rendered, filled: parts of the surface's texels; they add up to 1.
    """

    mesh: Mesh
    observed: float
    generated: float
    rendered: float
    filled: float


def bake_texture(mesh: Mesh, frames: Sequence[Frame], options: BakeOptions | None = None) -> Mesh:
    """The mesh with a texture made from `frames`; see `bake`."""
    return bake(mesh, frames, options).mesh


def bake(mesh: Mesh, frames: Sequence[Frame], options: BakeOptions | None = None) -> Baked:
    """Makes a texture for an unwrapped mesh.

    Args:
        mesh: with texture coordinates that do not overlap (`recon.surface.uv.unwrap`), in the frames' world.
        frames: pictures with undistorted cameras; pixels of alpha 0 are background.
        options: defaults where None.

    Raises:
        BakeError: if there are no frames or no texture coordinates, a camera is distorted, or no frame sees the mesh.
    """
    options = options or BakeOptions()
    if mesh.uvs is None:
        raise BakeError("the mesh has no texture coordinates; unwrap it first")
    if not frames:
        raise BakeError("a texture needs at least one frame")
    for frame in frames:
        if frame.camera.distortion is not None:
            raise BakeError(f"frame {frame.name!r} has lens distortion; undistort the capture first")

    texels = _texels(mesh, options.texture_size)
    present = {frame.source for frame in frames}
    layers = {source: _Layer.of(texels, source in present) for source in Source}
    seen = _collect(mesh, frames, texels, layers, options)
    if not seen:
        raise BakeError(f"none of the {len(frames)} frames sees the mesh; are they in the same world?")
    color, shares = _blend(texels, layers, options)
    material = Material(texture=_image(texels, color), name=mesh.materials[0].name)
    textured = replace(mesh, materials=(material,), face_material=None, colors=None)
    return Baked(textured, *shares)


@dataclass(frozen=True)
class _Texels:
    """Points of the surface that a texture shows.

    Attributes:
        index: (T,) position in the flattened texture; size: its side.
        face: (T,) and bary: (T, 3): where on the mesh; faces: (F, 3) of the welded mesh.
        points, normals: (T, 3) float32.
        vertices: (V, 3) of the welded mesh.
        extent: longest side of the mesh; density: texels per unit of length.
    """

    index: NDArray[np.int64]
    size: int
    face: NDArray[np.int32]
    bary: NDArray[np.float32]
    faces: NDArray[np.int64]
    points: NDArray[np.float32]
    normals: NDArray[np.float32]
    vertices: Floats
    extent: float
    density: float


@dataclass(frozen=True)
class _Layer:
    """Weighted sums of one kind of source: (T, 4) of rgb * weight and weight, slow band and detail."""

    soft: NDArray[np.float32]
    sharp: NDArray[np.float32]

    @classmethod
    def of(cls, texels: _Texels, is_used: bool) -> _Layer:
        """Nothing yet; one that stays so takes no memory."""
        shape = (len(texels.index), 4)
        if not is_used:
            return cls(*2 * (np.broadcast_to(np.float32(0), shape),))
        return cls(np.zeros(shape, np.float32), np.zeros(shape, np.float32))


def _texels(mesh: Mesh, size: int) -> _Texels:
    from recon.surface._texel_kernels import interpolate, rasterize_atlas

    assert mesh.uvs is not None
    points = mesh.vertices.detach().cpu().double().numpy()
    faces = mesh.faces.cpu().numpy().astype(np.int64)
    uv = mesh.uvs.detach().cpu().double().numpy() * size
    owner, bary, _ = rasterize_atlas(uv, faces, size)
    index = np.flatnonzero(owner >= 0)
    if len(index) == 0:
        raise BakeError("the texture coordinates cover no texel; unwrap the mesh for this texture size")
    face, bary = owner.reshape(-1)[index], np.ascontiguousarray(bary.reshape(-1, 3)[index])

    welded, first, weld = np.unique(points, axis=0, return_index=True, return_inverse=True)
    welded_faces = weld.reshape(-1)[faces]
    if mesh.normals is not None:
        normals = mesh.normals.detach().cpu().double().numpy()[first]
    else:
        normals = vertex_normals(torch.from_numpy(welded), torch.from_numpy(welded_faces)).numpy()
    at = interpolate(welded_faces, face, bary, np.concatenate((welded, normals), 1))
    cross = np.cross(points[faces[:, 1]] - points[faces[:, 0]], points[faces[:, 2]] - points[faces[:, 0]])
    area = 0.5 * np.linalg.norm(cross, axis=1).sum()
    return _Texels(
        index=index,
        size=size,
        face=face,
        bary=bary,
        faces=welded_faces,
        points=np.ascontiguousarray(at[:, :3]),
        normals=_facing_normals(at[:, 3:], cross[face]),
        vertices=welded,
        extent=float((points.max(0) - points.min(0)).max()),
        density=float(np.sqrt(len(index) / max(area, 1e-20))),
    )


def _facing_normals(smooth: Colors, flat: Colors) -> NDArray[np.float32]:
    """(T, 3) unit normals to judge viewing angles by: interpolated ones, which change without steps, but the face's
    own where the two part, at sharp edges."""
    smooth, flat = (n / np.maximum(np.linalg.norm(n, axis=1, keepdims=True), 1e-12) for n in (smooth, flat))
    share = np.clip(((smooth * flat).sum(1, keepdims=True) - 0.6) / 0.3, 0, 1)
    mixed = share * smooth + (1 - share) * flat
    return np.ascontiguousarray(mixed / np.maximum(np.linalg.norm(mixed, axis=1, keepdims=True), 1e-12), np.float32)


def _collect(
    mesh: Mesh, frames: Sequence[Frame], texels: _Texels, layers: Mapping[Source, _Layer], options: BakeOptions
) -> int:
    """Adds every frame to its source's layer; how many saw anything."""
    from recon.surface._texel_kernels import accumulate_view

    surface = prepare_mesh(Mesh(mesh.vertices, mesh.faces))
    trusts = {Source.OBSERVED: options.observed_trust, Source.GENERATED: options.generated_trust, Source.RENDERED: 1.0}
    sharpest = {kind: max((_sharpness(f) for f in frames if f.source == kind), default=1.0) for kind in Source}

    photographs = sum(frame.source == Source.OBSERVED for frame in frames)
    guessed = photographs < _FEW or any(frame.source == Source.GENERATED for frame in frames)
    bends = options.fit_outline and guessed

    def prepare(frame: Frame) -> View | None:
        observed = frame.source == Source.OBSERVED
        return prepare_view(
            frame,
            surface,
            extent=texels.extent,
            density=texels.density,
            edge=options.observed_edge if observed else options.generated_edge,
            fit_outline=bends and observed,
        )

    def accumulate(slab: slice, frame: Frame, view: View) -> None:
        camera, layer = view.camera, layers[frame.source]
        intrinsics = camera.intrinsics.double().numpy()
        accumulate_view(
            texels.points[slab],
            texels.normals[slab],
            camera.w2c[:3].double().numpy(),
            np.array([intrinsics[0, 0], intrinsics[1, 1], intrinsics[0, 2], intrinsics[1, 2]]),
            camera.centre.double().numpy(),
            view.image,
            view.low,
            view.trust * np.float32(trusts[frame.source]),
            view.depth,
            options.depth_tolerance * texels.extent,
            float(camera.centre.norm()) * _sharpness(frame) / sharpest[frame.source],
            np.array(options.grazing),
            layer.soft[slab],
            layer.sharp[slab],
        )

    workers = min(os.cpu_count() or 1, _MAX_WORKERS)
    edges = np.linspace(0, len(texels.index), workers + 1).astype(int)
    slabs = [slice(a, b) for a, b in pairwise(edges.tolist())]
    seen = 0
    # Frames are made ready side by side but summed in order, so that the sums do not depend on the workers.
    with ThreadPoolExecutor(workers) as pool:
        for start in range(0, len(frames), workers):
            group = frames[start : start + workers]
            for frame, view in zip(group, pool.map(prepare, group), strict=True):
                if view is None or not view.trust.any():
                    continue
                seen += 1
                for job in [pool.submit(accumulate, slab, frame, view) for slab in slabs]:
                    job.result()
    return seen


def _sharpness(frame: Frame) -> float:
    """Pixels per unit of length at the world's origin."""
    return float(frame.camera.intrinsics[0, 0]) / max(float(frame.camera.centre.norm()), 1e-6)


def _blend(
    texels: _Texels, layers: Mapping[Source, _Layer], options: BakeOptions
) -> tuple[Colors, tuple[float, float, float, float]]:
    """(T, 3) colours, and the parts of the texels that came from observed, generated and rendered frames and the
    fill."""
    photos, inventions, renders = (layers[source] for source in _ORDER)
    photo, ours = _slow(photos)
    imagined, theirs = _slow(inventions)
    if options.match_colors and (ours > 0).any() and (theirs > 0).any():
        imagined = _match_colors(texels, photo, ours, imagined, theirs)
    known = ours + theirs
    slow: Colors = (ours * photo + theirs * imagined) / np.maximum(known, 1e-20)
    visible = _visible(known)

    drawn, in_drawn = _slow(renders)
    redrawn = (1 - visible) * _visible(in_drawn)
    rest = (1 - visible) * (1 - _visible(in_drawn))
    seen = np.maximum(visible + redrawn, 1e-20)
    fill = _fill(texels, (visible * slow + redrawn * drawn) / seen, known + redrawn * in_drawn)
    detail: Colors = visible * _detail(photos, inventions) + redrawn * _detail(renders)
    part = ours / np.maximum(known, 1e-20)
    shares = [float(share.mean()) for share in (visible * part, visible * (1 - part), redrawn, rest)]
    return visible * slow + redrawn * drawn + rest * fill + detail, (shares[0], shares[1], shares[2], shares[3])


def _slow(layer: _Layer) -> tuple[Colors, Colors]:
    """(T, 3) colours of the slow band and (T, 1) their weights."""
    weight = layer.soft[:, 3:]
    return layer.soft[:, :3] / np.maximum(weight, 1e-20), weight


def _detail(*layers: _Layer) -> Colors:
    """(T, 3) the rest of the colours."""
    total: Colors = sum((layer.sharp for layer in layers[1:]), start=layers[0].sharp)
    return total[:, :3] / np.maximum(total[:, 3:], 1e-20)


def _visible(weight: Colors) -> Colors:
    """(T, 1) how much a source of `weight` shows, against what lies below it."""
    return np.asarray(weight / (weight + np.float32(_FILL_WEIGHT**2)))


def _match_colors(
    texels: _Texels,
    photo: Colors,
    ours: Colors,
    imagined: Colors,
    theirs: Colors,
) -> Colors:
    """The generated layer's slow band (T, 3) in the photograph's colours."""
    from recon.surface._texel_kernels import gather, interpolate

    both = (np.minimum(ours, theirs * 10) * (theirs > 0))[:, 0]
    if not both.any():
        return imagined
    matched = _affine_match(imagined, photo, both)
    total, weight = gather(texels.faces, texels.face, texels.bary, both, photo - matched, len(texels.vertices))
    difference = total / np.maximum(weight, 1e-20)[:, None]
    confidence = weight / max(float(np.percentile(weight[weight > 0], 75)), 1e-20)
    membrane = diffuse(
        texels.vertices, texels.faces, difference, np.minimum(confidence, 1.0), reach=_MEMBRANE_REACH * texels.extent
    )
    return np.asarray(matched + interpolate(texels.faces, texels.face, texels.bary, membrane))


def _affine_match(source: Colors, target: Colors, weight: Colors) -> Colors:
    """`source` (T, 3) after the affine map that brings it closest to `target` under `weight`, held near identity."""
    used = np.flatnonzero(weight > 0)
    used = used[:: max(len(used) // 50_000, 1)]
    w = weight[used].astype(np.float64)
    w /= w.sum()
    a = np.concatenate((source[used], np.ones((len(used), 1))), 1).astype(np.float64)
    b = target[used].astype(np.float64)
    identity: Colors = np.eye(4, 3)
    ridge = np.diag([0.01, 0.01, 0.01, 0.01])
    solution: Colors = identity
    robust: Colors = w
    for _ in range(3):
        normal = a.T @ (robust[:, None] * a) + ridge
        solution = np.linalg.solve(normal, a.T @ (robust[:, None] * b) + ridge @ identity)
        error = np.abs(a @ solution - b).max(1)
        robust = w / (1 + (error / 0.1) ** 2)
        robust /= robust.sum()
    return np.asarray(source @ solution[:3].astype(np.float32) + solution[3].astype(np.float32))


def _fill(texels: _Texels, color: Colors, known: Colors) -> Colors:
    """(T, 3) colour for every texel, smooth over the surface, from those that were seen well."""
    from recon.surface._texel_kernels import gather, interpolate

    weight = (known / (known + np.float32((4 * _FILL_WEIGHT) ** 2)))[:, 0]
    total, weights = gather(texels.faces, texels.face, texels.bary, weight, color, len(texels.vertices))
    values = total / np.maximum(weights, 1e-20)[:, None]
    texels_per_vertex = max(len(texels.index) / len(texels.vertices), 1.0)
    confidence = 3 * weights / texels_per_vertex
    confidence[confidence < 0.02] = 0
    field = diffuse(texels.vertices, texels.faces, values, confidence, reach=None)
    return np.asarray(interpolate(texels.faces, texels.face, texels.bary, field))


def _image(texels: _Texels, color: Colors) -> torch.Tensor:
    """(S, S, 3) uint8, islands padded."""
    flat = np.zeros((texels.size**2, 3), np.uint8)
    flat[texels.index] = np.clip(color * 255 + 0.5, 0, 255).astype(np.uint8)
    return pad_islands(flat, texels.index, texels.size)


def pad_islands(flat: NDArray[np.uint8], index: NDArray[np.int64], size: int) -> torch.Tensor:
    """(S, S, 3) uint8 of texels (S * S, 3); those that are not in `index` repeat the nearest one that is, for filtering
    and mipmaps."""
    import cv2

    outside = np.ones(size * size, np.uint8)
    outside[index] = 0
    _, labels = cv2.distanceTransformWithLabels(
        outside.reshape(size, size), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    labels = labels.reshape(-1)
    nearest = np.zeros(labels.max() + 1, np.int64)
    nearest[labels[index]] = index
    return torch.from_numpy(flat[nearest[labels]].reshape(size, size, 3))
