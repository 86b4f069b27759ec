"""Picture files at the border of the package: bounded, hostile-input-safe decoding, and atomic writing.

Everything that opens a picture goes through `decode_picture`, so that size, type and damage are judged in one place.
"""

from __future__ import annotations

import math
import os
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from tokenize import TokenError
from zipfile import BadZipFile

import numpy as np
import torch
from PIL import ExifTags, Image
from torch import Tensor

from recon.capture.errors import CaptureError
from recon.capture.heic import INSTALL, is_heic, png_of_heic, reads_heic

MAX_PIXELS = 100_000_000
"""Larger pictures are refused from their header, before anything is decoded."""
FILM_DIAGONAL = math.hypot(36, 24)
"""Millimetres; what "35 mm equivalent" focal lengths refer to."""
MAX_FILE_BYTES = 512 * 2**20
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM", "AVIF")

_DAMAGE = (
    OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, OverflowError, MemoryError, RuntimeError,
    struct.error,
)  # fmt: skip
_TURNED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes a picture upright whose EXIF has this orientation. (Pillow's `exif_transpose` also writes EXIF anew, and
fails where a tag that does not matter has an unusual type.)"""
_REMEDY = "Save it again as an 8-bit PNG, JPEG or WebP and try once more."


@dataclass(frozen=True)
class Picture:
    """A decoded picture.

    Attributes:
        rgb: (H, W, 3) uint8 sRGB.
        alpha: (H, W) uint8, or None when the file has no transparency.
        focal_35mm: focal length as if on 36 x 24 mm film, from EXIF, or None.
    """

    rgb: np.ndarray
    alpha: np.ndarray | None
    focal_35mm: float | None = None


@contextmanager
def open_picture(path: Path, error: type[CaptureError] = CaptureError) -> Iterator[Image.Image]:
    """The opened, still undecoded picture, after its type, size and number of frames were found acceptable.

    Raises:
        CaptureError: (or `error`) if the file is missing, empty, too large, animated or not a picture.
    """
    path = Path(path)
    if not path.is_file():
        found = "a folder" if path.is_dir() else "no file"
        raise error(path, found=found, expected="a picture file", remedy="Check the path.")
    size = path.stat().st_size
    if size == 0 or size > MAX_FILE_BYTES:
        found = "an empty file (0 bytes)" if size == 0 else f"a file of {size / 2**20:.0f} MiB"
        raise error(path, found=found, expected=f"a picture of at most {MAX_FILE_BYTES >> 20} MiB", remedy=_REMEDY)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of large pictures; the check below decides
        try:
            Image.init()
            source = BytesIO(png_of_heic(path, MAX_PIXELS)) if reads_heic() and is_heic(path) else path
            image = Image.open(source, formats=[name for name in FORMATS if name in Image.OPEN])
        except Image.DecompressionBombError:
            raise error(
                path,
                found=f"a picture of more than {2 * (Image.MAX_IMAGE_PIXELS or MAX_PIXELS) / 1e6:.0f} megapixels",
                expected=f"at most {MAX_PIXELS / 1e6:.0f} megapixels",
                remedy="Scale it down first.",
            ) from None
        except _DAMAGE as cause:
            unread = not reads_heic() and is_heic(path)
            raise error(
                path,
                found=f"no picture that can be read ({_first_line(cause)})",
                expected="PNG, JPEG, WebP, BMP, TIFF, GIF, PPM, AVIF or HEIC",
                remedy=f"HEIC needs {INSTALL}; or export the photo as JPEG." if unread else _REMEDY,
            ) from cause
    with image:
        if image.width * image.height > MAX_PIXELS:
            raise error(
                path,
                found=f"{image.width} x {image.height} pixels",
                expected=f"at most {MAX_PIXELS / 1e6:.0f} megapixels",
                remedy="Scale it down first.",
            )
        try:
            animated = image.format != "MPO" and bool(getattr(image, "is_animated", False))
        except _DAMAGE as cause:
            raise _damaged(error, path, cause) from cause
        if animated:
            raise error(
                path,
                found=f"an animation or several pages ({image.format})",
                expected="one still picture",
                remedy="Export the frame you want as PNG or JPEG.",
            )
        yield image


def picture_size(path: Path) -> tuple[int, int]:
    """(width, height) from the header alone.

    Raises:
        CaptureError: as `open_picture`.
    """
    with open_picture(path) as image:
        return image.width, image.height


def decode_picture(path: Path, error: type[CaptureError] = CaptureError, *, upright: bool = False) -> Picture:
    """Decode a picture of any usual kind (palette, 16 bit, CMYK, grey, with or without transparency) to 8-bit sRGB.

    Args:
        upright: turn the picture as its EXIF orientation says, and convert an embedded colour profile to sRGB:
            right for photos, wrong for frames whose cameras were solved on the stored pixels.

    Raises:
        CaptureError: (or `error`) as `open_picture`, and if the pixels are damaged.
    """
    with open_picture(path, error) as image:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                focal, turned = _focal_35mm(image), _TURNED.get(_orientation(image))
                image.load()
                decoded = _to_8bit(image)
                if upright and decoded is not None:
                    decoded = decoded if turned is None else decoded.transpose(turned)
                    decoded = _to_srgb(decoded, image.info.get("icc_profile"))
        except _DAMAGE as cause:
            raise _damaged(error, path, cause) from cause
        if decoded is None:
            raise error(
                path,
                found=f"pixels of kind {image.mode!r}",
                expected="8- or 16-bit grey, colour or palette pixels",
                remedy=_REMEDY,
            )
        if decoded.mode == "RGBA":
            pixels = np.asarray(decoded)
            return Picture(pixels[..., :3].copy(), pixels[..., 3].copy(), focal)
        return Picture(np.array(decoded.convert("RGB")), None, focal)


def read_rgba(path: Path) -> Tensor:
    """(H, W, 4) float32 in [0, 1], straight alpha, 1 where the file has none.

    Raises:
        CaptureError: as `decode_picture`.
    """
    picture = decode_picture(path)
    rgba = torch.ones(*picture.rgb.shape[:2], 4)
    rgba[..., :3] = torch.from_numpy(picture.rgb).float() / 255
    if picture.alpha is not None:
        rgba[..., 3] = torch.from_numpy(picture.alpha).float() / 255
    return rgba


def read_rgb8(path: Path) -> Tensor:
    """(H, W, 3) uint8 as stored.

    Raises:
        CaptureError: as `decode_picture`.
    """
    return torch.from_numpy(decode_picture(path).rgb)


def read_grey(path: Path) -> tuple[Tensor, float]:
    """(H, W) float32 stored integers of an 8- or 16-bit grey picture (a colour picture's first channel), and its white.

    Raises:
        CaptureError: as `open_picture`, or damaged pixels.
    """
    with open_picture(path) as image:
        try:
            image.load()
            deep = image.mode.startswith("I")
            plane = image if deep else image.convert("L" if image.mode in ("1", "L") else "RGB").getchannel(0)
            values = np.array(plane).astype(np.float32)
        except _DAMAGE as cause:
            raise _damaged(CaptureError, path, cause) from cause
    return torch.from_numpy(values), 65535.0 if deep else 255.0


def read_array(path: Path) -> Tensor:
    """(H, W) float32 from a `.npy` file; never unpickles, and refuses more than `MAX_PIXELS` values.

    Raises:
        CaptureError: if it is anything else than a finite two-dimensional array of numbers.
    """
    expected = "a .npy file with a finite (H, W) array of numbers"
    remedy = "Write it with numpy.save(path, depth.astype('float32'))."
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (*_DAMAGE, TokenError, BadZipFile) as cause:  # numpy parses a header as Python, and opens zip archives
        found = f"no array that can be read ({_first_line(cause)})"
        raise CaptureError(path, found=found, expected=expected, remedy=remedy) from cause
    if not isinstance(array, np.ndarray):
        array.close()
        raise CaptureError(path, found="an archive of arrays", expected=expected, remedy=remedy)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim != 2 or array.dtype.kind not in "fui" or array.size > MAX_PIXELS:
        raise CaptureError(path, found=f"{array.dtype} of shape {array.shape}", expected=expected, remedy=remedy)
    values = torch.from_numpy(np.array(array, dtype=np.float32))
    if not torch.isfinite(values).all():
        raise CaptureError(path, found="NaN or infinity", expected=expected, remedy="Write 0 where depth is unknown.")
    return values


def write_rgba(path: Path, rgba: Tensor) -> None:
    """Write (H, W, 4) or (H, W, 3) float in [0, 1] as an 8-bit PNG, rounded to nearest."""
    save_png(path, (rgba.detach().clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy())


def save_png(path: Path, pixels: np.ndarray) -> None:
    """Write uint8 (H, W[, 3|4]) or uint16 (H, W) pixels as PNG, atomically."""
    temporary = path.with_name(f".{path.name}.partial")
    Image.fromarray(pixels).save(temporary, format="PNG", compress_level=4)
    os.replace(temporary, path)


def _to_8bit(image: Image.Image) -> Image.Image | None:
    """RGB or RGBA; None for kinds of pixels with no stated white (floats, 32-bit integers beyond 16 bits)."""
    if image.mode in ("I", "I;16", "I;16B", "I;16L", "I;16N"):
        values = np.asarray(image).astype(np.int64)
        if values.min(initial=0) < 0 or values.max(initial=0) > 65535:
            return None
        grey = Image.fromarray(((values + 128) // 257).astype(np.uint8))
        grey.info["exif"] = image.info.get("exif", b"")
        return grey.convert("RGB")
    if image.mode == "F":
        return None
    transparent = image.has_transparency_data or image.mode in ("LA", "La", "PA", "RGBa", "RGBA")
    return image.convert("RGBA" if transparent else "RGB")


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Convert from an embedded RGB profile (phones store Display P3); a broken or foreign profile is ignored."""
    if not profile or len(profile) > 2**20:
        return image
    from PIL import ImageCms

    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        if source.profile.xcolor_space.strip() != "RGB" or "srgb" in (source.profile.profile_description or "").lower():
            return image
        converted = ImageCms.profileToProfile(
            image.convert("RGB"), source, ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    except (ImageCms.PyCMSError, *_DAMAGE):
        return image
    if converted is None:
        return image
    if image.mode == "RGBA":
        converted.putalpha(image.getchannel("A"))
    return converted


def _orientation(image: Image.Image) -> int:
    """EXIF's number of how the camera was held; 1, upright, where there is none that makes sense."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation) or 1)
    except (*_DAMAGE, TypeError):
        return 1


def _focal_35mm(image: Image.Image) -> float | None:
    """EXIF FocalLengthIn35mmFilm, or FocalLength with the focal plane's resolution; None when absent or senseless."""
    try:
        exif = image.getexif().get_ifd(ExifTags.IFD.Exif)
        stated = float(exif.get(ExifTags.Base.FocalLengthIn35mmFilm) or 0)
        if stated <= 0:
            focal = float(exif.get(ExifTags.Base.FocalLength) or 0)
            per_unit = float(exif.get(ExifTags.Base.FocalPlaneXResolution) or 0)
            unit = {2: 25.4, 3: 10.0, 4: 1.0}.get(int(exif.get(ExifTags.Base.FocalPlaneResolutionUnit) or 2), 25.4)
            across = float(exif.get(ExifTags.Base.ExifImageWidth) or image.width)
            sensor = across * unit / per_unit * math.hypot(1, image.height / image.width) if per_unit > 0 else 0.0
            stated = focal * FILM_DIAGONAL / sensor if sensor > 0 else 0.0
    except (*_DAMAGE, TypeError, ZeroDivisionError, AttributeError):
        return None
    return stated if 5 <= stated <= 2000 else None


def _damaged(error: type[CaptureError], path: Path, cause: BaseException) -> CaptureError:
    return error(
        path, found=f"damaged or truncated pixels ({_first_line(cause)})", expected="a whole picture", remedy=_REMEDY
    )


def _first_line(cause: BaseException) -> str:
    return (str(cause).splitlines() or [type(cause).__name__])[0][:160]
