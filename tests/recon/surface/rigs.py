"""Tiny animated GLB files, written byte by byte, and damage done to them."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

COMPONENTS = {"int8": 5120, "uint8": 5121, "int16": 5122, "uint16": 5123, "uint32": 5125, "float32": 5126}
TYPES = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4", 16: "MAT4"}
QUARTER = float(np.sqrt(0.5))


class Glb:
    """A file in the making; `header` is its JSON."""

    def __init__(self) -> None:
        self.header: dict[str, Any] = {"asset": {"version": "2.0"}, "accessors": [], "bufferViews": []}
        self.data = bytearray()

    def view(self, data: bytes, **extra: Any) -> int:
        self.data += bytes(-len(self.data) % 4)
        self.header["bufferViews"].append({"buffer": 0, "byteOffset": len(self.data), "byteLength": len(data)} | extra)
        self.data += data
        return len(self.header["bufferViews"]) - 1

    def accessor(self, values, dtype: str = "float32", **extra: Any) -> int:
        array = np.array(values, dtype)
        array = array.reshape(len(array), -1)
        entry = {"componentType": COMPONENTS[dtype], "type": TYPES[array.shape[1]], "count": len(array)}
        if "bufferView" not in extra and "sparse" not in extra:
            entry["bufferView"] = self.view(array.tobytes())
        self.header["accessors"].append(entry | extra)
        return len(self.header["accessors"]) - 1

    def clip(self, *tracks: tuple[int, str, Any, Any, str], name: str = "move") -> None:
        """Adds an animation of tracks: node, path, times, values, interpolation."""
        samplers = [
            {"input": self.accessor(times), "output": self.accessor(values), "interpolation": kind}
            for _, _, times, values, kind in tracks
        ]
        channels = [{"sampler": i, "target": {"node": node, "path": path}} for i, (node, path, *_) in enumerate(tracks)]
        animation = {"name": name, "samplers": samplers, "channels": channels}
        self.header.setdefault("animations", []).append(animation)

    def write(self, path: Path) -> Path:
        header = self.header | {"buffers": [{"byteLength": len(self.data)}]}
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 4)
        data = bytes(self.data) + bytes(-len(self.data) % 4)
        start = struct.pack("<4sII", b"glTF", 2, 28 + len(text) + len(data))
        path.write_bytes(
            start + struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(data), b"BIN\0") + data
        )
        return path


def triangle(**node: Any) -> Glb:
    """One triangle in the plane z = 0 on node 0."""
    glb = Glb()
    position = glb.accessor([[0, 0, 0], [1, 0, 0], [0, 1, 0]])
    glb.header |= {
        "meshes": [{"primitives": [{"attributes": {"POSITION": position}}]}],
        "nodes": [{"mesh": 0} | node],
        "scenes": [{"nodes": [0]}],
        "scene": 0,
    }
    return glb


def two_bones() -> Glb:
    """A strip of height 2 on two bones jointed at its middle (0, 1, 0), half of which either bone carries. The upper
    bone turns about +z by a quarter in two seconds. Nodes: mesh, lower bone, upper bone."""
    glb = Glb()
    attributes = {
        "POSITION": glb.accessor([[x, y, 0] for y in (0, 1, 2) for x in (0, 1)]),
        "NORMAL": glb.accessor([[0, 0, 1]] * 6),
        "JOINTS_0": glb.accessor([[0, 1, 0, 0]] * 6, "uint8"),
        "WEIGHTS_0": glb.accessor(
            [[1, 0, 0, 0]] * 2 + [[0.5, 0.5, 0, 0]] * 2 + [[0, 1, 0, 0]] * 2,
        ),
    }
    indices = glb.accessor([0, 1, 2, 1, 3, 2, 2, 3, 4, 3, 5, 4], "uint16")
    down = np.eye(4)
    down[1, 3] = -1
    glb.header |= {
        "meshes": [{"primitives": [{"attributes": attributes, "indices": indices}]}],
        "skins": [{"joints": [1, 2], "inverseBindMatrices": glb.accessor(np.stack((np.eye(4), down.T)))}],
        "nodes": [
            {"mesh": 0, "skin": 0, "translation": [7, 7, 7], "scale": [3, 3, 3]},
            {"children": [2]},
            {"translation": [0, 1, 0]},
        ],
        "scenes": [{"nodes": [0, 1]}],
    }
    glb.clip((2, "rotation", [0, 2], [[0, 0, 0, 1], [0, 0, QUARTER, QUARTER]], "LINEAR"))
    return glb


def edited(glb: Glb, change: Callable[[dict[str, Any]], Any]) -> Glb:
    """The file after a change of its JSON."""
    change(glb.header)
    return glb
