"""What an evaluation measures on: cameras, light, the choice of objects and the seed of each.

`docs/evaluation.md` states the same in words.
"""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from gen.data.names import stem
from gen.data.sources import ObjectInfo
from recon.capture import Camera, orbit_camera
from recon.capture.orbit import DEFAULT_FOV, orbit_cameras, wave_cameras
from recon.surface.mesh import Mesh
from recon.surface.render import Lights, prepare_mesh, render_prepared

VIEWS = 21
"""Views of an orbit; the first is the input and never counted."""
ELEVATION = math.radians(10)
AMPLITUDE = math.radians(20)
SUPERSAMPLE = 3
HELD_OUT = tuple((math.radians(45 * (i + 0.5)), math.radians(-5 if i % 2 else 35)) for i in range(8))
"""Azimuth and elevation of the views that textured meshes are judged by: 15 degrees and more from any view of the level
path, 7 from any of the wave."""

PathName = Literal["level", "wave", "both"]


class EvaluationError(ValueError):
    """The evaluation cannot run: its objects are missing, or what is given does not fit."""


def stratified(objects: Sequence[ObjectInfo], count: int) -> tuple[ObjectInfo, ...]:
    """`count` of the objects, each tier with its share (largest remainders), drawn by the hash of their names: an
    object is the same one in a pack and as a file of its own.

    Raises:
        EvaluationError: if there are fewer objects.
    """
    if not 0 < count <= len(objects):
        raise EvaluationError(f"expected to choose 1 to {len(objects)} objects, got {count}")
    tiers = defaultdict(list)
    for item in sorted(objects, key=lambda o: _digest("choose", o.id)):
        tiers[item.tier].append(item)
    exact = {tier: count * len(members) / len(objects) for tier, members in tiers.items()}
    quota = {tier: int(share) for tier, share in exact.items()}
    by_remainder = sorted(exact, key=lambda tier: (quota[tier] - exact[tier], tier))
    for tier in by_remainder[: count - sum(quota.values())]:
        quota[tier] += 1
    chosen = [item for tier, members in tiers.items() for item in members[: quota[tier]]]
    return tuple(sorted(chosen, key=lambda o: o.id))


def groups_of(item: ObjectInfo) -> tuple[str, ...]:
    """The sub-tables an object counts in: its tier, and "scan" for digitised real things."""
    return (f"tier {item.tier}", "scan") if item.kind == "scan" else (f"tier {item.tier}",)


def grouped(objects: Sequence[ObjectInfo]) -> dict[str, list[str]]:
    """Ids of the objects of every group that has any, groups by name."""
    groups: dict[str, list[str]] = {}
    for item in objects:
        for group in groups_of(item):
            groups.setdefault(group, []).append(item.id)
    return dict(sorted(groups.items()))


def object_seed(object_id: str) -> int:
    """The one seed that everything random about an object follows."""
    return int.from_bytes(_digest("seed", object_id)[:4], "big") & 0x7FFFFFFF


def path_cameras(path: PathName, size: int) -> tuple[Camera, ...]:
    """Square views of `size` pixels: "level" 21 at elevation 10 degrees, "wave" 21 at 10 + 20 sin(azimuth), "both" the
    41 different ones of the two. The first is always the same."""
    if path == "level":
        return orbit_cameras(VIEWS, ELEVATION, size=size)
    wave = wave_cameras(VIEWS, ELEVATION, AMPLITUDE, size=size)
    return wave if path == "wave" else (*orbit_cameras(VIEWS, ELEVATION, size=size), *wave[1:])


def held_out_cameras(size: int) -> tuple[Camera, ...]:
    """The views of `HELD_OUT`, square, of `size` pixels."""
    return tuple(orbit_camera(azimuth, elevation, DEFAULT_FOV, size, size) for azimuth, elevation in HELD_OUT)


def context_views(count: int) -> list[int]:
    """Indices in a path of the views that a method sees: the input, and others evenly spaced from it."""
    return [i * VIEWS // count for i in range(count)]


def counted_views(count: int, context: Sequence[int]) -> list[int]:
    """Indices of a path's `count` views without those that a method sees."""
    return [i for i in range(count) if i not in context]


def degrees_away(camera: Camera) -> float:
    """Azimuth between a camera and the input view's, 0 to 180 degrees."""
    x, _, z = camera.centre.tolist()
    return abs(math.degrees(math.atan2(x, z)))


def draw_views(mesh: Mesh, cameras: Sequence[Camera], *, lit: bool = True, lights: Lights | None = None) -> Tensor:
    """(V, S, S, 4) views, straight alpha, in light that stands still around the object.

    Args:
        lit: False draws the bare colours: of a mesh whose texture was taken from pictures and holds their light.
        lights: others than the studio's.
    """
    prepared, lights = prepare_mesh(mesh), (lights or Lights.studio()) if lit else None
    drawn = [render_prepared(prepared, camera, lights=lights, supersample=SUPERSAMPLE).rgba for camera in cameras]
    return torch.stack(drawn)


def _digest(purpose: str, object_id: str) -> bytes:
    return hashlib.sha256(f"{purpose}/{stem(object_id)}".encode()).digest()
