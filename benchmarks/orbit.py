"""How good are generated views? `python -m benchmarks.orbit OBJECTS -o orbit.json [--model DIR]`

Every view of every test object is compared with its true render; the input view is never counted. Beside the generator
stand the baselines it has to beat. Methods already in the output file are kept, so they can be run one by one.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

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
from gen.baselines import TrainingViews, copy_input
from pipelines._command import run_command
from recon.capture import Camera, Source, frame_from_tensors
from recon.metrics.views import compare_views, resize_views

MEASURES = ("psnr", "ssim", "masked_psnr", "masked_ssim", "mask_iou", "flip", "sharpness")
DIGITS = {"psnr": 2, "masked_psnr": 2}
SECTORS = ((0, 45), (45, 90), (90, 135), (135, 180))
"""Degrees away from the input view, of the columns of the azimuth table."""

MethodName = Literal["copy", "mean", "nearest", "generator", "generator-2", "generator-4"]


@dataclass(frozen=True)
class OrbitBenchmarkOptions:
    """Compare generated orbits with true renders."""

    objects: Annotated[Path, tyro.conf.Positional]
    """Folder of the object pack with its lists of test objects and of objects never trained on."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """JSON file; methods that it already holds and that are not asked for stay in it."""
    methods: tuple[MethodName, ...] = ("copy", "mean", "nearest")
    """What to run. "generator-2" and "generator-4" see two and four views around the object."""
    model: Path | None = None
    """Weights of the generator; needed by the generator rows."""
    path: PathName = "level"
    """Camera path: elevation 10 degrees, or 10 + 20 sin(azimuth)."""
    size: int = 64
    """Side of the pictures in pixels; generated views of another size are scaled to it."""
    count: int | None = None
    """Number of test objects, chosen by hash, tiers in proportion; all unless given."""
    steps: int = 1
    """Sampling steps of the generator."""
    guidance: float = 1.0
    """Guidance scale of the generator."""
    cache: Path = field(default=DEFAULT_CACHE)
    """Where the training objects' views are kept."""


class ViewMethod(Protocol):
    """Answers with the views (T, S, S, 4) of an object at the target indices of the path."""

    def __call__(
        self, truth: Tensor, cameras: Sequence[Camera], context: Sequence[int], targets: Sequence[int], seed: int
    ) -> Tensor: ...


def context_views(count: int) -> list[int]:
    """Indices of the views that a method sees: the input, and others evenly spaced from it."""
    return [i * VIEWS // count for i in range(count)]


def run(options: OrbitBenchmarkOptions) -> Results:
    """Measure the methods and write the results.

    Raises:
        BenchmarkError: if the objects or the weights are missing, or the output holds another protocol's results.
    """
    test_set = open_test_set(options.objects)
    objects = test_set.objects if options.count is None else stratified(test_set.objects, options.count)
    protocol = {
        "benchmark": "orbit",
        "path": options.path,
        "size": options.size,
        "views": VIEWS,
        "objects": [item.id for item in objects],
    }
    results = Results.resumed(options.output, protocol, grouped(objects))
    cameras = path_cameras(options.path, options.size)
    methods = {name: _method(name, options, test_set) for name in options.methods}
    for name, method in methods.items():
        context = context_views(_context_count(name))
        targets = [i for i in range(VIEWS) if i not in context]
        scores: dict[str, dict[str, Any]] = {}
        seconds = 0.0
        for item in track(objects, f"{name}", console=Console(stderr=True)):
            truth = draw_views(test_set.mesh(item.id), cameras)
            started = time.perf_counter()
            predicted = method(truth, cameras, context, targets, object_seed(item.id))
            seconds += time.perf_counter() - started
            compared = compare_views(predicted, truth[targets])
            scores[item.id] = {measure: values.tolist() for measure, values in compared.items()}
        results.add(name, scores, seconds=seconds / len(objects), settings=_settings(name, options, context))
        results.write(options.output, MEASURES)
    return results


def markdown(results: Results) -> str:
    """The tables: all objects, by group, by distance from the input view, and the generator against each baseline."""
    parts = [_main_table(results), _group_table(results), _sector_table(results)]
    generators = [name for name in results.methods if name.startswith("generator")]
    parts += [_advantage_table(results, name) for name in generators if name == "generator"]
    return "\n\n".join(parts)


def _main_table(results: Results) -> str:
    rows = [
        [name, *(show(results.interval(name, m), DIGITS.get(m, 3)) for m in MEASURES), f"{record['seconds']:.2f}"]
        for name, record in results.methods.items()
    ]
    header = ["method", "PSNR", "SSIM", "masked PSNR", "masked SSIM", "mask IoU", "FLIP", "sharpness", "s/object"]
    return table(header, rows)


def _group_table(results: Results) -> str:
    header = ["masked PSNR / mask IoU"] + [f"{group} ({len(ids)})" for group, ids in results.groups.items()]
    rows = []
    for name in results.methods:
        cells = []
        for group in results.groups:
            quality, overlap = (results.interval(name, m, group) for m in ("masked_psnr", "mask_iou"))
            cells.append(f"{quality.mean:.2f} / {overlap.mean:.3f}" if quality and overlap else "–")
        rows.append([name, *cells])
    return table(header, rows)


def _sector_table(results: Results) -> str:
    header = ["masked PSNR / mask IoU"] + [f"{a}–{b}°" for a, b in SECTORS]
    rows = []
    for name, record in results.methods.items():
        context = record["settings"]["context"]
        targets = [i for i in range(VIEWS) if i not in context]
        away = [min(i, VIEWS - i) * 360 / VIEWS for i in targets]
        cells = []
        for low, high in SECTORS:
            inside = [k for k, degrees in enumerate(away) if low < degrees <= high]
            means = [
                torch.tensor([scores[m] for scores in record["objects"].values()])[:, inside].mean()
                for m in ("masked_psnr", "mask_iou")
            ]
            cells.append(f"{means[0]:.2f} / {means[1]:.3f}")
        rows.append([name, *cells])
    return table(header, rows)


def _advantage_table(results: Results, generator: str) -> str:
    measures = ("psnr", "masked_psnr", "masked_ssim", "mask_iou")
    header = [f"{generator} minus", "PSNR", "masked PSNR", "masked SSIM", "mask IoU"]
    rows = [
        [name, *(show(results.advantage(generator, name, m), DIGITS.get(m, 3)) for m in measures)]
        for name in results.methods
        if not name.startswith("generator")
    ]
    return table(header, rows)


def _context_count(name: str) -> int:
    return int(name.rpartition("-")[2]) if name.startswith("generator-") else 1


def _settings(name: str, options: OrbitBenchmarkOptions, context: Sequence[int]) -> dict[str, Any]:
    settings: dict[str, Any] = {"context": list(context)}
    if name.startswith("generator"):
        settings |= {"steps": options.steps, "guidance": options.guidance}
    return settings


def _method(name: MethodName, options: OrbitBenchmarkOptions, test_set: TestSet) -> ViewMethod:
    if name == "copy":
        return lambda truth, cameras, context, targets, seed: copy_input(truth[0], len(targets))
    if name.startswith("generator"):
        return _generator(options)
    views = training_views(test_set, options.path, min(options.size, 64), options.cache)
    if name == "mean":
        mean = resize_views(views.mean_views, options.size)
        return lambda truth, cameras, context, targets, seed: mean[[i - 1 for i in targets]]
    return _nearest(views, test_set)


def _nearest(views: TrainingViews, test_set: TestSet) -> ViewMethod:
    side = views.input_views.shape[1]

    def answer(
        truth: Tensor, cameras: Sequence[Camera], context: Sequence[int], targets: Sequence[int], seed: int
    ) -> Tensor:
        match = views.nearest(resize_views(truth[:1], side)[0])
        return draw_views(test_set.mesh(match), [cameras[i] for i in targets])

    return answer


def _generator(options: OrbitBenchmarkOptions) -> ViewMethod:
    if options.model is None:
        raise BenchmarkError("the generator rows need weights: give --model DIR")
    from gen.weights import load_pipeline

    pipe = load_pipeline(options.model)

    def answer(
        truth: Tensor, cameras: Sequence[Camera], context: Sequence[int], targets: Sequence[int], seed: int
    ) -> Tensor:
        seen = [
            frame_from_tensors(cameras[i], truth[i], source=Source.RENDERED, name=f"context_{i:02d}") for i in context
        ]
        capture = pipe(
            seen,
            [cameras[i] for i in targets],
            num_inference_steps=options.steps,
            guidance_scale=options.guidance,
            generator=torch.Generator().manual_seed(seed),
        )
        drawn = torch.stack([frame.rgba() for frame in capture.frames[len(seen) :]])
        return resize_views(drawn, truth.shape[1])

    return answer


def main(args: list[str] | None = None) -> int:
    """Parses `args` (the command line unless given); returns the exit code."""
    options = tyro.cli(OrbitBenchmarkOptions, args=args, prog="python -m benchmarks.orbit")
    return run_command(lambda: print(markdown(run(options))), again="give the same command again")


if __name__ == "__main__":
    sys.exit(main())
