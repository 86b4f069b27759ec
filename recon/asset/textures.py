"""Colours and pictures as glTF files hold them: linear factors, sRGB textures in PNG, JPEG or WebP."""

from __future__ import annotations

import io
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from recon.asset._glb_container import GlbError

_MAX_PIXELS = 100_000_000

ImageFormat = Literal["png", "jpeg", "webp"]


def encode_texture(texture: Tensor, image_format: ImageFormat = "png") -> tuple[bytes, str]:
    """An (H, W, 3|4) uint8 sRGB image as file bytes and their MIME type; RGBA is never JPEG."""
    from PIL import Image

    pixels = Image.fromarray(np.ascontiguousarray(texture.cpu().numpy(), dtype=np.uint8))
    stream = io.BytesIO()
    if image_format == "jpeg" and texture.shape[-1] == 3:
        pixels.save(stream, "JPEG", quality=95, subsampling=0, optimize=True)
        return stream.getvalue(), "image/jpeg"
    if image_format == "webp":
        pixels.save(stream, "WEBP", quality=92, method=4)
        return stream.getvalue(), "image/webp"
    pixels.save(stream, "PNG", compress_level=6)
    return stream.getvalue(), "image/png"


def decode_texture(data: bytes) -> Tensor:
    """(H, W, 3|4) uint8 from PNG, JPEG or WebP bytes.

    Raises:
        GlbError: if the bytes are none of them, or the picture has more than 100 megapixels.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP")) as image:
            if image.width * image.height > _MAX_PIXELS:
                raise GlbError(f"texture of {image.width} x {image.height} px is larger than {_MAX_PIXELS} pixels")
            return torch.from_numpy(np.array(image.convert("RGBA" if "A" in image.getbands() else "RGB")))
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise GlbError(f"texture is neither PNG nor JPEG nor WebP ({error})") from error


def srgb_to_linear(value: Tensor) -> Tensor:
    """sRGB-encoded values in [0, 1] to linear light (IEC 61966-2-1)."""
    return torch.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055).clamp_min(0) ** 2.4)


def linear_to_srgb(value: Tensor) -> Tensor:
    """Linear light in [0, 1] to sRGB-encoded values."""
    return torch.where(value <= 0.0031308, value * 12.92, 1.055 * value.clamp_min(0) ** (1 / 2.4) - 0.055)
