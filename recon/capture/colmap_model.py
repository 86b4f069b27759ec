"""COLMAP's model files as they lie on disk: cameras, images and points, text or binary, read with bounds and written.

Format: https://colmap.github.io/format.html. `rigs` and `frames` of COLMAP 3.12 and later repeat what `images` says
and are not read. What this means in our conventions is in `recon.capture.io_colmap`.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from recon.capture.errors import CaptureError
from recon.capture.files import MAX_FRAMES, pixels

PARAMETERS = {
    "SIMPLE_PINHOLE": 3,
    "PINHOLE": 4,
    "SIMPLE_RADIAL": 4,
    "RADIAL": 5,
    "OPENCV": 8,
    "FULL_OPENCV": 12,
    "SIMPLE_RADIAL_FISHEYE": 4,
    "RADIAL_FISHEYE": 5,
    "OPENCV_FISHEYE": 8,
}
"""The camera models that are read, and how many numbers each has."""
ONE_FOCAL_LENGTH = ("SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "SIMPLE_RADIAL_FISHEYE", "RADIAL_FISHEYE")
"""Models of the same along both axes."""
MAX_POINTS = 10_000_000
_MODELS = (
    *("SIMPLE_PINHOLE", "PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV", "OPENCV_FISHEYE", "FULL_OPENCV", "FOV"),
    *("SIMPLE_RADIAL_FISHEYE", "RADIAL_FISHEYE", "THIN_PRISM_FISHEYE", "RAD_TAN_THIN_PRISM_FISHEYE"),
    *("SIMPLE_DIVISION", "DIVISION", "SIMPLE_FISHEYE", "FISHEYE", "EUCM", "EQUIRECTANGULAR"),
)
"""By COLMAP's numbers."""
_MAX_NAME = 4096
_MAX_LINE = 64 * 2**20
_EXPECTED = "a COLMAP model"
_REMEDY = "Export the model again, for instance with colmap model_converter."


@dataclass(frozen=True)
class ModelCamera:
    """A lens: COLMAP's model name, the picture's size in pixels, and the model's parameters in COLMAP's order."""

    model: str
    width: int
    height: int
    parameters: tuple[float, ...]


@dataclass(frozen=True)
class ModelImage:
    """A registered picture: its name below the image folder, its camera's id, and the world-to-camera motion.

    Attributes:
        rotation: unit quaternion wxyz.
        translation: of the motion, not the camera's place.
    """

    name: str
    camera: int
    rotation: tuple[float, float, float, float]
    translation: tuple[float, float, float]


def find_file(folder: Path, kind: str) -> Path | None:
    """`kind.bin` or, without one, `kind.txt` of a model folder."""
    for ending in (".bin", ".txt"):
        if (folder / (kind + ending)).is_file():
            return folder / (kind + ending)
    return None


def read_cameras(path: Path) -> dict[int, ModelCamera]:
    """The lenses of a `cameras.bin` or `cameras.txt` by their ids.

    Raises:
        CaptureError: if the file is cut short or malformed, or a model is none of `PARAMETERS`.
    """
    entries = _binary_cameras(path) if path.suffix == ".bin" else _text_cameras(path)
    cameras: dict[int, ModelCamera] = {}
    for number, camera in entries:
        if number in cameras:
            raise _bad(path, f"two cameras with the id {number}")
        size = pixels(path, camera.width, "width"), pixels(path, camera.height, "height")
        if not all(map(math.isfinite, camera.parameters)):
            raise _bad(path, f"NaN or infinity in camera {number}")
        cameras[number] = ModelCamera(camera.model, *size, camera.parameters)
    return cameras


def read_images(path: Path) -> list[ModelImage]:
    """The registered pictures of an `images.bin` or `images.txt`, in the file's order.

    Raises:
        CaptureError: if the file is cut short or malformed, or a pose is not finite.
    """
    images = []
    for image in _binary_images(path) if path.suffix == ".bin" else _text_images(path):
        length = math.sqrt(sum(x * x for x in image.rotation if abs(x) < 1e100))
        if not (all(math.isfinite(x) for x in (*image.rotation, *image.translation)) and 1e-6 < length < 1e6):
            raise _bad(path, f"no finite pose for {image.name!r}"[:120])
        w, x, y, z = (value / length for value in image.rotation)
        images.append(ModelImage(image.name, image.camera, (w, x, y, z), image.translation))
    return images


def read_points(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """(N, 3) float64 places and (N, 3) uint8 colours of a `points3D.bin` or `points3D.txt`.

    Raises:
        CaptureError: if the file is cut short or malformed, or a place is not finite.
    """
    binary = path.suffix == ".bin"
    places, colours = _binary_points(path) if binary else _text_points(path)
    if not np.isfinite(places).all():
        raise _bad(path, "points with NaN or infinity")
    return places, colours


def write_model(
    folder: Path, cameras: Sequence[ModelCamera], images: Sequence[ModelImage], places: np.ndarray, colours: np.ndarray
) -> None:
    """Write `cameras.bin`, `images.bin` and `points3D.bin`; ids count from 1, `ModelImage.camera` is such an id.

    Args:
        places, colours: (N, 3) float64 and (N, 3) uint8 of points that no picture is said to see.
    """
    with (folder / "cameras.bin").open("wb") as file:
        file.write(struct.pack("<Q", len(cameras)))
        for number, camera in enumerate(cameras, start=1):
            file.write(struct.pack("<IiQQ", number, _MODELS.index(camera.model), camera.width, camera.height))
            file.write(struct.pack(f"<{len(camera.parameters)}d", *camera.parameters))
    with (folder / "images.bin").open("wb") as file:
        file.write(struct.pack("<Q", len(images)))
        for number, image in enumerate(images, start=1):
            file.write(struct.pack("<I7dI", number, *image.rotation, *image.translation, image.camera))
            file.write(image.name.encode() + b"\0" + struct.pack("<Q", 0))
    with (folder / "points3D.bin").open("wb") as file:
        file.write(struct.pack("<Q", len(places)))
        for number, (place, colour) in enumerate(zip(places.tolist(), colours.tolist(), strict=True), start=1):
            file.write(struct.pack("<Q3d3BdQ", number, *place, *colour, 0.0, 0))


class _Reader:
    """A binary file that is never read beyond its end, nor allocated for before its size allows."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path, self.file, self.left = path, file, path.stat().st_size

    def skip(self, count: int) -> None:
        if count > self.left:
            raise _bad(self.path, f"a file that ends {count - self.left} bytes too early")
        self.left -= count
        self.file.seek(count, 1)

    def take(self, form: str) -> tuple[float, ...]:
        content = self.file.read(struct.calcsize("<" + form))
        self.left -= len(content)
        if len(content) < struct.calcsize("<" + form):
            raise _bad(self.path, f"a file that ends {struct.calcsize('<' + form) - len(content)} bytes too early")
        return struct.unpack("<" + form, content)

    def count(self, smallest: int, most: int, what: str) -> int:
        """A number of things of at least `smallest` bytes each."""
        (count,) = self.take("Q")
        if count > most or count * smallest > self.left:
            raise _bad(self.path, f"a count of {count} {what} in a file with {self.left} bytes left")
        return int(count)

    def text(self) -> str:
        content = self.file.read(min(self.left, _MAX_NAME))
        end = content.find(b"\0")
        if end < 0:
            raise _bad(self.path, "a picture's name that does not end")
        self.file.seek(end + 1 - len(content), 1)
        self.left -= end + 1
        return _decoded(self.path, content[:end])


def _binary_cameras(path: Path) -> Iterator[tuple[int, ModelCamera]]:
    with path.open("rb") as file:
        reader = _Reader(path, file)
        for _ in range(reader.count(24, MAX_FRAMES, "cameras")):
            number, kind, width, height = (int(value) for value in reader.take("IiQQ"))
            model = _MODELS[kind] if 0 <= kind < len(_MODELS) else f"number {kind}"
            yield number, ModelCamera(model, width, height, reader.take(f"{_parameter_count(path, model)}d"))


def _text_cameras(path: Path) -> Iterator[tuple[int, ModelCamera]]:
    for words in map(str.split, _lines(path)):
        if not words:
            continue
        if len(words) < 4 or len(words) != 4 + _parameter_count(path, words[1]):
            raise _bad(path, f"{len(words)} columns in {' '.join(words)!r}"[:160])
        number, width, height = (_whole(path, words[index]) for index in (0, 2, 3))
        yield number, ModelCamera(words[1], width, height, _numbers(path, words[4:]))


def _binary_images(path: Path) -> Iterator[ModelImage]:
    with path.open("rb") as file:
        reader = _Reader(path, file)
        for _ in range(reader.count(73, MAX_FRAMES, "pictures")):
            _, qw, qx, qy, qz, x, y, z, camera = reader.take("I7dI")
            name = reader.text()
            reader.skip(24 * reader.count(24, 2**40, "image points"))
            yield ModelImage(name, int(camera), (qw, qx, qy, qz), (x, y, z))


def _text_images(path: Path) -> Iterator[ModelImage]:
    lines = _lines(path)
    for count, line in enumerate(line for line in lines if line):
        if count >= MAX_FRAMES:
            raise _bad(path, f"more than {MAX_FRAMES} pictures")
        words = line.split(maxsplit=9)
        if len(words) != 10:
            raise _bad(path, f"{len(words)} columns in {line!r}"[:160])
        points = next(lines, "").split()
        if len(points) % 3:
            raise _bad(path, f"{len(points)} columns of image points below {words[9]!r}"[:160])
        qw, qx, qy, qz, x, y, z = _numbers(path, words[1:8])
        yield ModelImage(words[9], _whole(path, words[8]), (qw, qx, qy, qz), (x, y, z))


def _binary_points(path: Path) -> tuple[np.ndarray, np.ndarray]:
    with path.open("rb") as file:
        reader = _Reader(path, file)
        count = reader.count(51, MAX_POINTS, "points")
        places, colours = np.empty((count, 3)), np.empty((count, 3), np.uint8)
        for index in range(count):
            _, x, y, z, red, green, blue, _ = reader.take("Q3d3Bd")
            places[index], colours[index] = (x, y, z), (red, green, blue)
            reader.skip(8 * reader.count(8, 2**40, "observations"))
    return places, colours


def _text_points(path: Path) -> tuple[np.ndarray, np.ndarray]:
    places: list[tuple[float, ...]] = []
    colours: list[list[int]] = []
    for words in map(str.split, _lines(path)):
        if not words:
            continue
        if len(words) < 8 or len(words) % 2:
            raise _bad(path, f"{len(words)} columns for point {words[0]}"[:100])
        if len(places) >= MAX_POINTS:
            raise _bad(path, f"more than {MAX_POINTS} points")
        places.append(_numbers(path, words[1:4]))
        colours.append([min(max(_whole(path, word), 0), 255) for word in words[4:7]])
    return np.array(places, np.float64).reshape(-1, 3), np.array(colours, np.uint8).reshape(-1, 3)


def _lines(path: Path) -> Iterator[str]:
    """The stripped lines that are no comments; empty ones too, as they mean something in `images.txt`."""
    with path.open("rb") as file:
        while line := file.readline(_MAX_LINE):
            if len(line) == _MAX_LINE:
                raise _bad(path, f"a line of more than {_MAX_LINE >> 20} MiB")
            if not line.startswith(b"#"):
                yield _decoded(path, line).strip()


def _decoded(path: Path, content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as cause:
        raise _bad(path, "bytes that are no UTF-8") from cause


def _numbers(path: Path, words: Sequence[str]) -> tuple[float, ...]:
    try:
        return tuple(map(float, words))
    except ValueError as cause:
        raise _bad(path, str(cause)[:100]) from cause


def _whole(path: Path, word: str) -> int:
    try:
        return int(word[:20])
    except ValueError as cause:
        raise _bad(path, f"{word!r} where a whole number belongs"[:100]) from cause


def _parameter_count(path: Path, model: str) -> int:
    if model not in PARAMETERS:
        raise CaptureError(
            path,
            found=f"camera model {model}"[:100],
            expected="one of " + ", ".join(PARAMETERS),
            remedy="Undistort the pictures to a pinhole camera first, with colmap image_undistorter.",
        )
    return PARAMETERS[model]


def _bad(path: Path, found: str) -> CaptureError:
    return CaptureError(path, found=found, expected=_EXPECTED, remedy=_REMEDY)
