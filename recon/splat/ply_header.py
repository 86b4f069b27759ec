"""Headers of PLY files (Turk 1994): what `ply` and `compressed_ply` find out about a file before they read its body."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from recon.splat.files import SplatsError

MAX_HEADER_BYTES = 1 << 16
ASCII = "ascii"
LIST = "list"

_TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2", "ushort": "u2",
    "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4", "float": "f4", "float32": "f4",
    "double": "f8", "float64": "f8",
}  # fmt: skip
_NAMES = {"f4": "float", "u4": "uint", "u1": "uchar"}
_ENCODINGS = {"binary_little_endian": "<", "binary_big_endian": ">", "ascii": ASCII}


@dataclass(frozen=True)
class Element:
    """One table of a PLY file.

    Attributes:
        count: rows, as the header promises; nothing has been checked against the file.
        properties: name and numpy type (such as "f4") of each column, or `LIST` for rows of varying length.
    """

    name: str
    count: int
    properties: tuple[tuple[str, str], ...]

    def dtype(self, order: str) -> np.dtype:
        """One binary row; without list properties only."""
        return np.dtype([(name, order + kind) for name, kind in self.properties])


@dataclass(frozen=True)
class Header:
    """Attributes:
    encoding: "<" or ">", the byte order of a binary file, or `ASCII`.
    elements: in the file's order, none named twice.
    """

    encoding: str
    elements: tuple[Element, ...]

    @property
    def is_compressed(self) -> bool:
        """Whether this is PlayCanvas' compressed PLY, whatever the file's name."""
        return self.elements[0].name == "chunk"


def read_header(file: BinaryIO, path: Path) -> Header:
    """Reads up to and including `end_header`.

    Raises:
        SplatsError: if there is no header, or it makes no sense.
    """
    start = file.read(MAX_HEADER_BYTES)
    match = re.match(rb"ply\r?\n((?:[^\n]*\n)*?)end_header\r?\n", start)
    if not match:
        raise SplatsError(
            path, found="no PLY header", expected="a 3DGS PLY", remedy="Is it a splat file of another format?"
        )
    file.seek(match.end())
    encoding = ""
    names, counts, columns = list[str](), list[int](), list[list[tuple[str, str]]]()
    for line in match.group(1).decode("ascii", "replace").splitlines():
        words = line.split()
        if words[:1] == ["format"]:
            encoding = _ENCODINGS.get(words[1] if len(words) > 1 else "", "")
        elif words[:1] == ["element"]:
            if len(words) != 3 or not re.fullmatch(r"[0-9]{1,15}", words[2]) or words[1] in names:
                raise _refused(path, line, "one count of vertices")
            names.append(words[1])
            counts.append(int(words[2]))
            columns.append([])
        elif words[:1] == ["property"]:
            if not names or len(words) < 3 or (words[1] != LIST and (len(words) != 3 or words[1] not in _TYPES)):
                raise _refused(path, line, "a property of an element")
            if words[-1] in {name for name, _ in columns[-1]}:
                raise SplatsError(
                    path, found="two properties of one name", expected="distinct names", remedy="Export it again."
                )
            columns[-1].append((words[-1], _TYPES.get(words[1], LIST)))
    if not encoding:
        raise SplatsError(
            path,
            found="no format that is known",
            expected=" or ".join(_ENCODINGS),
            remedy="Export it as a binary PLY.",
        )
    if not names:
        raise SplatsError(
            path,
            found="no vertices",
            expected="an 'element vertex' with properties",
            remedy="Export it as a splat file.",
        )
    elements = zip(names, counts, columns)
    return Header(encoding, tuple(Element(name, count, tuple(own)) for name, count, own in elements))


def header_bytes(elements: list[Element]) -> bytes:
    """The header of a binary little-endian file."""
    lines = ["ply", "format binary_little_endian 1.0"]
    for element in elements:
        lines.append(f"element {element.name} {element.count}")
        lines += [f"property {_NAMES[kind]} {name}" for name, kind in element.properties]
    return "\n".join([*lines, "end_header", ""]).encode("ascii")


def _refused(path: Path, line: str, expected: str) -> SplatsError:
    return SplatsError(path, found=repr(line[:80]), expected=expected, remedy="Export it again.")
