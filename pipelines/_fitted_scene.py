"""Which of the two reconstructors a run takes, and the file that its scene is in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pipelines._options import ReconName

if TYPE_CHECKING:
    from recon.surface.fitted import Fitted

FittedName = Literal["splat", "nerf"]
SCENE_FILES: dict[FittedName, str] = {"splat": "splat.ply", "nerf": "field.safetensors"}


def chosen_recon(asked: ReconName, capture: Path) -> FittedName:
    """What `--recon auto` takes for a capture: a field where no frame was generated. docs/nerf.md says why."""
    if asked != "auto":
        return asked
    from recon.capture import Source
    from recon.capture.io_nerfstudio import read_transforms

    generated = any(frame.source is Source.GENERATED for frame in read_transforms(capture))
    return "splat" if generated else "nerf"


def read_fitted(run: Path, recon: FittedName) -> Fitted:
    """The scene of a run.

    Raises:
        ValueError, OSError: if its file cannot be read.
    """
    from recon.field.field_file import read_field
    from recon.splat.ply import read_ply

    path = run / SCENE_FILES[recon]
    return read_field(path) if recon == "nerf" else read_ply(path)
