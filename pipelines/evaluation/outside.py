"""Methods from outside take part by a folder: `<object>.glb` for meshes, `<object>/001.png` and so on for views.

An evaluation's own `rows/NAME` is such a folder.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from gen.data.names import MESH_SUFFIXES, stem
from pipelines._run import files_digest
from pipelines.evaluation.protocol import EvaluationError
from pipelines.evaluation.subject import Answer, Method, Subject, Timer, picture_files
from recon.capture.images import read_rgba
from recon.metrics.views import resize_views
from recon.surface.loading import load_mesh
from recon.surface.mesh import Mesh

MESH = "mesh.glb"
"""Another place of an object's mesh: in its folder, beside its views."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_WHITE = 0.04
"""Pictures without transparency: a pixel this near to white in every channel is background."""


@dataclass(frozen=True)
class Outside:
    """A folder that stands in the tables under a name.

    Attributes:
        name: given by the user.
        folder: holds `<stem>.glb` (.gltf, .obj) or `<stem>/mesh.glb` in the house's frame (+Y up, front +Z, the object
            in the sphere of diameter 1; aligned figures forgive another), or `<stem>/` with the numbered views of the
            path, or both.
        makes: which of the two it holds.
    """

    name: str
    folder: Path
    makes: frozenset[str]

    def method(self, wanted: frozenset[str]) -> Method:
        """As a row of the tables in which what is `wanted` is measured."""
        return Method(self.name, "generated", self._answer, self.makes & wanted, elsewhere=True)

    def digest(self, object_id: str) -> str:
        """SHA-256 of the files about an object; of all of the folder's where its mesh may need other files."""
        meshes, pictures = self._meshes(object_id), self.folder / stem(object_id)
        files = [*meshes, *(sorted(pictures.iterdir()) if pictures.is_dir() else ())]
        if any(mesh.suffix.lower() != ".glb" for mesh in meshes):
            files += sorted(self.folder.iterdir())
        return files_digest(self.folder, [file for file in files if file.is_file()])

    def _answer(self, subject: Subject, timer: Timer) -> Answer:
        views, notes = self._views(subject, timer) if "views" in self.makes else (None, {})
        mesh = self._mesh(subject.id, timer) if "meshes" in self.makes else None
        return Answer(views, mesh, notes=notes)

    def _meshes(self, object_id: str) -> list[Path]:
        places = (self.folder / f"{stem(object_id)}{suffix}" for suffix in MESH_SUFFIXES)
        return [place for place in (*places, self.folder / stem(object_id) / MESH) if place.is_file()]

    def _mesh(self, object_id: str, timer: Timer) -> Mesh | None:
        files = self._meshes(object_id)
        if not files:
            timer.warnings.append(f"{self.folder}: found no mesh named {stem(object_id)}")
            return None
        if len(files) > 1:
            timer.warnings.append(f"{self.folder}: {' and '.join(f.name for f in files)} are one object's; keep one")
            return None
        try:
            return load_mesh(files[0])
        except (ValueError, OSError) as error:
            timer.warnings.append(str(error))
            return None

    def _views(self, subject: Subject, timer: Timer) -> tuple[Tensor, dict[str, str]]:
        """The views after the first; empty pictures where one is missing or cannot be used."""
        size = subject.views.shape[1]
        folder = self.folder / stem(subject.id)
        files = picture_files(folder) if folder.is_dir() else {}
        views = torch.zeros(len(subject.cameras) - 1, size, size, 4)
        opaque, missing, unusable = False, [], []
        for index in range(1, len(subject.cameras)):
            if index not in files:
                missing.append(index)
                continue
            try:
                picture = _read(files[index])
            except (ValueError, OSError) as error:
                unusable.append(str(error))
                continue
            if bool((picture[..., 3] == 1).all()):
                picture, opaque = _cut_from_white(picture), True
            views[index - 1] = resize_views(picture[None], size)[0]
        if unusable:
            timer.warnings.append(f"{len(unusable)} views cannot be used and count as empty, the first: {unusable[0]}")
        notes = {"views missing": str(len(missing)), "views unusable": str(len(unusable))}
        notes = {text: count for text, count in notes.items() if count != "0"}
        return views, notes | ({"masks found against": "white"} if opaque else {})


def open_outside(text: str, object_ids: Iterable[str]) -> Outside:
    """The method that `NAME=FOLDER` means.

    Raises:
        EvaluationError: if it is not of that form, or the folder holds nothing about any of the objects.
    """
    name, equals, place = text.partition("=")
    if not equals or _NAME.fullmatch(name) is None:
        raise EvaluationError(
            f"--method {text}: expected the name of a built-in method, or NAME=FOLDER with the meshes or views of "
            "another (NAME of letters, digits, dots and dashes)"
        )
    folder = Path(place)
    stems = {stem(object_id) for object_id in object_ids}
    if not folder.is_dir():
        raise EvaluationError(f"--method {text}: there is no folder {folder}")
    files, folders = ([f for f in folder.iterdir() if test(f)] for test in (Path.is_file, Path.is_dir))
    meshes = any(f.stem in stems and f.suffix.lower() in MESH_SUFFIXES for f in files)
    meshes |= any(f.name in stems and (f / MESH).is_file() for f in folders)
    views = any(f.name in stems and picture_files(f) for f in folders)
    makes = {"meshes": meshes, "views": views}
    if not any(makes.values()):
        example = min(stems)
        raise EvaluationError(
            f"{folder}: expected {example}.glb or {example}/001.png for at least one object of the set, found neither"
        )
    return Outside(name, folder, frozenset(kind for kind, there in makes.items() if there))


def _read(file: Path) -> Tensor:
    """(S, S, 4) straight alpha.

    Raises:
        ValueError, OSError: if there is no square picture.
    """
    picture = read_rgba(file)
    height, width = picture.shape[:2]
    if height != width:
        raise EvaluationError(f"{file}: expected a square picture, found {width}x{height}")
    return picture


def _cut_from_white(picture: Tensor) -> Tensor:
    alpha = ((1 - picture[..., :3]).amax(dim=-1) > _WHITE).to(picture)
    return torch.cat((picture[..., :3], alpha[..., None]), dim=-1)
