"""How good are surfaces and their textures from true pictures? `python -m benchmarks.surface OBJECTS -o surface.json`

Every test object is drawn from 41 sides (21 level, 20 more on a wave) in colour and alpha; splats are fitted to that,
and a field. Meshes are made of the splats: ours, closed and left open, and Open3D's Poisson reconstruction of the same
depth; one of the field; the visual hull of the same masks stands beside. Textured, both of ours are looked at from
eight views that nobody was given, beside what they were made of. Shapes are compared as `python -m pipelines.evaluate`
does.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
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
from pipelines.evaluation.markdown import show, table
from pipelines.evaluation.protocol import (
    SUPERSAMPLE,
    PathName,
    draw_views,
    held_out_cameras,
    object_seed,
    path_cameras,
    stratified,
)
from pipelines.evaluation.sets import EvaluationSet, open_set
from pipelines.evaluation.subject import Subject
from recon.capture import Camera, Capture
from recon.field.fit import fit_field
from recon.field.fit_options import FIELD_PRESETS
from recon.metrics.bootstrap import bootstrap_interval
from recon.metrics.meshes import TrueShape, compare_meshes
from recon.metrics.topology import is_watertight
from recon.metrics.views import compare_views
from recon.splat.fit import fit_gaussians
from recon.splat.fit_options import FIT_PRESETS
from recon.splat.gaussians import Gaussians
from recon.splat.ply import read_ply, write_ply
from recon.splat.volume import SignedVolume
from recon.surface.baselines import hull_mesh, poisson_mesh
from recon.surface.decimate import decimate
from recon.surface.finishing import FinishOptions, finish
from recon.surface.fitted import Fitted, picture_of
from recon.surface.fusion import FUSION_PRESETS, fuse_depth, surface_of, unseen_frames
from recon.surface.mesh import Mesh
from recon.surface.outlines import fit_outlines
from recon.surface.render import Lights, prepare_mesh, render_prepared
from recon.surface.stereo import stereo_volume
from recon.surface.texture import BakeOptions

OURS, OPEN, POISSON, HULL = "ours", "ours, left open", "Open3D Poisson, same depth", "visual hull, same masks"
FIELD = "ours, of a field (nerf)"
PICTURES = {
    "textured mesh": "textured_psnr",
    "its splats": "splats_psnr",
    "splats of preset views": "views_psnr",
    "textured mesh of the field": "field_textured_psnr",
    "its field": "field_psnr",
}
SECONDS = {"splats": "splats_seconds", "splats of preset views": "views_seconds", "field": "field_seconds"}
SHININESS = 24
"""Blinn's exponent."""
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
    only: tuple[str, ...] = ()
    """Names of the test objects to measure, instead of a count."""
    path: PathName = "both"
    """Where the pictures are taken from: 21 level ones, 21 on a wave, or the 41 of both."""
    gloss: float = 0.0
    """How bright the highlights are that are added to all pictures, of 1; the renderer itself has none."""
    fits_only: bool = False
    """Compare splats, field and hull alone: neither what closing costs nor Open3D's reconstruction."""
    splats: Path | None = None
    """Folder to keep splats in, for another run of the same program: those of an earlier one are taken as they are."""


def run(options: SurfaceOptions) -> None:
    """Measures, prints the table, writes the file and the sheet.

    Raises:
        ValueError, OSError: for what a user can mend.
    """
    console = Console(stderr=True)
    objects = open_set(options.objects)
    chosen = _chosen(objects, options)
    settings = {key: getattr(options, key) for key in ("preset", "size", "path", "gloss", "fits_only")}
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


def _chosen(objects: EvaluationSet, options: SurfaceOptions) -> Sequence[ObjectInfo]:
    if not options.only:
        return stratified(objects.objects, options.count or len(objects.objects))
    by_id = {item.id: item for item in objects.objects}
    for name in options.only:
        if name not in by_id:
            raise BenchmarkError(f"--only {name}: no such test object in {options.objects}")
    return [by_id[name] for name in options.only]


def _write(path: Path, settings: dict[str, Any], rows: dict[str, Any]) -> None:
    write_json(path, {"benchmark": "surface", "environment": environment(), "settings": settings, "objects": rows})


def _subject(objects: EvaluationSet, object_id: str, options: SurfaceOptions) -> tuple[Mesh, Subject]:
    mesh, cameras = objects.mesh(object_id), path_cameras(options.path, options.size)
    return mesh, Subject(object_id, cameras, _views(mesh, cameras, options.gloss), object_seed(object_id))


def _views(mesh: Mesh, cameras: Sequence[Camera], gloss: float) -> torch.Tensor:
    """(V, S, S, 4) true views, straight alpha, with highlights (Blinn 1977) where there is gloss."""
    views = draw_views(mesh, cameras)
    if gloss == 0:
        return views
    prepared, lights = prepare_mesh(mesh), Lights.studio()
    for view, camera in zip(views, cameras, strict=True):
        normal = render_prepared(prepared, camera, supersample=SUPERSAMPLE).normal
        toward = torch.nn.functional.normalize(-camera.rays()[1], dim=-1)
        for direction, color in zip(lights.directions, lights.colors, strict=True):
            middle = torch.nn.functional.normalize(toward + direction, dim=-1)
            view[..., :3] += gloss * color * (normal * middle).sum(-1, keepdim=True).clamp_min(0) ** SHININESS
    return views.clamp(0, 1)


def _gaussians(subject: Subject, solid: SignedVolume | None, options: SurfaceOptions) -> Gaussians:
    file = (
        None
        if options.splats is None
        else options.splats
        / f"{subject.id.replace('/', '_')}.{options.preset}.{options.size}.{options.path}.{options.gloss:g}.ply"
    )
    if file is not None and file.exists():
        return read_ply(file)
    capture = Capture(subject.frames())
    gaussians = fit_gaussians(capture, FIT_PRESETS[options.preset], seed=subject.seed, solid=solid)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_ply(gaussians, file)
    return gaussians


def _finished(subject: Subject, scene: Fitted, options: SurfaceOptions) -> Mesh:
    """The asset's mesh, as `img2mesh --capture` makes it."""
    fusion, frames = FUSION_PRESETS[options.preset], subject.frames()
    surface = surface_of(scene, frames, fusion)
    rest = unseen_frames(scene, frames, fusion)
    preset = PRESETS[options.preset]
    finishing = FinishOptions(preset.target_faces, bake=BakeOptions(preset.texture_size))
    return finish(surface, (*frames, *rest), finishing).mesh


def _measure(objects: EvaluationSet, item: ObjectInfo, options: SurfaceOptions) -> dict[str, Any]:
    """Figures of one object by row, and of its pictures."""
    mesh, subject = _subject(objects, item.id, options)
    spent: dict[str, float] = {}
    capture = Capture(subject.frames())
    solid = stereo_volume(capture.frames, FIT_PRESETS[options.preset].grid)
    with _clock(spent, "splats_seconds"):
        gaussians = _gaussians(subject, solid, options)
    with _clock(spent, "field_seconds"):
        field = fit_field(capture, FIELD_PRESETS[options.preset], seed=subject.seed, solid=solid)
    with _clock(spent, "views_seconds"):
        for_views = fit_gaussians(capture, FIT_PRESETS["views"], seed=subject.seed, solid=solid)
    truth, target = TrueShape.of(mesh, seed=subject.seed), PRESETS[options.preset].target_faces
    fusion, frames = FUSION_PRESETS[options.preset], subject.frames()
    ours, of_field = (_finished(subject, scene, options) for scene in (gaussians, field))

    def opened() -> Mesh:
        options_open = dataclasses.replace(fusion, keep_open=True)
        part = fuse_depth(gaussians, subject.cameras, options_open, observed=frames)
        return fit_outlines(decimate(part, target), frames)

    makers: dict[str, Callable[[], Mesh]] = {
        OURS: lambda: ours,
        FIELD: lambda: of_field,
        OPEN: opened,
        POISSON: lambda: poisson_mesh(gaussians, subject.cameras),
        HULL: lambda: hull_mesh(subject.cameras, list(subject.views[..., 3]), fusion.resolution),
    }
    row: dict[str, Any] = {"tier": item.tier, "thinness": thinness(subject.views[..., 3])} | spent
    if options.fits_only:
        del makers[OPEN], makers[POISSON]
    for name, make in makers.items():
        made = make()
        scores = compare_meshes(made, truth, seed=subject.seed).as_dict()
        row[name] = {key: scores[key] for key in SHAPE} | {"watertight": is_watertight(made), "faces": len(made.faces)}
    cameras = held_out_cameras(options.size)
    held_out = _views(mesh, cameras, options.gloss)
    for name, scene in (("splats", gaussians), ("views", for_views), ("field", field)):
        row[f"{name}_psnr"] = _psnr(torch.stack([picture_of(scene, camera) for camera in cameras]), held_out)
    for name, made in (("textured", ours), ("field_textured", of_field)):
        row[f"{name}_psnr"] = _psnr(draw_views(made, cameras, lit=False), held_out)
    return row


@contextlib.contextmanager
def _clock(spent: dict[str, float], name: str) -> Iterator[None]:
    """Seconds of the process, which other programs do not lengthen."""
    start = time.process_time()
    yield
    spent[name] = time.process_time() - start


def thinness(masks: torch.Tensor) -> float:
    """Share of the object's pixels, over all masks (V, S, S), that no square of a fortieth of the picture's side around
    them or beside them fills: 0 for what is broad, 1 for wire."""
    reach = max(1, round(masks.shape[-1] / 80))
    solid = (masks > 0.5).float()[:, None]

    def grown(picture: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.max_pool2d(picture, 2 * reach + 1, 1, reach)

    opened = grown(1 - grown(1 - solid))
    return float(1 - (opened * solid).sum() / solid.sum().clamp_min(1))


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
        for name in (OURS, FIELD, OPEN, POISSON, HULL)
        if name in rows[0]
    ]
    note = f"{len(rows)} objects, 95 % intervals over objects."
    if OPEN in rows[0]:
        closing = np.mean([row[OURS]["chamfer"] for row in rows]) / np.mean([row[OPEN]["chamfer"] for row in rows])
        note = f"Closing: {closing - 1:+.1%} chamfer. {note}"
    pictures = [[name, _mean([row[key] for row in rows], 2)] for name, key in PICTURES.items()]
    times = [[name, f"{np.median([row[key] for row in rows]):.0f}"] for name, key in SECONDS.items()]
    return "\n\n".join(
        (
            table(["surface", "chamfer", "F at 0.02", "normals", "watertight"], shapes),
            note,
            table(["eight held-out views", "masked PSNR, dB"], pictures),
            _compared(document["objects"]),
            table(["fit", "processor seconds, median"], times),
        )
    )


def _compared(objects: dict[str, Any]) -> str:
    """Field and splats object by object, thin ones first."""
    rows = [
        [
            name,
            f"{row['thinness']:.2f}",
            f"{row[OURS]['chamfer']:.4f}",
            f"{row[FIELD]['chamfer']:.4f}",
            f"{row['splats_psnr']:.2f}",
            f"{row['views_psnr']:.2f}",
            f"{row['field_psnr']:.2f}",
            f"{row['textured_psnr']:.2f}",
            f"{row['field_textured_psnr']:.2f}",
        ]
        for name, row in sorted(objects.items(), key=lambda item: -item[1]["thinness"])
    ]
    head = ["object", "thinness", "chamfer: splats", "field", "PSNR: splats", "views", "field", "mesh", "field's mesh"]
    return table(head, rows)


def _mean(values: list[float], digits: int) -> str:
    return show(bootstrap_interval(values), digits)


def _sheet(objects: EvaluationSet, worst: list[str], options: SurfaceOptions) -> None:
    """The worst objects: truth and our mesh of splats side by side."""
    cameras = held_out_cameras(options.size)[:4]
    rows = []
    for name in worst:
        mesh, subject = _subject(objects, name, options)
        solid = stereo_volume(subject.frames(), FIT_PRESETS[options.preset].grid)
        ours = _finished(subject, _gaussians(subject, solid, options), options)
        pictures = [p for pair in zip(draw_views(mesh, cameras), draw_views(ours, cameras, lit=False)) for p in pair]
        rows.append((f"{name}: truth and ours from four held-out views", pictures))
    write_sheet(rows, options.output.with_suffix(".worst.png"))


def main(args: list[str] | None = None) -> int:
    """Parses `args` (the command line unless given); returns the exit code."""
    options = tyro.cli(SurfaceOptions, args=args, prog="python -m benchmarks.surface")
    return run_command(lambda: run(options), again="give the same command again")


if __name__ == "__main__":
    sys.exit(main())
