"""Mesh files as their authors keep them: what other files they need; COLLADA and Draco besides what we read anyway.

A mesh and its companions are held in memory by their paths, which never lead out of the place they come from.
"""

from __future__ import annotations

import io
import json
import posixpath
import re
import struct
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recon.surface.loading import MAX_PIXELS, MeshFileError, load_mesh
from recon.surface.mesh import Mesh

MAX_FILES = 64
"""Most files of one object."""
EXTRA = "evaluate"
"""Name of the extra that brings what reads COLLADA and Draco."""
_DRACO = "KHR_draco_mesh_compression"

Reader = Callable[[str], bytes]
"""A file of an object's repository or library, by its path there."""


class OriginError(ValueError):
    """A list of origins, or an object's files, are not usable."""


def need_readers(path: str) -> None:
    """Checks, before anything is fetched, that what reads the file is installed.

    Raises:
        OriginError: if it is not.
    """
    if _suffix(path) == ".dae":
        _need("collada", "pycollada", path)


def collect(path: str, read: Reader) -> dict[str, bytes]:
    """A mesh file and all files that it needs, by their paths.

    Raises:
        OriginError: if it names files that are not beside it (COLLADA: not in its place), or more than `MAX_FILES`.
    """
    folder = posixpath.dirname(path)
    inside = "" if _suffix(path) == ".dae" else folder  # what reads the other formats looks nowhere else
    files: dict[str, bytes] = {}
    waiting = [path]
    while waiting:
        current = waiting.pop()
        if current in files:
            continue
        if len(files) == MAX_FILES:
            raise OriginError(f"{path}: names more than {MAX_FILES} files")
        files[current] = read(current)
        waiting += [_resolve(folder, name, inside, current) for name in references(current, files[current])]
    return files


def read_mesh(path: str, files: Mapping[str, bytes]) -> Mesh:
    """The mesh of a file and its companions, in the file's frame.

    Raises:
        OriginError: if it is damaged, too large, or needs a package that is not installed.
    """
    with tempfile.TemporaryDirectory(prefix="turnabout-") as scratch:
        plain = Path(scratch) / "plain.glb"
        try:
            if _suffix(path) == ".dae" or _is_draco(path, files[path]):
                plain.write_bytes(_plain_glb(path, files))
                return load_mesh(plain)
            mesh = load_mesh(_stage(path, files, Path(scratch)))
            return _with_plain_pictures(mesh) if _suffix(path) == ".obj" else mesh
        except MeshFileError as error:
            reason = str(error).replace(f"{plain}: ", f"{path}: ").replace(f"{scratch}/", "")
            raise OriginError(reason) from error


def references(path: str, data: bytes) -> list[str]:
    """The files that a mesh or an OBJ's material library names, as it names them.

    Raises:
        OriginError: if a glTF or COLLADA file is damaged.
    """
    suffix = _suffix(path)
    if suffix == ".obj":
        return _after(rb"mtllib", data)
    if suffix == ".mtl":
        return _after(rb"map_kd", data)
    if suffix in (".gltf", ".glb"):
        return _gltf_files(path, data)
    if suffix == ".dae":
        return _collada_images(path, data)
    return []


def _resolve(folder: str, name: str, inside: str, origin: str) -> str:
    """The path of a file that `origin` names, which must lie in the folder `inside`."""
    path = posixpath.normpath(posixpath.join(folder, name))
    outside = posixpath.isabs(name) or ":" in name or "\\" in name or path.split("/")[0] == ".."
    if outside or (inside and not path.startswith(inside + "/")):
        raise OriginError(f"{origin}: names the file {name!r}, which is not in its own folder; it is not fetched")
    return path


def _after(key: bytes, data: bytes) -> list[str]:
    """What stands behind a keyword of an OBJ or MTL file, to the line's end."""
    found = re.findall(rb"^[ \t]*" + key + rb"[ \t]+(.+?)[ \t\r]*$", data, re.IGNORECASE | re.MULTILINE)
    return [name.decode("utf-8", "replace") for name in found]


def _gltf(path: str, data: bytes) -> dict[str, Any]:
    """The JSON of a glTF or GLB file."""
    try:
        if _suffix(path) == ".glb":
            (length,) = struct.unpack_from("<I", data, 12)
            data = data[20 : 20 + length]
        document = json.loads(data)
        if isinstance(document, dict):
            return document
    except (ValueError, struct.error, RecursionError):
        pass
    raise OriginError(f"{path}: expected glTF, found something else")


def _gltf_files(path: str, data: bytes) -> list[str]:
    document = _gltf(path, data)
    try:
        uris = [str(entry.get("uri", "data:")) for kind in ("buffers", "images") for entry in document.get(kind, ())]
    except (AttributeError, TypeError) as error:
        raise OriginError(f"{path}: its buffers or images are damaged ({error})") from error
    return [uri for uri in uris if not uri.startswith("data:")]


def _collada_images(path: str, data: bytes) -> list[str]:
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise OriginError(f"{path}: holds a document type, which is not read")  # entities grow without bounds
    try:
        root = ElementTree.fromstring(data)
    except ElementTree.ParseError as error:
        raise OriginError(f"{path}: expected COLLADA, found something else ({error})") from error
    names = [entry.findtext("{*}init_from") for entry in root.iterfind("{*}library_images/{*}image")]
    return [name for name in names if name and name.strip()]


def _stage(path: str, files: Mapping[str, bytes], folder: Path) -> Path:
    for name, data in files.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    return folder / path


class _Companions:
    """Hands trimesh the files that a mesh names."""

    def __init__(self, path: str, files: Mapping[str, bytes]) -> None:
        self._folder, self._files = posixpath.dirname(path), files

    def get(self, name: str) -> bytes:
        return self._files[posixpath.normpath(posixpath.join(self._folder, name.strip()))]

    __getitem__ = get


def _plain_glb(path: str, files: Mapping[str, bytes]) -> bytes:
    """A COLLADA or Draco-compressed file as GLB without compression, base colours and textures kept."""
    import trimesh

    suffix = _suffix(path)
    if suffix != ".dae":
        _need("DracoPy", "DracoPy", path)
    try:
        scene = trimesh.load_scene(
            io.BytesIO(files[path]), file_type=suffix[1:], resolver=_Companions(path, files), process=False
        )
        for part in scene.geometry.values():
            if isinstance(getattr(part.visual, "material", None), trimesh.visual.material.PBRMaterial):
                part.visual.material = _plain_material(part.visual.material, path, linear=suffix != ".dae")
        data: bytes = scene.export(file_type="glb")
    except OriginError:
        raise
    except Exception as error:  # a parser fed with garbage raises anything from KeyError to RecursionError
        raise OriginError(f"{path}: cannot be read ({type(error).__name__}: {error})") from error
    return data


def _plain_material(material: Any, path: str, linear: bool) -> Any:
    """Base colour, as linear light, and texture alone; decoded, the texture is saved without loss."""
    import trimesh

    factor = None if material.baseColorFactor is None else np.asarray(material.baseColorFactor, np.float64) / 255
    if factor is not None and not linear:
        factor[:3] = np.where(factor[:3] <= 0.04045, factor[:3] / 12.92, ((factor[:3] + 0.055) / 1.055) ** 2.4)
    texture = material.baseColorTexture
    if texture is not None:
        if texture.width * texture.height > MAX_PIXELS:
            raise OriginError(f"{path}: a texture of {texture.width}x{texture.height} is more than {MAX_PIXELS} pixels")
        texture = texture.copy()
    return trimesh.visual.material.PBRMaterial(
        name=material.name,
        baseColorFactor=factor,
        baseColorTexture=texture,
        alphaMode=material.alphaMode,
        alphaCutoff=material.alphaCutoff,
    )


def _with_plain_pictures(mesh: Mesh) -> Mesh:
    """Pictures of an OBJ's materials without their diffuse colour, which is mostly some exporter's grey."""
    white = torch.ones(3)
    materials = (
        m if m.texture is None else replace(m, base_color=torch.cat((white, m.base_color[3:]))) for m in mesh.materials
    )
    return replace(mesh, materials=tuple(materials))


def _is_draco(path: str, data: bytes) -> bool:
    return _suffix(path) in (".gltf", ".glb") and _DRACO in _gltf(path, data).get("extensionsRequired", ())


def _need(module: str, package: str, path: str) -> None:
    if find_spec(module) is None:
        raise OriginError(f"{path}: needs the package {package} to be read; install turnabout[{EXTRA}]")


def _suffix(path: str) -> str:
    return posixpath.splitext(path)[1].lower()
