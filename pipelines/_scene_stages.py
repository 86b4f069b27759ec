"""The stages from `capture/` to `orbit.mp4`, the fitted scene (`splat.ply` or `field.safetensors`) and `mesh.glb`,
whatever the capture came from.

Heavy imports stay inside the functions, so that a stage that is kept costs nothing.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines._asset import finish_asset, full_similarity_json
from pipelines._fitted_scene import SCENE_FILES, FittedName, read_fitted
from pipelines._options import AssetSettings, FitSettings, PresetName
from pipelines._report import versions
from pipelines._run import Stage, StageLog

if TYPE_CHECKING:
    from recon.capture import Capture, Frame
    from recon.splat.fit_options import FitOptions
    from recon.splat.volume import SignedVolume
    from recon.surface.fitted import Fitted
    from recon.surface.mesh import Mesh


def video_stage(*, by_azimuth: bool) -> Stage:
    """`capture/` to `orbit.mp4`, its frames sorted by azimuth or as they come."""
    work = functools.partial(_video, by_azimuth=by_azimuth)
    return Stage("video", ("capture",), ("orbit.mp4",), {"by_azimuth": by_azimuth}, work)


def scene_stage(settings: FitSettings, recon: FittedName) -> Stage:
    """`capture/` to `splat.ply` and the other files that are asked for, or to `field.safetensors`."""
    if recon == "nerf":
        work = functools.partial(_field, settings=settings)
        return Stage("field", ("capture",), (SCENE_FILES["nerf"],), only(settings, ("preset", "seed")), work)
    used = only(settings, ("preset", "seed", "max_gaussians", "splats"))
    work = functools.partial(_splat, settings=settings)
    return Stage("splat", ("capture",), settings.splat_files(), used, work)


def mesh_stage(inputs: Mapping[str, Any], settings: FitSettings, name: str, recon: FittedName) -> Stage:
    """The fitted scene and `capture/` to `mesh.glb` and the other files that are asked for; `inputs` name the run's
    sources in the file."""
    used = only(settings, ("preset", "seed", "refine_texture", "asset"))
    extras = {"seed": settings.seed, "preset": settings.preset, "inputs": inputs, "versions": versions()}
    work = functools.partial(_mesh, recon=recon, settings=settings, name=name, extras=extras)
    used |= {"name": name, "extras": extras}
    return Stage("mesh", ("capture", SCENE_FILES[recon]), settings.asset.files(), used, work)


def only(settings: FitSettings, names: tuple[str, ...]) -> dict[str, Any]:
    """Some of the settings, as JSON values by name."""
    values = settings.as_json()
    return {name: values[name] for name in names}


def fused(
    scene: Fitted, frames: Sequence[Frame], preset: PresetName, asset: AssetSettings, log: StageLog
) -> tuple[Mesh, tuple[Frame, ...]]:
    """The raw surface of a scene that was fitted to some frames; and what it is textured from: these frames, and
    drawings of what they do not show."""
    from recon.surface.fusion import FUSION_PRESETS, surface_of, unseen_frames

    fusion = dataclasses.replace(FUSION_PRESETS[preset], keep_open=asset.keep_open)
    with log.step("fusing"):
        mesh = surface_of(scene, frames, fusion)
    with log.step("drawing"):
        rest = unseen_frames(scene, frames, fusion)
    return mesh, (*frames, *rest)


def compile_kernels(log: StageLog) -> None:
    """Once on a machine; later runs find the kernels on disk."""
    from recon.splat.warm_up import warm_up

    with log.step("compiling"):
        warm_up(log.watcher.advanced)


def fit_options(settings: FitSettings) -> FitOptions:
    """The preset's, with at most as many Gaussians as were asked for."""
    from recon.splat.fit_options import FIT_PRESETS

    options = FIT_PRESETS[settings.preset]
    return options if settings.max_gaussians is None else options.limited(settings.max_gaussians)


def _video(run: Path, out: Path, log: StageLog, *, by_azimuth: bool) -> None:
    from pipelines._pictures import orbit_order, write_video
    from recon.capture.io_nerfstudio import read_transforms

    frames = read_transforms(run / "capture").frames
    write_video(orbit_order(frames) if by_azimuth else frames, out / "orbit.mp4")


def _splat(run: Path, out: Path, log: StageLog, *, settings: FitSettings) -> None:
    from pipelines._quality import fitted_figures
    from recon.capture.io_nerfstudio import read_transforms
    from recon.splat.fit import fit_gaussians
    from recon.splat.formats import write_splats

    capture, options = read_transforms(run / "capture"), fit_options(settings)
    compile_kernels(log)
    solid = _agreed_solid(capture, options.grid, log)
    with log.step("fitting"):
        gaussians = fit_gaussians(
            capture,
            options,
            seed=settings.seed,
            solid=solid,
            progress=lambda done, total, _: log.watcher.advanced(done, total),
            watch=lambda _, scene: log.watcher.scene_changed(scene),
        )
    with log.step("writing"):
        for name in settings.splat_files():
            write_splats(gaussians, out / name)
    with log.step("measuring"):
        log.figures.update(fitted_figures(gaussians, capture))


def _field(run: Path, out: Path, log: StageLog, *, settings: FitSettings) -> None:
    from pipelines._quality import fitted_figures
    from recon.capture.io_nerfstudio import read_transforms
    from recon.field.field_file import write_field
    from recon.field.fit import fit_field
    from recon.field.fit_options import FIELD_PRESETS

    capture, options = read_transforms(run / "capture"), FIELD_PRESETS[settings.preset]
    compile_kernels(log)
    solid = _agreed_solid(capture, options.grid, log)
    with log.step("fitting"):
        field = fit_field(
            capture,
            options,
            seed=settings.seed,
            solid=solid,
            progress=lambda done, total, _: log.watcher.advanced(done, total),
        )
    with log.step("writing"):
        write_field(field, out / SCENE_FILES["nerf"])
    with log.step("measuring"):
        log.figures.update(fitted_figures(field, capture))


def _agreed_solid(capture: Capture, grid: int, log: StageLog) -> SignedVolume | None:
    """What the pictures agree on, where they can tell."""
    from recon.surface.stereo import comparable, stereo_volume

    if not comparable(capture.frames):
        return None
    with log.step("comparing"):
        return stereo_volume(capture.frames, grid)


def _mesh(
    run: Path, out: Path, log: StageLog, *, recon: FittedName, settings: FitSettings, name: str, extras: dict[str, Any]
) -> None:
    from recon.capture.io_nerfstudio import read_transforms

    capture, fitted = read_transforms(run / "capture"), read_fitted(run, recon)
    mesh, frames = fused(fitted, capture.frames, settings.preset, settings.asset, log)
    refine = settings.refine_texture
    extras = extras | {"to_source": full_similarity_json(capture.to_source)}
    finish_asset(mesh, capture, frames, out, log, settings.asset, name, extras, refine)
