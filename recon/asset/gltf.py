"""`Mesh` to a binary glTF 2.0 file (.glb) and back.

The house's world is glTF's: +Y up, front +Z, metres; nothing is rotated. Colours are sRGB in textures and linear in
factors and vertex colours, as the format asks. Materials are unlit by default (KHR_materials_unlit): a texture taken
from pictures already holds their light, and lighting it again would wash it out; `unlit=False` writes a rough
dielectric instead, which is also what programs without the extension fall back to.
"""

from __future__ import annotations

import io
import json
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recon.asset.placing import AssetError, Origin, place_mesh
from recon.surface.mesh import Material, Mesh, vertex_normals

_MAGIC, _VERSION, _JSON, _BIN = 0x46546C67, 2, 0x4E4F534A, 0x004E4942
_BYTE, _SHORT, _INT, _FLOAT = 5121, 5123, 5125, 5126
_VERTICES, _INDICES = 34962, 34963
_CLAMP, _REPEAT = 33071, 10497
_UV_SLACK = 1e-4
_WEBP = "EXT_texture_webp"
_MAX_BYTES = 1 << 30
_MAX_PIXELS = 100_000_000

ImageFormat = Literal["png", "jpeg", "webp"]


class GlbError(ValueError):
    """A .glb file that cannot be read here."""


@dataclass(frozen=True)
class Asset:
    """What a file holds: the mesh, its name, and where it came from."""

    mesh: Mesh
    name: str
    extras: dict[str, Any] = field(default_factory=dict)


def write_glb(
    mesh: Mesh,
    path: Path,
    *,
    size: float | None = 1.0,
    origin: Origin = "centre",
    name: str = "object",
    extras: Mapping[str, Any] | None = None,
    unlit: bool = True,
    double_sided: bool = False,
    image_format: ImageFormat = "png",
) -> None:
    """Writes one mesh in one node; the file appears whole or not at all.

    Args:
        size: longest side in metres, or None to keep the scale; see `place_mesh`.
        origin: "centre", "base" or "keep".
        name: of the node and the mesh; materials keep theirs.
        extras: provenance (input hash, seed, versions ...), anything JSON holds; kept in `asset.extras`, and on the
            node, where editors show it.
        double_sided: for surfaces that are open.
        image_format: "png" keeps every texel; "jpeg" and "webp" are some times smaller and lose a little. WebP needs a
            program that knows EXT_texture_webp (Blender, three.js; not Godot 3). Textures with holes are never JPEG.

    Raises:
        AssetError: if the mesh cannot be placed, lacks texture coordinates for its texture, or `extras` is not JSON.
        OSError: if the file cannot be written.
    """
    mesh = place_mesh(mesh, size=size, origin=origin)
    document, binary = _document(mesh, name, dict(extras or {}), unlit, double_sided, image_format)
    try:
        text = json.dumps(document, separators=(",", ":"), allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise AssetError(f"extras of {path.name} must be plain JSON values: {error}") from error
    text += b" " * (-len(text) % 4)
    binary += b"\0" * (-len(binary) % 4)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(struct.pack("<III", _MAGIC, _VERSION, 12 + 8 + len(text) + 8 + len(binary)))
            file.write(struct.pack("<II", len(text), _JSON) + text)
            file.write(struct.pack("<II", len(binary), _BIN) + binary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read_glb(path: Path) -> Asset:
    """Reads a file that `write_glb` wrote (one mesh, no transforms, no compression).

    Files of other programs are read by `recon.surface.loading.load_mesh`.

    Raises:
        GlbError: if the file is not such a file; sizes are checked before anything is decoded.
        OSError: if it cannot be opened.
    """
    try:
        document, binary = _split(path)
        return _asset(document, binary)
    except (KeyError, IndexError, TypeError, AttributeError, OverflowError, struct.error) as error:
        raise GlbError(f"{path}: not a file that this program wrote ({error!r})") from error
    except ValueError as error:
        raise error if isinstance(error, GlbError) else GlbError(f"{path}: {error}") from error


class _Buffer:
    """Collects the binary chunk and describes its parts."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.views: list[dict[str, Any]] = []
        self.accessors: list[dict[str, Any]] = []

    def add_bytes(self, data: bytes, target: int | None = None) -> int:
        self.data += b"\0" * (-len(self.data) % 4)
        view: dict[str, Any] = {"buffer": 0, "byteOffset": len(self.data), "byteLength": len(data)}
        if target is not None:
            view["target"] = target
        self.data += data
        self.views.append(view)
        return len(self.views) - 1

    def add_vectors(self, values: Tensor, *, bounds: bool = False) -> int:
        array = np.ascontiguousarray(values.detach().cpu().numpy(), dtype="<f4")
        accessor: dict[str, Any] = {
            "bufferView": self.add_bytes(array.tobytes(), _VERTICES),
            "componentType": _FLOAT,
            "count": len(array),
            "type": f"VEC{array.shape[1]}",
        }
        if bounds:
            accessor["min"], accessor["max"] = array.min(0).tolist(), array.max(0).tolist()
        self.accessors.append(accessor)
        return len(self.accessors) - 1

    def add_indices(self, faces: Tensor, vertices: int) -> int:
        kind, code = ("<u2", _SHORT) if vertices < 0xFFFF else ("<u4", _INT)
        array = faces.reshape(-1).cpu().numpy().astype(kind)
        view = self.add_bytes(array.tobytes(), _INDICES)
        self.accessors.append({"bufferView": view, "componentType": code, "count": len(array), "type": "SCALAR"})
        return len(self.accessors) - 1


def _document(
    mesh: Mesh, name: str, extras: dict[str, Any], unlit: bool, double_sided: bool, image_format: ImageFormat
) -> tuple[dict[str, Any], bytes]:
    used = [0] if mesh.face_material is None else sorted(set(mesh.face_material.tolist()))
    textured = any(mesh.materials[index].texture is not None for index in used)
    if textured and mesh.uvs is None:
        raise AssetError("the mesh has a texture but no texture coordinates; unwrap it first")
    buffer = _Buffer()
    attributes = {
        "POSITION": buffer.add_vectors(mesh.vertices, bounds=True),
        "NORMAL": buffer.add_vectors(_unit_normals(mesh)),
    }
    if textured and mesh.uvs is not None:
        attributes["TEXCOORD_0"] = buffer.add_vectors(mesh.uvs)
    if mesh.colors is not None:
        attributes["COLOR_0"] = buffer.add_vectors(srgb_to_linear(mesh.colors.clamp(0, 1)))

    primitives, materials, images, textures = [], [], [], []
    for slot, index in enumerate(used):
        faces = mesh.faces if mesh.face_material is None else mesh.faces[mesh.face_material == index]
        indices = buffer.add_indices(faces, len(mesh.vertices))
        primitives.append({"attributes": attributes, "indices": indices, "material": slot, "mode": 4})
        material = mesh.materials[index]
        description = _material(material, unlit, double_sided)
        if material.texture is not None:
            data, mime = encode_texture(material.texture, image_format)
            images.append(
                {"bufferView": buffer.add_bytes(data), "mimeType": mime, "name": f"{material.name}_base_color"}
            )
            source = {"source": len(images) - 1}
            textures.append({"sampler": 0} | ({"extensions": {_WEBP: source}} if mime == "image/webp" else source))
            description["pbrMetallicRoughness"]["baseColorTexture"] = {"index": len(textures) - 1}
        materials.append(description)

    node: dict[str, Any] = {"mesh": 0, "name": name}
    document: dict[str, Any] = {
        "asset": {"version": "2.0", "generator": "turnabout"},
        "scene": 0,
        "scenes": [{"nodes": [0], "name": "Scene"}],
        "nodes": [node],
        "meshes": [{"name": name, "primitives": primitives}],
        "materials": materials,
        "accessors": buffer.accessors,
        "bufferViews": buffer.views,
        "buffers": [{"byteLength": len(buffer.data) + (-len(buffer.data) % 4)}],
    }
    if extras:
        document["asset"]["extras"] = extras
        node["extras"] = extras
    if images:
        # Linear, with mipmaps. Clamped, so that no border bleeds to the other side, unless the texture is tiled.
        tiled = mesh.uvs is not None and bool(((mesh.uvs < -_UV_SLACK) | (mesh.uvs > 1 + _UV_SLACK)).any())
        wrap = _REPEAT if tiled else _CLAMP
        document["samplers"] = [{"magFilter": 9729, "minFilter": 9987, "wrapS": wrap, "wrapT": wrap}]
        document["images"], document["textures"] = images, textures
    webp = any("extensions" in texture for texture in textures)
    if unlit or webp:
        document["extensionsUsed"] = ["KHR_materials_unlit"] * unlit + [_WEBP] * webp
    if webp:
        document["extensionsRequired"] = [_WEBP]  # there is no other picture to fall back to
    return document, bytes(buffer.data)


def _material(material: Material, unlit: bool, double_sided: bool) -> dict[str, Any]:
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


def encode_texture(texture: Tensor, image_format: ImageFormat = "png") -> tuple[bytes, str]:
    """An (H, W, 3|4) uint8 sRGB image as file bytes and their MIME type; RGBA is never JPEG."""
    from PIL import Image

    pixels = Image.fromarray(np.ascontiguousarray(texture.cpu().numpy(), dtype=np.uint8))
    stream = io.BytesIO()
    if image_format == "jpeg" and texture.shape[-1] == 3:
        pixels.save(stream, "JPEG", quality=95, subsampling=0, optimize=True)
        return stream.getvalue(), "image/jpeg"
    if image_format == "webp":
        pixels.save(stream, "WEBP", quality=92, method=4)
        return stream.getvalue(), "image/webp"
    pixels.save(stream, "PNG", compress_level=6)
    return stream.getvalue(), "image/png"


def decode_texture(data: bytes) -> Tensor:
    """(H, W, 3|4) uint8 from PNG, JPEG or WebP bytes.

    Raises:
        GlbError: if the bytes are none of them, or the picture has more than 100 megapixels.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP")) as image:
            if image.width * image.height > _MAX_PIXELS:
                raise GlbError(f"texture of {image.width} x {image.height} px is larger than {_MAX_PIXELS} pixels")
            return torch.from_numpy(np.array(image.convert("RGBA" if "A" in image.getbands() else "RGB")))
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise GlbError(f"texture is neither PNG nor JPEG nor WebP ({error})") from error


def srgb_to_linear(value: Tensor) -> Tensor:
    """sRGB-encoded values in [0, 1] to linear light (IEC 61966-2-1)."""
    return torch.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055).clamp_min(0) ** 2.4)


def linear_to_srgb(value: Tensor) -> Tensor:
    """Linear light in [0, 1] to sRGB-encoded values."""
    return torch.where(value <= 0.0031308, value * 12.92, 1.055 * value.clamp_min(0) ** (1 / 2.4) - 0.055)


def _unit_normals(mesh: Mesh) -> Tensor:
    computed = vertex_normals(mesh.vertices, mesh.faces)
    if mesh.normals is None:
        return computed
    length = mesh.normals.norm(dim=1, keepdim=True)
    usable = torch.isfinite(length) & (length > 1e-6)
    return torch.where(usable, mesh.normals / length.clamp_min(1e-6), computed)


def _split(path: Path) -> tuple[dict[str, Any], bytes]:
    if path.stat().st_size > _MAX_BYTES:
        raise GlbError(f"{path}: larger than {_MAX_BYTES >> 20} MiB")
    data = path.read_bytes()
    if len(data) < 20:
        raise GlbError(f"{path}: too short for a .glb file ({len(data)} bytes)")
    magic, version, length = struct.unpack_from("<III", data)
    if magic != _MAGIC or version != _VERSION or length != len(data):
        raise GlbError(f"{path}: expected a glTF 2.0 binary of {len(data)} bytes, its header says otherwise")
    chunks: dict[int, bytes] = {}
    offset = 12
    while offset < len(data):
        size, kind = struct.unpack_from("<II", data, offset)
        if offset + 8 + size > len(data):
            raise GlbError(f"{path}: a chunk reaches beyond the file's end")
        chunks.setdefault(kind, data[offset + 8 : offset + 8 + size])
        offset += 8 + size
    if _JSON not in chunks:
        raise GlbError(f"{path}: has no JSON chunk")
    return json.loads(chunks[_JSON]), chunks.get(_BIN, b"")


def _asset(document: dict[str, Any], binary: bytes) -> Asset:
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
    materials = tuple(_read_material(document, binary, material) for material in document["materials"])
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


def _read_material(document: dict[str, Any], binary: bytes, description: dict[str, Any]) -> Material:
    surface = description["pbrMetallicRoughness"]
    factor = torch.tensor(surface.get("baseColorFactor", [1.0, 1.0, 1.0, 1.0]), dtype=torch.float32)
    texture = None
    if "baseColorTexture" in surface:
        described = document["textures"][surface["baseColorTexture"]["index"]]
        source = described.get("extensions", {}).get(_WEBP, described)["source"]
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
    kinds = {_BYTE: "<u1", _SHORT: "<u2", _INT: "<u4", _FLOAT: "<f4"}
    if accessor["componentType"] not in kinds or accessor["type"] != ("SCALAR" if width == 1 else f"VEC{width}"):
        raise GlbError(f"accessor {index} has a type that this program does not write")
    array = np.frombuffer(_view(document, binary, accessor["bufferView"]), kinds[accessor["componentType"]])
    if array.size != int(accessor["count"]) * width:
        raise GlbError(f"accessor {index} promises {accessor['count']} elements, its data hold {array.size // width}")
    return array.reshape(-1, width)
