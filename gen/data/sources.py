"""What a dataset can be rendered from: an object pack, a folder of meshes, or one of animated meshes. Lists and tiers
included."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from gen.data.format import DatasetError
from gen.data.names import MESH_SUFFIXES
from gen.data.pack import ObjectPack
from recon.surface.gltf_file import SUFFIXES
from recon.surface.mesh import Mesh
from recon.surface.rigged import RiggedMesh, load_rigged

NEVER_TRAIN = "never_train.txt"
VALIDATION = "validation.txt"
"""The list beside animated files of those to report on."""


@dataclass(frozen=True)
class ObjectInfo:
    """What is known of an object besides its shape; goes into `dataset.json`.

    Attributes:
        id: unique in its source.
        tier: A textured and realistic, B several colours, C near one colour.
        group: its family; relatives never lie on both sides of a split.
        licence, author: as its source states them, "" when unknown.
        kind: of what sort it is ("scan" for real things), "" when unknown.
        variant: which drawing of the object in a dataset, 0 the first.
    """

    id: str
    tier: str = "B"
    group: str = ""
    licence: str = ""
    author: str = ""
    kind: str = ""
    variant: int = 0

    @property
    def scene(self) -> str:
        """Names the drawing."""
        return f"{self.id}#{self.variant}" if self.variant else self.id


class ObjectSource(Protocol):
    """Objects by id, in our world frame and inside the sphere of diameter 1."""

    objects: tuple[ObjectInfo, ...]

    def mesh(self, object_id: str) -> Mesh: ...


class PackSource:
    """An object pack and the `manifest*.jsonl` beside it, if any."""

    def __init__(self, path: Path) -> None:
        self._pack = ObjectPack(path)
        known = _read_manifests(path.parent)
        self.objects = tuple(known.get(i, ObjectInfo(i)) for i in self._pack.ids)

    def mesh(self, object_id: str) -> Mesh:
        return self._pack.mesh(object_id)


class FolderSource:
    """All GLB, glTF and OBJ files under a folder; an object's id is its path inside it, suffix included.

    Raises:
        DatasetError: if there are none, or a path is not valid Unicode.
    """

    def __init__(self, folder: Path) -> None:
        self._paths = _files(folder, MESH_SUFFIXES)
        known = _read_manifests(folder)
        self.objects = tuple(known.get(i, ObjectInfo(i)) for i in self._paths)

    def mesh(self, object_id: str) -> Mesh:
        from recon.surface.loading import load_mesh, normalised

        path = self._paths[object_id]
        mesh = load_mesh(path)
        try:
            return normalised(mesh)
        except ValueError as error:
            raise DatasetError(f"{path}: {error}; remove it or list it under --exclude") from error


class AnimatedSource:
    """All animated GLB and glTF files under a folder; ids as in `FolderSource`.

    Raises:
        DatasetError: if there are none, or a path is not valid Unicode.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise DatasetError(f"{folder}: expected a folder of animated {' and '.join(SUFFIXES)} files")
        self._paths = _files(folder, SUFFIXES)
        known = _read_manifests(folder)
        self.objects = tuple(known.get(i, ObjectInfo(i)) for i in self._paths)

    def rigged(self, object_id: str) -> RiggedMesh:
        """As the file has it, in its own size."""
        return load_rigged(self._paths[object_id])


def open_source(path: Path) -> PackSource | FolderSource:
    """A pack file or a folder of meshes.

    Raises:
        DatasetError: if it is neither.
    """
    if path.is_dir():
        return FolderSource(path)
    if not path.is_file():
        raise DatasetError(f"{path}: no such pack or folder")
    return PackSource(path)


def read_ids(path: Path) -> frozenset[str]:
    """Object ids of a list, one a line; blank lines and lines that begin with # do not count.

    Raises:
        DatasetError: if the file is missing, not text, or empty.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()  # -sig: Windows editors mark the first line
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: cannot be read as a list of object ids ({error})") from error
    ids = frozenset(line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#"))
    if not ids:
        raise DatasetError(f"{path}: expected object ids, one a line, found none")
    return ids


def _files(folder: Path, suffixes: tuple[str, ...]) -> dict[str, Path]:
    """The files with one of the suffixes under a folder, by their paths in it."""
    paths = {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in suffixes and path.is_file()
    }
    if not paths:
        raise DatasetError(f"{folder}: expected {', '.join(suffixes)} files in the folder, found none")
    for name in paths:
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise DatasetError(f"{folder}: the file name {name!r} is not UTF-8; rename the file") from error
    return paths


def _read_manifests(folder: Path) -> dict[str, ObjectInfo]:
    known: dict[str, ObjectInfo] = {}
    for path in sorted(folder.glob("manifest*.jsonl")):
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError as error:
            raise DatasetError(f"{path}: expected UTF-8 text, found other bytes ({error}); save it as UTF-8") from error
        for number, line in enumerate(lines, start=1):
            try:
                entry = json.loads(line)
                fields: dict[str, Any] = {
                    key: str(entry.get(key, "")) for key in ("group", "licence", "author", "kind")
                }
                info = ObjectInfo(id=str(entry["id"]), tier=str(entry.get("tier", "B")), **fields)
            except (ValueError, KeyError, AttributeError, TypeError) as error:
                raise DatasetError(f"{path}, line {number}: expected a JSON object with an id") from error
            known[info.id] = info
    return known
