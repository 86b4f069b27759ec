"""The worst objects of a row, as pictures: numbers can lie."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from gen.data.names import stem
from pipelines._pictures import write_sheet
from pipelines.evaluation.outside import MESH
from pipelines.evaluation.protocol import PathName, draw_views, path_cameras
from pipelines.evaluation.results import Results
from pipelines.evaluation.sets import EvaluationSet
from pipelines.evaluation.subject import picture_files
from recon.capture import Camera
from recon.capture.images import read_rgba
from recon.surface.loading import load_mesh, normalised
from recon.surface.studio import grey

WORST = 10
_SHOWN = 4
_SIZE = 160


def worst(results: Results, method: str, measure: str, *, high_is_bad: bool) -> list[tuple[str, float]]:
    """The ids of the objects with the worst values of a row, at most `WORST`, the worst first, and their values."""
    values = results.values(method, measure) or []
    pairs = zip(sorted(results.rows[method].objects), values)
    return sorted(pairs, key=lambda pair: pair[1], reverse=high_is_bad)[:WORST]


def write_worst_views(
    results: Results, method: str, objects: EvaluationSet, path: PathName, left: Path, file: Path
) -> None:
    """The input, true views and a row's views of the objects on which its masked PSNR is lowest.

    Args:
        left: folder of what the row left, one folder an object.
    """
    cameras = path_cameras(path, _SIZE)
    rows: list[tuple[str, Sequence[Tensor]]] = []
    for object_id, value in worst(results, method, "masked_psnr", high_is_bad=False):
        files = picture_files(left / stem(object_id))
        shown = _spread([i for i in files if i < len(cameras)])
        truth = draw_views(objects.mesh(object_id), [cameras[i] for i in (0, *shown)])
        drawn = [read_rgba(files[i]) for i in shown]
        rows.append((f"{object_id}: masked PSNR {value:.2f} dB; input, truth, {method}", [*truth, *drawn]))
    write_sheet(rows, file)


def write_worst_meshes(
    results: Results, method: str, objects: EvaluationSet, left: Path, file: Path, *, boxed: bool
) -> None:
    """The shapes of the true mesh and of a row's mesh of the objects on which its chamfer distance is highest.

    Args:
        left: folder of what the row left, one folder an object.
        boxed: draw the row's meshes centred and scaled to the sphere, as of methods whose frame is another.
    """
    level = path_cameras("level", _SIZE)
    cameras = [level[i] for i in (0, 5, 10, 16)]
    rows: list[tuple[str, Sequence[Tensor]]] = []
    for object_id, value in worst(results, method, "chamfer", high_is_bad=True):
        mesh = left / stem(object_id) / MESH
        made = _drawn(mesh, cameras, boxed) if mesh.exists() else []
        truth = draw_views(grey(objects.mesh(object_id)), cameras)
        rows.append((f"{object_id}: chamfer {value:.4f}; truth, {method}", [*truth, *made]))
    write_sheet(rows, file)


def _drawn(file: Path, cameras: Sequence[Camera], boxed: bool) -> list[Tensor]:
    mesh = load_mesh(file)
    return list(draw_views(grey(normalised(mesh) if boxed else mesh), cameras))


def _spread(indices: Sequence[int]) -> list[int]:
    """At most `_SHOWN` of the indices, evenly spaced."""
    ordered = sorted(indices)
    count = min(_SHOWN, len(ordered))
    return [ordered[(2 * k + 1) * len(ordered) // (2 * count)] for k in range(count)]
