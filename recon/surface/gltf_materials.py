"""The materials of a `GltfFile`: base colour, its texture and alpha test, as `Material`s."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recon.surface.gltf_file import GltfFile
from recon.surface.loading import encode_srgb, read_picture
from recon.surface.mesh import Material


class MaterialReader:
    """Reads materials as they are asked for, every picture once.

    Raises (all methods):
        MeshFileError: if one is damaged or a picture too large.
    """

    def __init__(self, file: GltfFile) -> None:
        self._file = file
        self._places: dict[int | None, int] = {}
        self._pictures: dict[int, Tensor | None] = {}
        self.materials: list[Material] = []
        """Those asked for so far."""

    def place(self, index: Any) -> int:
        """Where in `materials` the file's material stands; None asks for glTF's default."""
        if index not in self._places:
            entry = {} if index is None else self._file.entry("materials", index)
            self._places[index] = len(self.materials)
            self.materials.append(self._material(entry))
        return self._places[index]

    def texture_coordinates(self, index: Any) -> str:
        """Name of the attribute that says where the material's base colour texture lies on the mesh."""
        entry = {} if index is None else self._file.entry("materials", index)
        texture = entry.get("pbrMetallicRoughness", {}).get("baseColorTexture", {})
        return f"TEXCOORD_{texture.get('texCoord', 0)}"

    def _material(self, entry: Mapping[str, Any]) -> Material:
        shading = entry.get("pbrMetallicRoughness", {})
        factor = np.array(shading.get("baseColorFactor", (1, 1, 1, 1)), np.float64)
        if factor.shape != (4,) or not np.isfinite(factor).all():
            raise self._file.damaged(f"{shading['baseColorFactor']} is no colour")
        picture = self._texture(shading["baseColorTexture"].get("index")) if "baseColorTexture" in shading else None
        cutoff = None
        mode = entry.get("alphaMode", "OPAQUE")
        if mode in ("MASK", "BLEND") and picture is not None and picture.shape[2] == 4:
            cutoff = float(entry.get("alphaCutoff", 0.5)) if mode == "MASK" else 0.5
            cutoff /= max(float(factor[3]), 1e-3)
        color = np.append(encode_srgb(factor[:3]), factor[3]).astype(np.float32)
        return Material(torch.from_numpy(color), picture, cutoff, str(entry.get("name") or "material"))

    def _texture(self, index: Any) -> Tensor | None:
        """The picture of a texture; None if it has none that is read."""
        from PIL import Image

        texture = self._file.entry("textures", index)
        webp = texture.get("extensions", {}).get("EXT_texture_webp", {})
        source = webp.get("source", texture.get("source"))
        if source is None:
            return None
        if source not in self._pictures:
            data = self._file.resource(self._file.entry("images", source))
            with Image.open(io.BytesIO(data)) as image:
                self._pictures[source] = read_picture(image, self._file.path)
        return self._pictures[source]
