"""One run from its options to its report: which stages, in which order, in which folder."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

from pipelines._options import MeshOptions, Settings, StopAfter, resolve
from pipelines._progress import Display
from pipelines._report import preview_stage, report_stage, samples_report_stage, samples_sheet_stage, versions
from pipelines._run import RunFolder, Stage, open_run
from pipelines._sources import Sources, find_sources
from pipelines._stages import capture_stages, mesh_stage, splat_stage

RANK: dict[StopAfter, int] = {"orbit": 0, "splat": 1, "mesh": 2}


def run_chain(options: MeshOptions, display: Display) -> None:
    """Does what the options ask, or goes on with it.

    Raises:
        ValueError, OSError: for what a user can mend.
    """
    settings = resolve(options)
    sources = find_sources(options)
    one = functools.partial(
        _run_one, sources=sources, stop_after=options.stop_after, resume=options.resume, overwrite=options.overwrite
    )
    if settings.samples == 1:
        one(options.output, settings, display)
    else:
        _run_samples(options, settings, sources, one, display)


def _run_one(
    path: Path,
    settings: Settings,
    display: Display,
    *,
    sources: Sources,
    stop_after: StopAfter | None,
    resume: bool,
    overwrite: bool,
) -> None:
    """One run folder with everything up to `stop_after`, its preview and its report."""
    identity = _identity(settings, sources)
    with open_run(path, identity, resume=resume, overwrite=overwrite) as run:
        last = 2 if stop_after is None else RANK[stop_after]
        stages = capture_stages(sources, settings)
        done = {stage.name: run.run(stage, display) for stage in stages}
        for rank, stage in enumerate((splat_stage(settings), mesh_stage(sources, settings, _name(sources))), start=1):
            # An earlier, longer run of the same options may have gone farther than this one is asked to.
            if rank > last and not _is_finished(run, stage):
                break
            done[stage.name] = run.run(stage, display)
        preview = preview_stage(tuple(done))
        done[preview.name] = run.run(preview, display)
        run.run(report_stage(identity, done), display)
        display.said(f"{path / 'mesh.glb' if 'mesh' in done else path}")


def _is_finished(run: RunFolder, stage: Stage) -> bool:
    return all((run.path / name).exists() for name in stage.inputs) and run.marker(stage) is not None


def _run_samples(options: MeshOptions, settings: Settings, sources: Sources, one: Any, display: Display) -> None:
    """A run folder of run folders, one a seed, and a sheet of them."""
    identity = _identity(settings, sources)
    with open_run(options.output, identity, resume=options.resume, overwrite=options.overwrite) as run:
        seeds = range(settings.seed, settings.seed + settings.samples)
        names = [f"seed_{seed}" for seed in seeds]
        run.announce(names)
        for seed, name in zip(seeds, names):
            display.said(f"variant of seed {seed}")
            one(run.path / name, dataclasses.replace(settings, seed=seed, samples=1), display)
        run.run(samples_sheet_stage(tuple(names)), display)
        run.run(samples_report_stage(identity, tuple(names)), display)
        display.said(str(run.path / "samples.png"))


def _identity(settings: Settings, sources: Sources) -> dict[str, Any]:
    """What has to stay the same for a run to be resumed. Where it stops may change."""
    return {"options": settings.as_json(), "inputs": sources.as_json(), "versions": versions()}


def _name(sources: Sources) -> str:
    """What the asset is called in other programs."""
    if sources.capture is not None:
        return sources.capture.name
    return sources.photos[0].path.stem
