"""`GltfFile`: a GLB or glTF file as its header and arrays, for what trimesh does not keep: skins, morph targets and
animations.

Files are strangers: every index is checked, every array is found to lie in its buffer before it is read, the numbers
read are counted, and nothing outside of a file's own folder is opened.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from recon.surface.loading import MAX_BYTES, MAX_ELEMENTS, MeshFileError, read_header

MAX_NUMBERS = 5 * MAX_ELEMENTS
"""Most numbers that are read from all accessors of one file, those read twice counted twice."""
SUFFIXES = (".glb", ".gltf")
_DRACO = "KHR_draco_mesh_compression"
_EXTRA = "evaluate"
"""Name of the extra that brings what reads Draco."""
_COMPONENTS: dict[int, type[np.generic]] = {
    5120: np.int8, 5121: np.uint8, 5122: np.int16, 5123: np.uint16, 5125: np.uint32, 5126: np.float32,
}  # fmt: skip
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}
"""Numbers an element; the small matrices, whose columns are padded, occur nowhere in what is read."""
_ATTRIBUTES = ("POSITION", "NORMAL", "TEXCOORD_", "COLOR_", "JOINTS_", "WEIGHTS_")
"""What the names of those attributes begin with that are read."""
_BINARY_CHUNK = 0x004E4942


class GltfFile:
    """An opened file.

    Attributes:
        path: where it lies.
        header: its JSON.

    Raises:
        MeshFileError: if it is damaged, too large, or needs what cannot be read.
        OSError: if it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        if path.suffix.lower() not in SUFFIXES:
            raise MeshFileError(f"{path}: expected {' or '.join(SUFFIXES)}, found {path.suffix or 'no suffix'}")
        self.path = path
        self.header = read_header(path, also=(_DRACO,))
        self._draco = _DRACO in self.header.get("extensionsRequired", ())
        if self._draco and find_spec("DracoPy") is None:
            raise MeshFileError(
                f"{path}: is compressed ({_DRACO}) and needs the package DracoPy; install turnabout[{_EXTRA}]"
            )
        self._numbers_left = MAX_NUMBERS
        self._buffers: dict[int, memoryview] = {}
        self._lists: dict[str, list[dict[str, Any]]] = {}

    def entries(self, kind: str) -> list[dict[str, Any]]:
        """All objects of a top-level list such as `nodes`, none if there is no list."""
        if kind not in self._lists:
            found = self.header.get(kind, [])
            if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
                raise self.damaged(f"{kind!r} is no list of objects")
            self._lists[kind] = found
        return self._lists[kind]

    def entry(self, kind: str, index: Any) -> dict[str, Any]:
        """One of them."""
        return self.entries(kind)[self.index(index, len(self.entries(kind)), kind)]

    def index(self, value: Any, count: int, kind: str) -> int:
        """`value` if it is an index of a list of `count`."""
        if not isinstance(value, int) or not 0 <= value < count:
            raise self.damaged(f"points to {value!r} of {count} {kind}")
        return value

    def damaged(self, what: str) -> MeshFileError:
        """The error to raise."""
        return MeshFileError(f"{self.path}: is damaged: {what}")

    def view(self, index: Any) -> memoryview:
        """The bytes of a buffer view."""
        view = self.entry("bufferViews", index)
        buffer = self._buffer(view.get("buffer"))
        start, length = self._size(view.get("byteOffset", 0)), self._size(view.get("byteLength"))
        if start + length > len(buffer):
            raise self.damaged(f"buffer view {index} ends at byte {start + length} of {len(buffer)}")
        return buffer[start : start + length]

    def accessor(self, index: Any, width: int) -> NDArray[Any]:
        """(N, width) numbers: float32 where the file has floats or normalised integers, else its integers.

        Raises:
            MeshFileError: if they lie outside of their buffer, are of another width, too many, or no numbers.
        """
        values = self._read(index, width)
        if not np.isfinite(values).all():
            raise self.damaged(f"accessor {index} contains NaN or infinity")
        return values

    def primitive(self, primitive: Mapping[str, Any]) -> tuple[dict[str, NDArray[Any]], NDArray[Any] | None]:
        """The attributes of a mesh primitive by name, each (V, width), and its indices (N,), if it has any.

        NaN and infinity become 0 except in positions: files have them in weights and normals of stray triangles.

        Raises:
            MeshFileError: as `accessor` does.
        """
        attributes = primitive.get("attributes")
        if not isinstance(attributes, dict):
            raise self.damaged("a primitive has no attributes")
        indices: NDArray[Any] | None = None
        if self._draco and _DRACO in primitive.get("extensions", {}):
            read, indices = self._decompressed(attributes, primitive["extensions"][_DRACO])
        else:
            known = {name: index for name, index in attributes.items() if str(name).startswith(_ATTRIBUTES)}
            read = {name: self._read(index, self._width(index)) for name, index in known.items()}
            if "indices" in primitive:
                indices = self.accessor(primitive["indices"], 1)[:, 0]
        for name, values in read.items():
            if name == "POSITION" and not np.isfinite(values).all():
                raise self.damaged("a position is NaN or infinite")
            np.nan_to_num(values, copy=False, nan=0, posinf=0, neginf=0)
        return read, indices

    def resource(self, entry: Mapping[str, Any]) -> bytes:
        """The bytes of an image: in a buffer view, in its own text, or in a file of the folder."""
        return bytes(self.view(entry["bufferView"]) if "bufferView" in entry else self._fetched(entry.get("uri")))

    def _read(self, index: Any, width: int) -> NDArray[Any]:
        """`accessor`, with whatever the file holds as floats."""
        accessor = self.entry("accessors", index)
        if _WIDTHS.get(str(accessor.get("type"))) != width:
            raise self.damaged(f"accessor {index} is {accessor.get('type')!r}, expected {width} numbers an element")
        count, dtype = self._size(accessor.get("count")), self._dtype(accessor)
        self._spend(count * width)
        if "bufferView" in accessor:
            values = self._strided(accessor, count, width, dtype)
        else:
            values = np.zeros((count, width), dtype)
        if "sparse" in accessor:
            self._replace(values, accessor["sparse"])
        return _plain(values, bool(accessor.get("normalized")))

    def _width(self, index: Any) -> int:
        return _WIDTHS.get(str(self.entry("accessors", index).get("type")), 0)

    def _size(self, value: Any) -> int:
        if not isinstance(value, int) or value < 0:
            raise self.damaged(f"{value!r} is no size")
        return value

    def _dtype(self, entry: Mapping[str, Any]) -> np.dtype[Any]:
        kind = entry.get("componentType")
        if kind not in _COMPONENTS:
            raise self.damaged(f"{kind!r} is no type of number")
        return np.dtype(_COMPONENTS[kind]).newbyteorder("<")

    def _spend(self, numbers: int) -> None:
        self._numbers_left -= numbers
        if self._numbers_left < 0:
            raise MeshFileError(f"{self.path}: claims more than {MAX_NUMBERS} numbers; decimate it first")

    def _strided(self, entry: Mapping[str, Any], count: int, width: int, dtype: np.dtype[Any]) -> NDArray[Any]:
        """A copy of numbers that may lie interleaved with others."""
        data = self.view(entry["bufferView"])
        own = width * dtype.itemsize
        stride = self._size(self.entry("bufferViews", entry["bufferView"]).get("byteStride", own))
        start = self._size(entry.get("byteOffset", 0))
        end = start + (count - 1) * stride + own if count else start
        if stride < own or end > len(data):
            raise self.damaged(f"{count} elements end at byte {end} of a buffer view of {len(data)}")
        return np.ndarray((count, width), dtype, data, start, (stride, dtype.itemsize)).copy()

    def _replace(self, values: NDArray[Any], sparse: Mapping[str, Any]) -> None:
        """Puts a sparse accessor's own elements into `values`."""
        count = self._size(sparse.get("count"))
        if count > len(values):
            raise self.damaged(f"{count} sparse elements of {len(values)}")
        places = self._strided(sparse["indices"], count, 1, self._dtype(sparse["indices"]))[:, 0]
        if count and int(places.max()) >= len(values):
            raise self.damaged(f"a sparse element stands at {places.max()} of {len(values)}")
        values[places.astype(np.int64)] = self._strided(sparse["values"], count, values.shape[1], values.dtype)

    def _decompressed(
        self, attributes: Mapping[str, Any], packed: Mapping[str, Any]
    ) -> tuple[dict[str, NDArray[Any]], NDArray[Any]]:
        """What `primitive` returns, of a primitive that Draco compressed."""
        import DracoPy

        for index in attributes.values():
            self._spend(self._size(self.entry("accessors", index).get("count")) * self._width(index))
        mesh = DracoPy.decode(bytes(self.view(packed.get("bufferView"))))
        numbers = {int(a["unique_id"]): np.asarray(a["data"]) for a in mesh.attributes}
        read = {}
        for name, unique_id in packed["attributes"].items():
            accessor = self.entry("accessors", attributes.get(name))
            read[name] = _plain(numbers[unique_id], bool(accessor.get("normalized")))
        return read, np.asarray(mesh.faces, np.int64).reshape(-1)

    def _buffer(self, index: Any) -> memoryview:
        """A buffer's bytes, read once."""
        if index not in self._buffers:
            entry = self.entry("buffers", index)
            if "uri" not in entry and index == 0 and self.path.suffix.lower() == ".glb":
                data = self._binary_chunk()
            else:
                data = self._fetched(entry.get("uri"))
            if sum(map(len, self._buffers.values())) + len(data) > MAX_BYTES:
                raise MeshFileError(f"{self.path}: its buffers have more than the {MAX_BYTES} bytes allowed")
            self._buffers[index] = memoryview(data)
        return self._buffers[index]

    def _binary_chunk(self) -> bytes:
        data = self.path.read_bytes()
        (length,) = struct.unpack_from("<I", data, 12)
        start = 20 + length
        if len(data) < start + 8:
            raise self.damaged("it ends before its binary part")
        size, kind = struct.unpack_from("<II", data, start)
        if kind != _BINARY_CHUNK:
            raise self.damaged("its second part is not the binary one")
        return data[start + 8 : start + 8 + size]

    def _fetched(self, uri: Any) -> bytes:
        """What a URI names: itself, or a file in the folder."""
        if not isinstance(uri, str):
            raise self.damaged("a buffer or image names no bytes")
        if uri.startswith("data:"):
            return base64.b64decode(uri.partition(",")[2])
        folder = self.path.parent.resolve()
        file = (folder / unquote(uri)).resolve()
        if not file.is_relative_to(folder) or not file.is_file():
            raise MeshFileError(f"{self.path}: needs {uri!r}, which is not in its folder")
        if (size := file.stat().st_size) > MAX_BYTES:
            raise MeshFileError(f"{file}: {size} bytes are more than the {MAX_BYTES} allowed")
        return file.read_bytes()


def _plain(values: NDArray[Any], normalised: bool) -> NDArray[Any]:
    """Normalised integers as float32, other numbers as they are, in the machine's order of bytes."""
    if normalised and values.dtype.kind != "f":
        return np.maximum(values.astype(np.float32) / np.float32(np.iinfo(values.dtype).max), np.float32(-1))
    return values.astype(values.dtype.newbyteorder("="), copy=False)
