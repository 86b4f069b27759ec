"""What there is to be seen in a path: a run folder's things, or a mesh, or splats; each is read when asked for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines._options import OptionsError

if TYPE_CHECKING:
    from recon.capture.upright import UpAxis
    from recon.splat.gaussians import Gaussians
    from recon.surface.mesh import Mesh


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
        if self.path.is_dir() and not (self._has("mesh.glb") or self._has("splat.ply")):
            raise OptionsError(f"{self.path}: expected a run's mesh.glb or splat.ply in this folder, found neither")

    @cached_property
    def mesh(self) -> Mesh | None:
        """The mesh.

        Raises:
            ValueError, OSError: if its file cannot be read.
        """
        from pipelines._report import read_placed

        if self.path.is_dir():
            return read_placed(self.path / "mesh.glb") if self._has("mesh.glb") else None
        return None if self._is_splats else self._given  # type: ignore[return-value]

    @cached_property
    def splats(self) -> Gaussians | None:
        """The splats.

        Raises:
            ValueError, OSError: if their file cannot be read.
        """
        from recon.splat.ply import read_ply

        if self.path.is_dir():
            return read_ply(self.path / "splat.ply") if self._has("splat.ply") else None
        return self._given if self._is_splats else None  # type: ignore[return-value]

    @cached_property
    def _is_splats(self) -> bool:
        from recon.splat.gaussians import Gaussians

        return isinstance(self._given, Gaussians)

    @cached_property
    def _given(self) -> Gaussians | Mesh:
        from recon.surface.given import read_given

        return read_given(self.path, self.up)[0]

    def _has(self, name: str) -> bool:
        return (self.path / name).is_file()
