"""HEIC, the form in which phones keep photos: decoded by pi-heif, where it is installed, in a process of its own.

Files with a single wrong byte were seen to end the process that decodes them with a segmentation fault; here that is
one photo that cannot be read.
"""

from __future__ import annotations

import functools
import importlib.util
import subprocess
import sys
from pathlib import Path

SUFFIXES = (".heic", ".heif", ".hif")
INSTALL = "pip install 'turnabout[heic]'"
_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_OF_AVIF = {b"avif", b"avis"}
_SECONDS = 120
_CHILD = Path(__file__).with_name("_heic_child.py")


class HeicError(ValueError):
    """A file that cannot be decoded; says why."""


@functools.cache
def reads_heic() -> bool:
    """Whether pi-heif is installed."""
    return importlib.util.find_spec("pi_heif") is not None


def is_heic(path: Path) -> bool:
    """Whether a file's first bytes say so; its name need not.

    Raises:
        OSError: if it cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(64)
    if head[4:8] != b"ftyp":
        return False
    length = min(int.from_bytes(head[:4], "big"), len(head))
    brands = {head[8:12], *(head[i : i + 4] for i in range(16, length - 3, 4))}
    return bool(brands & _BRANDS) and not brands & _OF_AVIF


def png_of_heic(path: Path, most_pixels: int) -> bytes:
    """The first picture as a PNG, upright, with EXIF and colour profile.

    Raises:
        HeicError: if it is damaged, or has more than `most_pixels` pixels.
    """
    command = [sys.executable, "-I", str(_CHILD), str(path), str(most_pixels)]
    try:
        done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=_SECONDS)
    except subprocess.TimeoutExpired as cause:
        raise HeicError(f"decoding took more than {_SECONDS} seconds") from cause
    if done.returncode < 0:
        raise HeicError(f"its decoder was ended by signal {-done.returncode}")
    if done.returncode != 0:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["its decoder said nothing"]
        raise HeicError(lines[-1][:160])
    return done.stdout
