"""Cameras as the command finds them. `python -m benchmarks.command_cameras -o cameras.json`

The dozen objects that ship with the program are drawn on a turntable, and the pictures are given to `video2mesh`, which
either has to believe structure from motion or may judge it. What it writes is turned to fit the truth and compared.
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tyro

from benchmarks._camera_errors import turns_and_focal
from benchmarks._errors import BenchmarkError
from benchmarks._results import environment, write_json
from benchmarks._timed_command import timed
from pipelines._command import run_command
from pipelines.evaluation.markdown import table
from pipelines.evaluation.protocol import draw_views
from pipelines.evaluation.sets import open_set, shipped
from recon.capture import orbit_camera
from recon.capture.images import write_rgba
from recon.capture.io_nerfstudio import read_transforms
from recon.surface.mesh import Mesh

How = Literal["sfm", "auto"]
TURN_TARGET, FOCAL_TARGET = 2.0, 3.0
"""Degrees, median over the pictures, and per cent."""


@dataclass(frozen=True)
class CommandCamerasOptions:
    """Solve the shipped objects' turntables by the command, and compare."""

    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """JSON file; what it holds already is kept."""
    pictures: int = 24
    """Of one even turn."""
    size: int = 256
    """Side of the pictures in pixels."""
    fov: float = 40.0
    """Degrees."""
    elevation: float = 25.0
    """Degrees."""


def run(options: CommandCamerasOptions) -> dict[str, Any]:
    """Measures what is missing; writes after each.

    Raises:
        BenchmarkError: if the file holds other results.
    """
    settings = {name: getattr(options, name) for name in ("pictures", "size", "fov", "elevation")}
    document: dict[str, Any] = {
        "benchmark": "command_cameras",
        "environment": environment(),
        "settings": settings,
        "objects": {},
    }
    if options.output.exists():
        document = json.loads(options.output.read_text(encoding="utf-8"))
        if document.get("settings") != settings:
            raise BenchmarkError(f"{options.output}: holds results of {document.get('settings')}; choose another -o")
    objects = open_set(shipped())
    for item in objects.objects:
        rows = document["objects"].setdefault(item.id, {})
        for how in (how for how in ("sfm", "auto") if how not in rows):
            print(f"{item.id}: {how}", file=sys.stderr)
            rows[how] = _measured(objects.mesh(item.id), how, options)
            write_json(options.output, document)
    return document


def _measured(mesh: Mesh, how: How, options: CommandCamerasOptions) -> dict[str, Any]:
    elevation, fov = math.radians(options.elevation), math.radians(options.fov)
    turns = [2 * math.pi * step / options.pictures for step in range(options.pictures)]
    true = [orbit_camera(turn, elevation, fov, options.size, options.size) for turn in turns]
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / "photos", Path(folder) / "run"
        source.mkdir()
        for index, picture in enumerate(draw_views(mesh, true)):
            write_rgba(source / f"{index:03d}.png", picture)
        command = [sys.executable, "-m", "pipelines.video2mesh", str(source), "-o", str(out)]
        try:
            spent = timed([*command, "--cameras", how, "--stop-after", "capture"])
        except ValueError as refused:
            return {"refused": str(refused)}
        frames = read_transforms(out / "capture").frames
        report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    seen = [true[int(frame.name)] for frame in frames]
    turned, focal = turns_and_focal([frame.camera for frame in frames], seen)
    solved = report["quality"]["cameras"]["solved"]
    return {
        "by": solved["by"],
        "confidence": solved["confidence"],
        "misfit": solved.get("misfit"),
        "with_cameras": len(frames),
        "turned": float(np.median(turned.numpy())),
        "turned_most": float(turned.max()),
        "focal_percent": focal,
        "cpu_seconds": spent,
    }


def markdown(document: Mapping[str, Any]) -> str:
    """The table of saved results."""
    header = ["object", "cameras", "by", "pictures with cameras", "turned, degrees", "most", "focal, %", "confidence"]
    header += ["misfit", "CPU s"]
    lines, met = [], {"sfm": 0, "auto": 0}
    for name, rows in document["objects"].items():
        for how, row in rows.items():
            if "refused" in row:
                lines.append([name, how, "refused", *["–"] * 7])
                continue
            met[how] += row["turned"] <= TURN_TARGET and row["focal_percent"] <= FOCAL_TARGET
            lines.append(
                [
                    name,
                    how,
                    row["by"],
                    f"{row['with_cameras']} of {document['settings']['pictures']}",
                    f"{row['turned']:.2f}",
                    f"{row['turned_most']:.1f}",
                    f"{row['focal_percent']:.1f}",
                    str(row["confidence"]),
                    "–" if row["misfit"] is None else f"{row['misfit']:.3f}",
                    f"{row['cpu_seconds']:.0f}",
                ]
            )
    count = len(document["objects"])
    within = (
        f"On target ({TURN_TARGET:g}°, {FOCAL_TARGET:g} %): {met['sfm']} of {count} with structure from motion alone"
    )
    return f"{table(header, lines)}\n\n{within}, {met['auto']} with `--cameras auto`."


def main(args: list[str] | None = None) -> int:
    """Parses `args` (the command line unless given); returns the exit code."""
    options = tyro.cli(CommandCamerasOptions, args=args, prog="python -m benchmarks.command_cameras")
    return run_command(lambda: print(markdown(run(options))), again="give the same command again")


if __name__ == "__main__":
    sys.exit(main())
