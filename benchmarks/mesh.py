"""How good are meshes? `python -m benchmarks.mesh OBJECTS -o mesh.json [--methods ... --model DIR]`

Three kinds of rows: true renders through the reconstructor (the ceiling), generated views through the same
reconstructor, and trivial shapes that either has to beat. Methods already in the output file are kept, so they can be
run one by one.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import tyro
from rich.console import Console
from rich.progress import track
from torch import Tensor

from benchmarks._protocol import (
    VIEWS,
    BenchmarkError,
    PathName,
    TestSet,
    draw_views,
    grouped,
    object_seed,
    open_test_set,
    path_cameras,
    stratified,
)
from benchmarks._results import Results, show, table
from benchmarks._training_views import DEFAULT_CACHE, training_views
from pipelines._command import run_command
from recon.capture import Camera, Capture, Frame, Source, frame_from_tensors
from recon.metrics.alignment import compare_aligned
from recon.metrics.meshes import TrueShape, compare_meshes
from recon.metrics.views import resize_views
from recon.surface.baselines import bounding_sphere, hull_mesh, inflated_silhouette
from recon.surface.mesh import Mesh

MEASURES = (
    "chamfer", "accuracy", "completeness", "f_0.01", "f_0.02", "f_0.05", "f_0.1", "f_0.2", "f_0.5", "iou",
    "normal_consistency", "watertight", "components", "faces", "failed", "aligned_chamfer", "aligned_f_0.02",
)  # fmt: skip
COLUMNS = {
    "chamfer": 4, "f_0.01": 3, "f_0.02": 3, "f_0.05": 3, "f_0.1": 3, "iou": 3, "normal_consistency": 3,
    "aligned_chamfer": 4,
}  # fmt: skip
CLAIMS = (
    ("true views", "visual hull"),
    ("generated", "sphere"),
    ("generated", "inflated"),
    ("generated", "nearest"),
    ("generated", "visual hull"),
)
"""Pairs that are compared object by object."""
RETRIEVAL_SIZE = 64

MethodName = Literal["truth", "true views", "generated", "sphere", "visual hull", "inflated", "nearest"]


@dataclass(frozen=True)
class MeshBenchmarkOptions:
    """Compare meshes with the true shapes."""

    objects: Annotated[Path, tyro.conf.Positional]
    """Folder of the object pack with its lists of test objects and of objects never trained on."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """JSON file; methods that it already holds and that are not asked for stay in it."""
    methods: tuple[MethodName, ...] = ("truth", "sphere", "visual hull", "inflated", "nearest")
    """What to run. "truth" compares the true mesh with itself: the floor that sampling leaves."""
    model: Path | None = None
    """Weights of the generator; needed by "generated"."""
    preset: Literal["fast", "balanced", "quality"] = "fast"
    """How thoroughly "true views" and "generated" are reconstructed."""
    path: PathName = "level"
    """Camera path of the 21 views that the reconstructor and the visual hull get."""
    size: int = 128
    """Side of the true views in pixels; the generator draws in its own size."""
    count: int = 20
    """Number of test objects, chosen by hash, tiers in proportion."""
    target_faces: int = 10_000
    """Faces that reconstructions are decimated to."""
    aligned: bool = False
    """Also score the best rigid placement of every mesh."""
    steps: int = 1
    """Sampling steps of the generator."""
    guidance: float = 1.0
    """Guidance scale of the generator."""
    cache: Path = field(default=DEFAULT_CACHE)
    """Where the training objects' views are kept."""


@dataclass(frozen=True)
class Subject:
    """What a method may look at: one object's true views, of which only the first is the input.

    Attributes:
        id: the object's.
        cameras: of the 21 views.
        views: (21, S, S, 4) straight alpha.
        seed: of everything random.
    """

    id: str
    cameras: tuple[Camera, ...]
    views: Tensor
    seed: int

    def frames(self) -> tuple[Frame, ...]:
        """The views as frames of colour and alpha, nothing else."""
        return tuple(
            frame_from_tensors(camera, view, source=Source.RENDERED, name=f"view_{i:03d}")
            for i, (camera, view) in enumerate(zip(self.cameras, self.views, strict=True))
        )


MeshMethod = Callable[[Subject], Mesh]


def run(options: MeshBenchmarkOptions) -> Results:
    """Measure the methods and write the results.

    A method that cannot make a mesh of an object is scored with the bounding sphere there, and counted as failed.

    Raises:
        BenchmarkError: if the objects or the weights are missing, or the output holds another protocol's results.
    """
    test_set = open_test_set(options.objects)
    objects = stratified(test_set.objects, options.count)
    protocol = {
        "benchmark": "mesh",
        "path": options.path,
        "size": options.size,
        "views": VIEWS,
        "objects": [item.id for item in objects],
    }
    results = Results.resumed(options.output, protocol, grouped(objects))
    cameras = path_cameras(options.path, options.size)
    methods = {name: _method(name, options, test_set) for name in options.methods}
    scores: dict[str, dict[str, dict[str, Any]]] = {name: {} for name in methods}
    seconds = dict.fromkeys(methods, 0.0)
    for item in track(objects, "Objects", console=Console(stderr=True)):
        mesh = test_set.mesh(item.id)
        seed = object_seed(item.id)
        truth = TrueShape.of(mesh, seed=seed)
        subject = Subject(item.id, cameras, draw_views(mesh, cameras), seed)
        for name, method in methods.items():
            started = time.perf_counter()
            made, failed = _attempt(method, subject)
            seconds[name] += time.perf_counter() - started
            scores[name][item.id] = _score(made, truth, seed, options.aligned) | {"failed": failed}
    for name in methods:
        results.add(name, scores[name], seconds=seconds[name] / len(objects), settings=_settings(name, options))
    results.write(options.output, MEASURES)
    return results


def markdown(results: Results) -> str:
    """The tables: all objects, chamfer by group, and the claims tested object by object."""
    return "\n\n".join([_main_table(results), _group_table(results), _claim_table(results)])


def reconstruct(capture: Capture, preset: str, target_faces: int, seed: int) -> Mesh:
    """Capture -> Gaussians -> closed, decimated mesh: the shape half of the chain, as the commands run it."""
    from recon.splat.fit import fit_gaussians
    from recon.splat.fit_options import FIT_PRESETS
    from recon.surface.decimate import decimate
    from recon.surface.fusion import FUSION_PRESETS, fuse_depth

    gaussians = fit_gaussians(capture, FIT_PRESETS[preset], seed=seed)
    mesh = fuse_depth(gaussians, capture.cameras, FUSION_PRESETS[preset], observed=capture.frames)
    return decimate(mesh, target_faces)


def _attempt(method: MeshMethod, subject: Subject) -> tuple[Mesh, bool]:
    try:
        return method(subject), False
    except ValueError as error:
        print(f"warning: {subject.id}: {error}; scored as the bounding sphere", file=sys.stderr)
        return bounding_sphere(), True


def _score(mesh: Mesh, truth: TrueShape, seed: int, aligned: bool) -> dict[str, Any]:
    given = compare_meshes(mesh, truth, seed=seed)
    if not aligned:
        return given.as_dict()
    best = compare_aligned(mesh, truth, seed=seed, given=given).as_dict()
    return given.as_dict() | {f"aligned_{name}": best[name] for name in ("chamfer", "f_0.02", "f_0.1", "iou")}


def _method(name: MethodName, options: MeshBenchmarkOptions, test_set: TestSet) -> MeshMethod:
    if name == "generated":
        return _generated(options)
    if name == "nearest":
        views = training_views(test_set, options.path, RETRIEVAL_SIZE, options.cache)
        return lambda subject: test_set.mesh(views.nearest(resize_views(subject.views[:1], RETRIEVAL_SIZE)[0]))

    def true_views(subject: Subject) -> Mesh:
        return reconstruct(Capture(subject.frames()), options.preset, options.target_faces, subject.seed)

    methods: dict[str, MeshMethod] = {
        "truth": lambda subject: test_set.mesh(subject.id),
        "true views": true_views,
        "sphere": lambda subject: bounding_sphere(),
        "visual hull": lambda subject: hull_mesh(subject.cameras, list(subject.views[..., 3])),
        "inflated": lambda subject: inflated_silhouette(subject.cameras[0], subject.views[0, ..., 3]),
    }
    return methods[name]


def _generated(options: MeshBenchmarkOptions) -> MeshMethod:
    if options.model is None:
        raise BenchmarkError('the "generated" row needs weights: give --model DIR')
    from gen.weights import load_pipeline

    pipe = load_pipeline(options.model)

    def generated(subject: Subject) -> Mesh:
        capture = pipe(
            subject.frames()[:1],
            subject.cameras[1:],
            num_inference_steps=options.steps,
            guidance_scale=options.guidance,
            generator=torch.Generator().manual_seed(subject.seed),
        )
        return reconstruct(capture, options.preset, options.target_faces, subject.seed)

    return generated


def _settings(name: str, options: MeshBenchmarkOptions) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    if name in ("true views", "generated"):
        settings |= {"preset": options.preset, "target_faces": options.target_faces}
    if name == "generated":
        settings |= {"steps": options.steps, "guidance": options.guidance}
    return settings


def _main_table(results: Results) -> str:
    titles = ["chamfer", "F .01", "F .02", "F .05", "F .1", "IoU", "normals", "aligned chamfer"]
    header = ["method", *titles, "watertight", "components", "faces", "failed", "s/object"]
    rows = []
    for name, record in results.methods.items():
        counts = [_mean(results, name, measure) for measure in ("components", "faces", "failed")]
        rows.append(
            [
                name,
                *(show(results.interval(name, measure), digits) for measure, digits in COLUMNS.items()),
                f"{_mean(results, name, 'watertight'):.0%}",
                f"{counts[0]:.1f}",
                f"{counts[1]:.0f}",
                f"{counts[2]:.0%}",
                f"{record['seconds']:.1f}",
            ]
        )
    return table(header, rows)


def _group_table(results: Results) -> str:
    header = ["chamfer"] + [f"{group} ({len(ids)})" for group, ids in results.groups.items()]
    rows = []
    for name in results.methods:
        intervals = [results.interval(name, "chamfer", group) for group in results.groups]
        rows.append([name, *(f"{i.mean:.4f}" if i else "–" for i in intervals)])
    return table(header, rows)


def _claim_table(results: Results) -> str:
    rows = []
    for ours, theirs in CLAIMS:
        if ours in results.methods and theirs in results.methods:
            pairs = list(zip(*(results.values(name, "chamfer") or [] for name in (ours, theirs)), strict=True))
            wins = sum(a < b for a, b in pairs)
            difference = show(results.advantage(ours, theirs, "chamfer"), 4)
            rows.append([f"{ours} minus {theirs}", difference, f"{wins} of {len(pairs)}"])
    return table(["paired", "chamfer (below 0: better)", "objects won"], rows) if rows else ""


def _mean(results: Results, method: str, measure: str) -> float:
    values: Sequence[float] = results.values(method, measure) or [float("nan")]
    return sum(values) / len(values)


def main(args: list[str] | None = None) -> int:
    """Parses `args` (the command line unless given); returns the exit code."""
    options = tyro.cli(MeshBenchmarkOptions, args=args, prog="python -m benchmarks.mesh")
    return run_command(lambda: print(markdown(run(options))), again="give the same command again")


if __name__ == "__main__":
    sys.exit(main())
