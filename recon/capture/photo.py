"""From a photo file to the first frame of a capture: upright, cut out, framed as the house frames its pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from recon.capture.camera import orbit_camera
from recon.capture.errors import PhotoError
from recon.capture.images import FILM_DIAGONAL, decode_picture
from recon.capture.matte import clean_colours
from recon.capture.orbit import DEFAULT_FOV
from recon.capture.types import Frame, Source

SILHOUETTE_FILL = 0.80
"""Diameter of the silhouette's enclosing circle over the picture's side, when the object's bounding sphere is framed
with the house margin. The sphere is unknown from one photo, so its mean is used: 0.80 with a spread of 0.09 over 600
objects at elevation 10 degrees (5 % and 95 %: 0.60 and 0.89; 0.79 over random elevations 0..30 and fields of view
20..60). The circle varies less than the bounding box's longest side (0.75, spread 0.10) or the area."""
MIN_FOV, MAX_FOV = math.radians(20), math.radians(60)
"""Fields of view from EXIF are kept within what generators are trained on."""
MAX_SIDE = 4096
"""Native crops are scaled down to this many pixels a side."""


@dataclass(frozen=True)
class Photo:
    """A decoded photo, upright, in sRGB.

    Attributes:
        path: the file, for messages and names.
        rgb: (H, W, 3) uint8.
        alpha: (H, W) uint8, or None when the file has no transparency.
        focal_35mm: focal length on 36 x 24 mm film with the same diagonal angle, from EXIF, or None.
    """

    path: Path
    rgb: Tensor
    alpha: Tensor | None = None
    focal_35mm: float | None = None

    @property
    def has_matte(self) -> bool:
        """Whether the file's own alpha cuts something out: at least a hundredth of it is transparent."""
        return self.alpha is not None and float((self.alpha < 26).float().mean()) > 0.01

    @property
    def focal_pixels(self) -> float | None:
        """Focal length in pixels, or None when EXIF does not say."""
        if self.focal_35mm is None:
            return None
        return self.focal_35mm / FILM_DIAGONAL * math.hypot(*self.rgb.shape[:2])


def read_photo(path: Path) -> Photo:
    """Read a photo: any usual format and kind of pixels, turned upright as EXIF says, converted to sRGB.

    Raises:
        PhotoError: if it is missing, damaged, animated, too large or no picture at all.
    """
    path = Path(path)
    picture = decode_picture(path, PhotoError, upright=True)
    alpha = None if picture.alpha is None else torch.from_numpy(picture.alpha)
    return Photo(path, torch.from_numpy(picture.rgb), alpha, picture.focal_35mm)


def common_sides(photos: Sequence[Photo], alphas: Sequence[Tensor], elevation: float) -> list[int]:
    """Sides of the squares, in pixels of each photo, that show the object at one scale in all of them.

    What the photos share is the object's height. Seen from `elevation` (radians, of all of them) a silhouette is as
    tall as height * cos e + depth * sin e, where the depth is the width seen from a quarter turn away; so its height
    plus its width * sin e is the same for a box from all four sides, from afar. The largest enclosing circle fills its
    square as that of a single photo does.

    Raises:
        PhotoError: if a matte is empty or has not its photo's size.
    """
    outlines = [_outline(photo, alpha) for photo, alpha in zip(photos, alphas, strict=True)]
    shared = [outline.height + outline.width * abs(math.sin(elevation)) for outline in outlines]
    widest = max(2 * outline.radius / length for outline, length in zip(outlines, shared, strict=True))
    return [max(1, round(length * widest / SILHOUETTE_FILL)) for length in shared]


def subject_fov(photo: Photo, alpha: Tensor, fov: float | None = None, *, side: int | None = None) -> tuple[float, str]:
    """Field of view in radians of the square that `frame_subject` cuts, and where it comes from.

    Returns:
        the given one and "given"; or from EXIF and "exif", or "exif, limited" where that lay outside of the 20..60
        degrees within which it is kept; or 33.8 degrees and "assumed".

    Raises:
        PhotoError: if the matte is empty.
    """
    if fov is not None:
        return fov, "given"
    if photo.focal_pixels is None:
        return DEFAULT_FOV, "assumed"
    side = _window(photo, alpha, side)[2]
    measured = 2 * math.atan(side / (2 * photo.focal_pixels))
    kept = min(max(measured, MIN_FOV), MAX_FOV)
    return kept, "exif" if kept == measured else "exif, limited"


def frame_subject(
    photo: Photo,
    alpha: Tensor,
    *,
    size: int | None = None,
    elevation: float = 0.0,
    fov: float | None = None,
    side: int | None = None,
    outline: Tensor | None = None,
    name: str = "input",
) -> Frame:
    """Cut the subject out in a square as if its bounding sphere were framed with the house margin.

    The square's centre is the silhouette's bounding box's, its side the enclosing circle's diameter divided by
    `SILHOUETTE_FILL` unless given; it may reach outside of the photo, where it is transparent. Where the matte was
    found rather than given, the subject's colours are freed of the background at its rim.

    Args:
        alpha: (H, W) float32, from `find_foreground`.
        size: pixels a side; None keeps the photo's own resolution.
        elevation: radians; azimuth is 0 by definition.
        fov: radians of the square; None asks EXIF (`subject_fov`).
        side: of the square in pixels of the photo, from `common_sides` where there are several photos.
        outline: (H, W) matte whose silhouette is framed in place of `alpha`'s, as that of a whole clip.

    Raises:
        PhotoError: if the matte is empty or has not the photo's size.
        ValueError: if `size` is not positive or `fov` not an angle below 180 degrees.
    """
    framed = alpha if outline is None else outline
    left, top, side = _window(photo, framed, side)
    pixels = min(side, MAX_SIDE) if size is None else size
    if pixels < 1:
        raise ValueError(f"a picture needs at least one pixel a side, got {pixels}")
    angle, _ = subject_fov(photo, framed, fov, side=side)
    return Frame(
        camera=orbit_camera(0.0, elevation, angle, pixels, pixels),
        load_rgba=partial(_crop, photo, alpha, (left, top, side), pixels),
        source=Source.OBSERVED,
        name=name,
    )


@dataclass(frozen=True)
class _Outline:
    """A silhouette's extent in pixels: its bounding box's middle and sides, its enclosing circle's radius."""

    centre_x: float
    centre_y: float
    width: int
    height: int
    radius: float


def _window(photo: Photo, alpha: Tensor, side: int | None) -> tuple[int, int, int]:
    """Left, top and side of the square, whole pixels of the photo; the side is the given one or fits the outline."""
    outline = _outline(photo, alpha)
    side = max(1, round(2 * outline.radius / SILHOUETTE_FILL)) if side is None else side
    return round(outline.centre_x - side / 2), round(outline.centre_y - side / 2), side


def _outline(photo: Photo, alpha: Tensor) -> _Outline:
    import cv2

    if alpha.shape != photo.rgb.shape[:2]:
        raise PhotoError(
            photo.path,
            found=f"a matte of {tuple(alpha.shape)}",
            expected=f"{tuple(photo.rgb.shape[:2])} as the photo",
            remedy="Use find_foreground on the same photo.",
        )
    mask = (alpha > 0.5).numpy().astype(np.uint8)
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if len(rows) == 0:
        raise PhotoError(
            photo.path, found="an empty matte", expected="a subject", remedy="Use find_foreground on the photo."
        )
    first, last = mask[rows].argmax(1), mask.shape[1] - mask[rows][:, ::-1].argmax(1)
    corners = np.concatenate([np.stack([x, y], 1) for x in (first, last) for y in (rows, rows + 1)])
    _, radius = cv2.minEnclosingCircle(corners.astype(np.float32))
    centre_x, centre_y = (columns[0] + columns[-1] + 1) / 2, (rows[0] + rows[-1] + 1) / 2
    width, height = int(columns[-1] + 1 - columns[0]), int(rows[-1] + 1 - rows[0])
    return _Outline(float(centre_x), float(centre_y), width, height, float(radius))


def _crop(photo: Photo, alpha: Tensor, window: tuple[int, int, int], pixels: int) -> Tensor:
    """(pixels, pixels, 4) float32 straight alpha."""
    import cv2

    left, top, side = window
    height, width = alpha.shape
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + side, width), min(top + side, height)
    rgb = photo.rgb[y0:y1, x0:x1].numpy().astype(np.float32) / 255
    matte = alpha[y0:y1, x0:x1].numpy()
    if not photo.has_matte:
        rgb = clean_colours(rgb, matte)
    view = np.dstack((rgb * matte[..., None], matte))
    x, y = x0 - left, y0 - top
    if side > MAX_SIDE:  # a small silhouette at a long object's scale leaves most of its square empty: shrink it first
        scale, side = MAX_SIDE / side, MAX_SIDE
        shape = (max(1, int(view.shape[1] * scale)), max(1, int(view.shape[0] * scale)))
        view, x, y = cv2.resize(view, shape, interpolation=cv2.INTER_AREA), int(x * scale), int(y * scale)
    canvas = np.zeros((side, side, 4), np.float32)
    canvas[y : y + view.shape[0], x : x + view.shape[1]] = view
    if pixels != side:
        canvas = cv2.resize(
            canvas, (pixels, pixels), interpolation=cv2.INTER_AREA if pixels < side else cv2.INTER_LINEAR
        )
    straight = canvas[..., :3] / np.maximum(canvas[..., 3:], 1e-4)
    return torch.from_numpy(np.clip(np.concatenate((straight, canvas[..., 3:]), axis=2), 0, 1))
