"""The stages of a run, each from files to files: photo, orbit, video, splat, mesh. What they compute is elsewhere.

Heavy imports stay inside the functions, so that a stage that is kept costs nothing.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines._asset import finish_asset
from pipelines._options import DEFAULT_ELEVATION, Settings, views_to_draw
from pipelines._report import versions
from pipelines._run import Stage, StageLog
from pipelines._sources import Sources

if TYPE_CHECKING:
    from torch import Tensor

    from recon.capture import Camera, Capture, Frame
    from recon.capture.photo import Photo
    from recon.splat.fit_options import FitOptions

_MAX_CUT_OFF = 0.03


def capture_stages(sources: Sources, settings: Settings) -> list[Stage]:
    """The stages that end with `capture/` and its `orbit.mp4`: from photos through the generator, or from a capture."""
    video = Stage("video", ("capture",), ("orbit.mp4",), {"by_azimuth": sources.cameras is None}, functools.partial(
        _video, by_azimuth=sources.cameras is None
    ))  # fmt: skip
    if sources.capture is not None:
        read = functools.partial(_capture, source=sources.capture.path)
        return [Stage("capture", (), ("capture",), sources.as_json(), read), video]
    prepared = ("elevation", "fov", "azimuths")
    of_fits = ("max_gaussians",) if settings.refine else ()
    drawn = ("preset", "seed", "device", "frames", "num_inference_steps", "azimuths", "refine", *of_fits)
    given = sources.as_json()
    return [
        Stage(
            "photo",
            (),
            ("photo",),
            _only(settings, prepared)
            | {"texture_size": settings.asset.texture_size}
            | {"photos": given["photos"], "matting": given.get("matting")}
            | ({"model": given["model"], "device": settings.device} if settings.elevation == "auto" else {}),
            functools.partial(_photo, sources=sources, settings=settings),
        ),
        Stage(
            "orbit",
            ("photo",),
            ("capture",),
            _only(settings, drawn) | {"model": given["model"], "cameras": given.get("cameras")},
            functools.partial(_orbit, sources=sources, settings=settings),
        ),
        video,
    ]


def splat_stage(settings: Settings) -> Stage:
    """`capture/` to `splat.ply`."""
    work = functools.partial(_splat, settings=settings)
    return Stage("splat", ("capture",), ("splat.ply",), _only(settings, ("preset", "seed", "max_gaussians")), work)


def mesh_stage(sources: Sources, settings: Settings, name: str) -> Stage:
    """`splat.ply` and `capture/` to `mesh.glb` and the other files that are asked for."""
    used = _only(settings, ("preset", "seed", "refine_texture", "asset"))
    extras = {"seed": settings.seed, "preset": settings.preset, "inputs": sources.as_json(), "versions": versions()}
    work = functools.partial(_mesh, settings=settings, name=name, extras=extras)
    used |= {"name": name, "extras": extras}
    return Stage("mesh", ("capture", "splat.ply"), settings.asset.files(), used, work)


def _only(settings: Settings, names: tuple[str, ...]) -> dict[str, Any]:
    values = settings.as_json()
    return {name: values[name] for name in names}


def _photo(run: Path, out: Path, log: StageLog, *, sources: Sources, settings: Settings) -> None:
    from recon.capture import Capture
    from recon.capture.io_nerfstudio import write_transforms
    from recon.capture.matting import find_foreground
    from recon.capture.photo import common_sides, read_photo, subject_fov

    asked = None if settings.fov is None else math.radians(settings.fov)
    matted_by = "GrabCut" if sources.matting is None else "network"
    photos, alphas = [], []
    for source in sources.photos:
        with log.step(f"foreground {source.name}"):
            photos.append(read_photo(source.path))
            alphas.append(find_foreground(photos[-1], None if sources.matting is None else sources.matting.path))
    if settings.elevation == "auto":
        with log.step("finding the camera's elevation"):
            elevation = _told_elevation(photos, alphas, sources, settings)
        log.warn(f"the generator takes the camera to be at an elevation of {math.degrees(elevation):.0f} degrees")
    elif settings.elevation is not None:
        elevation = math.radians(settings.elevation)
    else:
        elevation = math.radians(DEFAULT_ELEVATION)
        log.warn(
            f"the camera is assumed {DEFAULT_ELEVATION:g} degrees above the horizon (--elevation says otherwise, "
            "--elevation auto asks the generator)"
        )
    log.figures["elevation_degrees"] = round(math.degrees(elevation), 3)
    frames, figures = [], []
    sides = common_sides(photos, alphas, elevation)
    for index, (source, photo, alpha, side, azimuth) in enumerate(
        zip(sources.photos, photos, alphas, sides, settings.azimuths, strict=True)
    ):
        with log.step("framing"):
            frame = _framed(photo, alpha, side, settings, (math.radians(azimuth), elevation), f"photo_{index:03d}")
            fov, fov_from = subject_fov(photo, alpha, asked, side=side)
        frames.append(frame)
        figures.append(
            {
                "file": source.name,
                "pixels": [photo.rgb.shape[1], photo.rgb.shape[0]],
                "framed_pixels": frame.camera.width,
                "subject_share": round(float(alpha.mean()), 4),
                "matte_from": "alpha" if photo.has_matte else matted_by,
                "fov_degrees": round(math.degrees(fov), 3),
                "fov_from": fov_from,
                "azimuth_degrees": azimuth,
            }
        )
        _warn_of_field_of_view(log, source.name, math.degrees(fov), fov_from)
        _warn_of_matte(log, source.name, photo, alpha)
    log.figures["photos"] = figures
    with log.step("writing"):
        write_transforms(Capture(tuple(frames)), out / "photo")


def _warn_of_field_of_view(log: StageLog, name: str, fov: float, fov_from: str) -> None:
    if fov_from == "assumed":
        log.warn(
            f"{name}: the picture does not say its focal length; a field of view of {fov:.1f} degrees is assumed "
            "(--fov says otherwise)"
        )
    elif fov_from == "exif, limited":
        log.warn(
            f"{name}: EXIF's field of view around the subject is outside of what the generator knows; {fov:.1f} "
            "degrees is used (--fov says otherwise)"
        )


def _warn_of_matte(log: StageLog, name: str, photo: Photo, alpha: Tensor) -> None:
    from recon.capture.matting import count_subjects, cut_off

    subjects = count_subjects(alpha > 0.5)
    if subjects > 1:
        log.warn(f"{name}: its alpha shows {subjects} separate parts of like size; one object is expected")
    share = cut_off(photo, alpha)
    if share > _MAX_CUT_OFF:
        log.warn(
            f"{name}: the subject runs along the picture's border for {share:.0%} of its outline; if it is cut off "
            "there, the mesh will be, too (take a picture with the whole subject in it)"
        )


def _told_elevation(photos: Sequence[Photo], alphas: Sequence[Tensor], sources: Sources, settings: Settings) -> float:
    """Radians above the horizon, as the generator tells of each photo by itself, within what it was trained on; the
    mean of them, as the photos of a run are taken from one height."""
    import torch

    from gen.data.scenes import SceneOptions
    from gen.unposed import tell_cameras
    from recon.capture.photo import frame_subject

    assert sources.model is not None
    pipe = _load_pipeline(sources.model.path, settings.device)
    size = pipe.transformer.config.sample_size
    told = []
    for photo, alpha in zip(photos, alphas, strict=True):
        picture = frame_subject(photo, alpha, size=size).premultiplied()[None].to(pipe.device)
        noise = torch.Generator().manual_seed(0)  # what the seed draws is the orbit, not the camera
        told.append(tell_cameras(pipe.transformer, picture, generator=noise)[0].elevation)
    low, high = (math.radians(bound) for bound in SceneOptions().elevation)
    return max(low, min(high, sum(told) / len(told)))


def _framed(
    photo: Photo, alpha: Tensor, side: int, settings: Settings, direction: tuple[float, float], name: str
) -> Frame:
    """The photo's square of `side` pixels around its subject at its own resolution, or the texture's where that is
    less, seen from `direction`, azimuth and elevation."""
    from recon.capture.photo import frame_subject

    azimuth, elevation = direction
    fov = None if settings.fov is None else math.radians(settings.fov)
    frame = frame_subject(photo, alpha, size=None, elevation=elevation, fov=fov, side=side)
    if frame.camera.width > settings.asset.texture_size:
        size = settings.asset.texture_size
        frame = frame_subject(photo, alpha, size=size, elevation=elevation, fov=fov, side=side)
    return dataclasses.replace(frame, name=name, camera=_turned(frame.camera, azimuth))


def _turned(camera: Camera, azimuth: float) -> Camera:
    """The camera moved on around the object by `azimuth` radians."""
    import torch

    c, s = math.cos(azimuth), math.sin(azimuth)
    return camera.moved(torch.tensor([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]]), torch.zeros(3))


def _orbit(run: Path, out: Path, log: StageLog, *, sources: Sources, settings: Settings) -> None:
    import torch

    from recon.capture import Capture
    from recon.capture.io_nerfstudio import read_transforms, write_transforms
    from recon.capture.squares import cut_back, square_around

    assert sources.model is not None
    with log.step("loading"):
        pipe = _load_pipeline(sources.model.path, settings.device)
        context = read_transforms(run / "photo")
    targets = _targets(context, pipe.transformer.config.sample_size, sources, settings)
    squares = [square_around(camera) for camera in targets]
    _warn_of_unknown_cameras(log, [*context.cameras, *squares])
    steps = settings.num_inference_steps

    def show(_: Any, step: int, __: int, latents: dict[str, Tensor]) -> dict[str, Tensor]:
        log.watcher.advanced(step + 1, steps)
        return latents

    draw = functools.partial(pipe, context.frames, squares, num_inference_steps=steps, callback_on_step_end=show)
    with log.step("drawing"):
        orbit = draw(generator=torch.Generator().manual_seed(settings.seed))
    if settings.refine:
        _compile(log)
    for turn in range(settings.refine):
        with log.step(f"refining, round {turn + 1} of {settings.refine}"):
            start = _rendered(orbit, settings, log)
            orbit = draw(generator=torch.Generator().manual_seed(settings.seed + 1 + turn), start=start)
    observed, generated = orbit.frames[: len(context)], orbit.frames[len(context) :]
    capture = Capture((*observed, *map(cut_back, generated, targets)))
    with log.step("writing"):
        write_transforms(capture, out / "capture")
    log.figures.update(_frame_counts(capture))


def _rendered(orbit: Capture, settings: Settings, log: StageLog) -> tuple[Frame, ...]:
    """The splats that are fitted to an orbit, seen through its cameras."""
    from recon.splat.fit import fit_gaussians
    from recon.splat.rendered import render_frames

    gaussians = fit_gaussians(
        orbit,
        _fit_options(settings),
        seed=settings.seed,
        progress=lambda done, total, _: log.watcher.advanced(done, total),
    )
    return render_frames(gaussians, orbit.cameras)


def _warn_of_unknown_cameras(log: StageLog, cameras: Sequence[Camera]) -> None:
    """The generator can be asked for any camera, but learns from those that a training set is rendered with."""
    from gen.data.scenes import SceneOptions

    elevations, fovs = SceneOptions().elevation, SceneOptions().fov

    def is_known(camera: Camera) -> bool:
        elevation, fov = math.degrees(camera.elevation), math.degrees(camera.fov_y)
        return all(low - 0.01 <= value <= high + 0.01 for value, (low, high) in ((elevation, elevations), (fov, fovs)))

    unknown = sum(not is_known(camera) for camera in cameras)
    if unknown:
        log.warn(
            f"{unknown} of {len(cameras)} views are outside of what the generator was trained on (elevations from "
            f"{elevations[0]:g} to {elevations[1]:g} degrees, fields of view from {fovs[0]:g} to {fovs[1]:g}): what it "
            "draws there may be wrong"
        )


@functools.lru_cache(maxsize=1)
def _load_pipeline(path: Path, device: str) -> Any:
    """The generator; variants of one run share it."""
    from gen.weights import load_pipeline

    return load_pipeline(path, device)


def _targets(context: Capture, size: int, sources: Sources, settings: Settings) -> list[Camera]:
    """The cameras to draw: those of the file, or the orbit's that no photo was taken from."""
    from recon.capture.orbit import orbit_cameras, read_camera_path

    fov, elevation = context[0].camera.fov_y, context[0].camera.elevation
    if sources.cameras is not None:
        return list(read_camera_path(sources.cameras.path, size, elevation=elevation, fov=fov))
    ring = orbit_cameras(settings.frames, elevation, fov, size)
    return [ring[index] for index in views_to_draw(settings.frames, settings.azimuths)]


def _capture(run: Path, out: Path, log: StageLog, *, source: Path) -> None:
    from recon.capture.cutouts import cut_out
    from recon.capture.errors import CaptureWarning
    from recon.capture.io_nerfstudio import write_transforms
    from recon.capture.normalise import normalise
    from recon.capture.reading import read_capture

    with log.step("reading"), warnings.catch_warnings(record=True) as left_out:
        warnings.simplefilter("always", CaptureWarning)
        given = read_capture(source)
    for warning in left_out:
        log.warn(str(warning.message))
    with log.step("cutting out"):
        cut = cut_out(given, log.watcher.advanced)
    for name, reason in cut.refused.items():
        log.warn(f"picture {name} is left out: {reason}")
    if cut.found:
        log.warn(
            f"{len(cut.found)} of {len(given)} pictures have no transparency; their subject was found by GrabCut "
            f"(capture/images shows how well; RGBA pictures are taken as they are)"
        )
    with log.step("placing"):
        capture = normalise(cut.capture)
    with log.step("writing"):
        write_transforms(capture, out / "capture")
    log.figures.update(_frame_counts(capture) | {"mattes_found": len(cut.found), "left_out": len(cut.refused)})


def _frame_counts(capture: Capture) -> dict[str, Any]:
    counts: dict[str, int] = {}
    for frame in capture:
        counts[frame.source.value] = counts.get(frame.source.value, 0) + 1
    return {"frames": counts}


def _video(run: Path, out: Path, log: StageLog, *, by_azimuth: bool) -> None:
    from pipelines._pictures import orbit_order, write_video
    from recon.capture.io_nerfstudio import read_transforms

    frames = read_transforms(run / "capture").frames
    write_video(orbit_order(frames) if by_azimuth else frames, out / "orbit.mp4")


def _splat(run: Path, out: Path, log: StageLog, *, settings: Settings) -> None:
    from pipelines._quality import splat_figures
    from recon.capture.io_nerfstudio import read_transforms
    from recon.splat.fit import fit_gaussians
    from recon.splat.ply import write_ply
    from recon.surface.stereo import comparable, stereo_volume

    capture, options = read_transforms(run / "capture"), _fit_options(settings)
    _compile(log)
    solid = None
    if comparable(capture.frames):
        with log.step("comparing"):
            solid = stereo_volume(capture.frames, options.grid)
    with log.step("fitting"):
        gaussians = fit_gaussians(
            capture,
            options,
            seed=settings.seed,
            solid=solid,
            progress=lambda done, total, _: log.watcher.advanced(done, total),
        )
    write_ply(gaussians, out / "splat.ply")
    with log.step("measuring"):
        log.figures.update(splat_figures(gaussians, capture))


def _compile(log: StageLog) -> None:
    """Once on a machine; later runs find the kernels on disk."""
    from recon.splat.warm_up import warm_up

    with log.step("compiling"):
        warm_up(log.watcher.advanced)


def _fit_options(settings: Settings) -> FitOptions:
    """The preset's, with at most as many Gaussians as were asked for."""
    from recon.splat.fit_options import FIT_PRESETS

    options = FIT_PRESETS[settings.preset]
    return options if settings.max_gaussians is None else options.limited(settings.max_gaussians)


def _mesh(run: Path, out: Path, log: StageLog, *, settings: Settings, name: str, extras: dict[str, Any]) -> None:
    from recon.capture.io_nerfstudio import read_transforms
    from recon.splat.ply import read_ply
    from recon.surface.fusion import FUSION_PRESETS, fuse_depth, unseen_frames

    capture, gaussians = read_transforms(run / "capture"), read_ply(run / "splat.ply")
    fusion = dataclasses.replace(FUSION_PRESETS[settings.preset], keep_open=settings.asset.keep_open)
    with log.step("fusing"):
        mesh = fuse_depth(gaussians, capture.cameras, fusion, observed=capture.frames)
    with log.step("drawing"):
        rest = unseen_frames(gaussians, capture.frames, fusion)
    frames, refine = (*capture.frames, *rest), settings.refine_texture
    finish_asset(mesh, capture, frames, out, log, settings.asset, name, extras, refine)
