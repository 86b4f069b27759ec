"""Just enough of the ELF format (64-bit, little-endian) to stand in for a shared library that is never called.

Used by `recon._open3d` on Linux systems without OpenGL and X11. Source: System V ABI, chapters 4 and 5.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

_HEADER = struct.Struct("<4sBBBBB7xHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_DYNAMIC = struct.Struct("<qQ")
_SEGMENT = struct.Struct("<IIQQQQQQ")

_TYPE_SHARED_OBJECT = 3
_SECTION_DYNAMIC, _SECTION_DYNAMIC_SYMBOLS = 6, 11
_SEGMENT_LOAD, _SEGMENT_DYNAMIC, _SEGMENT_STACK = 1, 2, 0x6474E551
_TAG_NEEDED, _TAG_HASH, _TAG_STRINGS, _TAG_SYMBOLS, _TAG_STRINGS_SIZE, _TAG_SYMBOL_SIZE, _TAG_SONAME = (
    1,
    4,
    5,
    6,
    10,
    11,
    14,
)
_GLOBAL, _GLOBAL_FUNCTION = 1, 0x12
_EXECUTE, _WRITE, _READ = 1, 2, 4
_PAGE = 0x10000  # the largest page that Linux uses on these machines

_RETURN_ZERO = {
    "x86_64": (62, bytes.fromhex("31c0c3")),  # xor eax, eax; ret
    "aarch64": (183, bytes.fromhex("000080d2c0035fd6")),  # mov x0, #0; ret
}


@dataclass(frozen=True)
class Imports:
    """What a shared library asks of others.

    Attributes:
        libraries: names (sonames) of the libraries it is linked against.
        symbols: names that one of them, or the program, must define.
    """

    libraries: tuple[str, ...]
    symbols: frozenset[str]


def read_imports(path: Path) -> Imports:
    """The imports of the shared library at `path`.

    Raises:
        ValueError: if the file is not a 64-bit little-endian ELF file.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if data[:6] != b"\x7fELF\x02\x01":
            raise ValueError(f"{path}: expected a 64-bit little-endian ELF file")
        sections = list(_sections(data))
        libraries: list[str] = []
        symbols: set[str] = set()
        for kind, offset, size, link in sections:
            if kind not in (_SECTION_DYNAMIC, _SECTION_DYNAMIC_SYMBOLS):
                continue
            strings = sections[link][1]
            if kind == _SECTION_DYNAMIC:
                entries = _DYNAMIC.iter_unpack(data[offset : offset + size])
                libraries += [_string(data, strings + value) for tag, value in entries if tag == _TAG_NEEDED]
            else:
                for name, info, _, section, _, _ in _SYMBOL.iter_unpack(data[offset : offset + size]):
                    if section == 0 and info >> 4 == _GLOBAL:
                        symbols.add(_string(data, strings + name))
        return Imports(tuple(libraries), frozenset(symbols))


def stub_library(soname: str, symbols: Iterable[str], machine: str) -> bytes:
    """A shared library called `soname` in which every one of `symbols` is a function that returns 0.

    Args:
        machine: `platform.machine()`.

    Raises:
        ValueError: if there is no code for that machine.
    """
    if machine not in _RETURN_ZERO:
        raise ValueError(f"no stub libraries for {machine!r}, only for {' and '.join(_RETURN_ZERO)}")
    machine_code, code = _RETURN_ZERO[machine]
    names = sorted(symbols)
    strings = b"\0" + b"".join(name.encode() + b"\0" for name in (soname, *names))
    count = len(names) + 1  # the first symbol is empty by definition

    code_at = _HEADER.size + 4 * _SEGMENT.size
    symbols_at = _aligned(code_at + len(code), 8)
    hash_at = symbols_at + count * _SYMBOL.size
    strings_at = hash_at + 4 * (3 + count)
    dynamic_at = _aligned(strings_at + len(strings), _PAGE)  # the linker writes into it: pages of its own

    table, name_at = _SYMBOL.pack(0, 0, 0, 0, 0, 0), 1 + len(soname) + 1
    for name in names:
        table += _SYMBOL.pack(name_at, _GLOBAL_FUNCTION, 0, 1, code_at, len(code))
        name_at += len(name) + 1
    # A hash table of one bucket: the chain simply visits every symbol.
    chain = [0, *(i + 1 for i in range(1, count - 1)), 0][:count]
    hash_table = struct.pack(f"<{3 + count}I", 1, count, min(1, count - 1), *chain)
    dynamic = b"".join(
        _DYNAMIC.pack(tag, value)
        for tag, value in (
            (_TAG_SONAME, 1),
            (_TAG_HASH, hash_at),
            (_TAG_STRINGS, strings_at),
            (_TAG_SYMBOLS, symbols_at),
            (_TAG_STRINGS_SIZE, len(strings)),
            (_TAG_SYMBOL_SIZE, _SYMBOL.size),
            (0, 0),
        )
    )
    segments = b"".join(
        _SEGMENT.pack(kind, flags, at, at, at, size, size, align)
        for kind, flags, at, size, align in (
            (_SEGMENT_LOAD, _READ | _EXECUTE, 0, strings_at + len(strings), _PAGE),
            (_SEGMENT_LOAD, _READ | _WRITE, dynamic_at, len(dynamic), _PAGE),
            (_SEGMENT_DYNAMIC, _READ | _WRITE, dynamic_at, len(dynamic), 8),
            (_SEGMENT_STACK, _READ | _WRITE, 0, 0, 16),
        )
    )
    header = _HEADER.pack(
        b"\x7fELF", 2, 1, 1, 0, 0, _TYPE_SHARED_OBJECT, machine_code, 1, 0, _HEADER.size, 0, 0,
        _HEADER.size, _SEGMENT.size, 4, _SECTION.size, 0, 0,
    )  # fmt: skip
    image = (header + segments + code).ljust(symbols_at, b"\0") + table + hash_table + strings
    return image.ljust(dynamic_at, b"\0") + dynamic


def _sections(data: mmap.mmap) -> Iterator[tuple[int, int, int, int]]:
    """Kind, offset, size and linked section of every section."""
    fields = _HEADER.unpack_from(data)
    table, entry_size, count = fields[11], fields[16], fields[17]
    for i in range(count):
        _, kind, _, _, offset, size, link, _, _, _ = _SECTION.unpack_from(data, table + i * entry_size)
        yield kind, offset, size, link


def _string(data: mmap.mmap, offset: int) -> str:
    return data[offset : data.find(b"\0", offset)].decode()


def _aligned(offset: int, to: int) -> int:
    return -(-offset // to) * to
