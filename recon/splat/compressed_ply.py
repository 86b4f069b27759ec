"""PlayCanvas' compressed PLY, which SuperSplat and gsplat write; coded by gsply.

16 bytes a Gaussian, and one for each number of a harmonic above the constant. Chunks of 256 Gaussians have bounds in
float32, between which positions and log-scales have 11, 10 and 11 bits and colours 8; opacity has 8 bits, the
quaternion's three smaller parts 10 each, and harmonics 8 between -4 and 4 (developer.playcanvas.com, "PLY format";
splat-transform's reader). Frame, order of harmonics and everything else are those of the PLY file that it was made of.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from recon.splat._gsply import from_gsdata, import_gsply, to_gsdata
from recon.splat.files import SplatsError, require_bytes, whole_file
from recon.splat.gaussians import Gaussians
from recon.splat.ply_header import Element, Header, header_bytes, read_header
from recon.splat.zorder import morton_order

_CHUNK = 256
_PLACES = [f"{end}_{what}{axis}" for what in ("", "scale_") for end in ("min", "max") for axis in "xyz"]
_COLORS = [f"{end}_{color}" for end in ("min", "max") for color in "rgb"]
_BOUNDS = tuple((name, "f4") for name in _PLACES + _COLORS)
_OLD_BOUNDS = tuple((name, "f4") for name in _PLACES)
"""Without those of colours, which lie between 0 and 1 in files of before 2024."""
_PACKED = tuple((f"packed_{name}", "u4") for name in ("position", "rotation", "scale", "color"))
_HARMONICS = (0, 9, 24, 45)


def write_compressed_ply(gaussians: Gaussians, path: Path) -> None:
    """Writes the Gaussians in the order of a Z-curve, as chunks of neighbours have the narrowest bounds.

    What is lost: up to 1/2046 of a chunk's extent in y and 1/4094 in x and z, the same of the spread of its log-scales
    (which are clamped to -20 and 20); 1/510 of a chunk's range of colour; 1/510 of opacity; 0.0007 in each of a
    quaternion's three smaller parts; 1/64 of a harmonic above the constant, those outside of -4 and 4 being clamped.

    Raises:
        SplatsError: if there are no Gaussians, some are not finite, or gsply is missing.
    """
    path = Path(path)
    gsply = import_gsply(path)
    data = to_gsdata(gsply, gaussians, path)
    order = torch.from_numpy(morton_order(data.means.astype(np.float64)))
    content = gsply.compress_to_bytes(to_gsdata(gsply, gaussians.select(order.to(gaussians.means.device)), path))
    with whole_file(path) as temporary:
        temporary.write_bytes(content)


def read_compressed_ply(path: Path) -> Gaussians:
    """Reads a compressed PLY of any name, of degree 0 to 3.

    Raises:
        SplatsError: for other or damaged files, or if gsply is missing.
        OSError: if the file cannot be opened.
    """
    path = Path(path)
    with path.open("rb") as file:
        chunk, vertex, sh = _elements(read_header(file, path), path)
        sizes = [e.count * e.dtype("<").itemsize for e in (chunk, vertex, sh)]
        require_bytes(sum(sizes), path.stat().st_size - file.tell(), path)
        bounds, packed, harmonics = (file.read(size) for size in sizes)
    gsply = import_gsply(path)
    if chunk.properties == _OLD_BOUNDS:
        rows = np.frombuffer(bounds, "<f4").reshape(chunk.count, -1)
        colors = np.repeat(np.array([[0, 0, 0, 1, 1, 1]], "<f4"), chunk.count, axis=0)
        bounds = np.concatenate((rows, colors), axis=1).tobytes()
    elements = [Element("chunk", chunk.count, _BOUNDS), vertex] + ([sh] if sh.properties else [])
    try:
        data = gsply.decompress_from_bytes(header_bytes(elements) + bounds + packed + harmonics)
    except ValueError as cause:
        raise SplatsError(
            path, found=str(cause)[:200], expected="a compressed PLY", remedy="Fetch or export it again."
        ) from cause
    return from_gsdata(data, path)


def _elements(header: Header, path: Path) -> tuple[Element, Element, Element]:
    """Bounds, Gaussians and harmonics; the last has no properties in a scene of degree 0."""
    elements = header.elements
    if header.encoding != "<" or [e.name for e in elements] not in (["chunk", "vertex"], ["chunk", "vertex", "sh"]):
        raise _other_layout(header, path)
    chunk, vertex = elements[:2]
    sh = elements[2] if len(elements) > 2 else Element("sh", vertex.count, ())
    good = (
        chunk.properties in (_BOUNDS, _OLD_BOUNDS)
        and vertex.properties == _PACKED
        and len(sh.properties) in _HARMONICS
        and sh.properties == tuple((f"f_rest_{i}", "u1") for i in range(len(sh.properties)))
        and vertex.count > 0
        and chunk.count == -(-vertex.count // _CHUNK)
        and sh.count == vertex.count
    )
    if not good:
        raise _other_layout(header, path)
    return chunk, vertex, sh


def _other_layout(header: Header, path: Path) -> SplatsError:
    parts = [f"{e.name[:20]!r} of {e.count} rows and {len(e.properties)} columns" for e in header.elements[:4]]
    return SplatsError(
        path,
        found=f"a compressed PLY of another layout: {', '.join(parts)}",
        expected="little-endian chunks of 256, packed vertices and, above degree 0, harmonics",
        remedy="Export it again with SuperSplat or splat-transform, as a compressed or a plain PLY.",
    )
