"""A glTF document as it grows: meshes, materials and what else a file holds, and the bytes that they refer to."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recon.asset._glb_container import write_container
from recon.asset.placing import AssetError
from recon.asset.textures import ImageFormat, encode_texture, srgb_to_linear
from recon.surface.mesh import Material, Mesh, vertex_normals

BYTE, SHORT, INT, FLOAT = 5121, 5123, 5125, 5126
WEBP = "EXT_texture_webp"
_VERTICES, _INDICES = 34962, 34963
_CLAMP, _REPEAT = 33071, 10497
_UV_SLACK = 1e-4
_COMPONENTS = {"u1": BYTE, "u2": SHORT, "u4": INT, "f4": FLOAT}


class Buffer:
    """Collects the binary chunk and describes its parts."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.views: list[dict[str, Any]] = []
        self.accessors: list[dict[str, Any]] = []

    def add_bytes(self, data: bytes, target: int | None = None) -> int:
        """Index of the view of these bytes."""
        self.data += b"\0" * (-len(self.data) % 4)
        view: dict[str, Any] = {"buffer": 0, "byteOffset": len(self.data), "byteLength": len(data)}
        if target is not None:
            view["target"] = target
        self.data += data
        self.views.append(view)
        return len(self.views) - 1

    def add_vectors(self, values: Tensor, *, bounds: bool = False) -> int:
        """Index of the accessor of a float (N, 2|3|4) attribute of vertices."""
        array = np.ascontiguousarray(values.detach().cpu().numpy(), dtype="<f4")
        accessor = _accessor(self.add_bytes(array.tobytes(), _VERTICES), array, f"VEC{array.shape[1]}")
        if bounds:
            accessor |= _bounds(array)
        return self._add(accessor)

    def add_skin_attribute(self, values: NDArray[Any], *, normalized: bool = False) -> int:
        """Index of the accessor of an unsigned (N, 4) attribute of vertices."""
        accessor = _accessor(self.add_bytes(values.tobytes(), _VERTICES), values, "VEC4")
        return self._add(accessor | ({"normalized": True} if normalized else {}))

    def add_indices(self, faces: Tensor, vertices: int) -> int:
        """Index of the accessor of the corners of (F, 3) faces."""
        array = faces.reshape(-1).cpu().numpy().astype("<u2" if vertices < 0xFFFF else "<u4")
        return self._add(_accessor(self.add_bytes(array.tobytes(), _INDICES), array, "SCALAR"))

    def add_values(self, values: NDArray[Any], kind: str, *, bounds: bool = False) -> int:
        """Index of the accessor of (N, ...) floats that no vertex holds: times, keys, matrices (columns first)."""
        array = np.ascontiguousarray(values, dtype="<f4")
        accessor = _accessor(self.add_bytes(array.tobytes()), array, kind)
        return self._add(accessor | _bounds(array.reshape(len(array), -1)) if bounds else accessor)

    def add_displacements(self, values: NDArray[Any]) -> int:
        """Index of the accessor of a morph target's (N, 3) displacements; those that are 0 are left out where that
        makes the file smaller."""
        array = np.ascontiguousarray(values, dtype="<f4")
        moved = np.flatnonzero(array.any(axis=1)).astype("<u2" if len(array) <= 0xFFFF else "<u4")
        if len(moved) * (moved.itemsize + 12) >= array.nbytes:
            return self._add(_accessor(self.add_bytes(array.tobytes(), _VERTICES), array, "VEC3") | _bounds(array))
        accessor = {"componentType": FLOAT, "count": len(array), "type": "VEC3"} | _bounds(array)
        if len(moved):
            accessor["sparse"] = {
                "count": len(moved),
                "indices": {
                    "bufferView": self.add_bytes(moved.tobytes()),
                    "componentType": _COMPONENTS[moved.dtype.str[1:]],
                },
                "values": {"bufferView": self.add_bytes(array[moved].tobytes())},
            }
        return self._add(accessor)

    def _add(self, accessor: dict[str, Any]) -> int:
        self.accessors.append(accessor)
        return len(self.accessors) - 1


class GlbDocument:
    """Collects what one file holds.

    Attributes:
        buffer: of everything that is added here; skins and animations add theirs to it.
        nodes: of the scene, in the caller's order.
    """

    def __init__(self, *, unlit: bool, double_sided: bool, image_format: ImageFormat) -> None:
        self.buffer = Buffer()
        self.nodes: list[dict[str, Any]] = []
        self._meshes: list[dict[str, Any]] = []
        self._materials: list[dict[str, Any]] = []
        self._images: list[dict[str, Any]] = []
        self._textures: list[dict[str, Any]] = []
        self._written: dict[tuple[int, int], tuple[Material, int]] = {}
        self._tiled = False
        self._unlit, self._double_sided, self._image_format = unlit, double_sided, image_format

    def add_mesh(
        self,
        mesh: Mesh,
        name: str,
        *,
        attributes: Mapping[str, int] | None = None,
        targets: list[dict[str, int]] | None = None,
    ) -> int:
        """Index of a mesh with these further attributes of its vertices and these morph targets (accessors each).
        A material that an earlier mesh has in the same place is not written again.

        Raises:
            AssetError: if the mesh lacks texture coordinates for its texture.
        """
        used = [0] if mesh.face_material is None else sorted(set(mesh.face_material.tolist()))
        textured = any(mesh.materials[index].texture is not None for index in used)
        if textured and mesh.uvs is None:
            raise AssetError("the mesh has a texture but no texture coordinates; unwrap it first")
        described = {
            "POSITION": self.buffer.add_vectors(mesh.vertices, bounds=True),
            "NORMAL": self.buffer.add_vectors(_unit_normals(mesh)),
        }
        if textured and mesh.uvs is not None:
            described["TEXCOORD_0"] = self.buffer.add_vectors(mesh.uvs)
            self._tiled |= bool(((mesh.uvs < -_UV_SLACK) | (mesh.uvs > 1 + _UV_SLACK)).any())
        if mesh.colors is not None:
            described["COLOR_0"] = self.buffer.add_vectors(srgb_to_linear(mesh.colors.clamp(0, 1)))
        described |= attributes or {}

        primitives = []
        for index in used:
            faces = mesh.faces if mesh.face_material is None else mesh.faces[mesh.face_material == index]
            indices = self.buffer.add_indices(faces, len(mesh.vertices))
            material = self._add_material(mesh.materials[index], index)
            primitive = {"attributes": described, "indices": indices, "material": material, "mode": 4}
            primitives.append(primitive | ({"targets": targets} if targets else {}))
        self._meshes.append({"name": name, "primitives": primitives})
        return len(self._meshes) - 1

    def name_targets(self, mesh: int, names: list[str]) -> None:
        """The names under which programs show a mesh's morph targets, none of which is on at first."""
        self._meshes[mesh] |= {"weights": [0.0] * len(names), "extras": {"targetNames": names}}

    def write(self, path: Path, scene: list[int], extras: dict[str, Any], further: dict[str, Any]) -> int:
        """Writes the file. Its size in bytes.

        Args:
            scene: the nodes that hang on nothing; the first carries the extras, too, where editors show them.
            further: other top-level parts (skins, animations).

        Raises:
            AssetError: if the extras are not JSON.
            OSError: if the file cannot be written.
        """
        document: dict[str, Any] = {
            "asset": {"version": "2.0", "generator": "turnabout"},
            "scene": 0,
            "scenes": [{"nodes": scene, "name": "Scene"}],
            "nodes": self.nodes,
            "meshes": self._meshes,
            "materials": self._materials,
            "accessors": self.buffer.accessors,
            "bufferViews": self.buffer.views,
            "buffers": [{"byteLength": len(self.buffer.data) + (-len(self.buffer.data) % 4)}],
        }
        if extras:
            document["asset"]["extras"] = extras
            self.nodes[scene[0]]["extras"] = extras
        if self._images:
            # Linear, with mipmaps. Clamped, so that no border bleeds to the other side, unless the texture is tiled.
            wrap = _REPEAT if self._tiled else _CLAMP
            document["samplers"] = [{"magFilter": 9729, "minFilter": 9987, "wrapS": wrap, "wrapT": wrap}]
            document["images"], document["textures"] = self._images, self._textures
        webp = any("extensions" in texture for texture in self._textures)
        if self._unlit or webp:
            document["extensionsUsed"] = ["KHR_materials_unlit"] * self._unlit + [WEBP] * webp
        if webp:
            document["extensionsRequired"] = [WEBP]  # there is no other picture to fall back to
        return write_container(document | further, bytes(self.buffer.data), path)

    def _add_material(self, material: Material, place: int) -> int:
        if (place, id(material)) in self._written:
            return self._written[place, id(material)][1]
        description = _described(material, self._unlit, self._double_sided)
        if material.texture is not None:
            data, mime = encode_texture(material.texture, self._image_format)
            view = self.buffer.add_bytes(data)
            self._images.append({"bufferView": view, "mimeType": mime, "name": f"{material.name}_base_color"})
            source = {"source": len(self._images) - 1}
            texture = {"sampler": 0} | ({"extensions": {WEBP: source}} if mime == "image/webp" else source)
            self._textures.append(texture)
            description["pbrMetallicRoughness"]["baseColorTexture"] = {"index": len(self._textures) - 1}
        self._materials.append(description)
        # Kept beside its number, so that its identity is not given to another.
        self._written[place, id(material)] = material, len(self._materials) - 1
        return len(self._materials) - 1


def _described(material: Material, unlit: bool, double_sided: bool) -> dict[str, Any]:
    factor = material.base_color.detach().cpu().float().clamp(0, 1)
    linear = torch.cat((srgb_to_linear(factor[:3]), factor[3:]))
    out: dict[str, Any] = {
        "name": material.name,
        "pbrMetallicRoughness": {
            "baseColorFactor": [round(value, 6) for value in linear.tolist()],
            "metallicFactor": 0.0,
            "roughnessFactor": 0.9,
        },
    }
    if material.alpha_cutoff is not None:
        out["alphaMode"], out["alphaCutoff"] = "MASK", material.alpha_cutoff
    if double_sided:
        out["doubleSided"] = True
    if unlit:
        out["extensions"] = {"KHR_materials_unlit": {}}
    return out


def _unit_normals(mesh: Mesh) -> Tensor:
    computed = vertex_normals(mesh.vertices, mesh.faces)
    if mesh.normals is None:
        return computed
    length = mesh.normals.norm(dim=1, keepdim=True)
    usable = torch.isfinite(length) & (length > 1e-6)
    return torch.where(usable, mesh.normals / length.clamp_min(1e-6), computed)


def _accessor(view: int, array: NDArray[Any], kind: str) -> dict[str, Any]:
    component = _COMPONENTS[array.dtype.str[1:]]
    return {"bufferView": view, "componentType": component, "count": len(array), "type": kind}


def _bounds(array: NDArray[Any]) -> dict[str, list[float]]:
    return {"min": array.min(0).tolist(), "max": array.max(0).tolist()}
