"""One run of `video2mesh` from its options to its report."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any

from pipelines._cameras_stage import cameras_stage
from pipelines._capture_stages import given_capture_stage
from pipelines._chain import Asked, run_scene
from pipelines._frames_stage import frames_stage
from pipelines._options import OptionsError
from pipelines._progress import Display
from pipelines._run import STATE, Stage, content_hash
from pipelines._scene_stages import only, video_stage
from pipelines._sources import Source, find_capture
from pipelines._video_options import VideoOptions, resolve_video


def run_video_chain(options: VideoOptions, display: Display) -> None:
    """Does what the options ask, or goes on with it.

    Raises:
        ValueError, OSError: for what a user can mend.
    """
    from recon.capture.io_colmap import picture_folder
    from recon.capture.reading import COLMAP, find_reader
    from recon.capture.unposed import is_video

    path, name = options.source, options.source.stem if options.source.is_file() else options.source.resolve().name
    if (path / STATE / "run.json").is_file() and (path / "capture").is_dir():  # an earlier run
        path = path / "capture"
    reader = find_reader(path)
    settings = resolve_video(options, is_video=is_video(path), has_cameras=reader is not None)
    source = Source.of(path) if reader is None else find_capture(path)
    if options.pictures is not None:
        _check_pictures(options, is_colmap=reader is COLMAP)
    if reader is COLMAP:  # whose pictures may lie beside the model
        pictures = content_hash(options.pictures or picture_folder(path))
        source = dataclasses.replace(source, sha256=hashlib.sha256(f"{source.sha256}{pictures}".encode()).hexdigest())
    matting = None if options.matting is None else Source.of(options.matting)
    inputs: dict[str, Any] = {"source": source.as_json()}
    if matting is not None:
        inputs["matting"] = matting.as_json()
    first: list[Stage]
    if reader is not None and settings.cameras == "auto":
        used = inputs | only(settings, ("frames", "up", "crop", "seed"))
        network = None if matting is None else matting.path
        first = [given_capture_stage(source.path, used, settings, network, options.pictures)]
    else:
        first = [
            frames_stage(source.path, inputs, settings, None if matting is None else matting.path),
            cameras_stage(settings),
        ]
    asked = Asked(options.stop_after, options.resume, options.overwrite)
    run_scene(options.output, [*first, video_stage(by_azimuth=True)], inputs, settings, name, asked, display)


def _check_pictures(options: VideoOptions, *, is_colmap: bool) -> None:
    assert options.pictures is not None
    if not is_colmap or options.cameras != "auto":
        raise OptionsError("--pictures goes with a COLMAP model whose cameras are taken; leave it out")
    if not options.pictures.is_dir():
        raise OptionsError(f"--pictures {options.pictures}: no such folder")
    if options.output.resolve().is_relative_to(options.pictures.resolve()):
        raise OptionsError(f"{options.output}: lies inside {options.pictures}; choose another -o")
