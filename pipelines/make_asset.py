"""`python -m pipelines.make_asset`: splats or a mesh from elsewhere in, a game-ready mesh.glb out."""

from __future__ import annotations

import dataclasses
import functools
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from pipelines._command import run_command
from pipelines._options import PRESETS, AssetOptions, AssetSettings, OptionsError, PresetName, resolve_asset
from pipelines._run import Stage, StageLog

_VIEWS = 40
"""Directions that the texture is taken from."""
_VIEW_SIZE = 1024


@dataclass(frozen=True)
class Given:
    """The file to start from."""

    source: tyro.conf.Positional[Path]
    """Splats of one object (.ply, compressed or not, .splat or .spz) or a mesh (.glb, .gltf, .obj). Compressed .ply and
    .spz need pip install 'turnabout[formats]'."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """The run's folder; made if needed."""


@dataclass(frozen=True)
class MakeAssetOptions(AssetOptions, Given):
    """Splats or a mesh of any origin in; a watertight, unwrapped, textured mesh.glb out.

    A mesh with holes, inner walls or loose parts is closed as it looks from outside; --keep-open takes its triangles as
    they are."""

    preset: PresetName = "balanced"
    """How much work is done; every option that is not given follows from it."""
    up: Literal["+x", "-x", "+y", "-y", "+z", "-z"] = "+y"
    """The file's axis that points up. Scenes that COLMAP solved are often -y, what CAD programs make is often +z."""
    resume: bool = False
    """Go on with an interrupted run of the same options; what is finished is kept."""
    overwrite: bool = False
    """Remove an earlier run's results in the output folder and start anew."""


def run(options: MakeAssetOptions) -> None:
    """Runs the command, showing progress.

    Raises:
        ValueError, OSError: for what a user can mend.
    """
    from pipelines._progress import display
    from pipelines._report import report_stage, versions
    from pipelines._run import open_run
    from pipelines._sources import find_given

    if options.resume and options.overwrite:
        raise OptionsError("--resume keeps what is there and --overwrite removes it; give one of them")
    if options.source.is_dir():
        raise OptionsError(f"{options.source}: expected a file with splats or a mesh, found a folder")
    if options.overwrite and options.source.resolve().is_relative_to(options.output.resolve()):
        raise OptionsError(f"{options.source}: lies inside the output {options.output}, which would overwrite it")
    source = find_given(options.source)
    settings = resolve_asset(options, PRESETS[options.preset])
    # Left out, the number of faces is no wish: a mesh that has fewer keeps them.
    asked = {"preset": options.preset, "up": options.up, "at_most": options.target_faces is None}
    identity = {
        "options": asked | {"asset": settings.as_json()},
        "inputs": {"source": source.as_json()},
        "versions": versions(),
    }
    stages = (
        Stage(
            "mesh",
            (),
            settings.files(),
            identity,
            functools.partial(_make, options=options, settings=settings, extras=identity),
        ),
        Stage("preview", ("mesh.glb",), ("preview.png",), {}, functools.partial(_preview, options=options)),
    )
    with display() as shown, open_run(
        options.output, identity, resume=options.resume, overwrite=options.overwrite
    ) as folder:  # fmt: skip
        done = {stage.name: folder.run(stage, shown) for stage in stages}
        folder.run(report_stage(identity, done), shown)
        shown.said(str(options.output / "mesh.glb"))


def _make(
    run: Path, out: Path, log: StageLog, *, options: MakeAssetOptions, settings: AssetSettings, extras: dict[str, Any]
) -> None:
    from pipelines._asset import finish_asset, full_similarity_json
    from recon.splat.gaussians import Gaussians
    from recon.splat.warm_up import warm_up
    from recon.surface.fusion import FUSION_PRESETS, close_mesh, fuse_depth
    from recon.surface.given import outward, read_given, views_of
    from recon.surface.manifold import split_to_manifold

    fusion = dataclasses.replace(FUSION_PRESETS[options.preset], keep_open=settings.keep_open)
    with log.step("reading"):
        given, to_source = read_given(options.source, options.up)
    if isinstance(given, Gaussians):
        with log.step("compiling"):
            warm_up(log.watcher.advanced)
        with log.step("fusing"):
            surface = fuse_depth(given, None, fusion)
    elif settings.keep_open:
        if any(material.alpha_cutoff is not None for material in given.materials):
            log.warn("parts that the given material cuts out by its alpha become solid: the asset's texture has none")
        with log.step("taking the triangles"):
            surface = outward(split_to_manifold(given))
    else:
        with log.step("closing"):
            surface = close_mesh(given, fusion)
    if options.target_faces is None:
        settings = dataclasses.replace(settings, target_faces=min(settings.target_faces, len(surface.faces)))
    with log.step("drawing"):
        capture = views_of(given, _VIEWS, min(_VIEW_SIZE, settings.texture_size), to_source)
    known = {"to_source": full_similarity_json(to_source)}
    finish_asset(surface, capture, capture.frames, out, log, settings, options.source.stem, extras | known)


def _preview(run: Path, out: Path, log: StageLog, *, options: MakeAssetOptions) -> None:
    from pipelines._pictures import TILE, mesh_rows, write_sheet
    from pipelines._quality import draw_splats
    from pipelines._report import read_placed
    from recon.capture.orbit import orbit_cameras
    from recon.splat.gaussians import Gaussians
    from recon.surface.given import read_given
    from recon.surface.render import prepare_mesh, render_prepared

    given, _ = read_given(options.source, options.up)
    around = orbit_cameras(8, 0.35, size=TILE)
    if isinstance(given, Gaussians):
        source = [draw_splats(given, camera) for camera in around]
    else:
        drawn = prepare_mesh(given)
        source = [render_prepared(drawn, camera).rgba for camera in around]
    rows = [(f"given: {options.source.name}", source), *mesh_rows(read_placed(run / "mesh.glb"), around)]
    write_sheet(rows, out / "preview.png")


def main(args: list[str] | None = None) -> int:
    """Parses `args` (the command line unless given); returns the exit code."""
    options = tyro.cli(MakeAssetOptions, args=args, prog="make_asset", config=(tyro.conf.FlagCreatePairsOff,))
    return run_command(lambda: run(options))


if __name__ == "__main__":
    sys.exit(main())
