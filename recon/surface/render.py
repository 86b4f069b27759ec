"""Draws a `Mesh`: colour, alpha, depth and normals of any pinhole view, on one processor core, without a display.

Used for training data, as the truth of evaluations and for previews. A mesh that is drawn more than once is prepared
once (`prepare_mesh`), which computes its normals and texture pyramids.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recon.capture import Camera
from recon.surface import _render_kernels as kernels
from recon.surface._prepare_kernels import MAX_LEVELS, build_pyramid, corner_normals
from recon.surface.mesh import Material, Mesh

_HUGE = 1e6
"""Coordinates beyond which a mesh is shrunk before its normals are found."""
NEAR = 1e-3
"""Surfaces closer to the camera than this are not drawn."""


@dataclass(frozen=True)
class Lights:
    """Light that does not move with the camera. Intensities are linear: 1 shows a white surface as white.

    Attributes:
        ambient: (2, 3) light from straight below and straight above, blended by the normal's height.
        directions: (L, 3) unit vectors towards the lights.
        colors: (L, 3).
        albedo_matrix: (3, 3) applied to the linear base colour before lighting: tints or turns the object's colours.
    """

    ambient: Tensor
    directions: Tensor
    colors: Tensor
    albedo_matrix: Tensor

    @classmethod
    def studio(cls, azimuth: float = 0.0) -> Lights:
        """A soft, neutral set: a key light from the upper front left, a weaker fill, a little from behind.

        Args:
            azimuth: radians; the side of the object that is its front here, where the camera stands.
        """
        directions = torch.tensor([[-0.5, 0.7, 0.65], [0.8, 0.3, 0.5], [0.1, 0.6, -0.9]])
        c, s = math.cos(azimuth), math.sin(azimuth)
        turn = torch.tensor([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])
        return cls(
            ambient=torch.tensor([[0.30, 0.29, 0.28], [0.50, 0.51, 0.53]]),
            directions=torch.nn.functional.normalize(directions @ turn.T, dim=1),
            colors=torch.tensor([[0.55, 0.53, 0.50], [0.20, 0.21, 0.24], [0.18, 0.18, 0.18]]),
            albedo_matrix=torch.eye(3),
        )


@dataclass(frozen=True)
class MeshRendering:
    """A drawn view.

    Attributes:
        rgba: (H, W, 4) float32 sRGB, straight alpha.
        depth: (H, W) float32 forward depth, 0 = nothing there.
        normal: (H, W, 3) float32 world normals towards the viewer's side, 0 = nothing there.
    """

    rgba: Tensor
    depth: Tensor
    normal: Tensor


@dataclass(frozen=True)
class PreparedMesh:
    """A mesh as the kernels want it; made by `prepare_mesh`."""

    vertices: NDArray[np.float32]  # (V, 3)
    faces: NDArray[np.int32]  # (F, 3)
    normals: NDArray[np.float32]  # (F, 3, 3)
    uvs: NDArray[np.float32]  # (V, 2)
    colors: NDArray[np.float32]  # (V, 3) or (0, 3)
    face_material: NDArray[np.int32]  # (F,)
    base_colors: NDArray[np.float32]  # (M, 3)
    cutoffs: NDArray[np.float32]  # (M,)
    material_texture: NDArray[np.int32]  # (M,)
    texels: NDArray[np.uint8]  # (N, 4)
    tables: NDArray[np.int64]  # (T, levels, 3)


Pyramid = tuple[NDArray[np.uint8], NDArray[np.int64]]


def texture_pyramid(texture: Tensor) -> Pyramid:
    """Box-filtered levels of an (H, W, 3|4) uint8 image, in the kernels' layout.

    Raises:
        ValueError: if it is not such an image.
    """
    image = texture.numpy()
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] not in (3, 4) or 0 in image.shape:
        raise ValueError(f"texture must be (H, W, 3|4) uint8, found {image.dtype} {image.shape}")
    if image.shape[2] == 3:
        image = np.concatenate((image, np.full_like(image[..., :1], 255)), axis=2)
    return build_pyramid(np.ascontiguousarray(image))


def prepare_mesh(
    mesh: Mesh, *, crease: float = math.radians(40), pyramid: Callable[[Tensor], Pyramid] = texture_pyramid
) -> PreparedMesh:
    """Computes what every view of the mesh shares.

    Args:
        crease: radians; edges sharper than this stay sharp where the mesh brings no normals of its own.
        pyramid: makes a texture's levels; callers that draw many meshes with shared textures pass a cached one.

    Raises:
        ValueError: if a face points to a vertex or a material that does not exist, or a texture is malformed.
    """
    vertices = np.ascontiguousarray(mesh.vertices.numpy(), np.float32)
    faces = np.ascontiguousarray(mesh.faces.numpy(), np.int32)
    if faces.size and (faces.min() < 0 or faces.max() >= len(vertices)):
        raise ValueError(f"mesh has {len(vertices)} vertices, but its faces point to {faces.min()}..{faces.max()}")
    if mesh.face_material is None:
        face_material = np.zeros(len(faces), np.int32)
    else:
        face_material = np.ascontiguousarray(mesh.face_material.numpy(), np.int32)
        if face_material.size and not (face_material.min() >= 0 and face_material.max() < len(mesh.materials)):
            raise ValueError(f"mesh has {len(mesh.materials)} materials, but faces use up to {face_material.max()}")
    if mesh.normals is None:
        # Areas of a mesh this large have no float32; normals do not depend on the size.
        largest = np.abs(vertices).max(initial=0)
        sized = vertices / largest if _HUGE < largest < np.inf else vertices
        normals = corner_normals(sized, faces, np.float32(math.cos(crease)))
    else:
        normals = np.ascontiguousarray(mesh.normals.numpy(), np.float32)[faces]
    uvs = np.zeros((len(vertices), 2), np.float32) if mesh.uvs is None else mesh.uvs.numpy().astype(np.float32)
    colors = np.zeros((0, 3), np.float32) if mesh.colors is None else mesh.colors.numpy().astype(np.float32)
    texels, tables, material_texture = _pack_textures(mesh.materials if mesh.uvs is not None else (), pyramid)
    count = len(mesh.materials)
    return PreparedMesh(
        vertices=vertices,
        faces=faces,
        normals=normals,
        uvs=np.ascontiguousarray(np.nan_to_num(uvs, posinf=0, neginf=0)),
        colors=np.ascontiguousarray(colors),
        face_material=face_material,
        base_colors=np.stack([m.base_color[:3].numpy() for m in mesh.materials]).astype(np.float32),
        cutoffs=np.array([m.alpha_cutoff or 0 for m in mesh.materials], np.float32),
        material_texture=np.resize(material_texture, count) if len(material_texture) else np.full(count, -1, np.int32),
        texels=texels,
        tables=tables,
    )


def render_prepared(
    prepared: PreparedMesh, camera: Camera, *, lights: Lights | None = None, supersample: int = 2
) -> MeshRendering:
    """`render_mesh` of a prepared mesh."""
    if supersample < 1:
        raise ValueError(f"supersample must be at least 1, got {supersample}")
    rgba = np.empty((camera.height, camera.width, 4), np.float32)
    depth = np.empty((camera.height, camera.width), np.float32)
    normal = np.empty((camera.height, camera.width, 3), np.float32)
    scratch = Scratch.allocate(prepared, camera.width, camera.height, supersample)
    intrinsics = camera.intrinsics.double().numpy()
    if camera.distortion is not None or intrinsics[0, 1] != 0:
        raise ValueError("meshes are drawn through pinhole cameras without skew; undistort the camera first")
    w2c = np.ascontiguousarray(np.linalg.inv(camera.c2w.double().numpy())[:3])
    k = np.array([intrinsics[0, 0], intrinsics[1, 1], intrinsics[0, 2], intrinsics[1, 2]])
    draw(prepared, w2c, k, light_arrays(lights), supersample, scratch, rgba, depth, normal)
    return MeshRendering(torch.from_numpy(rgba), torch.from_numpy(depth), torch.from_numpy(normal))


def render_mesh(mesh: Mesh, camera: Camera, *, lights: Lights | None = None, supersample: int = 2) -> MeshRendering:
    """Draws one view of a mesh. Both sides of every face are visible.

    Args:
        lights: None shows base colours as they are.
        supersample: samples per pixel and axis.

    Raises:
        ValueError: if the mesh is inconsistent, the camera is distorted or skewed, or `supersample` < 1.
    """
    return render_prepared(prepare_mesh(mesh), camera, lights=lights, supersample=supersample)


@dataclass(frozen=True)
class Scratch:
    """Sample buffers that views of one size and mesh share."""

    inv_depth: NDArray[np.float32]
    face_ids: NDArray[np.int32]
    weights: NDArray[np.float32]
    extent: NDArray[np.int64]

    @classmethod
    def allocate(cls, prepared: PreparedMesh, width: int, height: int, supersample: int) -> Scratch:
        shape = (height * supersample, width * supersample)
        return cls(
            inv_depth=np.empty(shape, np.float32),
            face_ids=np.empty(shape, np.int32),
            weights=np.empty((len(prepared.faces), 11), np.float32),
            extent=np.empty(4, np.int64),
        )


LightArrays = tuple[bool, NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]


def light_arrays(lights: Lights | None) -> LightArrays:
    """`Lights` in the kernels' order: lit, albedo matrix, ambient, directions, colours."""
    if lights is None:
        none = np.zeros((0, 3), np.float32)
        return False, np.eye(3, dtype=np.float32), np.zeros((2, 3), np.float32), none, none
    values = (lights.albedo_matrix, lights.ambient, lights.directions, lights.colors)
    albedo, ambient, directions, colors = (np.ascontiguousarray(v.numpy(), np.float32) for v in values)
    return True, albedo, ambient, directions, colors


def draw(
    prepared: PreparedMesh,
    w2c: NDArray[np.float64],
    k: NDArray[np.float64],
    lights: LightArrays,
    supersample: int,
    scratch: Scratch,
    rgba: NDArray[np.float32],
    depth: NDArray[np.float32],
    normal: NDArray[np.float32],
) -> None:
    """One view into given arrays; `w2c` (3, 4), `k` fx, fy, cx, cy in pixels."""
    p, samples = prepared, k * supersample
    kernels.rasterize(
        p.vertices, p.faces, p.uvs, p.face_material, p.material_texture, p.cutoffs, p.texels, p.tables,
        w2c, samples, NEAR, scratch.inv_depth, scratch.face_ids, scratch.weights, scratch.extent,
    )  # fmt: skip
    lit, albedo_matrix, ambient, directions, colors = lights
    kernels.shade(
        p.faces, p.normals, p.uvs, p.colors, p.face_material, p.base_colors, p.material_texture, p.texels, p.tables,
        kernels.SRGB_TO_LINEAR, kernels.LINEAR_TO_SRGB, lit, albedo_matrix, ambient, directions, colors,
        np.float32(samples[0]), scratch.inv_depth, scratch.face_ids, scratch.weights, scratch.extent,
        supersample, rgba, depth, normal,
    )  # fmt: skip


def _pack_textures(
    materials: tuple[Material, ...], pyramid: Callable[[Tensor], Pyramid]
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int32]]:
    """All textures' texels behind each other, their level tables, and each material's texture (-1 = none)."""
    slots: dict[int, int] = {}
    parts: list[NDArray[np.uint8]] = []
    tables: list[NDArray[np.int64]] = []
    used = np.full(len(materials), -1, np.int32)
    offset = 0
    for index, material in enumerate(materials):
        if material.texture is None:
            continue
        key = id(material.texture)
        if key not in slots:
            texels, levels = pyramid(material.texture)
            table = np.pad(levels, ((0, MAX_LEVELS - len(levels)), (0, 0)), mode="edge")
            table[:, 0] += offset
            slots[key] = len(parts)
            parts.append(texels)
            tables.append(table)
            offset += len(texels)
        used[index] = slots[key]
    if not parts:
        return np.full((1, 4), 255, np.uint8), np.zeros((1, MAX_LEVELS, 3), np.int64), used
    return (parts[0] if len(parts) == 1 else np.concatenate(parts)), np.stack(tables), used
