"""What there is to be seen in a path: a run's things, a capture, a mesh, or splats; each is read when asked for."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines._options import OptionsError

if TYPE_CHECKING:
    from pipelines._shown_moving import MovingMesh, MovingSplats
    from recon.capture import Capture
    from recon.capture.upright import UpAxis
    from recon.splat.gaussians import Gaussians
    from recon.surface.mesh import Mesh


_CAPTURE = "capture/transforms.json"


@dataclass(frozen=True)
class Shown:
    """One path's things, all in one world, the subject in the unit-diameter sphere.

    Attributes:
        path: a run folder, or a file.
        up: a file's axis that points up.
    """

    path: Path
    up: UpAxis = "+y"

    def __post_init__(self) -> None:
        if not self.path.exists():
            raise OptionsError(f"{self.path}: expected a run folder, a mesh or splats, found nothing")
        if not self.path.is_dir() or any(map(self._has, ("mesh.glb", "splat.ply", _CAPTURE))):
            return
        from recon.capture.reading import find_reader

        if find_reader(self.path) is None:
            expected = "a run's mesh.glb, splat.ply or capture/, or a capture with cameras"
            raise OptionsError(f"{self.path}: expected {expected} in this folder, found none of them")

    @cached_property
    def mesh(self) -> Mesh | None:
        """The mesh; of one that moves, the pose that its file stores.

        Raises:
            ValueError, OSError: if its file cannot be read.
        """
        from pipelines._report import read_placed

        if self.moving_mesh is not None:
            return self.moving_mesh.at_rest
        if self.path.is_dir():
            return read_placed(self.path / "mesh.glb") if self._has("mesh.glb") else None
        return None if self._is_splats else self._given  # type: ignore[return-value]

    @cached_property
    def splats(self) -> Gaussians | None:
        """The splats; of those that move, the first moment.

        Raises:
            ValueError, OSError: if their file cannot be read.
        """
        from recon.splat.ply import read_ply

        if self.moving_splats is not None:
            return self.moving_splats.at(0.0)
        if self.path.is_dir():
            return read_ply(self.path / "splat.ply") if self._has("splat.ply") else None
        return self._given if self._is_splats else None  # type: ignore[return-value]

    @cached_property
    def moving_mesh(self) -> MovingMesh | None:
        """A run's mesh that moves, or a .glb's with an animation; None for what stands still.

        Raises:
            ValueError, OSError: if its file cannot be read.
        """
        from pipelines._report import MOVING
        from pipelines._shown_moving import mesh_of_file, mesh_of_run

        if self.path.is_dir():
            return mesh_of_run(self.path / "mesh.glb") if self._has("mesh.glb") and self._has(MOVING) else None
        return mesh_of_file(self.path) if self.path.suffix.lower() == ".glb" and self.up == "+y" else None

    @cached_property
    def moving_splats(self) -> MovingSplats | None:
        """A run's splats that move, or those of a .4dgs; None for what stands still.

        Raises:
            ValueError, OSError: if their file cannot be read.
        """
        from pipelines._report import MOVING
        from pipelines._shown_moving import SEQUENCE, splats_of_file, splats_of_run

        if self.path.is_dir():
            return splats_of_run(self.path / MOVING) if self._has(MOVING) else None
        return splats_of_file(self.path, self.up) if self.path.suffix.lower() == SEQUENCE else None

    @property
    def seconds(self) -> float:
        """How long its clip takes; 0 for what stands still."""
        moving = (self.moving_mesh, self.moving_splats)
        return max((thing.seconds for thing in moving if thing is not None), default=0.0)

    def mesh_at(self, time: float) -> Mesh | None:
        """The mesh at a time in seconds from its clip's begin."""
        return self.mesh if self.moving_mesh is None else self.moving_mesh.at(time)

    def splats_at(self, time: float) -> Gaussians | None:
        """The splats at a time in seconds from their clip's begin."""
        return self.splats if self.moving_splats is None else self.moving_splats.at(time)

    @cached_property
    def capture(self) -> Capture | None:
        """The pictures and cameras; of a capture that no run made, moved so that the subject is in the sphere.

        Raises:
            CaptureError: if they cannot be read.
        """
        from recon.capture.io_nerfstudio import read_transforms
        from recon.capture.normalise import NormaliseError, normalise
        from recon.capture.reading import find_reader, read_capture

        if self._has(_CAPTURE):
            return read_transforms(self.path / _CAPTURE)
        if not self.path.is_dir() or find_reader(self.path) is None:
            return None
        capture = read_capture(self.path)
        try:
            return normalise(capture)
        except NormaliseError:  # pictures of surroundings, or not cut out: then the cameras are all there is to go by
            return _around_the_cameras(capture)

    def report(self) -> dict[str, Any]:
        """A run's report.json; empty where there is none.

        Raises:
            OptionsError: if it is no report.
        """
        file = self.path / "report.json"
        if not self._has("report.json"):
            return {}
        try:
            report = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as cause:
            raise OptionsError(f"{file}: expected a run's report, found no JSON ({cause})") from cause
        if not isinstance(report, dict):
            raise OptionsError(f"{file}: expected a run's report, found a {type(report).__name__}")
        return report

    @cached_property
    def _is_splats(self) -> bool:
        from recon.splat.gaussians import Gaussians

        return self.moving_splats is not None or isinstance(self._given, Gaussians)

    @cached_property
    def _given(self) -> Gaussians | Mesh:
        from recon.surface.given import read_given

        return read_given(self.path, self.up)[0]

    def _has(self, name: str) -> bool:
        return (self.path / name).is_file()


def _around_the_cameras(capture: Capture) -> Capture:
    """The capture with the middle of its cameras at the origin, the farthest of them 1.5 away."""
    import torch

    from recon.capture import Similarity

    centres = torch.stack([camera.centre for camera in capture.cameras])
    middle = centres.mean(0)
    scale = 1.5 / max(float((centres - middle).norm(dim=1).max()), 1e-6)
    return capture.moved(Similarity(translation=-scale * middle, scale=scale))
