"""Gaussians to and from the PLY files of 3-D Gaussian splatting, which most splat tools read and write.

Layout (Kerbl et al. 2023): binary, one `vertex` element, raw parameters as in `Gaussians`; harmonics above the constant
are stored colour by colour. Files are input from anywhere: sizes are checked against the file before memory is taken.
Other formats are in `formats`.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from recon.splat.files import SplatsError, require_bytes, require_finite, whole_file
from recon.splat.gaussians import Gaussians
from recon.splat.harmonics import SH_DC
from recon.splat.ply_header import ASCII, LIST, Element, Header, header_bytes, read_header

_COLUMNS = {
    "means": ["x", "y", "z"],
    "normals": ["nx", "ny", "nz"],  # always zero in such files, but readers expect them
    "dc": ["f_dc_0", "f_dc_1", "f_dc_2"],
    "opacities": ["opacity"],
    "scales": ["scale_0", "scale_1", "scale_2"],
    "quats": ["rot_0", "rot_1", "rot_2", "rot_3"],
}
_RGB = ["red", "green", "blue"]
_RESTS = (0, 9, 24, 45, 72)
"""Numbers of f_rest columns for degree 0 to 4."""
_KEPT = 15
"""Harmonics above the constant that `Gaussians` has room for, degree 3."""


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
    with whole_file(path) as temporary, temporary.open("wb") as file:
        file.write(header_bytes([Element("vertex", count, tuple((name, "f4") for name in names))]))
        file.write(table.tobytes())


def read_ply(path: Path) -> Gaussians:
    """Reads a 3DGS PLY, binary or ascii; columns may stand in any order, and ones that are not ours are skipped.

    Without `f_rest_*` the degree is 0; harmonics of degree 4 are cut off. Files whose colour is red, green and blue of
    a byte each (nerfstudio's `--ply-color-mode rgb`) have those instead of `f_dc_*`.

    Raises:
        SplatsError: for files that are no such PLY, are cut off, lack columns, or hold values no scene can have.
        OSError: if the file cannot be opened.
    """
    path = Path(path)
    columns = read_columns(path)
    if not set(_COLUMNS["dc"]) & columns.keys() and all(_is_byte(columns.get(color)) for color in _RGB):
        for name, color in zip(_COLUMNS["dc"], _RGB):
            columns[name] = (columns[color].astype(np.float32) / 255 - 0.5) / SH_DC
    return _gaussians(columns, path)


def read_columns(path: Path) -> dict[str, np.ndarray]:
    """The table of vertices by the names of its columns, in the file's own types; ascii's bytes are bytes, too.

    Raises:
        SplatsError: if the file is no PLY that begins with vertices, or is cut off.
        OSError: if it cannot be opened.
    """
    with path.open("rb") as file:
        header = read_header(file, path)
        vertex = _vertex(header, path)
        available = path.stat().st_size - file.tell()
        if header.encoding == ASCII:
            return _ascii_columns(file, vertex, available, path)
        dtype = vertex.dtype(header.encoding)
        require_bytes(vertex.count * dtype.itemsize, available, path)
        rows = np.frombuffer(file.read(vertex.count * dtype.itemsize), dtype)
        return {name: rows[name] for name, _ in vertex.properties}


def _is_byte(column: np.ndarray | None) -> bool:
    return column is not None and column.dtype == np.uint8


def _vertex(header: Header, path: Path) -> Element:
    """The table of Gaussians, which stands first."""
    vertex = header.elements[0]
    if vertex.name != "vertex":
        raise SplatsError(
            path,
            found=f"element {vertex.name[:20]!r} first",
            expected="'element vertex'",
            remedy="Export the splats alone.",
        )
    if not vertex.properties or any(kind == LIST for _, kind in vertex.properties):
        raise SplatsError(
            path,
            found="an 'element vertex' of lists or of nothing",
            expected="a property of one number for each column",
            remedy="Export it as a splat file.",
        )
    return vertex


def _ascii_columns(file: BinaryIO, vertex: Element, available: int, path: Path) -> dict[str, np.ndarray]:
    """One line a Gaussian, each number at least one character and a separator."""
    shape = (vertex.count, len(vertex.properties))
    require_bytes(2 * shape[0] * shape[1] - 1, available, path)
    table = np.zeros(shape)
    if vertex.count:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of no lines at all, which the shape tells
                lines = itertools.islice(file, vertex.count)
                table = np.loadtxt(lines, comments=None, encoding="latin1", ndmin=2)
        except ValueError as cause:
            raise _no_table(path, shape, str(cause)[:100]) from cause
    if table.shape != shape:
        raise _no_table(path, shape, f"{table.shape[0]} lines of {table.shape[1]}")
    with np.errstate(invalid="ignore"):
        return {
            name: table[:, i].astype(np.uint8) if kind == "u1" else table[:, i]
            for i, (name, kind) in enumerate(vertex.properties)
        }


def _no_table(path: Path, shape: tuple[int, int], found: str) -> SplatsError:
    expected = f"{shape[0]} lines of {shape[1]} numbers"
    return SplatsError(path, found=found, expected=expected, remedy="The file is cut off or damaged; fetch it again.")


def _gaussians(table: Mapping[str, np.ndarray], path: Path) -> Gaussians:
    rest_names = [f"f_rest_{i}" for i in range(sum(name.startswith("f_rest_") for name in table))]
    wanted = [name for key in ("means", "dc", "opacities", "scales", "quats") for name in _COLUMNS[key]] + rest_names
    missing = [name for name in wanted if name not in table]
    if missing:
        raise SplatsError(
            path,
            found=f"no columns {', '.join(missing[:8])}",
            expected="the columns of a 3DGS file",
            remedy="A point cloud or mesh is not a splat file; export Gaussians.",
        )
    if len(rest_names) not in _RESTS:
        raise SplatsError(
            path,
            found=f"{len(rest_names)} f_rest columns",
            expected=" or ".join(map(str, _RESTS)),
            remedy="Export it again, with harmonics of one degree.",
        )

    def columns(names: list[str]) -> Tensor:
        with np.errstate(over="ignore", invalid="ignore"):  # what does not fit float32 is refused below
            values = np.stack([table[name].astype(np.float32) for name in names], axis=1)
        return torch.from_numpy(values)

    sh = columns(_COLUMNS["dc"])[:, None]
    if rest_names:
        rest = columns(rest_names).unflatten(1, (3, -1))[..., :_KEPT]
        sh = torch.cat((sh, rest.permute(0, 2, 1)), dim=1).contiguous()
    means, scales, quats = columns(_COLUMNS["means"]), columns(_COLUMNS["scales"]), columns(_COLUMNS["quats"])
    return require_finite(Gaussians(means, quats, scales, columns(_COLUMNS["opacities"])[:, 0], sh), path)
