"""Gaussians to and from the PLY files of 3-D Gaussian splatting, which most splat tools read and write.

Layout (Kerbl et al. 2023): binary, one `vertex` element, raw parameters as in `Gaussians`; harmonics above the constant
are stored colour by colour. Files are input from anywhere: sizes are checked against the file before memory is taken.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from recon.splat.gaussians import Gaussians

MAX_HEADER_BYTES = 1 << 16

_TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2", "ushort": "u2",
    "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4", "float": "f4", "float32": "f4",
    "double": "f8", "float64": "f8",
}  # fmt: skip
_BYTE_ORDERS = {"binary_little_endian": "<", "binary_big_endian": ">"}
_COLUMNS = {
    "means": ["x", "y", "z"],
    "normals": ["nx", "ny", "nz"],  # always zero in such files, but readers expect them
    "dc": ["f_dc_0", "f_dc_1", "f_dc_2"],
    "opacities": ["opacity"],
    "scales": ["scale_0", "scale_1", "scale_2"],
    "quats": ["rot_0", "rot_1", "rot_2", "rot_3"],
}


class PlyError(ValueError):
    """A PLY file that cannot be read as Gaussians."""

    def __init__(self, path: Path, found: str, expected: str, remedy: str) -> None:
        super().__init__(f"{path}: found {found}, expected {expected}; {remedy}")


def write_ply(gaussians: Gaussians, path: Path) -> None:
    """Writes a binary little-endian PLY; the file appears whole or not at all."""
    path = Path(path)
    count = len(gaussians)
    rest = gaussians.sh[:, 1:].permute(0, 2, 1).flatten(1)
    blocks: list[tuple[list[str], Tensor]] = [
        (_COLUMNS["means"], gaussians.means),
        (_COLUMNS["normals"], torch.zeros(count, 3)),
        (_COLUMNS["dc"], gaussians.sh[:, 0]),
        ([f"f_rest_{i}" for i in range(rest.shape[1])], rest),
        (_COLUMNS["opacities"], gaussians.logit_opacities[:, None]),
        (_COLUMNS["scales"], gaussians.log_scales),
        (_COLUMNS["quats"], gaussians.quats),
    ]
    names = [name for columns, _ in blocks for name in columns]
    table = torch.cat([values.detach().cpu().float() for _, values in blocks], dim=1).numpy().astype("<f4")
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {count}"]
    header += [f"property float {name}" for name in names] + ["end_header", ""]

    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write("\n".join(header).encode("ascii"))
            file.write(table.tobytes())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read_ply(path: Path) -> Gaussians:
    """Reads a binary 3DGS PLY; columns may stand in any order, and ones that are not ours are skipped.

    Raises:
        PlyError: for files that are not a binary PLY, are cut off, lack columns, or hold values no scene can have.
        OSError: if the file cannot be opened.
    """
    path = Path(path)
    with path.open("rb") as file:
        count, dtype = _read_header(file, path)
        available = path.stat().st_size - file.tell()
        if count * dtype.itemsize > available:
            raise PlyError(
                path,
                f"{available} bytes after the header",
                f"{count} vertices of {dtype.itemsize} bytes",
                "the file is cut off or its header lies; fetch it again",
            )
        rows = np.frombuffer(file.read(count * dtype.itemsize), dtype)
    return _gaussians(rows, path)


def _read_header(file: BinaryIO, path: Path) -> tuple[int, np.dtype]:
    """Reads up to and including `end_header`: the number of vertices and the layout of one."""
    start = file.read(MAX_HEADER_BYTES)
    match = re.match(rb"ply\r?\n(.*?)end_header\r?\n", start, re.DOTALL)
    if not match:
        raise PlyError(path, "no PLY header", "a binary 3DGS PLY", "is it a splat file of another format?")
    file.seek(match.end())
    order, count, fields, element = "", -1, list[tuple[str, str]](), ""
    for line in match.group(1).decode("ascii", "replace").splitlines():
        words = line.split()
        if words[:1] == ["format"]:
            order = _BYTE_ORDERS.get(words[1] if len(words) > 1 else "", "")
        elif words[:1] == ["element"]:
            if count < 0 and words[1:2] != ["vertex"]:
                raise PlyError(path, f"{line!r} first", "'element vertex'", "export the splats alone")
            element = words[1] if len(words) > 1 else ""
            if element == "vertex":
                if len(words) != 3 or not re.fullmatch(r"\d{1,15}", words[2]) or count >= 0:
                    raise PlyError(path, repr(line[:80]), "one count of vertices", "export it again")
                count = int(words[2])
        elif words[:1] == ["property"] and element == "vertex":
            if len(words) != 3 or words[1] not in _TYPES:
                raise PlyError(path, repr(line[:80]), "a property of one number", "export it as a splat file")
            fields.append((words[2], _TYPES[words[1]]))
    if not order:
        raise PlyError(path, "no binary format", "binary_little_endian", "convert the file to a binary PLY")
    if count < 0 or not fields:
        raise PlyError(path, "no vertices", "an 'element vertex' with properties", "export it as a splat file")
    if len({name for name, _ in fields}) < len(fields):
        raise PlyError(path, "two properties of one name", "distinct names", "export it again")
    return count, np.dtype([(name, order + kind) for name, kind in fields])


def _gaussians(rows: np.ndarray, path: Path) -> Gaussians:
    names = set(rows.dtype.names or ())
    rest_names = [f"f_rest_{i}" for i in range(sum(name.startswith("f_rest_") for name in names))]
    wanted = [name for key in ("means", "dc", "opacities", "scales", "quats") for name in _COLUMNS[key]] + rest_names
    missing = [name for name in wanted if name not in names]
    if missing:
        remedy = "a point cloud or mesh is not a splat file; export Gaussians"
        raise PlyError(path, f"no columns {', '.join(missing[:8])}", "the columns of a 3DGS file", remedy)
    if len(rest_names) not in (0, 9, 24, 45):
        raise PlyError(
            path, f"{len(rest_names)} f_rest columns", "0, 9, 24 or 45 (degree 0 to 3)", "export with degree 3 or less"
        )

    def columns(names: list[str]) -> Tensor:
        with np.errstate(over="ignore", invalid="ignore"):  # what does not fit float32 is refused below
            values = np.stack([rows[name].astype(np.float32) for name in names], axis=1)
        return torch.from_numpy(values)

    means, scales, quats = columns(_COLUMNS["means"]), columns(_COLUMNS["scales"]), columns(_COLUMNS["quats"])
    opacities, sh = columns(_COLUMNS["opacities"])[:, 0], columns(_COLUMNS["dc"])[:, None]
    if rest_names:
        sh = torch.cat((sh, columns(rest_names).unflatten(1, (3, -1)).permute(0, 2, 1)), dim=1).contiguous()
    finite = torch.ones(len(rows), dtype=torch.bool)
    for tensor in (means, scales, quats, opacities, sh):
        finite &= torch.isfinite(tensor.flatten(1) if tensor.ndim > 1 else tensor[:, None]).all(1)
    finite &= (quats != 0).any(1)
    if not finite.all():
        bad = int((~finite).sum())
        remedy = "remove those Gaussians in a splat editor"
        raise PlyError(path, f"{bad} Gaussians with NaN, infinity or no rotation", "finite values", remedy)
    return Gaussians(means, quats, scales, opacities, sh)
