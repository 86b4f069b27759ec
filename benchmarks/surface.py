"""How good are surfaces and their textures from true pictures? `python -m benchmarks.surface OBJECTS -o surface.json`

Every test object is drawn from 41 sides (21 level, 20 more on a wave) in colour and alpha, splats are fitted to that,
and meshes are made of the splats: ours, closed and left open, and Open3D's Poisson reconstruction of the same depth;
the visual hull of the same masks stands beside. Textured, ours is looked at from eight views that nobody was given,
beside the splats themselves. Shapes are compared as `python -m pipelines.evaluate` does.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import tyro
from rich.console import Console
from rich.progress import track

from benchmarks._errors import BenchmarkError
from benchmarks._results import environment, write_json
from gen.data.sources import ObjectInfo
from pipelines._command import run_command
from pipelines._options import PRESETS, PresetName
from pipelines._pictures import write_sheet
from pipelines._quality import draw_splats
from pipelines.evaluation.markdown import show, table
from pipelines.evaluation.protocol import draw_views, held_out_cameras, object_seed, path_cameras, stratified
from pipelines.evaluation.sets import EvaluationSet, open_set
from pipelines.evaluation.subject import Subject
from recon.capture import Capture
from recon.metrics.bootstrap import bootstrap_interval
from recon.metrics.meshes import TrueShape, compare_meshes
from recon.metrics.topology import is_watertight
from recon.metrics.views import compare_views
from recon.splat.fit import fit_gaussians
from recon.splat.fit_options import FIT_PRESETS
from recon.splat.gaussians import Gaussians
from recon.splat.ply import read_ply, write_ply
from recon.surface.baselines import hull_mesh, poisson_mesh
from recon.surface.decimate import decimate
from recon.surface.finishing import FinishOptions, finish
from recon.surface.fusion import FUSION_PRESETS, fuse_depth, unseen_frames
from recon.surface.mesh import Mesh
from recon.surface.outlines import fit_outlines
from recon.surface.stereo import stereo_volume
from recon.surface.texture import BakeOptions

OURS, OPEN, POISSON, HULL = "ours", "ours, left open", "Open3D Poisson, same depth", "visual hull, same masks"
SHAPE = ("chamfer", "f_0.02", "normal_consistency")
WORST = 5


@dataclass(frozen=True)
class SurfaceOptions:
    """Measure surfaces and textures from true pictures of objects whose shape is known."""

    objects: tyro.conf.Positional[Path]
    """Folder of the object pack with its list of test objects, or of mesh files."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """JSON file; what it holds already is kept. Sheets of the worst objects are put beside it."""
    preset: PresetName = "balanced"
    """Of fit, fusion, number of faces and size of the texture."""
    size: int = 256
    """Side of the pictures in pixels."""
    count: int | None = None
    """Number of test objects, chosen by hash, tiers in proportion; all unless given."""
    splats: Path | None = None
    """Folder to keep fits in, for another run of the same program: fits of an earlier one are taken as they are."""


def run(options: SurfaceOptions) -> None:
    """Measures, prints the table, writes the file and the sheet.

    Raises:
        ValueError, OSError: for what a user can mend.
    """
    console = Console(stderr=True)
    objects = open_set(options.objects)
    chosen = stratified(objects.objects, options.count or len(objects.objects))
    settings = {"preset": options.preset, "size": options.size}
    rows: dict[str, Any] = {}
    if options.output.exists():
        found = json.loads(options.output.read_text(encoding="utf-8"))
        if found.get("settings") != settings:
            raise BenchmarkError(f"{options.output}: holds results of {found.get('settings')}; choose another -o")
        rows = found["objects"]
    for item in track(chosen, "objects", console=console):
        if item.id not in rows:
            rows[item.id] = _measure(objects, item, options)
            _write(options.output, settings, rows)
    _write(options.output, settings, rows)
    rows = {item.id: rows[item.id] for item in chosen}
    print(markdown({"objects": rows}))
    worst = sorted(rows, key=lambda name: -rows[name][OURS]["chamfer"])[:WORST]
    _sheet(objects, worst, options)


def _write(path: Path, settings: dict[str, Any], rows: dict[str, Any]) -> None:
    write_json(path, {"benchmark": "surface", "environment": environment(), "settings": settings, "objects": rows})


def _subject(objects: EvaluationSet, object_id: str, size: int) -> tuple[Mesh, Subject]:
    mesh, cameras = objects.mesh(object_id), path_cameras("both", size)
    return mesh, Subject(object_id, cameras, draw_views(mesh, cameras), object_seed(object_id))


def _gaussians(subject: Subject, options: SurfaceOptions) -> Gaussians:
    file = (
        None
        if options.splats is None
        else options.splats / f"{subject.id.replace('/', '_')}.{options.preset}.{options.size}.ply"
    )
    if file is not None and file.exists():
        return read_ply(file)
    capture, fit = Capture(subject.frames()), FIT_PRESETS[options.preset]
    solid = stereo_volume(capture.frames, fit.grid)
    gaussians = fit_gaussians(capture, fit, seed=subject.seed, solid=solid)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_ply(gaussians, file)
    return gaussians


def _finished(subject: Subject, gaussians: Gaussians, options: SurfaceOptions) -> Mesh:
    """The asset's mesh, as `img2mesh --capture` makes it."""
    fusion, frames = FUSION_PRESETS[options.preset], subject.frames()
    surface = fuse_depth(gaussians, subject.cameras, fusion, observed=frames)
    rest = unseen_frames(gaussians, frames, fusion)
    preset = PRESETS[options.preset]
    finishing = FinishOptions(preset.target_faces, bake=BakeOptions(preset.texture_size))
    return finish(surface, (*frames, *rest), finishing).mesh


def _measure(objects: EvaluationSet, item: ObjectInfo, options: SurfaceOptions) -> dict[str, Any]:
    """Figures of one object by row, and of its pictures."""
    mesh, subject = _subject(objects, item.id, options.size)
    gaussians = _gaussians(subject, options)
    truth, target = TrueShape.of(mesh, seed=subject.seed), PRESETS[options.preset].target_faces
    fusion, frames = FUSION_PRESETS[options.preset], subject.frames()
    start = time.perf_counter()
    ours = _finished(subject, gaussians, options)
    seconds = time.perf_counter() - start

    def opened() -> Mesh:
        options_open = dataclasses.replace(fusion, keep_open=True)
        part = fuse_depth(gaussians, subject.cameras, options_open, observed=frames)
        return fit_outlines(decimate(part, target), frames)

    makers: dict[str, Callable[[], Mesh]] = {
        OURS: lambda: ours,
        OPEN: opened,
        POISSON: lambda: poisson_mesh(gaussians, subject.cameras),
        HULL: lambda: hull_mesh(subject.cameras, list(subject.views[..., 3]), fusion.resolution),
    }
    row: dict[str, Any] = {"tier": item.tier}
    for name, make in makers.items():
        made = make()
        scores = compare_meshes(made, truth, seed=subject.seed).as_dict()
        row[name] = {key: scores[key] for key in SHAPE} | {"watertight": is_watertight(made), "faces": len(made.faces)}
    cameras = held_out_cameras(options.size)
    held_out = draw_views(mesh, cameras)
    drawn = torch.stack([draw_splats(gaussians, camera) for camera in cameras])
    row["textured_psnr"] = _psnr(draw_views(ours, cameras, lit=False), held_out)
    row["splats_psnr"] = _psnr(drawn, held_out)
    row["seconds"] = seconds
    return row


def _psnr(drawn: torch.Tensor, truth: torch.Tensor) -> float:
    """Mean over the views, inside the masks."""
    return float(compare_views(drawn, truth, with_flip=False).masked_psnr.mean())


def markdown(document: dict[str, Any]) -> str:
    """The tables of saved results."""
    rows = list(document["objects"].values())
    shapes = [
        [name]
        + [_mean([row[name][key] for row in rows], 4 if key == "chamfer" else 3) for key in SHAPE]
        + [f"{sum(row[name]['watertight'] for row in rows)} of {len(rows)}"]
        for name in (OURS, OPEN, POISSON, HULL)
    ]
    closing = np.mean([row[OURS]["chamfer"] for row in rows]) / np.mean([row[OPEN]["chamfer"] for row in rows])
    gap = [row["textured_psnr"] - row["splats_psnr"] for row in rows]
    pictures = [
        ["textured mesh", _mean([row["textured_psnr"] for row in rows], 2)],
        ["its splats", _mean([row["splats_psnr"] for row in rows], 2)],
        ["difference", _mean(gap, 2)],
    ]
    return "\n\n".join(
        (
            table(["surface", "chamfer", "F at 0.02", "normals", "watertight"], shapes),
            f"Closing: {closing - 1:+.1%} chamfer. {len(rows)} objects, 95 % intervals over objects.",
            table(["eight held-out views", "masked PSNR, dB"], pictures),
        )
    )


def _mean(values: list[float], digits: int) -> str:
    return show(bootstrap_interval(values), digits)


def _sheet(objects: EvaluationSet, worst: list[str], options: SurfaceOptions) -> None:
    """The worst objects: truth and our mesh side by side."""
    cameras = held_out_cameras(options.size)[:4]
    rows = []
    for name in worst:
        mesh, subject = _subject(objects, name, options.size)
        ours = _finished(subject, _gaussians(subject, options), options)
        pictures = [p for pair in zip(draw_views(mesh, cameras), draw_views(ours, cameras, lit=False)) for p in pair]
        rows.append((f"{name}: truth and ours from four held-out views", pictures))
    write_sheet(rows, options.output.with_suffix(".worst.png"))


def main(args: list[str] | None = None) -> int:
    """Parses `args` (the command line unless given); returns the exit code."""
    options = tyro.cli(SurfaceOptions, args=args, prog="python -m benchmarks.surface")
    return run_command(lambda: run(options), again="give the same command again")


if __name__ == "__main__":
    sys.exit(main())
