"""`Frame` and `Capture`: the only thing that passes from pictures (real or generated) to a reconstruction."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum

import torch
from torch import Tensor

from recon.capture.camera import Camera


class Source(StrEnum):
    """Where a frame's pixels come from; kept on disk, so that what was seen and what was imagined never mix."""

    OBSERVED = "observed"
    GENERATED = "generated"
    RENDERED = "rendered"


@dataclass(frozen=True)
class Frame:
    """One picture with its camera. Pixel data are loaded when asked for, never before.

    Attributes:
        camera: the calibrated view; its size is the picture's size.
        load_rgba: returns the picture, (H, W, 4) float32 in [0, 1], sRGB, *straight* alpha (1 where there is none).
        time: seconds; 0 in static scenes.
        source: who made the pixels.
        name: stable name, unique in its capture, also the file stem on disk.
        load_depth: returns (H, W) float32 forward depth, 0 = invalid; or None.
        load_normal: returns (H, W, 3) float32 outward world normals, 0 = invalid; or None.
        load_weight: returns (H, W) float32 in [0, 1], how far a fit should trust each pixel; None = 1 everywhere.
    """

    camera: Camera
    load_rgba: Callable[[], Tensor]
    time: float = 0.0
    source: Source = Source.OBSERVED
    name: str = "frame"
    load_depth: Callable[[], Tensor] | None = None
    load_normal: Callable[[], Tensor] | None = None
    load_weight: Callable[[], Tensor] | None = None

    def rgba(self) -> Tensor:
        """(H, W, 4) straight-alpha picture.

        Raises:
            ValueError: if the pixels do not have the camera's size.
        """
        rgba = self.load_rgba()
        if rgba.shape != (self.camera.height, self.camera.width, 4):
            raise ValueError(
                f"frame {self.name!r}: expected {self.camera.height}x{self.camera.width} RGBA pixels "
                f"as its camera says, found {tuple(rgba.shape)}"
            )
        return rgba

    def premultiplied(self) -> Tensor:
        """(H, W, 4) picture with colour multiplied by alpha: what the renderers compose."""
        rgba = self.rgba()
        return torch.cat((rgba[..., :3] * rgba[..., 3:], rgba[..., 3:]), dim=-1)

    def depth(self) -> Tensor | None:
        """(H, W) forward depth, 0 where unknown, or None."""
        return None if self.load_depth is None else self.load_depth()

    def normal(self) -> Tensor | None:
        """(H, W, 3) outward unit world normals, 0 where unknown, or None."""
        return None if self.load_normal is None else self.load_normal()

    def weight(self) -> Tensor:
        """(H, W) trust in [0, 1]."""
        if self.load_weight is None:
            return torch.ones(self.camera.height, self.camera.width)
        return self.load_weight()


def frame_from_tensors(
    camera: Camera,
    rgba: Tensor,
    *,
    time: float = 0.0,
    source: Source = Source.OBSERVED,
    name: str = "frame",
    depth: Tensor | None = None,
    normal: Tensor | None = None,
    weight: Tensor | None = None,
) -> Frame:
    """A frame whose pixels are already in memory; `rgba` is (H, W, 4) straight alpha."""
    return Frame(
        camera=camera,
        load_rgba=lambda: rgba,
        time=time,
        source=source,
        name=name,
        load_depth=None if depth is None else lambda: depth,
        load_normal=None if normal is None else lambda: normal,
        load_weight=None if weight is None else lambda: weight,
    )


@dataclass(frozen=True)
class Similarity:
    """x -> scale * rotation @ x + translation."""

    rotation: Tensor = field(default_factory=lambda: torch.eye(3))
    translation: Tensor = field(default_factory=lambda: torch.zeros(3))
    scale: float = 1.0

    def apply(self, points: Tensor) -> Tensor:
        """(..., 3) points moved."""
        return self.scale * points @ self.rotation.to(points).T + self.translation.to(points)

    def inverse(self) -> Similarity:
        rotation = self.rotation.T
        return Similarity(rotation, -(rotation @ self.translation) / self.scale, 1 / self.scale)

    def compose(self, first: Similarity) -> Similarity:
        """The similarity that applies `first`, then this one."""
        return Similarity(
            self.rotation @ first.rotation,
            self.scale * self.rotation @ first.translation + self.translation,
            self.scale * first.scale,
        )


@dataclass(frozen=True)
class Capture:
    """An ordered set of frames in the house's world frame, and the way back to the source's own frame.

    Attributes:
        frames: at least one; names are unique.
        to_source: maps our world (metres or the unit sphere) to the world the cameras came from.
    """

    frames: tuple[Frame, ...]
    to_source: Similarity = field(default_factory=Similarity)

    def __post_init__(self) -> None:
        object.__setattr__(self, "frames", tuple(self.frames))
        if not self.frames:
            raise ValueError("a capture needs at least one frame")
        names = [frame.name for frame in self.frames]
        if len(set(names)) != len(names):
            raise ValueError("frame names in a capture must be unique")

    def __len__(self) -> int:
        return len(self.frames)

    def __iter__(self) -> Iterator[Frame]:
        return iter(self.frames)

    def __getitem__(self, index: int) -> Frame:
        return self.frames[index]

    @property
    def cameras(self) -> tuple[Camera, ...]:
        return tuple(frame.camera for frame in self.frames)

    def moved(self, similarity: Similarity) -> Capture:
        """The same frames in a moved world; depth maps scale with it, normals rotate, `to_source` still leads home."""

        def move(frame: Frame) -> Frame:
            load_depth, load_normal = frame.load_depth, frame.load_normal
            return replace(
                frame,
                camera=frame.camera.moved(similarity.rotation, similarity.translation, similarity.scale),
                load_depth=None if load_depth is None else lambda: load_depth() * similarity.scale,
                load_normal=None if load_normal is None else lambda: load_normal() @ similarity.rotation.T,
            )

        return Capture(tuple(move(f) for f in self.frames), self.to_source.compose(similarity.inverse()))
