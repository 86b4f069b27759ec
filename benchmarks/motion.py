"""How well does an animated .glb repeat what moved? `python -m benchmarks.motion ANIMATED -o motion.json`

Clips of rigged meshes are filmed by cameras all around, or by one; what is made of the pictures alone is replayed in
Blender, and compared with the truth, at every time, before cameras that nobody was given. Needs Blender's module, which
tests/acceptance/tools/install.sh installs.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from torch import Tensor

from benchmarks._errors import BenchmarkError
from benchmarks._moving_methods import METHODS, Task
from benchmarks._moving_scores import followed, rigid_rest, score
from benchmarks._moving_tables import evenly, markdown
from benchmarks._moving_truth import held_out_cameras, load_truth
from benchmarks._replay import Replay, replay
from benchmarks._results import environment, write_json
from pipelines._command import run_command
from pipelines._options import PresetName
from pipelines._pictures import write_sheet
from recon.splat.warm_up import warm_up


@dataclass(frozen=True)
class MotionOptions:
    """Make animated assets of clips that are known, and measure them."""

    animated: tyro.conf.Positional[Path]
    """Folder of rigged .glb files, with a validation.txt that lists those to measure."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """JSON file; rows that it holds already are kept. Runs, files and sheets go into a folder of its name."""
    subjects: tuple[str, ...] = ()
    """Some of the files, by name without .glb; unless given, those that are listed."""
    rows: tuple[str, ...] = tuple(METHODS)
    """Some of the methods."""
    preset: PresetName = "balanced"
    """Of video2scene4d."""
    times: int = 24
    """Times, evenly over the clip."""
    views: int = 16
    """Cameras that film it."""
    size: int = 128
    """Side of their pictures in pixels; those that judge are always 128."""
    monocular: bool = False
    """One camera that stands still in front, instead; the other sides are generated."""
    apart_every: int = 8
    """A reconstruction a time is made of two neighbours of every so many times: of all it would take hours."""


def run(options: MotionOptions) -> dict[str, Any]:
    """Measures what is missing; writes after each row.

    Raises:
        BenchmarkError: if the file holds other results, a subject or a method is not there, or Blender is missing.
    """
    views = 1 if options.monocular else options.views
    settings = {
        "preset": options.preset,
        "times": options.times,
        "views": views,
        "size": options.size,
        "apart_every": options.apart_every,
    }
    document = _earlier(options.output, settings)
    unknown = set(options.rows) - set(METHODS)
    if unknown:
        raise BenchmarkError(f"expected rows out of {', '.join(METHODS)}, found {', '.join(sorted(unknown))}")
    warm_up()
    for name in _subjects(options):
        subject = document["subjects"].setdefault(name, {"rows": {}})
        missing = [row for row in options.rows if row not in subject["rows"]]
        if not missing:
            continue
        truth = load_truth(options.animated / f"{name}.glb", options.times)
        paths, side = followed(truth)
        subject["clip"], subject["seconds"] = truth.clip, float(truth.times[-1])
        subject["rigid_rest"] = 100 / side * rigid_rest(paths, truth.reference)
        folder = options.output.with_suffix("") / name
        task = Task(truth, folder, views, options.size, options.preset, options.apart_every)
        pictures = {lit: truth.views(held_out_cameras(), lit=lit) for lit in (True, False)}
        for row in missing:
            print(f"{name}: {row}", file=sys.stderr)
            subject["rows"][row] = _measured(row, task, pictures)
            write_json(options.output, document)
    return document


def _measured(row: str, task: Task, views: Mapping[bool, Tensor]) -> dict[str, Any]:
    """One method on one subject; what it cannot make is said."""
    try:
        made = METHODS[row](task)
    except BenchmarkError:
        raise
    except ValueError as error:
        return {"failed": str(error)}
    shown = replay(made.glb, made.world, made.seconds, held_out_cameras())
    scores = score(shown, task.truth, views[made.lit], made.keys, follows=made.follows)
    _sheet(row, shown, views[made.lit][list(made.keys)], task.folder / f"{row.replace(' ', '_')}.png")
    return asdict(scores) | {"keys": list(made.keys), "figures": dict(made.figures)}


def _earlier(file: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    if not file.exists():
        return {"benchmark": "motion", "environment": environment(), "settings": dict(settings), "subjects": {}}
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    if found.get("settings") != settings:
        raise BenchmarkError(f"{file}: holds results of {found.get('settings')}; choose another -o")
    return found


def _subjects(options: MotionOptions) -> Sequence[str]:
    listed = options.subjects or (options.animated / "validation.txt").read_text(encoding="utf-8").split()
    absent = [name for name in listed if not (options.animated / f"{name}.glb").is_file()]
    if absent or not listed:
        raise BenchmarkError(f"{options.animated}: expected the subjects as .glb there, found no {', '.join(absent)}")
    return listed


def _sheet(row: str, shown: Replay, truth: Tensor, file: Path) -> None:
    """Truth and replay at some times, from two sides."""
    keys = evenly(len(truth))
    both = [("the truth", truth), (row, shown.views)]
    write_sheet([(name, [views[key, side] for key in keys]) for side in (0, 3) for name, views in both], file)


def main(args: list[str] | None = None) -> int:
    """Parses `args` (the command line unless given); returns the exit code."""
    options = tyro.cli(MotionOptions, args=args, prog="python -m benchmarks.motion")
    return run_command(lambda: print(markdown(run(options))), again="give the same command again")


if __name__ == "__main__":
    sys.exit(main())
