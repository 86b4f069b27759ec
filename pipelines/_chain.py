"""One run from its options to its report: which stages, in which order, in which folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines._fitted_scene import chosen_recon
from pipelines._options import FitSettings, MeshOptions, Settings, StopAfter, resolve
from pipelines._photo_stages import capture_stages
from pipelines._progress import Display
from pipelines._report import preview_stage, report_stage, samples_report_stage, samples_sheet_stage, versions
from pipelines._run import Stage, open_run
from pipelines._scene_stages import mesh_stage, scene_stage
from pipelines._sources import Sources, find_sources

RANK: dict[StopAfter, int] = {"orbit": 0, "capture": 0, "splat": 1, "mesh": 2}


@dataclass(frozen=True)
class Asked:
    """How a run treats its folder and where it ends."""

    stop_after: StopAfter | None
    resume: bool
    overwrite: bool


def run_chain(options: MeshOptions, display: Display) -> None:
    """Does what the options ask, or goes on with it.

    Raises:
        ValueError, OSError: for what a user can mend.
    """
    settings = resolve(options)
    sources = find_sources(options)
    asked = Asked(options.stop_after, options.resume, options.overwrite)
    if settings.samples == 1:
        _run_one(options.output, settings, sources, asked, display)
    else:
        _run_samples(options, settings, sources, asked, display)


def run_folders(options: MeshOptions) -> list[Path]:
    """The folders in which `run_chain` leaves assets: one, or one a variant."""
    if options.samples == 1:
        return [options.output]
    return [options.output / name for name in _variants(options.seed, options.samples)]


def run_scene(
    path: Path,
    first: Sequence[Stage],
    inputs: Mapping[str, Any],
    settings: FitSettings,
    name: str,
    asked: Asked,
    display: Display,
) -> None:
    """One run folder with everything up to where it is to end, its preview and its report.

    Args:
        path: the folder.
        first: the stages that end with `capture/`.
        inputs: names and hashes of what the run starts from.
        settings: of the run.
        name: what the asset is called in other programs.
        asked: where it ends, and whether the folder may hold something.
        display: told about everything.
    """
    identity = _identity(settings, inputs)
    with open_run(path, identity, resume=asked.resume, overwrite=asked.overwrite) as run:
        last = 2 if asked.stop_after is None else RANK[asked.stop_after]
        done = {stage.name: run.run(stage, display) for stage in first}
        recon = chosen_recon(settings.recon, path / "capture")
        stages = scene_stage(settings, recon), mesh_stage(inputs, settings, name, recon)
        for rank, stage in enumerate(stages, start=1):
            # An earlier, longer run of the same options may have gone farther than this one is asked to.
            if rank > last and not run.has_done(stage):
                break
            done[stage.name] = run.run(stage, display)
        preview = preview_stage(tuple(done))
        done[preview.name] = run.run(preview, display)
        run.run(report_stage(identity, done), display)
        display.said(f"{path / 'mesh.glb' if 'mesh' in done else path}")


def _run_one(path: Path, settings: Settings, sources: Sources, asked: Asked, display: Display) -> None:
    first = capture_stages(sources, settings)
    run_scene(path, first, sources.as_json(), settings, _name(sources), asked, display)


def _run_samples(options: MeshOptions, settings: Settings, sources: Sources, asked: Asked, display: Display) -> None:
    """A run folder of run folders, one a seed, and a sheet of them."""
    identity = _identity(settings, sources.as_json())
    with open_run(options.output, identity, resume=options.resume, overwrite=options.overwrite) as run:
        names = _variants(settings.seed, settings.samples)
        run.announce(names)
        for seed, name in enumerate(names, start=settings.seed):
            display.said(f"variant of seed {seed}")
            _run_one(run.path / name, dataclasses.replace(settings, seed=seed, samples=1), sources, asked, display)
        run.run(samples_sheet_stage(tuple(names)), display)
        run.run(samples_report_stage(identity, tuple(names)), display)
        display.said(str(run.path / "samples.png"))


def _variants(seed: int, samples: int) -> list[str]:
    return [f"seed_{index}" for index in range(seed, seed + samples)]


def _identity(settings: FitSettings, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """What has to stay the same for a run to be resumed. Where it stops may change."""
    return {"options": settings.as_json(), "inputs": inputs, "versions": versions()}


def _name(sources: Sources) -> str:
    """What the asset is called in other programs."""
    if sources.capture is not None:
        return sources.capture.name
    return sources.photos[0].path.stem
