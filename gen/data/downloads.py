"""Files of other people, over https and out of Debian packages: bounded in size, whole or not at all.

Nothing that arrives is executed, unpacked to where it asks to be, or left half written.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import io
import lzma
import os
import shutil
import socket
import ssl
import tarfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO
from urllib.request import OpenerDirector

MAX_FILE = 64 << 20
"""Largest single file of an object, in bytes."""
MAX_PACKAGE = 512 << 20
"""Largest package, and largest file taken out of one, in bytes."""
TIMEOUT = 30.0
"""Seconds without an answer after which a request counts as failed."""
ATTEMPTS = 4
_CHUNK = 1 << 20
_PASSING = frozenset({408, 429, 500, 502, 503, 504})
"""HTTP statuses that may be gone a moment later."""


class DownloadError(ValueError):
    """A file cannot be had, or is not what it should be."""


def https_opener() -> OpenerDirector:
    """Opens https addresses and nothing else; redirects to other schemes fail."""
    opener = OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    opener.addheaders = [("User-Agent", "turnabout")]
    return opener


def download(url: str, opener: OpenerDirector, *, limit: int = MAX_FILE, pause: float = 1.0) -> bytes:
    """The bytes at `url`. What may be a passing fault is tried `ATTEMPTS` times, `pause`, 2 `pause` … seconds apart.

    Raises:
        DownloadError: if it cannot be had, is larger than `limit` bytes, or arrives cut off.
    """
    stream = io.BytesIO()
    _download_to(stream, url, opener, limit, pause)
    return stream.getvalue()


def download_package(
    urls: Sequence[str], sha256: str, target: Path, opener: OpenerDirector, *, pause: float = 1.0
) -> None:
    """Saves a file as `target` from the first of `urls` that has it with this SHA-256.

    Raises:
        DownloadError: if none has it.
    """
    reasons = []
    for url in urls:
        try:
            with whole_file(target) as stream:
                _download_to(stream, url, opener, MAX_PACKAGE, pause)
                stream.seek(0)
                check_sha256(hashlib.file_digest(stream, "sha256").hexdigest(), sha256, url)
            return
        except DownloadError as error:
            reasons.append(str(error))
    raise DownloadError("; ".join(reasons))


def check_sha256(found: str, expected: str, where: str) -> None:
    """Refuses a file whose hash is another than the listed one.

    Raises:
        DownloadError: if they differ.
    """
    if found != expected:
        raise DownloadError(f"{where}: expected the file with SHA-256 {expected}, found one with {found}")


def unpack_member(package: Path, member: str, target: Path) -> None:
    """Saves one file of a Debian package (.deb) as `target`, wherever the package would have it.

    Raises:
        DownloadError: if the package is damaged, or has no such file of at most `MAX_PACKAGE` bytes.
    """
    try:
        with package.open("rb") as stream:
            _seek_data(stream, package)
            with tarfile.open(fileobj=stream, mode="r|xz") as archive:
                for entry in archive:
                    if entry.name.removeprefix("./") == member and entry.isreg():
                        _save_member(archive, entry, package, target)
                        return
    except (tarfile.TarError, lzma.LZMAError, EOFError) as error:
        raise DownloadError(f"{package}: damaged ({error}); remove it and give the command again") from error
    raise DownloadError(f"{package}: expected the file {member} in the package, found none")


@contextlib.contextmanager
def whole_file(target: Path) -> Iterator[io.BufferedRandom]:
    """A file to write and read that becomes `target` if the block ends well, and vanishes otherwise."""
    part = target.with_name(target.name + ".part")
    try:
        with part.open("w+b") as stream:
            yield stream
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)


def _download_to(stream: BinaryIO, url: str, opener: OpenerDirector, limit: int, pause: float) -> None:
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(pause * 2 ** (attempt - 1))
        try:
            stream.seek(0)
            stream.truncate()
            _copy_response(stream, url, opener, limit)
            return
        except urllib.error.HTTPError as error:
            error.close()
            reason = f"the server answers {error.code} {error.reason}"
            if error.code not in _PASSING:
                break
        except urllib.error.URLError as error:
            reason = str(error.reason)
            if isinstance(error.reason, (str, socket.gaierror)):  # not an https address, or there is no network
                break
        except (http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError) as error:
            reason = str(error) or type(error).__name__
    raise DownloadError(f"{url}: {reason}")


def _copy_response(stream: BinaryIO, url: str, opener: OpenerDirector, limit: int) -> None:
    with opener.open(url, timeout=TIMEOUT) as response:
        promised = int(response.headers.get("Content-Length", -1))
        size = 0
        while size <= limit >= promised and (chunk := response.read(_CHUNK)):
            stream.write(chunk)
            size += len(chunk)
    if max(size, promised) > limit:
        raise DownloadError(f"{url}: more than the {limit} bytes allowed")
    if size < promised:
        raise ConnectionError(f"cut off after {size} of {promised} bytes")


def _seek_data(stream: BinaryIO, package: Path) -> None:
    """Moves to the start of `data.tar.xz` in a .deb, which is an ar archive."""
    if stream.read(8) != b"!<arch>\n":
        raise DownloadError(f"{package}: expected a Debian package, found something else")
    while len(header := stream.read(60)) == 60:
        if header[:16].rstrip(b" /") == b"data.tar.xz":
            return
        try:
            size = int(header[48:58])
        except ValueError:
            break
        stream.seek(size + size % 2, os.SEEK_CUR)
    raise DownloadError(f"{package}: expected data.tar.xz in the package, found none")


def _save_member(archive: tarfile.TarFile, entry: tarfile.TarInfo, package: Path, target: Path) -> None:
    if entry.size > MAX_PACKAGE:
        raise DownloadError(f"{package}: {entry.name} is larger than the {MAX_PACKAGE} bytes allowed")
    source = archive.extractfile(entry)
    assert source is not None  # it is a regular file
    with source, whole_file(target) as stream:
        shutil.copyfileobj(source, stream, _CHUNK)
