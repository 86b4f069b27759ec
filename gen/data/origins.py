"""Where the objects of the evaluation come from, and the way from their authors' files to meshes in our frame.

The objects may be listed but not shipped: a list holds one JSON object a line, with the object's place (a file of a
GitHub repository at a commit, or of a Sweet Home 3D library in a Debian package), which axes of the file are ours, and
the size of the result, by which a wrong file shows. `docs/evaluation.md` describes the fields.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
import urllib.parse
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.request import OpenerDirector

import torch
from torch import Tensor

from gen.data.downloads import (
    MAX_FILE,
    DownloadError,
    check_sha256,
    download,
    download_package,
    https_opener,
    unpack_member,
)
from gen.data.foreign import OriginError, Reader, collect, need_readers, read_mesh
from gen.data.sources import ObjectInfo
from recon.surface.loading import normalised
from recon.surface.mesh import Mesh

RAW_FILES = "https://raw.githubusercontent.com"
TOLERANCE = 0.005
"""By how much a side of an object's box may differ from the listed one."""


@dataclass(frozen=True)
class Package:
    """A library of objects, a ZIP, inside a Debian package.

    Attributes:
        urls: where the package is, tried in this order.
        sha256: of the package.
        library: the ZIP's path in it.
    """

    urls: tuple[str, ...]
    sha256: str
    library: str


@dataclass(frozen=True)
class Repository:
    """A GitHub repository ("owner/name") at a commit."""

    name: str
    commit: str


@dataclass(frozen=True)
class Origin:
    """Where an object comes from, and how it gets into our frame.

    Attributes:
        info: what is known of it.
        place: of all its files.
        path: of its mesh file in that place; what the mesh names is looked for beside it.
        sha256: of the mesh file.
        axes: (3, 3) rotation from the file's frame to ours, all entries 0 or ±1.
        extents: (3,) sides of its box in our frame, in the sphere of diameter 1.
        moved: files that are not where the mesh names them: the named path -> their path.
        supplied: text files that the mesh names and the place lacks: path -> text.
    """

    info: ObjectInfo
    place: Repository | Package
    path: str
    sha256: str
    axes: Tensor
    extents: Tensor
    moved: Mapping[str, str] = field(default_factory=dict)
    supplied: Mapping[str, str] = field(default_factory=dict)

    @property
    def source(self) -> str:
        """The place in one line, for people."""
        if isinstance(self.place, Repository):
            return f"https://github.com/{self.place.name}/blob/{self.place.commit}/{self.path}"
        return f"{self.place.urls[0]}, {self.place.library}, {self.path}"


def read_origins(path: Path) -> tuple[Origin, ...]:
    """The objects of a list, in its order.

    Raises:
        OriginError: if the list cannot be read, is empty, names an object twice, or a line is not an origin.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise OriginError(f"{path}: cannot be read as a list of objects ({error})") from error
    origins: dict[str, Origin] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            origin = _origin(json.loads(line))
        except KeyError as error:
            raise OriginError(f"{path}, line {number}: expected a field {error}, found none") from error
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise OriginError(f"{path}, line {number}: expected an object and its origin ({error})") from error
        if origin.info.id in origins:
            raise OriginError(f"{path}, line {number}: {origin.info.id!r} is listed twice")
        origins[origin.info.id] = origin
    if not origins:
        raise OriginError(f"{path}: expected objects, one JSON object a line, found none")
    return tuple(origins.values())


class Places:
    """Opens repositories and packages. A package is downloaded once; its libraries stay in `cache`."""

    def __init__(self, cache: Path, *, opener: OpenerDirector | None = None, pause: float = 1.0) -> None:
        self._cache, self._opener, self._pause = cache, opener or https_opener(), pause
        self._missing: dict[str, DownloadError] = {}

    def reader(self, place: Repository | Package) -> Reader:
        """What reads the place's files.

        Raises:
            DownloadError: if a package cannot be had.
        """
        if isinstance(place, Package):
            library = self._library(place)
            return lambda path: _read_zipped(library, path)
        base = f"{RAW_FILES}/{place.name}/{place.commit}"
        return lambda path: download(f"{base}/{urllib.parse.quote(path)}", self._opener, pause=self._pause)

    def _library(self, package: Package) -> Path:
        folder = self._cache / package.sha256
        library = folder / PurePosixPath(package.library).name
        if not library.exists():
            unpack_member(self._archive(package, folder), package.library, library)
        return library

    def _archive(self, package: Package, folder: Path) -> Path:
        archive = folder / "package.deb"
        if package.sha256 in self._missing:  # asking for every object once more would take its time
            raise self._missing[package.sha256]
        if not archive.exists():
            folder.mkdir(parents=True, exist_ok=True)
            try:
                download_package(package.urls, package.sha256, archive, self._opener, pause=self._pause)
            except DownloadError as error:
                self._missing[package.sha256] = error
                raise
        return archive


def load_origin(origin: Origin, read: Reader) -> Mesh:
    """The object in our frame, inside the sphere of diameter 1, from its author's files.

    Raises:
        OriginError, DownloadError: if a file is missing, damaged or not the listed one, if the mesh names files that
            are not its own, or if a package that reads it is not installed.
    """
    need_readers(origin.path)
    files = collect(origin.path, lambda path: _read_listed(origin, path, read))
    mesh = normalised(_turned(read_mesh(origin.path, files), origin.axes))
    low, high = mesh.bounds()
    if (high - low - origin.extents).abs().max() > TOLERANCE:
        found, listed = (" × ".join(f"{side:.3f}" for side in box.tolist()) for box in (high - low, origin.extents))
        raise OriginError(
            f"{origin.path}: its box should be {listed}, is {found}; the list's axes or extents are wrong"
        )
    return mesh


def _read_listed(origin: Origin, path: str, read: Reader) -> bytes:
    """A file of an object's place, with what the list says of it."""
    if path in origin.supplied:
        return origin.supplied[path].encode()
    data = read(origin.moved.get(path, path))
    if path == origin.path:
        check_sha256(hashlib.sha256(data).hexdigest(), origin.sha256, path)
    return data


def _origin(entry: dict[str, Any]) -> Origin:
    if not re.fullmatch(r"\w[\w.-]*", entry["id"], re.ASCII):
        raise ValueError(f"the id {entry['id']!r} is no file name")
    path = _inner_path(entry["path"])
    extents = torch.tensor([float(side) for side in entry["extents"]])
    if extents.shape != (3,) or not bool(((extents >= 0) & (extents <= 1)).all()):
        raise ValueError(f"the extents {entry['extents']} are not three sides of a box in the sphere of diameter 1")
    return Origin(
        info=ObjectInfo(
            id=entry["id"],
            tier=str(entry["tier"]),
            group=str(entry["group"]),
            licence=str(entry["licence"]),
            author=str(entry["author"]),
            kind=str(entry["kind"]),
        ),
        place=_place(entry),
        path=path,
        sha256=_sha256(entry["sha256"]),
        axes=_axes(entry["axes"]),
        extents=extents,
        moved={_beside(path, old): _beside(path, new) for old, new in entry.get("moved", {}).items()},
        supplied={_beside(path, name): str(text) for name, text in entry.get("supplied", {}).items()},
    )


def _place(entry: dict[str, Any]) -> Repository | Package:
    if "repository" in entry:
        name, commit = str(entry["repository"]), str(entry["commit"])
        if not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", name) or not re.fullmatch(r"[0-9a-f]{40}", commit):
            raise ValueError(f"{name!r} at {commit!r} is not owner/name at a full commit hash")
        return Repository(name, commit)
    urls = tuple(str(url) for url in entry["package"])
    if not urls or not all(url.startswith("https://") for url in urls):
        raise ValueError("a package needs https addresses")
    return Package(urls, _sha256(entry["package_sha256"]), _inner_path(entry["library"]))


def _axes(names: list[str]) -> Tensor:
    """(3, 3) from the names of the file's axes that are our x, y and z, such as ("+x", "+z", "-y")."""
    rows = torch.zeros(3, 3)
    for row, name in zip(rows, names, strict=True):
        if not re.fullmatch(r"[+-][xyz]", name):
            raise ValueError(f"{name!r} is not an axis (+x, -x, +y, …)")
        row["xyz".index(name[1])] = 1.0 if name[0] == "+" else -1.0
    if torch.linalg.det(rows) < 0.5:
        raise ValueError(f"the axes {', '.join(names)} do not make a rotation")
    return rows


def _inner_path(path: str) -> str:
    if not path or posixpath.isabs(path) or posixpath.normpath(path) != path or path.startswith(".."):
        raise ValueError(f"the path {path!r} is not a plain path")
    return path


def _beside(path: str, name: str) -> str:
    """The path of a file from its name as seen from the folder of `path`."""
    return _inner_path(posixpath.normpath(posixpath.join(posixpath.dirname(path), name)))


def _sha256(text: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise ValueError(f"{text!r} is not a SHA-256")
    return text


def _read_zipped(library: Path, path: str) -> bytes:
    try:
        with zipfile.ZipFile(library) as archive:
            entry = archive.getinfo(path)
            if entry.file_size > MAX_FILE:
                raise DownloadError(f"{library}, {path}: more than the {MAX_FILE} bytes allowed")
            return archive.read(entry)
    except KeyError as error:
        raise DownloadError(f"{library}: expected the file {path} in it, found none") from error
    except (zipfile.BadZipFile, OSError, EOFError, RuntimeError, NotImplementedError) as error:
        raise DownloadError(f"{library}: damaged ({error}); remove it and give the command again") from error


def _turned(mesh: Mesh, axes: Tensor) -> Mesh:
    normals = None if mesh.normals is None else mesh.normals @ axes.T
    return replace(mesh, vertices=mesh.vertices @ axes.T, normals=normals)
