"""Small objects with origins: a textured OBJ box, lists of it, and a Debian package that holds it."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import zipfile
from pathlib import Path
from typing import Any

from PIL import Image

REPOSITORY, COMMIT = "somebody/models", "0123456789abcdef0123456789abcdef01234567"
RAW = f"https://raw.githubusercontent.com/{REPOSITORY}/{COMMIT}"
PACKAGE = "https://deb.debian.org/models_1.0_all.deb"
LIBRARY = "usr/share/models/library.sh3f"
SIDES = (1.0, 2.0, 4.0)
"""Of the box along its file's axes; z is up in the file, and its front at -y."""
EXTENTS = tuple(side / 21**0.5 for side in (1.0, 4.0, 2.0))
"""Of the box in our frame: the sphere of diameter 1 goes through its corners."""


def png(color: tuple[int, ...] = (200, 30, 10)) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (4, 4), color).save(stream, "PNG")
    return stream.getvalue()


def box_obj() -> bytes:
    corners = [(x, y, z) for x in (0, SIDES[0]) for y in (0, SIDES[1]) for z in (0, SIDES[2])]
    quads = ((0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3))
    lines = ["mtllib box.mtl", *(f"v {x} {y} {z}" for x, y, z in corners), "vt 0.5 0.5", "usemtl paint"]
    for a, b, c, d in quads:
        lines += [f"f {a + 1}/1 {b + 1}/1 {c + 1}/1", f"f {a + 1}/1 {c + 1}/1 {d + 1}/1"]
    return ("\n".join(lines) + "\n").encode()


def box_files(folder: str = "toys/box") -> dict[str, bytes]:
    """The box, its material library and its picture."""
    material = b"newmtl paint\nKd 0.5 0.5 0.5\nmap_Kd paint.png\n"
    return {f"{folder}/box.obj": box_obj(), f"{folder}/box.mtl": material, f"{folder}/paint.png": png()}


def entry(object_id: str = "box", path: str = "toys/box/box.obj", data: bytes | None = None, **other: Any) -> dict:
    """A line of a list, as JSON has it."""
    return {
        "id": object_id,
        "tier": "A",
        "group": "boxes",
        "kind": "scan",
        "licence": "CC0-1.0",
        "author": "Somebody",
        "repository": REPOSITORY,
        "commit": COMMIT,
        "path": path,
        "sha256": hashlib.sha256(box_obj() if data is None else data).hexdigest(),
        "axes": ["+x", "+z", "-y"],
        "extents": list(EXTENTS),
    } | other


def packed_entry(object_id: str, package: bytes, **other: Any) -> dict:
    """A line for the box in a Debian package."""
    line = entry(object_id, **other)
    del line["repository"], line["commit"]
    place = {"package": [PACKAGE], "package_sha256": hashlib.sha256(package).hexdigest(), "library": LIBRARY}
    return line | place


def write_list(path: Path, *entries: dict) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in entries))
    return path


def debian_package(files: dict[str, bytes]) -> bytes:
    """A .deb whose one file is a ZIP of `files`."""
    library, archive = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(library, "w") as zipped:
        for name, data in files.items():
            zipped.writestr(name, data)
    with tarfile.open(fileobj=archive, mode="w:xz") as tar:
        member = tarfile.TarInfo(f"./{LIBRARY}")
        member.size = len(library.getvalue())
        tar.addfile(member, io.BytesIO(library.getvalue()))
    parts = (("debian-binary", b"2.0\n"), ("control.tar.xz", b"odd"), ("data.tar.xz", archive.getvalue()))
    return b"!<arch>\n" + b"".join(
        f"{name:<16}{0:<12}{0:<6}{0:<6}{644:<8}{len(data):<10}`\n".encode() + data + b"\n" * (len(data) % 2)
        for name, data in parts
    )
