"""Sets of objects to evaluate on: a folder with an object pack and its lists, or a folder of GLB and OBJ files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gen.data.names import MESH_SUFFIXES
from gen.data.sources import NEVER_TRAIN, FolderSource, ObjectInfo, ObjectSource, PackSource, read_ids
from pipelines._run import files_digest
from pipelines.evaluation.protocol import EvaluationError
from recon.surface.mesh import Mesh

PACK = "objects_train.zip"
TEST_LIST = "validation.txt"
_PARTS = (*MESH_SUFFIXES, ".mtl", ".bin", ".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tga")
"""Suffixes of meshes and of the files that they may need."""


def shipped(name: str = "") -> Path:
    """The folder of the dozen objects that ship with the program, or a file in it; in a checkout or in a wheel.

    Raises:
        EvaluationError: if it is in neither place.
    """
    package = Path(__file__).resolve().parents[1]
    places = [folder / name for folder in (package.parent / "assets" / "eval", package / "_eval")]
    for place in places:
        if place.exists():
            return place
    raise EvaluationError(f"shipped with the program and missing: {places[0]} or {places[1]}; install turnabout again")


@dataclass(frozen=True)
class EvaluationSet:
    """Objects to report on, and those that baselines may look at.

    Attributes:
        source: where all meshes are read from.
        objects: the test objects, by id.
        training: ids of the objects that training may see; none of `objects`. Empty where the set has none.
    """

    source: ObjectSource
    objects: tuple[ObjectInfo, ...]
    training: tuple[str, ...]

    def mesh(self, object_id: str) -> Mesh:
        """In the house's frame, inside the sphere of diameter 1."""
        return self.source.mesh(object_id)


def open_set(folder: Path) -> EvaluationSet:
    """The set in a folder: `PACK`, `TEST_LIST` and the list of objects that no training may see; or mesh files, all of
    which are test objects.

    Raises:
        EvaluationError, DatasetError: if there is neither, or a listed object is not in the pack or not kept from
            training.
    """
    if not folder.is_dir():
        raise EvaluationError(f"{folder}: no such folder; --set names a folder with {PACK} or mesh files")
    if not (folder / PACK).is_file():
        source = FolderSource(folder)
        return EvaluationSet(source, source.objects, ())
    for name in (TEST_LIST, NEVER_TRAIN):
        if not (folder / name).is_file():
            raise EvaluationError(f"{folder}: expected {PACK}, {TEST_LIST} and {NEVER_TRAIN} in it, found no {name}")
    pack = PackSource(folder / PACK)
    wanted, forbidden = read_ids(folder / TEST_LIST), read_ids(folder / NEVER_TRAIN)
    if unprotected := sorted(wanted - forbidden):
        raise EvaluationError(f"{folder / TEST_LIST}: {unprotected[0]!r} is not in {NEVER_TRAIN}, training may see it")
    objects = tuple(o for o in pack.objects if o.id in wanted)
    if missing := sorted(wanted - {o.id for o in objects}):
        raise EvaluationError(f"{folder / TEST_LIST}: {missing[0]!r} is not in {PACK}")
    return EvaluationSet(pack, objects, tuple(o.id for o in pack.objects if o.id not in forbidden))


def set_digest(folder: Path) -> str:
    """SHA-256 of the files that a set's objects and lists are read from; runs on equal sets have equal ones."""
    if (folder / PACK).is_file():
        return files_digest(folder, [folder / name for name in (PACK, TEST_LIST, NEVER_TRAIN)])
    return files_digest(
        folder, [f for f in folder.rglob("*") if f.suffix.lower() in _PARTS or f.name.startswith("manifest")]
    )
