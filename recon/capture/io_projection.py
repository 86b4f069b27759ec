"""Captures whose cameras are text files: Middlebury's `*_par.txt` (K, R, t), one `*_P.txt` (3x4) per picture, and lists
of such matrices.

Sources: https://vision.middlebury.edu/mview/data (Seitz et al. 2006); AliceVision's and openMVG's data sets.
Neither format says which way is up, so the world is left as it is and `to_source` is the identity.
"""

from __future__ import annotations

import warnings
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from recon.capture.camera import Camera
from recon.capture.conversions import camera_from_projection, centres_at_halves
from recon.capture.errors import CaptureError, CaptureWarning
from recon.capture.files import inside, unique_names, within
from recon.capture.images import picture_size, read_rgba
from recon.capture.types import Capture, Frame

_LIST_LINE = "picture name and the 12 numbers of a 3x4 camera on each line"
_PAR_LINE = "picture name, 9 numbers of K, 9 of R, 3 of t on each line"
_REMEDY = "Correct that line."
_PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".avif")
_OFF_CENTRE = 0.2
"""Of the picture's side: principal points of real cameras lie nearer to its middle."""


def read_middlebury(path: Path) -> Capture:
    """Read a `*_par.txt`, or the folder with one; lines that name pictures which are not there are skipped,
    with a `CaptureWarning`.

    The files count the first pixel's centre as (0, 0); ours is (0.5, 0.5).

    Raises:
        CaptureError: if the listing is malformed or none of its pictures exists.
    """
    path = Path(path)
    listing = sorted(path.glob("*_par.txt"))[0] if path.is_dir() and sorted(path.glob("*_par.txt")) else path
    if not listing.is_file():
        raise CaptureError(listing, found="no file", expected="a Middlebury *_par.txt", remedy="Check the path.")
    files, cameras = [], []
    for file, values, where in _listed(listing, 1, 21, _PAR_LINE):
        rotation, translation = values[9:18].reshape(3, 3), values[18:]
        c2w = torch.eye(4, dtype=torch.float64)
        c2w[:3, :3], c2w[:3, 3] = rotation.T, -rotation.T @ translation
        try:
            camera = Camera(c2w.float(), centres_at_halves(values[:9].reshape(3, 3)).float(), *picture_size(file))
        except ValueError as cause:
            raise CaptureError(listing, found=f"{cause}{where}", expected=_PAR_LINE, remedy=_REMEDY) from cause
        files.append(file)
        cameras.append(camera)
    return _capture(files, cameras)


def is_projection_list(path: Path) -> bool:
    """Whether a text file's first line is a picture's name and 12 numbers."""
    try:
        with path.open(encoding="utf-8") as file:
            words = file.readline(10_000).split()
    except (OSError, UnicodeDecodeError):
        return False
    return len(words) == 13 and Path(words[0]).suffix.lower() in _PICTURES


def read_projection_list(listing: Path) -> Capture:
    """Read a list of 3x4 cameras, row by row, each behind the name of its picture, which lies in the list's folder;
    pictures that are not there are skipped, with a `CaptureWarning`.

    Raises:
        CaptureError: if a line is malformed or its matrix made for another size, or none of the pictures exists.
    """
    files, cameras = [], []
    for file, values, _ in _listed(listing, 0, 12, _LIST_LINE):
        files.append(file)
        cameras.append(_projection(listing, values, picture_size(file), None))
    return _capture(files, cameras)


def _listed(listing: Path, header: int, count: int, expected: str) -> list[tuple[Path, Tensor, str]]:
    """(picture, numbers, where that is) of the lines behind the header's, for pictures that are there."""
    found, missing = [], []
    for number, line in enumerate(_text(listing).splitlines()[header:], start=header + 1):
        words = line.split()
        if not words:
            continue
        if not within(listing, words[0], listing.parent).is_file():
            missing.append(words[0])
            continue
        where = f" in line {number}"
        found.append((inside(listing, words[0]), _numbers(listing, words[1:], count, expected, where), where))
    _warn_of(listing, missing, "pictures that it names are not there", stacklevel=4)
    if not found:
        raise CaptureError(
            listing, found="no line with a picture that exists", expected=expected, remedy="Copy the pictures there."
        )
    return found


def read_projections(folder: Path, size: tuple[int, int] | None = None) -> Capture:
    """Read pictures `NAME.*` with cameras `NAME_P.txt`, three rows of four numbers each; others are skipped, with a
    `CaptureWarning`.

    Args:
        folder: with both, or one of the `NAME_P.txt`.
        size: (width, height) that the matrices were made for; stored pictures may be scaled copies of it. None takes
            them to be of their pictures' own size, and refuses matrices whose principal point contradicts that.

    Raises:
        CaptureError: if a matrix is malformed or made for another size, or no picture has one.
    """
    folder = Path(folder).parent if Path(folder).is_file() else Path(folder)
    files, cameras, missing = [], [], []
    for file in sorted(folder.glob("*.*")):
        matrix_file = folder / f"{file.stem}_P.txt"
        if file.suffix.lower() not in _PICTURES:
            continue
        if not matrix_file.is_file():
            missing.append(file.name)
            continue
        values = _numbers(matrix_file, _text(matrix_file).split(), 12, "three rows of four numbers")
        files.append(file)
        cameras.append(_projection(matrix_file, values, picture_size(file), size))
    _warn_of(folder, missing, "pictures have no _P.txt beside them")
    if not files:
        raise CaptureError(
            folder, found="no picture with a _P.txt", expected="NAME.jpg beside NAME_P.txt", remedy="Check the folder."
        )
    return _capture(files, cameras)


def _projection(matrix_file: Path, values: Tensor, stored: tuple[int, int], size: tuple[int, int] | None) -> Camera:
    """The camera of 12 numbers, for a picture of the `stored` size; `size` as in `read_projections`."""
    try:
        camera = camera_from_projection(values.reshape(3, 4), *(size or stored))
    except ValueError as cause:
        raise CaptureError(matrix_file, found=str(cause), expected="a 3x4 camera", remedy="Correct it.") from cause
    if size is None:
        _check_centred(matrix_file, camera)
    return camera.resized(*stored)


def _check_centred(matrix_file: Path, camera: Camera) -> None:
    """The format does not say for which size of picture a matrix was made; its principal point lies near the middle."""
    x, y = float(camera.intrinsics[0, 2]), float(camera.intrinsics[1, 2])
    if abs(x / camera.width - 0.5) > _OFF_CENTRE or abs(y / camera.height - 0.5) > _OFF_CENTRE:
        raise CaptureError(
            matrix_file,
            found=f"a camera with its principal point at ({x:.0f}, {y:.0f}), as of pictures of about "
            f"{2 * x:.0f}x{2 * y:.0f} pixels, beside one of {camera.width}x{camera.height}",
            expected="a matrix made for the picture as it is stored",
            remedy="Use the pictures in that size, or write a nerfstudio transforms.json.",
        )


def _warn_of(source: Path, names: list[str], what: str, stacklevel: int = 3) -> None:
    if names:
        some = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
        warnings.warn(CaptureWarning(f"{source}: {len(names)} {what} and are left out ({some})"), stacklevel=stacklevel)


def _capture(files: list[Path], cameras: list[Camera]) -> Capture:
    names = unique_names([file.stem for file in files])
    return Capture(
        tuple(
            Frame(camera=camera, load_rgba=partial(read_rgba, file), name=name)
            for file, camera, name in zip(files, cameras, names, strict=True)
        )
    )


def _text(path: Path) -> str:
    try:
        return path.read_bytes()[: 2**24].decode("utf-8")
    except UnicodeDecodeError as cause:
        raise CaptureError(path, found="no text", expected="numbers as text", remedy="Check the file.") from cause


def _numbers(path: Path, words: list[str], count: int, expected: str, where: str = "") -> Tensor:
    try:
        values = torch.tensor([float(word) for word in words], dtype=torch.float64)
    except ValueError as cause:
        raise CaptureError(path, found=f"{cause}{where}"[:120], expected=expected, remedy=_REMEDY) from cause
    if len(values) != count:
        raise CaptureError(path, found=f"{len(values)} numbers{where}", expected=expected, remedy=_REMEDY)
    if not torch.isfinite(values).all():
        raise CaptureError(path, found=f"NaN or infinity{where}", expected=expected, remedy=_REMEDY)
    return values
