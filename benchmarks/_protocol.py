"""What the benchmarks measure on: the test objects, their cameras and light, and the seed of each object.

`docs/evaluation.md` states the same in words.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from gen.data.sources import NEVER_TRAIN, ObjectInfo, PackSource, read_ids
from recon.capture import Camera
from recon.capture.orbit import orbit_cameras, wave_cameras
from recon.surface.mesh import Mesh
from recon.surface.render import Lights, prepare_mesh, render_prepared

VIEWS = 21
"""Views of an orbit; the first is the input and never counted."""
ELEVATION = torch.pi / 18
AMPLITUDE = torch.pi / 9
PACK = "objects_train.zip"
TEST_LIST = "validation.txt"

PathName = Literal["level", "wave"]


class BenchmarkError(ValueError):
    """The benchmark cannot run: its objects are missing, or an earlier result does not fit."""


@dataclass(frozen=True)
class TestSet:
    """Objects to report on, and those that baselines may look at.

    Attributes:
        source: where all meshes are read from.
        objects: the test objects, by id.
        training: ids of the objects that training may see; shares none with `objects`.
    """

    source: PackSource
    objects: tuple[ObjectInfo, ...]
    training: tuple[str, ...]

    def mesh(self, object_id: str) -> Mesh:
        """In the house's frame, inside the sphere of diameter 1."""
        return self.source.mesh(object_id)


def open_test_set(folder: Path) -> TestSet:
    """The object pack, its list of test objects and its list of objects that no training may see.

    Raises:
        BenchmarkError: if a file is missing, or a listed object is not in the pack or not kept from training.
    """
    for name in (PACK, TEST_LIST, NEVER_TRAIN):
        if not (folder / name).is_file():
            raise BenchmarkError(f"{folder}: expected {PACK}, {TEST_LIST} and {NEVER_TRAIN} in it, found no {name}")
    source = PackSource(folder / PACK)
    wanted, forbidden = read_ids(folder / TEST_LIST), read_ids(folder / NEVER_TRAIN)
    if unprotected := sorted(wanted - forbidden):
        raise BenchmarkError(f"{folder / TEST_LIST}: {unprotected[0]!r} is not in {NEVER_TRAIN}, training may see it")
    objects = tuple(o for o in source.objects if o.id in wanted)
    if missing := sorted(wanted - {o.id for o in objects}):
        raise BenchmarkError(f"{folder / TEST_LIST}: {missing[0]!r} is not in {PACK}")
    return TestSet(source, objects, tuple(o.id for o in source.objects if o.id not in forbidden))


def stratified(objects: Sequence[ObjectInfo], count: int) -> tuple[ObjectInfo, ...]:
    """`count` of the objects, each tier with its share (largest remainders), drawn by the hash of their ids.

    Raises:
        BenchmarkError: if there are fewer objects.
    """
    if not 0 < count <= len(objects):
        raise BenchmarkError(f"expected to choose 1 to {len(objects)} objects, got {count}")
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
    """The 21 square views: "level" at elevation 10 degrees, "wave" at 10 + 20 sin(azimuth). The first is the same."""
    if path == "level":
        return orbit_cameras(VIEWS, ELEVATION, size=size)
    return wave_cameras(VIEWS, ELEVATION, AMPLITUDE, size=size)


def draw_views(mesh: Mesh, cameras: Sequence[Camera]) -> Tensor:
    """(V, S, S, 4) true views, straight alpha, in the studio light that stands still around the object."""
    prepared, lights = prepare_mesh(mesh), Lights.studio()
    return torch.stack([render_prepared(prepared, camera, lights=lights, supersample=3).rgba for camera in cameras])


def _digest(purpose: str, object_id: str) -> bytes:
    return hashlib.sha256(f"{purpose}/{object_id}".encode()).digest()
