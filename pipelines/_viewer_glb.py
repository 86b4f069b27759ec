"""A file that moves, as the browser shows it: its animation as data beside its nodes, its surface as a layer wants it.

viser's client plays a file's animations by itself and has no way to stop them. Without them it shows the nodes where
they stand, and `viewer.js` puts them where they are at a time.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recon.surface.animation import Track
    from recon.surface.rigged import RiggedMesh

EXTRAS = "turnabout"
"""Name of what `viewer.js` looks for in three.js' `userData`, which glTF's `extras` become."""
_RATE = 30
"""Keys a second of splines, which the script does not know."""
_UNLIT = "KHR_materials_unlit"


def scrubbed(file: Path, rigged: RiggedMesh, layer: str, checker: str) -> bytes:
    """A .glb like `file` for a layer: its first animation as data beside its nodes.

    Args:
        rigged: what `file` holds.
        layer: "mesh", "shape", "wireframe", "normals" or "checker".
        checker: address of the picture of the last.

    Raises:
        ValueError, OSError: if the file cannot be read or written.
    """
    from recon.asset._glb_container import read_container, write_container

    document, binary = read_container(file)
    tracks: dict[int, list[dict[str, Any]]] = {}
    for track in rigged.clips[0].tracks:
        tracks.setdefault(track.node, []).append(_as_json(track))
    for node, own in tracks.items():
        document["nodes"][node]["extras"] = {EXTRAS: own}
    for gone in ("animations", "cameras"):
        document.pop(gone, None)
    if layer == "mesh":
        for material in document.get("materials", ()):
            material.setdefault("extensions", {})[_UNLIT] = {}
    else:
        binary = _with_one_material(document, binary, _material(layer), checker)
    used = document.setdefault("extensionsUsed", [])
    if _UNLIT not in used:
        used.append(_UNLIT)
    with tempfile.TemporaryDirectory() as folder:
        write_container(document, binary, Path(folder) / "mesh.glb")
        return (Path(folder) / "mesh.glb").read_bytes()


def _as_json(track: Track) -> dict[str, Any]:
    import numpy as np

    times, values = track.times, track.values
    if track.interpolation == "CUBICSPLINE":
        times = np.linspace(times[0], times[-1], max(2, round((times[-1] - times[0]) * _RATE) + 1))
        values = np.stack([track.at(float(time)) for time in times])
    values = values.reshape(len(times), -1)
    if track.path == "rotation":
        values = np.roll(values, -1, axis=1)  # three.js' order, xyzw
    return {
        "path": track.path,
        "step": track.interpolation == "STEP",
        "times": np.round(times, 5).tolist(),
        "values": np.round(values, 6).tolist(),
    }


def _material(layer: str) -> dict[str, Any]:
    if layer == "shape":
        return {"doubleSided": True, "pbrMetallicRoughness": _surface(0.48, 0.48, 0.48)}
    unlit = {"doubleSided": True, "extensions": {_UNLIT: {}}}
    if layer == "checker":
        return {**unlit, "pbrMetallicRoughness": {**_surface(1.0, 1.0, 1.0), "baseColorTexture": {"index": 0}}}
    grey = (1.0, 1.0, 1.0) if layer == "normals" else (0.06, 0.08, 0.1)
    # Lines and normals are nothing that glTF knows: the script makes them.
    return {**unlit, "extras": {EXTRAS: layer}, "pbrMetallicRoughness": _surface(*grey)}


def _surface(*color: float) -> dict[str, Any]:
    return {"baseColorFactor": [*color, 1.0], "metallicFactor": 0.0, "roughnessFactor": 1.0}


def _with_one_material(document: dict[str, Any], binary: bytes, material: dict[str, Any], checker: str) -> bytes:
    """Gives everything one material; the binary chunk without the pictures that nothing shows any more."""
    document["materials"] = [material]
    gone = {image["bufferView"] for image in document.get("images", ()) if "bufferView" in image}
    if "baseColorTexture" in material["pbrMetallicRoughness"]:
        document["images"], document["textures"] = [{"uri": checker}], [{"source": 0}]
    else:
        document.pop("images", None)
        document.pop("textures", None)
    for mesh in document["meshes"]:
        for primitive in mesh["primitives"]:
            primitive["material"] = 0
            primitive["attributes"].pop("COLOR_0", None)
    parts, length = [], 0
    for place, view in enumerate(document["bufferViews"]):
        if view["buffer"] != 0:
            continue
        if place in gone:
            view["byteLength"] = 4  # views are counted, so it stays, of nearly nothing
        begin = view.get("byteOffset", 0)
        part = binary[begin : begin + view["byteLength"]]
        view["byteOffset"] = length
        parts.append(part + b"\0" * (-len(part) % 4))
        length += len(parts[-1])
    document["buffers"][0]["byteLength"] = length
    return b"".join(parts)
