"""Niantic's .spz (github.com/nianticlabs/spz): about a tenth of a PLY, coded by gsply.

gsply believes what a file says, so sizes are checked here first: the header's count against what is really there, and
the length of the inflated stream without keeping it. Positions are fixed-point numbers of 24 bits, everything else has
8 bits a number except rotations, whose three smaller parts have 10 (8 in version 2).

The format's frame is x right, y up, z backward, which is ours, so that nothing is turned. Programs that take every PLY
to be x right, y down, z forward turn by half a circle about x between the two formats.
"""

from __future__ import annotations

import math
import struct
import zlib
from pathlib import Path

import numpy as np

from recon.splat._gsply import from_gsdata, import_gsply, native_backend, to_gsdata
from recon.splat.files import SplatsError, whole_file
from recon.splat.gaussians import Gaussians

_MAGIC = b"NGSP"
_GZIP = b"\x1f\x8b"
_HARMONICS = (0, 9, 24, 45)
"""Bytes of harmonics above the constant, for degree 0 to 3."""
_MAX_BITS = 24
_PREFERRED_BITS = 16
"""Fractional bits of what we write, where the scene is small enough: 1/65536 of a unit. Others write 12."""
_MAX_RATIO, _SMALL = 100, 16 * 2**20
"""Inflated size at most this many times the file's, or this many bytes; real scenes reach 5 times."""
_MAX_EXTENSION = 2**20
"""Bytes after the Gaussians, which extensions may use."""
_PIECE = 2**16


def write_spz(gaussians: Gaussians, path: Path) -> None:
    """Writes version 3, which every reader knows.

    What is lost, with the largest coordinate below 128: 1/131072 of a unit of a position (twice that for each doubling
    beyond; 2^22 is the limit); 1/32 of a log-scale, 3 % of size, clamped to -10 and 5.9; 1/510 of opacity; 1/76.5 of
    the constant harmonic, 0.0037 of colour, clamped to -3.33 and 3.33; 1/256 of those above, clamped to -1 and 0.99;
    0.0007 in each of a quaternion's three smaller parts.

    Raises:
        SplatsError: if there are no Gaussians, some are not finite or too far away, or gsply is missing.
    """
    path = Path(path)
    gsply = import_gsply(path)
    data = to_gsdata(gsply, gaussians, path)
    farthest = float(np.abs(data.means).max())
    if farthest >= 2**22:
        raise SplatsError(
            path,
            found=f"a Gaussian {farthest:.3g} from the origin",
            expected="coordinates below 2^22",
            remedy="Scale the scene, or write a .ply.",
        )
    bits = min(_PREFERRED_BITS, int(math.log2((2**23 - 1) / max(farthest, 1e-9))))
    with whole_file(path) as temporary, native_backend(gsply):
        gsply.write_spz(temporary, data, version=3, fractional_bits=bits)


def read_spz(path: Path) -> Gaussians:
    """Reads versions 2 to 4, of degree 0 to 3. Version 4 needs the C++ library that gsply's wheels bring, or zstandard.

    Raises:
        SplatsError: for other or damaged files, such that unfold beyond all measure, or if gsply is missing.
        OSError: if the file cannot be opened.
    """
    path = Path(path)
    raw = path.read_bytes()
    if raw.startswith(_GZIP):
        _check_gzip(raw, path)
    elif raw.startswith(_MAGIC):
        _check_streams(raw, path)
    else:
        raise _refused(path, f"bytes {raw[:4]!r} at the start" if raw else "an empty file")
    gsply = import_gsply(path)
    try:
        with native_backend(gsply):
            data = gsply.read_spz(path)
    except Exception as cause:  # which kind depends on the decoder of zstd that is installed
        raise _refused(path, str(cause)[:200]) from cause
    return from_gsdata(data, path)


def _check_gzip(raw: bytes, path: Path) -> None:
    """Versions 2 and 3: one stream of gzip, a header of 16 bytes and then the Gaussians."""
    try:
        head = zlib.decompressobj(wbits=31).decompress(raw, 16)
    except zlib.error as cause:
        raise _refused(path, f"no gzip stream ({cause})") from cause
    if len(head) < 16:
        raise _refused(path, f"{len(head)} bytes of header")
    count, degree, version = _check_header(head, (2, 3), path)
    size = 16 + count * (19 + (version > 2) + _HARMONICS[degree])
    _check_promise(size, raw, path)
    found = _inflated_size(raw, size + _MAX_EXTENSION, path)
    if not size <= found <= size + _MAX_EXTENSION:
        more = "more than " * (found > size)
        raise _refused(path, f"{more}{min(found, size + _MAX_EXTENSION)} bytes inside where {size} are promised")


def _inflated_size(raw: bytes, most: int, path: Path) -> int:
    """Bytes in a gzip stream, none of them kept; counting ends beyond `most`."""
    stream, size = zlib.decompressobj(wbits=31), 0
    for start in range(0, len(raw), _PIECE):
        piece = raw[start : start + _PIECE]
        while piece and not stream.eof:
            try:
                size += len(stream.decompress(piece, _PIECE))
            except zlib.error as cause:
                raise _refused(path, f"a damaged gzip stream ({cause})") from cause
            piece = stream.unconsumed_tail
            if size > most:
                return size
        if stream.eof and (stream.unused_data or start + _PIECE < len(raw)):
            raise _refused(path, "something after the gzip stream")
    if not stream.eof:
        raise _refused(path, "a gzip stream that is cut off")
    return size


def _check_streams(raw: bytes, path: Path) -> None:
    """Version 4: a header of 32 bytes, a table of sizes, a stream of zstd for each attribute."""
    if len(raw) < 32:
        raise _refused(path, f"{len(raw)} bytes of header")
    count, degree, _ = _check_header(raw[:16], (4,), path)
    lengths = [count * width for width in (9, 1, 3, 3, 4, _HARMONICS[degree]) if width]
    _check_promise(sum(lengths), raw, path)
    streams, (table,) = raw[15], struct.unpack_from("<I", raw, 16)
    start = table + 16 * streams
    if streams != len(lengths) or table < 32 or start > len(raw):
        raise _refused(path, f"a table of {streams} streams at byte {table}")
    for index, length in enumerate(lengths):
        packed, unpacked = struct.unpack_from("<QQ", raw, table + 16 * index)
        if unpacked != length or packed > len(raw) - start:
            raise _refused(path, f"stream {index} of {packed} bytes, for {unpacked} where {length} are promised")
        if _zstd_length(raw[start : start + min(packed, 18)]) not in (None, length):
            raise _refused(path, f"stream {index} that says another length than {length} bytes")
        start += packed


def _zstd_length(frame: bytes) -> int | None:
    """The content's length that a zstd frame names before a decoder takes the memory (RFC 8878, 3.1.1); -1 for what is
    no frame, None where it names none."""
    if len(frame) < 6 or frame[:4] != b"\x28\xb5\x2f\xfd":
        return -1
    single = frame[4] >> 5 & 1
    width = (single, 2, 4, 8)[frame[4] >> 6]
    if not width:
        return None
    start = 5 + (not single) + (0, 1, 2, 4)[frame[4] & 3]
    return int.from_bytes(frame[start : start + width], "little") + (256 if width == 2 else 0)


def _check_header(head: bytes, versions: tuple[int, ...], path: Path) -> tuple[int, int, int]:
    """Number of Gaussians, degree and version, of a header's first 16 bytes."""
    magic, version, count, degree, bits = struct.unpack_from("<4sIIBB", head)
    if magic != _MAGIC:
        raise _refused(path, f"bytes {magic!r} at the start")
    if version not in versions:
        raise _refused(path, f"version {version}")
    if degree >= len(_HARMONICS) or not 1 <= bits <= _MAX_BITS or count == 0:
        raise _refused(path, f"{count} Gaussians of degree {degree} with {bits} fractional bits")
    return count, degree, version


def _check_promise(size: int, raw: bytes, path: Path) -> None:
    if size > max(_MAX_RATIO * len(raw), _SMALL):
        raise _refused(path, f"{size} bytes promised by a file of {len(raw)}")


def _refused(path: Path, found: str) -> SplatsError:
    expected = "an .spz file of version 2 to 4 and degree 0 to 3"
    return SplatsError(path, found=found, expected=expected, remedy="Fetch it again, or export it as a .ply.")
