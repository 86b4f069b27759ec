"""Splats from and to the files of other programs: which reader or writer, by the file's name.

| name | what | needs |
|---|---|---|
| `.ply` | what 3-D Gaussian splatting's programs write (`ply`); read, a compressed one is recognised by its header | |
| `.compressed.ply` | PlayCanvas' and SuperSplat's (`compressed_ply`) | gsply |
| `.splat` | antimatter15's (`splat_file`) | |
| `.spz` | Niantic's (`spz`) | gsply |

Nothing is turned or scaled. `.spz` states a frame, which is ours; the others state none and are taken as they are.
"""

from __future__ import annotations

from pathlib import Path

from recon.splat.compressed_ply import read_compressed_ply, write_compressed_ply
from recon.splat.files import SplatsError
from recon.splat.gaussians import Gaussians
from recon.splat.ply import read_ply, write_ply
from recon.splat.ply_header import read_header
from recon.splat.splat_file import read_splat, write_splat
from recon.splat.spz import read_spz, write_spz

SUFFIXES = (".ply", ".splat", ".spz")


def read_splats(path: Path) -> Gaussians:
    """Reads a file of any of these formats.

    Raises:
        SplatsError: for other, damaged or lying files, or if a package is missing.
        OSError: if the file cannot be opened.
    """
    path = Path(path)
    match path.suffix.lower():
        case ".ply":
            with path.open("rb") as file:
                compressed = read_header(file, path).is_compressed
            return read_compressed_ply(path) if compressed else read_ply(path)
        case ".splat":
            return read_splat(path)
        case ".spz":
            return read_spz(path)
    raise _unknown(path)


def write_splats(gaussians: Gaussians, path: Path) -> None:
    """Writes a file of the format that its name asks for; it appears whole or not at all. Only a plain `.ply` is exact:
    each writer tells what its format loses.

    Raises:
        SplatsError: for other names, Gaussians that the format cannot hold, or if a package is missing.
        OSError: if the file cannot be written.
    """
    path = Path(path)
    if path.name.lower().endswith(".compressed.ply"):
        return write_compressed_ply(gaussians, path)
    match path.suffix.lower():
        case ".ply":
            return write_ply(gaussians, path)
        case ".splat":
            return write_splat(gaussians, path)
        case ".spz":
            return write_spz(gaussians, path)
    raise _unknown(path)


def _unknown(path: Path) -> SplatsError:
    return SplatsError(
        path,
        found=path.suffix or "no suffix",
        expected=", ".join(SUFFIXES),
        remedy="Convert it with SuperSplat or splat-transform.",
    )
