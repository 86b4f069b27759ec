"""Reads GLB, glTF and OBJ files of any origin into a `Mesh`, through trimesh.

Files are strangers: their size, the sizes they claim and the pictures they hold are bounded before memory is taken,
and nothing outside of a file's own folder is opened. glTF counts colours linearly, our materials hold them
sRGB-encoded; both formats come out Y up.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Collection
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recon.capture import OBJECT_RADIUS, Similarity
from recon.surface.mesh import Material, Mesh, vertex_normals

MAX_BYTES = 512 << 20
"""Largest file."""
MAX_ELEMENTS = 20_000_000
"""Most vertices or faces of a file, copies of repeated parts counted, and most numbers in one glTF accessor."""
MAX_PIXELS = 100_000_000
SUFFIXES = (".glb", ".gltf", ".obj")
SUPPORTED_EXTENSIONS = frozenset(
    {
        "EXT_texture_webp",
        "KHR_materials_clearcoat",
        "KHR_materials_emissive_strength",
        "KHR_materials_ior",
        "KHR_materials_sheen",
        "KHR_materials_specular",
        "KHR_materials_transmission",
        "KHR_materials_unlit",
        "KHR_materials_volume",
        "KHR_mesh_quantization",
    }
)
"""glTF extensions a file may require; all but the first and the last change nothing that a base colour shows."""


class MeshFileError(ValueError):
    """A mesh file is damaged, too large, or uses what cannot be read."""


def load_mesh(path: Path) -> Mesh:
    """All triangles of a file as one mesh, each part where the file's scene puts it (rest pose, no animation).

    Raises:
        MeshFileError: if the file is not a readable GLB, glTF or OBJ, or holds no triangles.
        OSError: if it cannot be opened.
    """
    import trimesh

    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise MeshFileError(f"{path}: expected {', '.join(SUFFIXES)}, found {suffix or 'no suffix'}")
    if suffix != ".obj":
        read_header(path)
    elif (size := path.stat().st_size) > MAX_BYTES:
        raise MeshFileError(f"{path}: {size} bytes are more than the {MAX_BYTES} allowed; decimate it first")
    try:
        with path.open("rb") as stream:
            scene = trimesh.load_scene(
                stream,
                file_type=suffix[1:],
                resolver=trimesh.resolvers.FilePathResolver(path.parent),
                process=False,
            )
        return _from_scene(scene, path, linear=suffix != ".obj")
    except MeshFileError:
        raise
    except Exception as error:  # a parser fed with garbage raises anything from KeyError to RecursionError
        raise MeshFileError(
            f"{path}: cannot be read as {suffix[1:].upper()} ({type(error).__name__}: {error})"
        ) from error


def companions(path: Path) -> list[Path]:
    """Buffers, materials and pictures that a glTF or OBJ file names and that lie in its folder or below. What cannot be
    read as such a file names none."""
    names: set[str] = set()
    if path.suffix.lower() == ".gltf" and path.is_file():
        try:
            header = json.loads(path.read_bytes())
            named = [entry.get("uri", "") for kind in ("buffers", "images") for entry in header.get(kind, ())]
            names = {unquote(uri) for uri in named if not uri.startswith("data:")}
        except (ValueError, TypeError, AttributeError, RecursionError):
            return []
    elif path.suffix.lower() == ".obj":
        materials = _last_words(path, "mtllib")
        names = materials.union(*(_last_words(path.parent / name, "map_", "bump", "disp") for name in materials))
    folder = path.parent.resolve()
    found = {(folder / name).resolve() for name in names if name and "\0" not in name}
    return sorted(file for file in found if file.is_relative_to(folder) and file.is_file())


def _last_words(file: Path, *keys: str) -> set[str]:
    """What stands at the end of a text file's lines that begin with one of the keys; nothing where there is no file."""
    if not file.is_file():
        return set()
    lines = (line.strip() for line in file.read_text(encoding="utf-8", errors="replace").splitlines())
    return {line.split()[-1] for line in lines if line.lower().startswith(keys) and len(line.split()) > 1}


def normalised(mesh: Mesh) -> Mesh:
    """The mesh moved and scaled so that its bounding box is centred and its farthest vertex touches the sphere of
    diameter 1: how all objects of a dataset lie.

    Raises:
        ValueError: if all vertices lie in one place.
    """
    fitted = box_in_sphere(mesh.vertices, "mesh")
    return mesh.moved(fitted.scale, fitted.translation)


def box_in_sphere(points: Tensor, what: str) -> Similarity:
    """What centres the bounding box of points (N, 3) and takes the farthest of them to the sphere of diameter 1.

    Raises:
        ValueError: as `into_sphere` does.
    """
    low, high = points.min(dim=0).values, points.max(dim=0).values
    return into_sphere(points, (low + high) / 2, what)


def into_sphere(points: Tensor, centre: Tensor, what: str) -> Similarity:
    """What takes `centre` to the origin and the farthest of the points (N, 3) to the sphere of diameter 1.

    Raises:
        ValueError: if all points lie there, or one at no finite distance; the message begins with `what`.
    """
    radius = float((points - centre).norm(dim=1).max()) if len(points) else 0.0
    if not 0 < radius < float("inf"):
        raise ValueError(f"{what} has no extent, so it cannot be scaled")
    scale = OBJECT_RADIUS / radius
    return Similarity(translation=-centre * scale, scale=scale)


def read_header(path: Path, also: Collection[str] = ()) -> dict[str, Any]:
    """The JSON of a GLB or glTF file that claims no more than a file may hold and needs nothing that is not supported.

    Args:
        also: extensions that the caller reads besides `SUPPORTED_EXTENSIONS`.

    Raises:
        MeshFileError: if it is damaged, claims too much, or needs more.
    """
    if (size := path.stat().st_size) > MAX_BYTES:
        raise MeshFileError(f"{path}: {size} bytes are more than the {MAX_BYTES} allowed; decimate it first")
    with path.open("rb") as stream:
        if path.suffix.lower() == ".glb":
            magic, _, _, length, kind = struct.unpack("<4sIIII", stream.read(20).ljust(20, b"\0"))
            if magic != b"glTF" or kind != 0x4E4F534A:
                raise MeshFileError(f"{path}: is not a binary glTF file")
            text = stream.read(min(length, MAX_BYTES))
        else:
            text = stream.read()
    try:
        header: dict[str, Any] = json.loads(text)
        required = set(header.get("extensionsRequired", ()))
        largest = max((int(a["count"]) for a in header.get("accessors", ())), default=0)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise MeshFileError(f"{path}: its glTF header is damaged ({error})") from error
    if unsupported := required - SUPPORTED_EXTENSIONS - set(also):
        raise MeshFileError(f"{path}: requires {', '.join(sorted(unsupported))}; export it without")
    if largest > MAX_ELEMENTS:
        raise MeshFileError(f"{path}: claims {largest} elements in one accessor, at most {MAX_ELEMENTS} are read")
    return header


def _from_scene(scene: Any, path: Path, linear: bool) -> Mesh:
    """Joins the parts of a trimesh scene."""
    import trimesh

    names = [scene.graph[node][1] for node in scene.graph.nodes_geometry]
    parts = [scene.geometry[name] for name in names if isinstance(scene.geometry[name], trimesh.Trimesh)]
    if sum(len(p.faces) for p in parts) == 0:
        raise MeshFileError(f"{path}: holds no triangles")
    if max(sum(len(p.faces) for p in parts), sum(len(p.vertices) for p in parts)) > MAX_ELEMENTS:
        raise MeshFileError(f"{path}: more than {MAX_ELEMENTS} vertices or faces; decimate it first")

    vertices, faces, uvs, normals, colors, face_material = [], [], [], [], [], []
    materials: dict[int, tuple[int, Material]] = {}
    has_normals, offset = True, 0
    for node in scene.graph.nodes_geometry:
        transform, name = scene.graph[node]
        part = scene.geometry[name]
        if not isinstance(part, trimesh.Trimesh) or len(part.faces) == 0:
            continue
        own_normals = "vertex_normals" in part._cache.cache  # without asking, as asking would compute them
        has_normals &= own_normals
        rotation = transform[:3, :3]
        flip = np.linalg.det(rotation) < 0
        count = len(part.vertices)
        indices = np.asarray(part.faces, np.int64)
        if indices.min() < 0 or indices.max() >= count:
            raise MeshFileError(f"{path}: a face of {name!r} points outside of its {count} vertices")
        vertices.append(np.asarray(part.vertices) @ rotation.T + transform[:3, 3])
        faces.append((indices[:, ::-1] if flip else indices) + offset)
        if own_normals:
            normals.append(np.asarray(part.vertex_normals) @ np.linalg.pinv(rotation))
        part_uvs, part_colors, source = _appearance(part.visual, count)
        uvs.append(part_uvs)
        colors.append(encode_srgb(part_colors) if linear else part_colors)
        if id(source) not in materials:
            materials[id(source)] = (len(materials), _material(source, path, linear))
        face_material.append(np.full(len(indices), materials[id(source)][0], np.int64))
        offset += count

    points = torch.from_numpy(np.concatenate(vertices).astype(np.float32))
    if not torch.isfinite(points).all():
        raise MeshFileError(f"{path}: positions contain NaN or infinity")
    triangles = torch.from_numpy(np.concatenate(faces))
    palette = np.concatenate(colors).astype(np.float32)
    return Mesh(
        vertices=points,
        faces=triangles,
        uvs=torch.from_numpy(np.nan_to_num(np.concatenate(uvs)).astype(np.float32)),
        normals=_unit(np.concatenate(normals), points, triangles) if has_normals else None,
        colors=None if (palette == 1).all() else torch.from_numpy(palette),
        materials=tuple(material for _, material in materials.values()),
        face_material=torch.from_numpy(np.concatenate(face_material)),
    )


def _unit(normals: NDArray[np.float64], vertices: Tensor, faces: Tensor) -> Tensor:
    """(V, 3) the file's normals at length 1; those that are no direction are computed."""
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    good = np.isfinite(length) & (length > 1e-12)
    unit = torch.from_numpy(np.where(good, normals / np.where(good, length, 1), 0).astype(np.float32))
    return unit if good.all() else torch.where(torch.from_numpy(good), unit, vertex_normals(vertices, faces))


def _appearance(visual: Any, count: int) -> tuple[NDArray[np.float64], NDArray[np.float64], Any]:
    """(V, 2) texture coordinates with v down, (V, 3) colours, and trimesh's material or None."""
    uvs, colors = np.zeros((count, 2)), np.ones((count, 3))
    if visual.kind == "texture":
        if visual.uv is not None and len(visual.uv) == count:
            uvs = np.array(visual.uv, np.float64)[:, :2]
            uvs[:, 1] = 1 - uvs[:, 1]  # trimesh counts v upward in every format
        painted = visual.vertex_attributes.get("color")
        if painted is not None and len(painted) == count:
            colors = np.asarray(painted, np.float64)[:, :3]
            if np.asarray(painted).dtype.kind != "f":
                colors = colors / np.iinfo(np.asarray(painted).dtype).max
        return uvs, colors, visual.material
    if visual.kind == "vertex":
        colors = np.asarray(visual.vertex_colors, np.float64)[:, :3] / 255
    return uvs, colors, None


def _material(source: Any, path: Path, linear: bool) -> Material:
    """Base colour, texture and alpha test of a trimesh material."""
    import trimesh

    if source is None:
        return Material()
    name = str(getattr(source, "name", None) or "material")
    if isinstance(source, trimesh.visual.material.PBRMaterial):
        factor = np.ones(4) if source.baseColorFactor is None else np.asarray(source.baseColorFactor, np.float64) / 255
        factor = np.append(factor, 1.0)[:4]
        texture = read_picture(source.baseColorTexture, path)
        cutoff = None
        if source.alphaMode in ("MASK", "BLEND") and texture is not None and texture.shape[2] == 4:
            cutoff = 0.5 if source.alphaMode == "BLEND" or source.alphaCutoff is None else float(source.alphaCutoff)
            cutoff /= max(float(factor[3]), 1e-3)
        rgb = encode_srgb(factor[:3]) if linear else factor[:3]
        base = torch.from_numpy(np.append(rgb, factor[3]).astype(np.float32))
        return Material(base, texture, cutoff, name)
    texture = read_picture(getattr(source, "image", None), path)
    diffuse = np.asarray(getattr(source, "diffuse", (255, 255, 255, 255)), np.float64) / 255
    base = torch.from_numpy(np.append(diffuse, 1.0)[:4].astype(np.float32))
    cutoff = 0.5 if texture is not None and texture.shape[2] == 4 else None
    return Material(base, texture, cutoff, name)


def read_picture(image: Any, path: Path) -> Tensor | None:
    """(H, W, 3|4) uint8 of a Pillow image that is not decoded yet.

    Raises:
        MeshFileError: if it has more than `MAX_PIXELS`; `path` is the file that holds it.
    """
    if image is None:
        return None
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise MeshFileError(f"{path}: a texture of {width}x{height} is more than {MAX_PIXELS} pixels")
    see_through = "A" in image.getbands() or "transparency" in image.info
    pixels = np.array(image.convert("RGBA" if see_through else "RGB"))
    if see_through and (pixels[..., 3] == 255).all():
        pixels = pixels[..., :3]
    return torch.from_numpy(np.ascontiguousarray(pixels))


def encode_srgb(linear: NDArray[np.float64]) -> NDArray[np.float64]:
    """Linear light to sRGB (IEC 61966-2-1)."""
    value = np.clip(linear, 0, 1)
    return np.where(value <= 0.0031308, value * 12.92, 1.055 * np.maximum(value, 1e-9) ** (1 / 2.4) - 0.055)
