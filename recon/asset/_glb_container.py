"""The binary container of glTF 2.0: one JSON chunk, one binary chunk, and a header that counts them."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

from recon.asset.placing import AssetError
from recon.splat.files import whole_file

_MAGIC, _VERSION, _JSON, _BIN = 0x46546C67, 2, 0x4E4F534A, 0x004E4942
_MAX_BYTES = 1 << 30


class GlbError(ValueError):
    """A .glb file that cannot be read here."""


def write_container(document: dict[str, Any], binary: bytes, path: Path) -> int:
    """Writes a document and the bytes that it describes; the file appears whole or not at all. Its size in bytes.

    Raises:
        AssetError: if the document's extras are not JSON.
        OSError: if the file cannot be written.
    """
    try:
        text = json.dumps(document, separators=(",", ":"), allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise AssetError(f"extras of {path.name} must be plain JSON values: {error}") from error
    text += b" " * (-len(text) % 4)
    binary += b"\0" * (-len(binary) % 4)
    size = 12 + 8 + len(text) + 8 + len(binary)
    with whole_file(path) as temporary, temporary.open("wb") as file:
        file.write(struct.pack("<III", _MAGIC, _VERSION, size))
        file.write(struct.pack("<II", len(text), _JSON) + text)
        file.write(struct.pack("<II", len(binary), _BIN) + binary)
    return size


def read_container(path: Path) -> tuple[dict[str, Any], bytes]:
    """The JSON document, and the binary chunk (empty where there is none).

    Raises:
        GlbError: if the file is none, or its chunks do not fit into it.
        OSError: if it cannot be opened.
    """
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
