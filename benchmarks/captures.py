"""Real captures, with their own cameras and with solved ones: `python -m benchmarks.captures CAPTURES -o out.json`

Four subjects: the dinosaur (16 photographs on a ring, judged by 23 others), the NeRF-synthetic lego (every tenth view
kept back), a plaster Buddha on a table and the castle of Sceaux (every fourth kept back). Fitted with the preset
"views". Where cameras are solved, from pixels alone, those of the pictures that judge are solved with the others'.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
import tyro

from benchmarks._camera_errors import turns_and_focal
from benchmarks._errors import BenchmarkError
from benchmarks._held_out import (
    DINO,
    DINO_HELD_OUT,
    DINO_SHIFT,
    LEGO,
    LEGO_STRIDE,
    Split,
    constant,
    cut_out_before_black,
    in_memory,
    require,
    split_of,
)
from benchmarks._opensplat import check_program, run_program, write_data
from benchmarks._results import environment, write_json
from benchmarks.fit import shared_start
from pipelines._command import run_command
from pipelines._run import peak_memory_mib
from pipelines.evaluation.markdown import table
from recon.capture import Capture, Frame, Similarity
from recon.capture.io_projection import read_middlebury, read_projections
from recon.capture.io_synthetic import read_nerf_synthetic
from recon.capture.normalise import normalise
from recon.capture.photo import read_photo
from recon.capture.sfm import SfmOptions, solve_cameras
from recon.capture.unposed import UnposedFrame, photo_files
from recon.splat.crop import scene_start
from recon.splat.fit import fit_gaussians
from recon.splat.fit_options import FIT_PRESETS
from recon.splat.gaussians import Gaussians
from recon.splat.ply import read_ply
from recon.splat.refine_cameras import refine_cameras
from recon.splat.warm_up import warm_up

BUDDHA, CASTLE = "alicevision_buddha", "sceaux_castle"
_BUDDHA_SIZE = (2736, 1540)
_STRIDE = 4
_PEER_POINTS = 10_000
CamerasFrom = Literal["given", "solved", "refined"]
KINDS: tuple[CamerasFrom, ...] = ("given", "solved", "refined")
"""The capture's own; structure from motion's; those, refined in a fit, as `video2mesh` does it."""
SUBJECTS = {"dino": DINO, "lego": LEGO, "buddha": BUDDHA, "castle": CASTLE}
_SCENE = replace(FIT_PRESETS["views"], max_scale=20.0)
"""For surroundings as for objects, except that what is far may be wide."""


@dataclass(frozen=True)
class CapturesOptions:
    """Fit real captures and judge them by pictures that were kept back."""

    captures: tyro.conf.Positional[Path]
    """Folder of the captures."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """JSON file; rows that it holds already are kept."""
    size: int = 256
    """Longer side of the pictures that are fitted, in pixels; cameras are solved on the stored ones."""
    opensplat: Path | None = None
    """OpenSplat's program, to run on the same pictures and cameras."""
    peer_steps: int = 2000
    """Steps of its fits: as many as ours."""


@dataclass(frozen=True)
class Row:
    """Attributes:
    registered, pictures: how many have cameras, of how many.
    psnr, ssim: means over the held-out pictures, whole, over one colour.
    turn_degrees, focal_percent: medians against the capture's own cameras; None where those are used or unknown.
    """

    registered: int
    pictures: int
    psnr: float
    ssim: float
    gaussians: int
    solve_cpu: float
    fit_cpu: float
    fit_wall: float
    peak_mib: int | None
    turn_degrees: float | None
    focal_percent: float | None
    opensplat: Mapping[str, float] | None


def frames_of(name: str, folder: Path) -> tuple[list[Frame], set[int], bool]:
    """All pictures with their own cameras; which are held out; whether everything in them counts.

    Raises:
        BenchmarkError: if the capture is not there.
    """
    require(folder / SUBJECTS[name])
    if name == "dino":
        require(folder / DINO_HELD_OUT)
        given = list(read_middlebury(folder / DINO))
        others = read_middlebury(folder / DINO_HELD_OUT).moved(Similarity(translation=-DINO_SHIFT))
        new = [f for f in others if not any(torch.allclose(f.camera.c2w, g.camera.c2w, atol=1e-4) for g in given)]
        frames = [cut_out_before_black(frame) for frame in (*given, *new)]
        return frames, set(range(len(given), len(frames))), False
    if name == "lego":
        frames = list(read_nerf_synthetic(folder / LEGO))
        return frames, set(range(0, len(frames), LEGO_STRIDE)), False
    frames = list(read_projections(folder / BUDDHA, _BUDDHA_SIZE))
    return frames, set(range(0, len(frames), _STRIDE)), True


def pictures_of(name: str, folder: Path) -> tuple[list[UnposedFrame], set[int], bool]:
    """The same without cameras, under names that tell nothing and in no order."""
    if name == "castle":
        require(folder / CASTLE)
        photos = [read_photo(file) for file in photo_files(folder / CASTLE)]
        loads = [_opaque(photo.rgb) for photo in photos]
        held, opaque = set(range(0, len(photos), _STRIDE)), True
    else:
        frames, held, opaque = frames_of(name, folder)
        loads = [frame.rgba() for frame in frames]
    order = np.random.default_rng(0).permutation(len(loads))
    shuffled = [
        UnposedFrame(f"{place:03d}", constant(loads[i]), loads[i].shape[1], loads[i].shape[0], origin=str(i))
        for place, i in enumerate(order)
    ]
    return shuffled, {place for place, i in enumerate(order) if int(i) in held}, opaque


def measure(name: str, cameras: CamerasFrom, options: CapturesOptions) -> Row:
    """One row of the table, in a process of its own, so that memory is its own too."""
    warm_up()
    start, points, true = time.process_time(), None, None
    if cameras != "given":
        pictures, held, opaque = pictures_of(name, options.captures)
        found = solve_cameras(pictures, SfmOptions(), source=name)
        kept = [place for place, registered in enumerate(found.registered) if registered]
        solved = refine_cameras(normalise(found.capture, keep=False)) if cameras == "refined" else found.capture
        frames, held = list(solved), {kept.index(place) for place in held if place in kept}
        points, count = (found.points, found.colours), len(pictures)
        if name != "castle":
            own = frames_of(name, options.captures)[0]
            true = [own[int(pictures[place].origin)] for place in kept]
    else:
        frames, held, opaque = frames_of(name, options.captures)
        count = len(frames)
    solving = 0.0 if cameras == "given" else time.process_time() - start
    turn, focal = (None, None) if true is None else camera_errors(frames, true)
    split, begin = _split(name, frames, held, opaque, points, options.size)
    cpu, wall = time.process_time(), time.perf_counter()
    scene = fit_gaussians(split.capture, _SCENE if opaque else FIT_PRESETS["views"], start=begin)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    peak = peak_memory_mib()
    peer = None if options.opensplat is None else _peer(split, begin, options)
    psnr, similarity = split.scores(scene)
    return Row(len(frames), count, psnr, similarity, len(scene), solving, cpu, wall, peak, turn, focal, peer)


def _split(
    name: str,
    frames: list[Frame],
    held: set[int],
    opaque: bool,
    points: tuple[torch.Tensor, torch.Tensor] | None,
    size: int,
) -> tuple[Split, Gaussians | None]:
    """Small pictures, and where the fit of a scene without silhouettes starts."""
    small = [in_memory(frame, size) for frame in frames]
    given = [frame for i, frame in enumerate(small) if i not in held]
    judges = [frame for i, frame in enumerate(small) if i in held]
    if not given or not judges:
        raise BenchmarkError(f"{name}: too few pictures have cameras")
    if not opaque:
        return split_of(name, given, judges), None
    start, similarity = scene_start(Capture(tuple(given)), points, seed=0)
    move = [Capture(tuple(part)).moved(similarity) for part in (given, judges)]
    return Split(name, move[0], move[1].frames), start


def _peer(split: Split, begin: Gaussians | None, options: CapturesOptions) -> dict[str, float]:
    """The program's fit, from places where ours starts: on the hull, or from the same points."""
    assert options.opensplat is not None
    start = shared_start(split.capture, FIT_PRESETS["views"], _PEER_POINTS) if begin is None else begin
    chosen = torch.randperm(len(start), generator=torch.Generator().manual_seed(0))[:_PEER_POINTS]
    with tempfile.TemporaryDirectory() as folder:
        data, output = Path(folder) / "data", Path(folder) / "out"
        write_data(split.capture, start.select(chosen), data)
        threads = os.cpu_count() or 1
        done = run_program(options.opensplat, data, output, options.peer_steps, [], threads=threads)
        scene = read_ply(done.saved[-1][1])
        psnr, similarity = split.scores(scene)
    spent = {"fit_cpu": done.seconds_at(options.peer_steps), "fit_wall": done.wall, "peak_mib": float(done.peak_mib)}
    return {"psnr": psnr, "ssim": similarity, "gaussians": float(len(scene)), **spent}


def camera_errors(found: list[Frame], true: list[Frame]) -> tuple[float, float]:
    """Median turn in degrees after the best common one, and median error of the focal length in percent."""
    turns, focal = turns_and_focal([frame.camera for frame in found], [frame.camera for frame in true])
    return float(turns.median()), focal


def _opaque(rgb: torch.Tensor) -> torch.Tensor:
    return torch.cat((rgb.float() / 255, torch.ones(*rgb.shape[:2], 1)), dim=-1)


def run(options: CapturesOptions) -> dict[str, Any]:
    """Measure all captures; writes after each.

    Raises:
        BenchmarkError, CaptureError: if captures or the program are missing.
    """
    import json

    if options.opensplat is not None:
        check_program(options.opensplat)
    settings = {"size": options.size, "peer_steps": options.peer_steps if options.opensplat else None}
    rows: dict[str, Any] = {}
    if options.output.exists():
        before = json.loads(options.output.read_text(encoding="utf-8"))
        if before.get("settings") != settings:
            raise BenchmarkError(f"{options.output}: holds results of {before.get('settings')}; choose another -o")
        rows = before["rows"]
    context = multiprocessing.get_context("spawn")
    for name in SUBJECTS:
        for cameras in KINDS:
            key = f"{name}, {cameras}"
            # Nobody knows the castle's cameras, and scenes are not refined: that takes silhouettes.
            if key in rows or (name, cameras) in (("castle", "given"), ("castle", "refined"), ("buddha", "refined")):
                continue
            print(key, file=sys.stderr)
            with ProcessPoolExecutor(1, mp_context=context) as pool:
                rows[key] = asdict(pool.submit(measure, name, cameras, options).result())
            document = {"benchmark": "captures", "environment": environment(), "settings": settings, "rows": rows}
            write_json(options.output, document)
    return {"rows": rows}


def markdown(document: Mapping[str, Any]) -> str:
    """The table of saved results."""
    header = ["capture, cameras", "pictures with cameras", "turned, degrees", "focal, %", "held-out PSNR, dB", "SSIM"]
    header += ["Gaussians", "solve, CPU s", "fit, CPU s", "wall s", "peak, MiB"]
    header += [f"OpenSplat: {what}" for what in ("PSNR, dB", "SSIM", "Gaussians", "fit, CPU s", "wall s", "peak, MiB")]
    lines = []
    for key, row in document["rows"].items():
        peer = row["opensplat"]
        lines.append(
            [
                key,
                f"{row['registered']} of {row['pictures']}",
                "–" if row["turn_degrees"] is None else f"{row['turn_degrees']:.2f}",
                "–" if row["focal_percent"] is None else f"{row['focal_percent']:.1f}",
                f"{row['psnr']:.2f}",
                f"{row['ssim']:.3f}",
                f"{row['gaussians']:,}",
                f"{row['solve_cpu']:.0f}" if row["solve_cpu"] else "–",
                f"{row['fit_cpu']:.0f}",
                f"{row['fit_wall']:.0f}",
                str(row["peak_mib"]),
                *(_peer_cells(peer) if peer is not None else ["–"] * 6),
            ]
        )
    return table(header, lines)


def _peer_cells(peer: Mapping[str, float]) -> list[str]:
    cells = [f"{peer['psnr']:.2f}", f"{peer['ssim']:.3f}", f"{peer['gaussians']:,.0f}"]
    return cells + [f"{peer[key]:.0f}" for key in ("fit_cpu", "fit_wall", "peak_mib")]


def main(args: list[str] | None = None) -> int:
    """Parses `args` (the command line unless given); returns the exit code."""
    options = tyro.cli(CapturesOptions, args=args, prog="python -m benchmarks.captures")
    return run_command(lambda: print(markdown(run(options))), again="give the same command again")


if __name__ == "__main__":
    sys.exit(main())
