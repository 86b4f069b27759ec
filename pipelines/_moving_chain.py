"""One run of `video2scene4d` from its options to its report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines._clip_stages import clip_stage, sides_stage, timed_capture_stage
from pipelines._moving_options import MovingOptions, MovingSettings, MovingStop, resolve_moving
from pipelines._moving_pictures import film_stage, moving_preview_stage
from pipelines._moving_stages import motion_stage, moving_mesh_stage
from pipelines._progress import Display
from pipelines._report import report_stage, versions
from pipelines._run import STATE, Done, Stage, open_run
from pipelines._sources import Source, find_capture, find_model

_RANK: Mapping[MovingStop, int] = {"capture": 0, "motion": 1, "mesh": 2}


def run_moving_chain(options: MovingOptions, display: Display) -> None:
    """Does what the options ask, or goes on with it.

    Raises:
        ValueError, OSError: for what a user can mend.
    """
    from recon.capture.reading import find_reader

    path = options.source
    if (path / STATE / "run.json").is_file() and (path / "capture").is_dir():  # an earlier run
        path = path / "capture"
    has_cameras = find_reader(path) is not None
    settings = resolve_moving(options, has_cameras=has_cameras)
    source = find_capture(path) if has_cameras else Source.of(path)
    matting = None if options.matting is None else Source.of(options.matting)
    inputs: dict[str, Any] = {"source": source.as_json()}
    if matting is not None:
        inputs["matting"] = matting.as_json()
    network = None if matting is None else matting.path
    values = settings.as_json()
    of_moments = inputs | {name: values[name] for name in ("times", "clip")}
    first: list[Stage]
    if has_cameras:
        first = [timed_capture_stage(source.path, of_moments, settings, network)]
    else:
        model = find_model(options.model)
        inputs["model"] = model.as_json()
        of_clip = of_moments | {name: values[name] for name in ("fps", "elevation", "fov")}
        of_sides = {"model": model.as_json()} | {name: values[name] for name in ("views", "seed", "device")}
        first = [clip_stage(path, of_clip, settings, network), sides_stage(model.path, of_sides, settings)]
    name = options.source.stem if options.source.is_file() else options.source.resolve().name
    _run(options, first, inputs, settings, name, display)


def _run(
    options: MovingOptions,
    first: list[Stage],
    inputs: Mapping[str, Any],
    settings: MovingSettings,
    name: str,
    display: Display,
) -> None:
    identity = {"options": settings.as_json(), "inputs": inputs, "versions": versions()}
    with open_run(options.output, identity, resume=options.resume, overwrite=options.overwrite) as run:
        last = 2 if options.stop_after is None else _RANK[options.stop_after]
        done: dict[str, Done] = {stage.name: run.run(stage, display) for stage in first}
        for rank, stage in enumerate((motion_stage(settings), moving_mesh_stage(inputs, settings, name)), start=1):
            if rank > last and not run.has_done(stage):
                break
            done[stage.name] = run.run(stage, display)
        if "mesh" in done:
            done["film"] = run.run(film_stage(), display)
        preview = moving_preview_stage(tuple(done))
        done[preview.name] = run.run(preview, display)
        run.run(report_stage(identity, done), display)
        display.said(f"{options.output / 'mesh.glb' if 'mesh' in done else options.output}")
