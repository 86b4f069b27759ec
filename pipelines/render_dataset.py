"""`python -m pipelines.render_dataset`: objects in, a training dataset out."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from pipelines._command import run_command


@dataclass(frozen=True)
class RenderDatasetOptions:
    """Renders random views (colour, alpha, depth, normals) of every object of a pack or a folder of GLB/OBJ files, or
    with --animated of what moves."""

    input: Annotated[Path, tyro.conf.Positional]
    """An object pack (.zip) or a folder that holds .glb, .gltf or .obj files; with --animated, animated .glb or .gltf
    files."""
    output: Annotated[Path, tyro.conf.arg(name="output", aliases=["-o"])]
    """The dataset's folder. If it holds an interrupted run of the same command, that is finished."""
    size: int = 64
    """Side of the pictures in pixels."""
    views: int = 24
    """Pictures of each object, or of each of its variants."""
    variants: int = 1
    """How often each object is drawn, each time in another light and, but for the first, stretched along its axes.
    Animated objects also show another part of their animations."""
    animated: bool = False
    """Draw a part of one of each object's animations: --views pictures, as many of each of --times moments, and of them
    one of each moment from the same camera."""
    times: int = 6
    """With --animated, moments that the views show; --views must be a multiple."""
    exclude: str | None = None
    """File of object ids or file names, with or without suffix, that must not be rendered, one a line, besides those of
    a never_train.txt (--animated: and a validation.txt) beside the input. "none" renders everything; where there is
    such a list, training refuses it."""
    only: Path | None = None
    """File of object ids, with or without suffix; nothing else is rendered."""
    seed: int = 0
    """Of cameras, lights and colours."""
    elevation: tuple[float, float] = (-10.0, 60.0)
    """Lowest and highest camera elevation in degrees."""
    fov: tuple[float, float] = (20.0, 60.0)
    """Narrowest and widest field of view in degrees."""
    workers: int = field(default_factory=lambda: os.cpu_count() or 1)
    """Processes. The result does not depend on it."""


def render(options: RenderDatasetOptions) -> None:
    """Runs the command, showing progress.

    Raises:
        ValueError, OSError: for what a user can mend.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from gen.data.render import plan_dataset, render_dataset
    from gen.data.scenes import SceneOptions
    from gen.data.sources import NEVER_TRAIN, VALIDATION

    if options.animated and options.times < 2:
        raise ValueError(f"--times must be at least 2, found {options.times}; without --animated nothing moves")
    scene = SceneOptions(
        size=options.size,
        views=options.views,
        elevation=options.elevation,
        fov=options.fov,
        variants=options.variants,
        times=options.times if options.animated else 1,
        seed=options.seed,
    )
    plan = plan_dataset(options.input, scene, exclude=options.exclude, only=options.only)
    if plan.exclusion == "list":
        beside = f"{NEVER_TRAIN} or {VALIDATION}" if options.animated else NEVER_TRAIN
        listing = beside if options.exclude is None else f"{Path(options.exclude).name} and any {beside}"
        print(f"{listing}: {len(plan.excluded)} ids, {len(plan.found)} of them found here and left out")
    columns = (TextColumn("objects"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as bar:
        task = bar.add_task("objects", total=len(plan.objects))
        render_dataset(
            plan, options.output, workers=options.workers, progress=lambda done, _: bar.update(task, completed=done)
        )
    print(f"{options.output}: {len(plan.objects)} drawn objects, {options.views} views each, {options.size} px")


def main(args: list[str] | None = None) -> int:
    """Parses `args` (the command line unless given); returns the exit code."""
    options = tyro.cli(RenderDatasetOptions, args=args, prog="render_dataset")
    return run_command(lambda: render(options), again="give the same command again")


if __name__ == "__main__":
    sys.exit(main())
