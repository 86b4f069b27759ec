"""The stages from `capture/` to the moving splats and the animated `mesh.glb`.

Heavy imports stay inside the functions, so that a stage that is kept costs nothing.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines._asset import full_similarity_json, similarity_json, texel_sources
from pipelines._moving_options import MovingSettings
from pipelines._report import versions
from pipelines._run import Stage, StageLog
from pipelines._scene_stages import compile_kernels, fused

if TYPE_CHECKING:
    from recon.capture import Capture, Frame
    from recon.motion.fit_options import MovingFitOptions
    from recon.motion.moving import MovingGaussians
    from recon.splat.gaussians import Gaussians
    from recon.surface.texture import Baked

_CLEARLY = 0.15
"""Overlap of silhouettes that a shape of its own must gain, at the moments that bones show worst, before a sequence is
written."""
_POOR = 15.0
"""PSNR inside the outlines, in dB, below which a user is told."""
_SEQUENCE_FACES = 4_000
_SEQUENCE_TEXTURE = 256


def motion_stage(settings: MovingSettings) -> Stage:
    """`capture/` to `moving.safetensors`, `splat.ply` (the canonical pose) and the other files that are asked for."""
    used = {key: settings.as_json()[key] for key in ("preset", "seed", "scenes", "max_gaussians", "bones")}
    return Stage("motion", ("capture",), settings.scene_files(), used, functools.partial(_motion, settings=settings))


def moving_mesh_stage(inputs: Mapping[str, Any], settings: MovingSettings, name: str) -> Stage:
    """`capture/` and the moving splats to `mesh.glb`; `inputs` name the run's sources in the file."""
    extras = {"seed": settings.seed, "preset": settings.preset, "inputs": inputs, "versions": versions()}
    wanted = ("preset", "seed", "max_gaussians", "asset", "export", "tolerance", "loop")
    used = {key: settings.as_json()[key] for key in wanted} | {"name": name, "extras": extras}
    work = functools.partial(_mesh, settings=settings, name=name, extras=extras)
    return Stage("mesh", ("capture", "moving.safetensors"), settings.asset.files(), used, work)


def _fit_options(settings: MovingSettings, capture: Capture) -> MovingFitOptions:
    from recon.capture import Source
    from recon.motion.fit_options import MOVING_PRESETS, for_generated
    from recon.splat.corrections import NO_CORRECTIONS

    options = MOVING_PRESETS[settings.preset]
    if settings.bones is not None:
        options = dataclasses.replace(options, bases=dataclasses.replace(options.bases, most=settings.bones))
    if settings.max_gaussians is not None:
        still, together = (fit.limited(settings.max_gaussians) for fit in (options.still, options.together))
        options = dataclasses.replace(options, still=still, together=together)
    if any(frame.source is Source.GENERATED for frame in capture):
        return for_generated(options)
    return dataclasses.replace(options, corrections=NO_CORRECTIONS)


def _motion(run: Path, out: Path, log: StageLog, *, settings: MovingSettings) -> None:
    from recon.capture.io_nerfstudio import read_transforms
    from recon.motion.files import write_4dgs, write_ply_sequence
    from recon.motion.fit import fit_moving
    from recon.motion.moving_file import write_moving
    from recon.splat.ply import write_ply

    capture = read_transforms(run / "capture")
    options = _fit_options(settings, capture)
    compile_kernels(log)
    doing = ""

    def tell(what: str, done: int, total: int) -> None:
        nonlocal doing
        if what != doing:
            doing = what
            log.watcher.step_started(what)
        log.watcher.advanced(done, total)

    with log.step("fitting"):
        fit = fit_moving(capture, options, seed=settings.seed, progress=tell)
    moving = fit.moving
    with log.step("writing"):
        write_moving(moving, out / "moving.safetensors")
        write_ply(moving.canonical, out / "splat.ply")
        if "4dgs" in settings.scenes:
            write_4dgs(moving, out / "splat.4dgs")
        if "ply" in settings.scenes:
            write_ply_sequence(moving, out / "splats", moving.motion.times.tolist())
    log.figures.update(
        {
            "gaussians": len(moving),
            "moments": len(moving.motion.times),
            "seconds": round(moving.motion.duration, 4),
            "bases": moving.motion.bases,
            "reference_seconds": round(fit.reference, 4),
            "residual": round(fit.residual, 5),
            "residual_of_one_basis": round(fit.residual_of_one, 5),
        }
    )
    if moving.motion.bases == 1:
        log.warn("one rigid motion explains the clip: nothing in it moves against anything else")


def _mesh(run: Path, out: Path, log: StageLog, *, settings: MovingSettings, name: str, extras: dict[str, Any]) -> None:
    import torch

    from pipelines._moving_quality import moving_figures
    from recon.asset import write_morph_glb, write_skinned_glb
    from recon.asset.formats import write_mesh
    from recon.asset.placing import placement
    from recon.capture.io_nerfstudio import read_transforms
    from recon.motion.fit import by_time, time_of, whole_groups
    from recon.motion.moving_file import read_moving
    from recon.surface.moving_outlines import fit_moving_outlines
    from recon.surface.skinning import skin_mesh

    capture, moving = read_transforms(run / "capture"), read_moving(run / "moving.safetensors")
    groups, asset = by_time(capture.frames), settings.asset
    extras = extras | {"to_source": full_similarity_json(capture.to_source)}
    if _wants_sequence(moving, groups, settings, log):
        _sequence(groups, out, log, settings, name, extras)
        return
    time = moving.motion.rest_time([time_of(groups[index]) for index in whole_groups(groups)])
    rest = min(groups, key=lambda group: abs(time_of(group) - time))
    baked = _surface(moving.at(time), rest, settings, asset.target_faces, asset.texture_size, log)
    with log.step("fitting the motion's outlines"):
        skinned = fit_moving_outlines(skin_mesh(baked.mesh, moving, time), moving.motion.times.tolist(), groups)
    place = placement(skinned.mesh, size=asset.size, origin=asset.origin)
    extras = extras | {"to_capture": similarity_json(place.inverse())}
    with log.step("writing"):
        common: dict[str, Any] = {
            "size": asset.size,
            "origin": asset.origin,
            "name": name,
            "extras": extras,
            "double_sided": asset.keep_open,
            "image_format": asset.image_format,
            "tolerance": settings.tolerance,
        }
        if settings.export == "morph":
            times = moving.motion.times
            vertices = torch.stack([skinned.vertices_at(float(time)) for time in times])
            written = write_morph_glb(skinned.mesh, vertices, times, out / "mesh.glb", **common)
        else:
            written = write_skinned_glb(skinned, out / "mesh.glb", loop=settings.loop, **common)
        for kind in asset.also:
            write_mesh(skinned.mesh, out / f"mesh.{kind}", size=asset.size, origin=asset.origin, name=name)
    with log.step("measuring"):
        log.figures.update(moving_figures(skinned, groups))
    seen = log.figures.get("against_observed", {}).get("masked_psnr", math.inf)
    if seen < _POOR:
        log.warn(f"the moving mesh shows what was seen poorly ({seen:.1f} dB inside the outlines); look at preview.png")
    skeleton = skinned.skeleton
    log.figures.update(
        {
            "texels_from": texel_sources(baked),
            "moves_by": "vertices" if settings.export == "morph" else "bones",
            "bones": len(skeleton.parents),
            "roots": sum(parent < 0 for parent in skeleton.parents),
            "keys": written.keys,
            "keys_before": written.keys_before,
            "largest_key_error": round(written.largest_error, 6),
            "bytes": written.bytes,
            "to_capture": extras["to_capture"],
        }
    )


def _wants_sequence(
    moving: MovingGaussians, groups: Sequence[Sequence[Frame]], settings: MovingSettings, log: StageLog
) -> bool:
    """Whether another mesh at every moment is asked for, or, where that is left open, shows the pictures clearly better
    than bones do. Where sides were generated they differ from moment to moment anyway."""
    from recon.capture import Capture, Source
    from recon.motion.explaining import explained

    generated = any(frame.source is Source.GENERATED for group in groups for frame in group)
    if settings.export != "auto" or generated:
        return settings.export == "sequence"
    with log.step("comparing with shapes of their own"):
        options = _fit_options(settings, Capture(tuple(groups[0])))
        found = explained(
            moving, groups, dataclasses.replace(options.still, corrections=options.corrections), seed=settings.seed
        )
    log.figures["moments_shown_worst"] = {
        "seconds": [round(time, 4) for time in found.times],
        "overlap_by_bones": [round(value, 3) for value in found.moving],
        "overlap_by_shapes_of_their_own": [round(value, 3) for value in found.alone],
    }
    if found.gain > _CLEARLY:
        log.warn(
            f"the shape changes as bones cannot show: at the moments that they show worst, shapes of their own cover "
            f"{found.gain:.0%} more of the silhouettes, so mesh.glb holds a mesh for every moment, which does not loop "
            "(--export skin writes bones)"
        )
        return True
    return False


def _surface(
    scene: Gaussians, frames: Sequence[Frame], settings: MovingSettings, faces: int, texture: int, log: StageLog
) -> Baked:
    """The textured surface of one moment."""
    from recon.surface.finishing import FinishOptions, finish
    from recon.surface.texture import BakeOptions

    surface, pictures = fused(scene, frames, settings.preset, settings.asset, log)
    return finish(surface, pictures, FinishOptions(faces, bake=BakeOptions(texture)), log.step)


def _sequence(
    groups: Sequence[Sequence[Frame]],
    out: Path,
    log: StageLog,
    settings: MovingSettings,
    name: str,
    extras: dict[str, Any],
) -> None:
    """A mesh of its own for every moment."""
    import torch

    from recon.asset import write_mesh_sequence_glb
    from recon.asset.placing import placement
    from recon.capture import Capture
    from recon.motion.fit import time_of
    from recon.splat.fit import fit_gaussians
    from recon.surface.mesh import Mesh

    options = _fit_options(settings, Capture(tuple(groups[0])))
    still = dataclasses.replace(options.still, corrections=options.corrections)
    meshes = []
    quiet = StageLog(log.watcher)
    for group in groups:
        scene = fit_gaussians(Capture(tuple(group)), still, seed=settings.seed)
        faces = min(settings.asset.target_faces, _SEQUENCE_FACES)
        texture = min(settings.asset.texture_size, _SEQUENCE_TEXTURE)
        meshes.append(_surface(scene, group, settings, faces, texture, quiet).mesh)
    log.steps.update(quiet.steps)
    times = torch.tensor([time_of(group) for group in groups])
    asset = settings.asset
    everything = Mesh(torch.cat([mesh.vertices for mesh in meshes]), meshes[0].faces)
    place = placement(everything, size=asset.size, origin=asset.origin)
    extras = extras | {"to_capture": similarity_json(place.inverse())}
    with log.step("writing"):
        written = write_mesh_sequence_glb(
            meshes,
            times,
            out / "mesh.glb",
            size=asset.size,
            origin=asset.origin,
            name=name,
            extras=extras,
            double_sided=asset.keep_open,
            image_format=asset.image_format,
        )
    log.figures.update({"moves_by": "a mesh at every moment", "meshes": len(meshes), "bytes": written.bytes})
