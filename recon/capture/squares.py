"""Square cameras around cameras of any aspect, for generators that draw squares only, and the way back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from torch import Tensor

from recon.capture.camera import Camera
from recon.capture.types import Frame


def square_around(camera: Camera) -> Camera:
    """The square view that holds the whole of `camera`'s in its middle, at the same pixels: the longer side's field of
    view on both sides. A square camera is its own."""
    left, top, side = _margins(camera)
    return camera.cropped(-left, -top, side, side)


def cut_back(frame: Frame, camera: Camera) -> Frame:
    """What `camera` sees of a frame that was taken with `square_around(camera)`: the same pixels, fewer of them.

    Raises:
        ValueError: if the frame is not of the square's size.
    """
    left, top, side = _margins(camera)
    if (frame.camera.width, frame.camera.height) != (side, side):
        raise ValueError(
            f"frame {frame.name!r}: expected {side}x{side} pixels around a view of {camera.width}x{camera.height}, "
            f"found {frame.camera.width}x{frame.camera.height}"
        )

    def cut(load: Callable[[], Tensor]) -> Callable[[], Tensor]:
        return lambda: load()[top : top + camera.height, left : left + camera.width]

    return replace(
        frame,
        camera=camera,
        load_rgba=cut(frame.load_rgba),
        load_depth=None if frame.load_depth is None else cut(frame.load_depth),
        load_normal=None if frame.load_normal is None else cut(frame.load_normal),
        load_weight=None if frame.load_weight is None else cut(frame.load_weight),
    )


def _margins(camera: Camera) -> tuple[int, int, int]:
    """Whole pixels left of the view and above it in its square, and the square's side."""
    side = max(camera.width, camera.height)
    return (side - camera.width) // 2, (side - camera.height) // 2, side
