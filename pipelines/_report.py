"""The last stages of a run: `preview.png` and `report.json`, and their counterparts for a run of variants."""

from __future__ import annotations

import contextlib
import functools
import math
import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines._fitted_scene import SCENE_FILES, read_fitted
from pipelines._options import DEFAULT_ELEVATION
from pipelines._run import Done, Stage, StageLog, write_json

if TYPE_CHECKING:
    from torch import Tensor

    from recon.surface.mesh import Mesh

PACKAGES = (
    "torch", "numpy", "scipy", "numba", "llvmlite", "diffusers", "kornia", "opencv-python-headless", "scikit-image",
    "pillow", "av", "open3d", "open3d-cpu", "onnxruntime", "pycolmap", "gsply", "pi-heif",
)  # fmt: skip
"""Packages whose version may change a run's bytes."""
_ROW = 8
"""Pictures in a row of the preview."""


def versions() -> dict[str, str]:
    """Versions of the program, Python and the packages that compute, as far as they are installed."""
    found = {"python": platform.python_version()}
    for name in ("turnabout", *PACKAGES):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


MOVING = "moving.safetensors"
"""In the folder of a run whose mesh moves."""


def preview_stage(finished: Sequence[str]) -> Stage:
    """`preview.png` of what the finished stages left."""
    made = {"photo": "photo", "splat": SCENE_FILES["splat"], "field": SCENE_FILES["nerf"], "mesh": "mesh.glb"}
    inputs = ("capture", *(made[name] for name in finished if name in made))
    return Stage("preview", inputs, ("preview.png",), {}, functools.partial(_preview, inputs=inputs))


def report_stage(identity: Mapping[str, Any], done: Mapping[str, Done]) -> Stage:
    """`report.json` of a run and its finished stages."""
    report = {
        **identity,
        "quality": {name: marker.figures for name, marker in done.items() if marker.figures},
        "warnings": [warning for marker in done.values() for warning in marker.warnings],
        "outputs": {name: digest for marker in done.values() for name, digest in marker.outputs.items()},
    }
    return Stage("report", (), ("report.json",), report, functools.partial(_write_report, report=report))


def samples_sheet_stage(names: Sequence[str]) -> Stage:
    """`samples.png` of the run folders `names`, one row each."""
    inputs = tuple(f"{name}/capture" for name in names)
    return Stage("samples", inputs, ("samples.png",), {}, functools.partial(_samples, names=names))


def samples_report_stage(identity: Mapping[str, Any], names: Sequence[str]) -> Stage:
    """`report.json` of a run of variants, which points to theirs."""
    report = {**identity, "variants": [f"{name}/report.json" for name in names]}
    return Stage("report", (), ("report.json",), report, functools.partial(_write_report, report=report))


def _write_report(run: Path, out: Path, log: StageLog, *, report: Mapping[str, Any]) -> None:
    write_json(out / "report.json", report)


def _preview(run: Path, out: Path, log: StageLog, *, inputs: Sequence[str]) -> None:
    from pipelines._pictures import TILE, evenly, mesh_rows, orbit_order, write_sheet
    from recon.capture.io_nerfstudio import read_transforms
    from recon.capture.orbit import orbit_cameras
    from recon.surface.fitted import picture_of

    capture = read_transforms(run / "capture")
    rows: list[tuple[str, Sequence[Tensor]]] = []
    elevation = math.radians(DEFAULT_ELEVATION)
    if "photo" in inputs:
        photos = read_transforms(run / "photo").frames
        elevation = photos[0].camera.elevation
        rows.append(("input, cut out and framed", [frame.rgba() for frame in photos[:_ROW]]))
    shown = evenly(orbit_order(capture.frames), _ROW)
    kinds = " and ".join(sorted({frame.source.value for frame in shown}, reverse=True))
    scenes = [recon for recon, file in SCENE_FILES.items() if file in inputs]
    role = "frames that were reconstructed" if scenes else "frames"
    rows.append((f"{role} ({kinds})", [frame.rgba() for frame in shown]))
    around = orbit_cameras(_ROW, elevation, size=TILE)
    for recon in scenes:
        scene, kind = read_fitted(run, recon), {"splat": "splats", "nerf": "field"}[recon]
        rows.append((f"{kind}, every {360 // _ROW} degrees", [picture_of(scene, camera) for camera in around]))
    if "mesh.glb" in inputs:
        rows.extend(mesh_rows(read_placed(run / "mesh.glb"), around))
    write_sheet(rows, out / "preview.png")


def read_placed(path: Path) -> Mesh:
    """A run's mesh, moved back to the world of the run's capture; of one that moves, the pose that its file stores."""
    import torch

    from recon.asset.gltf import read_glb
    from recon.surface.rigged import load_rigged

    asset = load_rigged(path) if (path.parent / MOVING).is_file() else read_glb(path)
    back = asset.extras["to_capture"]
    return asset.mesh.moved(back["scale"], torch.tensor(back["translation"]))


def _samples(run: Path, out: Path, log: StageLog, *, names: Sequence[str]) -> None:
    from pipelines._pictures import evenly, orbit_order, write_sheet
    from recon.capture.io_nerfstudio import read_transforms

    rows = []
    for name in names:
        frames = evenly(orbit_order(read_transforms(run / name / "capture").frames), _ROW)
        rows.append((name.replace("_", " "), [frame.rgba() for frame in frames]))
    write_sheet(rows, out / "samples.png")
