"""Animated meshes as truth: which clip of a file, at which times, before which cameras, and what these see."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks._errors import BenchmarkError
from pipelines.evaluation.protocol import draw_views, object_seed
from recon.capture import Camera, Capture, Frame, frame_from_tensors, orbit_camera
from recon.capture.orbit import DEFAULT_FOV
from recon.metrics.sampling import SurfacePoints, sample_visible_surface
from recon.motion.fit import widest_time
from recon.surface.animation import Clip
from recon.surface.mesh import Mesh
from recon.surface.rigged import load_rigged, normalised_over

VIGOUR = ("gallop", "run", "swim", "walk", "forward")
"""What a clip's name has to hold: the first of these that any does."""
HELD_OUT_SIZE = 128
_HELD_OUT = tuple((60.0 * i + 20, 30.0 if i % 2 else 0.0) for i in range(6))  # degrees
_LOWEST, _HIGHEST = -15.0, 50.0  # degrees
_MONOCULAR = 10.0  # degrees
SAMPLES = 10_000
"""Visible surface points that chamfer distances are taken between."""


@dataclass(frozen=True)
class MovingTruth:
    """A clip whose every pose is known.

    Attributes:
        name: of the file.
        clip: its name in the file.
        times: (T,) seconds from 0 to the clip's end.
        poses: one a time, in a world in which the whole clip lies in the unit-diameter sphere.
    """

    name: str
    clip: str
    times: Tensor
    poses: tuple[Mesh, ...]

    @property
    def seed(self) -> int:
        """What everything random about the subject follows."""
        return object_seed(self.name)

    @functools.cached_property
    def vertices(self) -> Tensor:
        """(T, V, 3)."""
        return torch.stack([pose.vertices for pose in self.poses])

    @functools.cached_property
    def visible(self) -> tuple[SurfacePoints, ...]:
        """`SAMPLES` points of each pose that can be seen from outside."""
        return tuple(sample_visible_surface(pose, SAMPLES, seed=self.seed) for pose in self.poses)

    @functools.cached_property
    def reference(self) -> int:
        """The time at which points are matched: the one whose outlines before level cameras are longest."""
        cameras = [orbit_camera(0.5 * math.pi * side, 0.0, DEFAULT_FOV, 64, 64) for side in range(4)]
        frames = capture_of(self, cameras).frames
        return widest_time([frames[first : first + len(cameras)] for first in range(0, len(frames), len(cameras))])

    def views(self, cameras: Sequence[Camera], *, lit: bool = True) -> Tensor:
        """(T, C, H, W, 4) straight-alpha pictures, in light that stands still, or bare colours."""
        return torch.stack([draw_views(pose, cameras, lit=lit) for pose in self.poses])


def load_truth(path: Path, count: int) -> MovingTruth:
    """The chosen clip of a file at `count` times, from its first to its last.

    Raises:
        BenchmarkError: if no clip is one of those that are measured.
        RiggedFileError, OSError: if the file cannot be read.
    """
    rigged = load_rigged(path)
    index = chosen_clip(path.stem, rigged.clips)
    clip, world = rigged.clips[index], normalised_over(rigged, index, count)
    times = np.linspace(0, clip.duration, count)
    poses = [rigged.posed(index, float(time)) for time in times]
    moved = tuple(replace(pose, vertices=world.apply(pose.vertices)) for pose in poses)
    return MovingTruth(path.stem, clip.name, torch.from_numpy(times).float(), moved)


def chosen_clip(name: str, clips: Sequence[Clip]) -> int:
    """The clip that is measured: of those that hold the first word of `VIGOUR` that any holds, the shortest.

    Raises:
        BenchmarkError: if none holds any.
    """
    for word in VIGOUR:
        found = [i for i, clip in enumerate(clips) if word in clip.name.lower() and clip.duration > 0]
        if found:
            return min(found, key=lambda i: clips[i].duration)
    raise BenchmarkError(f"{name}: expected a clip named like one of {', '.join(VIGOUR)}, found none")


def given_cameras(count: int, size: int) -> list[Camera]:
    """Those whose pictures are given: rising around the subject by the golden angle; one alone stands in front."""
    if count == 1:
        return [orbit_camera(0.0, math.radians(_MONOCULAR), DEFAULT_FOV, size, size)]
    turn = math.pi * (3 - math.sqrt(5))
    rise = (_HIGHEST - _LOWEST) / count
    elevations = [math.radians(_LOWEST + (i + 0.5) * rise) for i in range(count)]
    return [orbit_camera(i * turn, elevation, DEFAULT_FOV, size, size) for i, elevation in enumerate(elevations)]


def held_out_cameras() -> list[Camera]:
    """Those that judge."""
    places = [(math.radians(azimuth), math.radians(elevation)) for azimuth, elevation in _HELD_OUT]
    return [orbit_camera(*place, DEFAULT_FOV, HELD_OUT_SIZE, HELD_OUT_SIZE) for place in places]


def capture_of(truth: MovingTruth, cameras: Sequence[Camera]) -> Capture:
    """A picture of every camera at every time."""
    frames: list[Frame] = []
    for place, (time, views) in enumerate(zip(truth.times.tolist(), truth.views(cameras), strict=True)):
        frames += [
            frame_from_tensors(camera, view, time=time, name=f"time_{place:03d}_view_{number:03d}")
            for number, (camera, view) in enumerate(zip(cameras, views, strict=True))
        ]
    return Capture(tuple(frames))
