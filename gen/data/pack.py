"""Reads an object pack: a ZIP of compressed textured meshes (`m/<id>.xz`) and shared textures (`t/<name>.webp`).

The pack's world is Z up with its front at -Y and objects in the unit sphere; ours is Y up with the front at +Z and
objects in the sphere of diameter 1, so (x, y, z) becomes (x, z, -y) / 2. Nothing in a pack is trusted: every size is
bounded before memory is taken, every index checked.
"""

from __future__ import annotations

import io
import json
import lzma
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recon.capture import OBJECT_RADIUS
from recon.surface.mesh import Material, Mesh

MAX_RECORD = 64 << 20
"""Largest decoded mesh record in bytes."""
MAX_COUNT = 4_000_000
"""Most vertices or faces of one object."""
MAX_TEXTURE_SIDE = 4096
TEXTURE_CACHE = 128 << 20
"""Bytes of decoded textures that are kept."""
CUTOFF = 0.5
"""Alpha test of materials that the pack marks as see-through."""
_QUANTUM = 16383
_MAGIC = b"OMP1"


class PackError(ValueError):
    """The pack, or one object in it, is not what it should be."""


class ObjectPack:
    """An open pack. Objects are read when asked for.

    Attributes:
        path: the file.
        ids: all object ids, sorted.

    Raises:
        PackError: if the file is not a pack.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except zipfile.BadZipFile as error:
            raise PackError(f"{path}: expected an object pack (ZIP), found something else ({error})") from error
        names = self._zip.namelist()
        self.ids = sorted(n[2:-3] for n in names if n.startswith("m/") and n.endswith(".xz"))
        if not self.ids:
            raise PackError(f"{path}: expected mesh records m/<id>.xz in the pack, found none among {len(names)} files")
        self._textures: OrderedDict[str, Tensor] = OrderedDict()

    def __enter__(self) -> ObjectPack:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._zip.close()

    def mesh(self, object_id: str) -> Mesh:
        """One object in our world frame, inside the sphere of diameter 1.

        Raises:
            PackError: if there is no such object, or its record is damaged.
        """
        where = f"{self.path}: object {object_id!r}"
        blob = self._read(f"m/{object_id}.xz", where)
        record = _Record(_decompress(blob, where), where)
        header = record.header()
        vertex_count, face_count = _count(header, "nv", where), _count(header, "nf", where)
        codes = record.planes(3 * face_count, 3).astype(np.int64)
        fresh = codes == 0
        faces = (np.cumsum(fresh) - fresh - codes).reshape(face_count, 3)
        if face_count == 0 or vertex_count == 0 or faces.min() < 0 or faces.max() >= vertex_count:
            raise PackError(f"{where}: faces point outside of its {vertex_count} vertices, or there are none")
        columns = [np.cumsum(_unzigzag(record.planes(vertex_count, 2)), dtype=np.int64) for _ in range(5)]
        position = np.stack(columns[:3], axis=1) / _QUANTUM * 2 - 1
        if np.abs(position).max() > 1.001:
            raise PackError(f"{where}: positions reach {np.abs(position).max():.3g}, expected at most 1")
        vertices = np.stack((position[:, 0], position[:, 2], -position[:, 1]), axis=1) * OBJECT_RADIUS
        low, high = _pair(header, "uvmin", where), _pair(header, "uvmax", where)
        uvs = np.stack(columns[3:], axis=1) / _QUANTUM * (high - low) + low
        uvs[:, 1] = 1 - uvs[:, 1]  # the pack counts v upward
        face_material = np.cumsum(record.take(face_count).astype(np.int64)) & 255
        materials = self._materials(header, where)
        if face_material.max() >= len(materials):
            raise PackError(f"{where}: faces use material {face_material.max()} of {len(materials)}")
        colors = None
        if header.get("vcol"):
            deltas = record.take(3 * vertex_count).reshape(3, vertex_count).astype(np.int64)
            colors = torch.from_numpy(((np.cumsum(deltas, axis=1) & 255).T / 255).astype(np.float32))
        return Mesh(
            vertices=torch.from_numpy(vertices.astype(np.float32)),
            faces=torch.from_numpy(faces),
            uvs=torch.from_numpy(uvs.astype(np.float32)),
            colors=colors,
            materials=materials,
            face_material=torch.from_numpy(face_material),
        )

    def texture(self, name: str) -> Tensor:
        """(H, W, 4) uint8 image. Those last used are kept, so objects that share one get the same tensor.

        Raises:
            PackError: if it is missing, damaged or larger than `MAX_TEXTURE_SIDE`.
        """
        if name in self._textures:
            self._textures.move_to_end(name)
            return self._textures[name]
        image = self._textures[name] = self._decode_texture(name)
        while sum(t.numel() for t in self._textures.values()) > TEXTURE_CACHE and len(self._textures) > 1:
            self._textures.popitem(last=False)
        return image

    def _decode_texture(self, name: str) -> Tensor:
        from PIL import Image, UnidentifiedImageError

        where = f"{self.path}: texture {name!r}"
        blob = self._read(f"t/{name}.webp", where)
        try:
            with Image.open(io.BytesIO(blob), formats=("WEBP", "PNG", "JPEG")) as image:
                if max(image.size) > MAX_TEXTURE_SIDE:
                    raise PackError(f"{where}: {image.size[0]}x{image.size[1]} is more than {MAX_TEXTURE_SIDE} a side")
                return torch.from_numpy(np.array(image.convert("RGBA")))
        except (UnidentifiedImageError, OSError, SyntaxError) as error:
            raise PackError(f"{where}: cannot be decoded ({error})") from error

    def _materials(self, header: dict[str, Any], where: str) -> tuple[Material, ...]:
        entries = header.get("mats")
        if not isinstance(entries, list) or not 0 < len(entries) <= 256:
            raise PackError(f"{where}: expected 1 to 256 materials")
        materials = []
        for entry in entries:
            try:
                color = torch.tensor([float(c) for c in entry["c"]], dtype=torch.float32)
                texture, see_through = entry["t"], bool(entry["a"])
            except (KeyError, TypeError, ValueError) as error:
                raise PackError(f"{where}: a material lacks colour, texture or alpha mode") from error
            if color.shape != (4,) or not torch.isfinite(color).all():
                raise PackError(f"{where}: a material's colour must be four finite numbers")
            materials.append(
                Material(
                    base_color=color.clamp(0, 1),
                    texture=None if texture is None else self.texture(str(texture)),
                    alpha_cutoff=CUTOFF if see_through else None,
                )
            )
        return tuple(materials)

    def _read(self, name: str, where: str) -> bytes:
        try:
            info = self._zip.getinfo(name)
        except KeyError as error:
            raise PackError(f"{where}: not in the pack") from error
        if info.file_size > MAX_RECORD:
            raise PackError(f"{where}: {info.file_size} bytes are more than the {MAX_RECORD} allowed")
        try:
            return self._zip.read(info)
        except (zipfile.BadZipFile, OSError, EOFError, ValueError, RuntimeError, NotImplementedError) as error:
            raise PackError(f"{where}: damaged in the ZIP ({error})") from error


class _Record:
    """A decoded mesh record, consumed from front to back."""

    def __init__(self, data: bytes, where: str) -> None:
        self._data, self._where, self._at = data, where, 0

    def header(self) -> dict[str, Any]:
        if self._data[:4] != _MAGIC or len(self._data) < 8:
            raise PackError(f"{self._where}: not a mesh record (expected it to begin with {_MAGIC!r})")
        (length,) = struct.unpack_from("<I", self._data, 4)
        try:
            header = json.loads(self._data[8 : 8 + length])
        except (ValueError, RecursionError) as error:
            raise PackError(f"{self._where}: its header is not JSON") from error
        if not isinstance(header, dict):
            raise PackError(f"{self._where}: its header is not a JSON object")
        self._at = 8 + length
        return header

    def take(self, count: int) -> NDArray[np.uint8]:
        if self._at + count > len(self._data):
            raise PackError(f"{self._where}: ends early ({len(self._data)} bytes, {self._at + count} needed)")
        out = np.frombuffer(self._data, np.uint8, count, self._at)
        self._at += count
        return out

    def planes(self, count: int, depth: int) -> NDArray[np.uint32]:
        out = self.take(count).astype(np.uint32)
        for plane in range(1, depth):
            out |= self.take(count).astype(np.uint32) << np.uint32(8 * plane)
        return out


def _unzigzag(values: NDArray[np.uint32]) -> NDArray[np.int32]:
    return (values >> 1).astype(np.int32) ^ -(values & 1).astype(np.int32)


def _decompress(blob: bytes, where: str) -> bytes:
    try:
        decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=256 << 20)
        data = decoder.decompress(blob, MAX_RECORD)
    except (lzma.LZMAError, EOFError) as error:
        raise PackError(f"{where}: cannot be decompressed ({error})") from error
    if not decoder.eof:
        raise PackError(f"{where}: is cut short, or larger than {MAX_RECORD} bytes")
    return data


def _count(header: dict[str, Any], key: str, where: str) -> int:
    value = header.get(key)
    if not isinstance(value, int) or not 0 <= value <= MAX_COUNT:
        raise PackError(f"{where}: {key} must be a number up to {MAX_COUNT}, found {value!r}")
    return value


def _pair(header: dict[str, Any], key: str, where: str) -> NDArray[np.float64]:
    try:
        pair = np.array(header[key], np.float64)
    except (KeyError, TypeError, ValueError) as error:
        raise PackError(f"{where}: {key} must be two numbers") from error
    if pair.shape != (2,) or not np.isfinite(pair).all():
        raise PackError(f"{where}: {key} must be two finite numbers")
    return pair
