"""From a glTF document of this program's back to a mesh."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recon.asset._glb_container import GlbError
from recon.asset._glb_document import BYTE, FLOAT, INT, SHORT, WEBP
from recon.asset.textures import decode_texture, linear_to_srgb
from recon.surface.mesh import Material, Mesh


@dataclass(frozen=True)
class Asset:
    """What a file holds: the mesh, its name, and where it came from."""

    mesh: Mesh
    name: str
    extras: dict[str, Any] = field(default_factory=dict)


def asset_of(document: dict[str, Any], binary: bytes) -> Asset:
    """The one mesh of a document.

    Raises:
        GlbError: if there is not exactly one, or its parts do not fit together; other damage shows as `KeyError`,
            `IndexError`, `TypeError`, `AttributeError`, `OverflowError` or `ValueError`.
    """
    if len(document["nodes"]) != 1 or len(document["meshes"]) != 1:
        raise GlbError("expected one node with one mesh, as this program writes; found another program's file")
    node, mesh = document["nodes"][0], document["meshes"][0]

    def vectors(index: int | None, width: int) -> Tensor | None:
        return None if index is None else torch.from_numpy(_accessor(document, binary, index, width).astype(np.float32))

    attributes = mesh["primitives"][0]["attributes"]
    vertices = vectors(attributes["POSITION"], 3)
    assert vertices is not None
    colors = vectors(attributes.get("COLOR_0"), 3)
    faces, face_material = [], []
    for primitive in mesh["primitives"]:
        if primitive["attributes"] != attributes:
            raise GlbError("expected primitives that share their vertices, as this program writes")
        indices = _accessor(document, binary, primitive["indices"], 1).astype(np.int64).reshape(-1, 3)
        if indices.size and indices.max() >= len(vertices):
            raise GlbError(f"a face names vertex {indices.max()}, there are {len(vertices)}")
        faces.append(torch.from_numpy(indices))
        face_material.append(torch.full((len(indices),), int(primitive["material"])))
    materials = tuple(_material(document, binary, material) for material in document["materials"])
    if any(int(kind[0]) >= len(materials) for kind in face_material if len(kind)):
        raise GlbError("a primitive names a material that is not there")
    return Asset(
        Mesh(
            vertices=vertices,
            faces=torch.cat(faces),
            uvs=vectors(attributes.get("TEXCOORD_0"), 2),
            normals=vectors(attributes.get("NORMAL"), 3),
            colors=None if colors is None else linear_to_srgb(colors),
            materials=materials,
            face_material=torch.cat(face_material) if len(materials) > 1 else None,
        ),
        name=str(node.get("name", "object")),
        extras=dict(document["asset"].get("extras", {})),
    )


def _material(document: dict[str, Any], binary: bytes, description: dict[str, Any]) -> Material:
    surface = description["pbrMetallicRoughness"]
    factor = torch.tensor(surface.get("baseColorFactor", [1.0, 1.0, 1.0, 1.0]), dtype=torch.float32)
    texture = None
    if "baseColorTexture" in surface:
        described = document["textures"][surface["baseColorTexture"]["index"]]
        source = described.get("extensions", {}).get(WEBP, described)["source"]
        texture = decode_texture(_view(document, binary, document["images"][source]["bufferView"]))
    return Material(
        base_color=torch.cat((linear_to_srgb(factor[:3]), factor[3:])),
        texture=texture,
        alpha_cutoff=description.get("alphaCutoff", 0.5) if description.get("alphaMode") == "MASK" else None,
        name=str(description.get("name", "material")),
    )


def _view(document: dict[str, Any], binary: bytes, index: int) -> bytes:
    view = document["bufferViews"][index]
    start, length = int(view.get("byteOffset", 0)), int(view["byteLength"])
    if start < 0 or length < 0 or start + length > len(binary):
        raise GlbError(f"buffer view {index} reaches beyond the binary chunk")
    return binary[start : start + length]


def _accessor(document: dict[str, Any], binary: bytes, index: int, width: int) -> NDArray[Any]:
    accessor = document["accessors"][index]
    kinds = {BYTE: "<u1", SHORT: "<u2", INT: "<u4", FLOAT: "<f4"}
    if accessor["componentType"] not in kinds or accessor["type"] != ("SCALAR" if width == 1 else f"VEC{width}"):
        raise GlbError(f"accessor {index} has a type that this program does not write")
    array = np.frombuffer(_view(document, binary, accessor["bufferView"]), kinds[accessor["componentType"]])
    if array.size != int(accessor["count"]) * width:
        raise GlbError(f"accessor {index} promises {accessor['count']} elements, its data hold {array.size // width}")
    return array.reshape(-1, width)
