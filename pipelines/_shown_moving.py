"""What moves in a path that is shown: an animated mesh, or splats at every time of a clip, whose times begin at 0."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from recon.capture import Similarity
    from recon.capture.upright import UpAxis
    from recon.motion.moving import MovingGaussians
    from recon.splat.gaussians import Gaussians
    from recon.surface.mesh import Mesh
    from recon.surface.rigged import RiggedMesh

SEQUENCE = ".4dgs"


@dataclass(frozen=True)
class MovingMesh:
    """The first animation of a file.

    Attributes:
        file: a .glb.
        rigged: what it holds.
        place: from the file's world to ours; it turns nothing.
    """

    file: Path
    rigged: RiggedMesh
    place: Similarity

    @property
    def seconds(self) -> float:
        """From 0 to the last key."""
        return self.rigged.clips[0].duration

    def at(self, time: float) -> Mesh:
        """The mesh in our world at a time in seconds."""
        return self.rigged.posed(0, time).moved(self.place.scale, self.place.translation)

    @cached_property
    def at_rest(self) -> Mesh:
        """The mesh in our world as the file stores it."""
        return self.rigged.mesh.moved(self.place.scale, self.place.translation)


class MovingSplats(Protocol):
    """Splats over a clip."""

    @property
    def seconds(self) -> float:
        """From the clip's begin to its end."""

    @property
    def times(self) -> list[float]:
        """Seconds of the moments that the file states, from 0."""

    def at(self, time: float) -> Gaussians:
        """The splats in our world at a time in seconds; before the begin and after the end they stand still."""


@dataclass(frozen=True)
class _Carried:
    """A run's: Gaussians that a few rigid motions carry."""

    moving: MovingGaussians

    @property
    def seconds(self) -> float:
        return self.moving.motion.duration

    @property
    def times(self) -> list[float]:
        times = self.moving.motion.times
        return (times - times[0]).tolist()

    def at(self, time: float) -> Gaussians:
        return self.moving.at(float(self.moving.motion.times[0]) + time)


@dataclass(frozen=True)
class _Sequence:
    """A file's: other Gaussians from each of its times on."""

    times: list[float]
    moments: Sequence[Gaussians]

    @property
    def seconds(self) -> float:
        return self.times[-1]

    def at(self, time: float) -> Gaussians:
        return self.moments[max(bisect_right(self.times, time + 1e-9) - 1, 0)]


def mesh_of_run(file: Path) -> MovingMesh | None:
    """A run's animated mesh in the world of the run's capture.

    Raises:
        ValueError, OSError: if the file cannot be read.
    """
    import torch

    from recon.capture import Similarity
    from recon.surface.rigged import load_rigged

    rigged = load_rigged(file)
    back = rigged.extras["to_capture"]
    place = Similarity(translation=torch.tensor(back["translation"]), scale=float(back["scale"]))
    return MovingMesh(file, rigged, place) if rigged.clips else None


def mesh_of_file(file: Path) -> MovingMesh | None:
    """A .glb's mesh, its whole clip brought into the unit-diameter sphere; None if it has no animation.

    Raises:
        ValueError, OSError: if the file cannot be read.
    """
    from recon.surface.gltf_file import GltfFile
    from recon.surface.rigged import load_rigged, normalised_over

    header = GltfFile(file).header
    # What is compressed by Draco stands still: browsers would have to fetch what unpacks it.
    if not header.get("animations") or "KHR_draco_mesh_compression" in header.get("extensionsRequired", ()):
        return None
    rigged = load_rigged(file)
    return MovingMesh(file, rigged, normalised_over(rigged, 0)) if rigged.clips[0].duration > 0 else None


def splats_of_run(file: Path) -> MovingSplats | None:
    """A run's moving splats; None if there is but one moment.

    Raises:
        ValueError, OSError: if the file cannot be read.
    """
    from recon.motion.moving_file import read_moving

    moving = read_moving(file)
    return _Carried(moving) if moving.motion.duration > 0 else None


def splats_of_file(file: Path, up: UpAxis) -> MovingSplats:
    """A .4dgs, upright, what is solid in it over the whole clip brought into the unit-diameter sphere.

    Raises:
        ValueError, OSError: if the file cannot be read.
    """
    from recon.motion.files import read_4dgs
    from recon.surface.given import splats_in_sphere

    stated = read_4dgs(file)
    place = splats_in_sphere([scene for _, scene in stated], up, file)
    return _Sequence([time - stated[0][0] for time, _ in stated], [scene.transform(place) for _, scene in stated])
