"""How a list names objects: lists are written by hand and by other programs, with and without folders and suffixes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

MESH_SUFFIXES = (".glb", ".gltf", ".obj")


def without_suffix(name: str) -> str:
    """`name` without its mesh suffix, if it has one."""
    path = PurePosixPath(name)
    return name[: -len(path.suffix)] if path.suffix.lower() in MESH_SUFFIXES else name


def stem(object_id: str) -> str:
    """The object's name in file names: its id without the suffix of a mesh file, folders joined by two underscores."""
    return without_suffix(object_id).replace("/", "__")


def find_excluded(object_ids: Iterable[str], listed: Iterable[str]) -> dict[str, frozenset[str]]:
    """Which objects a list of exclusions means: the id of each, with the entries that name it.

    An entry names an object by its id or its file name, with or without the mesh suffix. Where that is ambiguous
    (`model` in many folders), all of them are meant: an object too many left out harms nobody.
    """
    entries: dict[str, set[str]] = {}
    for entry in listed:
        for form in (entry, without_suffix(entry)):
            entries.setdefault(form, set()).add(entry)
    found = {}
    for object_id in object_ids:
        file = PurePosixPath(object_id).name
        forms = {object_id, without_suffix(object_id), file, without_suffix(file)}
        if meant := frozenset(entry for form in forms & entries.keys() for entry in entries[form]):
            found[object_id] = meant
    return found
