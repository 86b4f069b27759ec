"""`python -m pipelines.evaluate`: how good are views and meshes, beside a ceiling and what understands nothing?"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from pipelines._command import run_command
from pipelines._options import PresetName

RELEASED = "released.json"
"""The report that `--regress` compares with, beside the shipped objects."""
_REGRESSION_OBJECTS = 6


@dataclass(frozen=True)
class EvaluateOptions:
    """Measures generated views and meshes on objects whose truth is known, always beside the ceiling (true views,
    reconstructed) and trivial answers (copied input, mean, nearest training object, sphere, visual hull, inflated
    silhouette). docs/evaluation.md states the protocol."""

    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """The run's folder; made if needed. Left out, out/evaluation, or out/regression with --regress."""
    set: Path | None = None
    """Folder of the objects: .glb or .obj files, or an object pack with its lists of test objects and of objects never
    trained on. Left out, the dozen that ship with the program."""
    method: tuple[str, ...] = ("generator",)
    """What is measured: "generator", "generator-2" and "generator-4" (given 1, 2 and 4 true views), and NAME=FOLDER for
    anything else: <object>.glb, or <object>/001.png and so on, one picture for each camera of inputs/cameras.json."""
    measure: Literal["all", "views", "meshes"] = "all"
    """What of it is measured."""
    path: Literal["level", "wave", "both"] = "level"
    """Cameras of the views: 21 at elevation 10 degrees, 21 at 10 + 20 sin(azimuth), or both."""
    size: int = 128
    """Side of the views in pixels; other views are scaled to it."""
    count: int | None = None
    """Number of objects, chosen by the hash of their ids, tiers in proportion; all unless given."""
    model: Path | None = None
    """Weights of the generator; those that ship with the program unless given."""
    preset: PresetName = "fast"
    """How thoroughly views are reconstructed."""
    num_inference_steps: int | None = None
    """Steps of the generator; the preset's unless given."""
    training: Path | None = None
    """Set whose training objects the rows "mean" and "nearest" remember. Unless given, that of --set, if it has any;
    without, these rows are left out."""
    lpips: Path | None = None
    """Weights of LPIPS (.safetensors, see recon/metrics/lpips.py), for a column more."""
    regress: bool = False
    """Measure six objects of the shipped set as the released table was measured, compare, and end with 1 if a figure
    is worse beyond its interval."""
    workers: int = field(default_factory=lambda: os.cpu_count() or 1)
    """Processes. The figures do not depend on it; the times do."""
    resume: bool = False
    """Go on with an interrupted run, or add methods to a finished one."""
    overwrite: bool = False
    """Remove an earlier run's results in the output folder and start anew."""


def evaluate(options: EvaluateOptions) -> bool:
    """Runs the command, showing progress; False if `--regress` found a drop.

    Raises:
        ValueError, OSError: for what a user can mend.
    """
    from pipelines.evaluation.plan import plan_evaluation
    from pipelines.evaluation.run import run_evaluation
    from pipelines.evaluation.sets import shipped

    released = shipped(RELEASED) if options.regress else None
    plan = plan_evaluation(options, released, _REGRESSION_OBJECTS)
    return run_evaluation(plan, resume=options.resume, overwrite=options.overwrite)


def main(args: list[str] | None = None) -> int:
    """Parses `args` (the command line unless given); returns the exit code."""
    options = tyro.cli(EvaluateOptions, args=args, prog="evaluate")
    good: list[bool] = []
    code = run_command(lambda: good.append(evaluate(options)))
    return code or int(good == [False])


if __name__ == "__main__":
    sys.exit(main())
