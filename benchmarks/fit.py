"""How fast are fits, and how good after how long? `python -m benchmarks.fit -o fit.json [--captures FOLDER ...]`

First the optimisation step, whole, beside a step of OpenSplat's program. Then quality against time: the PSNR of
held-out pictures over CPU seconds, on photographs, on the lego and on rendered objects. Both programs get the same
pictures over the same background and start on the same surface.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import torch
import tyro
from rich.console import Console
from rich.progress import track

from benchmarks._curves import Point, converged, our_curve, psnr_after, seconds_to, wall_seconds_to
from benchmarks._held_out import Split, open_splits
from benchmarks._opensplat import check_program, fixed_count, run_program, write_data
from benchmarks._results import environment, write_json
from benchmarks._scenes import SceneSize
from benchmarks._steps import Start, StepTimes, shell_capture, step_options, time_steps, time_steps_apart
from pipelines._command import run_command
from pipelines.evaluation.markdown import table
from recon.capture import Capture
from recon.splat.fit_options import FIT_PRESETS, FitOptions
from recon.splat.gaussians import Gaussians
from recon.splat.initialise import initial_gaussians, initial_volume
from recon.splat.ply import read_ply

SCENES = (SceneSize(20_000, 128), SceneSize(20_000, 256), SceneSize(50_000, 256))
MOMENTS = (5, 10, 20, 50, 100, 200, 500)
"""CPU seconds at which the table gives both programs' PSNR."""
TARGET = 30.0
"""dB whose time on the wall is reported for every subject."""
_PEER_SAMPLES = 12


@dataclass(frozen=True)
class FitBenchmarkOptions:
    """Time fits and their quality, beside OpenSplat."""

    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """JSON file with all figures."""
    opensplat: Path | None = None
    """OpenSplat's program, for the time of a step."""
    opensplat_quality: Path | None = None
    """OpenSplat's program, for quality against time. Another one, if the first sorts by wrong depths: where its kernels
    read the depths as if they were contiguous and libtorch hands out a column of a matrix, `.contiguous()` mends it."""
    captures: Path | None = None
    """Folder of the captures with the dinosaur and the lego."""
    objects: Path | None = None
    """Folder of the object pack with its list of test objects."""
    count: int = 10
    """Test objects, chosen by hash, tiers in proportion."""
    size: int = 256
    """Longer side of the pictures in pixels."""
    threads: tuple[int, ...] = (1, 2)
    """Numbers of threads to time steps with."""
    steps: int = 100
    """Steps of which the median counts, per round; 0 leaves the times of steps out."""
    rounds: int = 3
    """Rounds in which ours and the peer take turns; the median over the rounds counts."""
    peer_steps: int = 3000
    """Steps of the peer's fits; it refines and schedules itself by that number."""
    peer_points: int = 10_000
    """Points that the peer starts from, on the surface that ours starts from; it adds more itself."""
    samples: int = 24
    """How often our fits are looked at."""
    preset: tyro.conf.Suppress[FitOptions] = FIT_PRESETS["views"]
    """How ours are fitted."""
    scenes: tyro.conf.Suppress[tuple[SceneSize, ...]] = SCENES
    """What steps are timed on."""


def run(options: FitBenchmarkOptions) -> dict[str, Any]:
    """Measure and write the results, subject by subject, so that an interrupted run leaves what it has.

    Raises:
        BenchmarkError: if a program or a folder that is named is not there, or the program fails.
    """
    for program in (options.opensplat, options.opensplat_quality):
        if program is not None:
            check_program(program)
    document: dict[str, Any] = {
        "benchmark": "fit",
        "environment": environment() | {"threads": torch.get_num_threads()},
        "load": os.getloadavg()[0],
        "preset": asdict(options.preset),
        "peer": {"steps": options.peer_steps, "points": options.peer_points},
        "steps": [],
        "subjects": {},
    }
    if options.steps > 0:
        for scene in track(options.scenes, "Steps", console=Console(stderr=True)):
            document["steps"].append(_step_row(scene, options))
    time_steps(SceneSize(300, 24), 4, "points")  # compiles, or loads what is compiled: the hull's kernels and the fit's
    for split in _announced(open_splits(options.captures, options.objects, options.count, options.size)):
        curves = {"ours": our_curve(split, options.preset, options.samples)}
        if options.opensplat_quality is not None:
            curves["OpenSplat"] = _peer_curve(split, options.opensplat_quality, options)
        document["subjects"][split.name] = {name: [asdict(point) for point in c] for name, c in curves.items()}
        write_json(options.output, document)
    write_json(options.output, document)
    return document


def markdown(document: Mapping[str, Any]) -> str:
    """Remarks, and the tables: steps, convergence, PSNR after some moments."""
    curves = {
        subject: {name: [Point(**point) for point in points] for name, points in record.items()}
        for subject, record in document["subjects"].items()
    }
    parts = _remarks(document)
    if document["steps"]:
        parts.append(_step_table(document["steps"]))
    if curves:
        parts += [_convergence_table(curves), _moment_table(curves)]
    return "\n\n".join(parts)


def _step_row(scene: SceneSize, options: FitBenchmarkOptions) -> dict[str, Any]:
    """Medians over rounds in which ours with every number of threads and the peer take turns."""
    kinds: list[tuple[Start, int]] = [(start, n) for start in ("points", "shell") for n in options.threads]
    ours: dict[tuple[Start, int], list[StepTimes]] = {kind: [] for kind in kinds}
    peer = []
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        if options.opensplat is not None:
            capture = shell_capture(scene)
            write_data(capture, shared_start(capture, step_options(scene, 1), scene.count), data)
        for turn in range(options.rounds):
            for start, threads in kinds:
                ours[start, threads].append(time_steps_apart(scene, options.steps, start, threads))
            if options.opensplat is not None:
                output = Path(folder) / str(turn)
                fixed = fixed_count(options.steps)
                peer.append(run_program(options.opensplat, data, output, options.steps, fixed).seconds_per_step())
    times = [
        {"start": start, "threads": threads}
        | {"wall": median(t.wall for t in ours[start, threads]), "cpu": median(t.cpu for t in ours[start, threads])}
        for start, threads in kinds
    ]
    return {"scene": str(scene), "ours": times, "opensplat_cpu": median(peer) if peer else None}


def _peer_curve(split: Split, program: Path, options: FitBenchmarkOptions) -> list[Point]:
    """The scenes that the program saves on its way, drawn by us. Its clock begins with its first step."""
    with tempfile.TemporaryDirectory() as folder:
        data, output = Path(folder) / "data", Path(folder) / "out"
        write_data(split.capture, shared_start(split.capture, options.preset, options.peer_points), data)
        every = max(1, options.peer_steps // _PEER_SAMPLES)
        done = run_program(program, data, output, options.peer_steps, [], save_every=every)
        points = []
        for steps, file in done.saved:
            scene = read_ply(file)
            points.append(Point(steps, done.seconds_at(steps), None, split.score(scene), len(scene)))
        return points


def shared_start(capture: Capture, options: FitOptions, count: int) -> Gaussians:
    """Where a fit of ours starts, and in which colours, with another count."""
    volume = initial_volume(capture.frames, options.grid)
    generator, brightness = torch.Generator().manual_seed(0), options.initial_brightness_edge_on
    return initial_gaussians(volume, capture.frames, count, generator, brightness_edge_on=brightness)


def _announced(splits: Iterator[Split]) -> Iterator[Split]:
    for split in splits:
        print(f"{split.name}: {len(split.capture)} views to fit, {len(split.held_out)} held out", file=sys.stderr)
        yield split


def _remarks(document: Mapping[str, Any]) -> list[str]:
    remarks = []
    if document["load"] > 0.3:
        load = f"{document['load']:.1f}"
        remarks.append(f"Warning: the load average was {load} at the start; on a machine that is not quiet times grow.")
    if document["steps"] and document["steps"][0]["opensplat_cpu"] is None:
        remarks.append("Not here: OpenSplat's program for the steps; name it with --opensplat.")
    if not document["subjects"]:
        remarks.append("No quality against time: name the folders with --captures and --objects.")
    elif not any("OpenSplat" in record for record in document["subjects"].values()):
        remarks.append("Not here: OpenSplat's program for quality against time; name it with --opensplat-quality.")
    return remarks


def _step_table(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = []
    for row in rows:
        for times in row["ours"]:
            where = "as the shell" if times["start"] == "shell" else "from its hull"
            name = f"{row['scene']} {where}, {times['threads']} thread{'s' if times['threads'] > 1 else ''}"
            lines.append([f"steps, {name}", f"{1 / times['wall']:.0f}", "–", "–", "steps/s"])
            if times["start"] == "points" and times["threads"] == 1:
                own, peer = times["cpu"], row["opensplat_cpu"]
                cells = ["–", "–"] if peer is None else [f"{1e3 * peer:.1f}", f"{peer / own:.1f}"]
                lines.append([f"CPU time of a step, {name}", f"{1e3 * own:.1f}", *cells, "ms"])
    return table(["what", "ours", "OpenSplat", "ratio", "unit"], lines)


def _convergence_table(curves: Mapping[str, Mapping[str, Sequence[Point]]]) -> str:
    header = ["subject", "ours, best dB", "CPU s", f"wall s to {TARGET:g} dB"]
    header += ["OpenSplat, best dB", "converged after CPU s", "ours as good after CPU s", "ratio"]
    lines = []
    for subject, by_name in curves.items():
        ours, peer = by_name["ours"], by_name.get("OpenSplat")
        best = max(point.psnr for point in ours)
        line = [subject, f"{best:.2f}", f"{ours[-1].cpu:.0f}", _number(wall_seconds_to(ours, TARGET), 1)]
        if peer is None:
            line += ["–"] * 4
        else:
            psnr, needed = converged(peer)
            reached = seconds_to(ours, psnr)
            ratio = None if reached is None else needed / reached
            peak = max(point.psnr for point in peer)
            line += [f"{peak:.2f}", f"{needed:.0f}", _number(reached, 1), _number(ratio, 1)]
        lines.append(line)
    return table(header, lines)


def _moment_table(curves: Mapping[str, Mapping[str, Sequence[Point]]]) -> str:
    lines = [
        [f"{subject}, {name}", *(_number(psnr_after(curve, moment), 2) for moment in MOMENTS)]
        for subject, by_name in curves.items()
        for name, curve in by_name.items()
    ]
    return table(["held-out dB after CPU seconds", *map(str, MOMENTS)], lines)


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def main(args: list[str] | None = None) -> int:
    """Parses `args` (the command line unless given); returns the exit code."""
    options = tyro.cli(FitBenchmarkOptions, args=args, prog="python -m benchmarks.fit")
    return run_command(lambda: print(markdown(run(options))), again="give the same command again")


if __name__ == "__main__":
    sys.exit(main())
