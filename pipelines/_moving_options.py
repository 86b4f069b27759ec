"""What a user can ask of `video2scene4d`, the presets, and how both become the settings of one run.

Imports nothing heavy: `--help` shows these classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from pipelines._options import (
    AssetOptions,
    AssetSettings,
    OptionsError,
    Preset,
    PresetName,
    check_range,
    require_extra,
    resolve_asset,
    resolve_device,
)

ExportKind = Literal["auto", "skin", "morph", "sequence"]
LoopName = Literal["none", "close", "pingpong"]
MotionFormat = Literal["4dgs", "ply"]
MovingStop = Literal["capture", "motion", "mesh"]


@dataclass(frozen=True)
class MovingPreset:
    """What a preset decides; options that are given win. The fit's own settings of the same name are in
    `recon.motion.fit_options`."""

    times: int
    views: int
    asset: Preset


MOVING_PRESETS: Mapping[PresetName, MovingPreset] = {
    "fast": MovingPreset(12, 8, Preset(frames=8, num_inference_steps=1, target_faces=6_000, texture_size=512)),
    "balanced": MovingPreset(24, 12, Preset(frames=12, num_inference_steps=1, target_faces=15_000, texture_size=1024)),
    "quality": MovingPreset(48, 16, Preset(frames=16, num_inference_steps=1, target_faces=30_000, texture_size=2048)),
}


@dataclass(frozen=True)
class MovingOptions(AssetOptions):
    """A video of something that moves in, an animated, skinned mesh.glb out."""

    source: tyro.conf.Positional[Path] = Path()
    """A video by one camera that stands still, or a folder of its frames: the other sides are generated, at every time.
    Or a capture with cameras and times (nerfstudio's or D-NeRF's transforms): nothing is generated."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("out")
    """The run's folder; made if needed."""
    preset: PresetName = "balanced"
    """How much work is done; every option below that is not given follows from it."""
    seed: int = 0
    """Of everything random. The same seed on the same machine gives the same bytes."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the generator computes; auto takes a GPU if there is one."""
    times: int | None = None
    """Moments of the clip that are used, evenly spaced: 12, 24 or 48, by preset."""
    clip: tuple[float, float] | None = None
    """Begin and end, in seconds, of the part that is used; all of it if left out."""
    fps: float = 24.0
    """Pictures a second, where the source is a folder of them."""
    views: int | None = None
    """Sides of the subject at each moment, the video's own among them: 8, 12 or 16, by preset."""
    elevation: float = 10.0
    """Degrees above the horizon that the video was taken from."""
    fov: float | Literal["auto"] = "auto"
    """Field of view of the square around the subject in degrees; auto asks EXIF, then assumes 33.8."""
    model: str | None = None
    """The generator: a folder or a Hugging Face id. Left out, the weights that ship with the program."""
    matting: Path | None = None
    """ISNet weights (.onnx) that find the subject, through onnxruntime. Left out, alpha or GrabCut does."""
    max_gaussians: int | None = None
    """Gaussians of the scene in between, at most; the memory and the time of its fit grow with them."""
    bones: int | None = None
    """Rigid motions that are looked for, at most. Left out, as many as what they leave unexplained asks for, up to
    32."""
    export: ExportKind = "auto"
    """How the mesh moves: by bones (skin), by its vertices (morph), or by another mesh at every moment (sequence), for
    what changes its shape as nothing with bones does. auto takes bones, and a sequence where nothing was generated and
    that shows the pictures clearly better."""
    tolerance: float = 0.1
    """How far, in per cent of the longest side, left-out keys may move a vertex."""
    loop: LoopName = "none"
    """How the animation of bones goes on at its end: not at all, led back into its beginning (close), or backwards."""
    scenes: tuple[MotionFormat, ...] = ()
    """Further files of the moving splats: splat.4dgs (needs the extra [formats]), or a PLY for every moment in
    splats/."""
    stop_after: MovingStop | None = None
    """Leave the later stages out; --resume goes on from there."""
    resume: bool = False
    """Go on with an interrupted run of the same options; what is finished is kept."""
    overwrite: bool = False
    """Remove an earlier run's results in the output folder and start anew."""


@dataclass(frozen=True, kw_only=True)
class MovingSettings:
    """A run's settings, preset applied: everything that changes its bytes besides the source. Angles in degrees, the
    tolerance as a share of the longest side; what is None is the fit's own, `fov` what the pictures tell."""

    preset: PresetName
    seed: int
    device: Literal["cpu", "cuda"]
    times: int
    clip: tuple[float, float] | None
    fps: float
    views: int
    elevation: float
    fov: float | None
    max_gaussians: int | None
    bones: int | None
    export: ExportKind
    tolerance: float
    loop: LoopName
    scenes: tuple[MotionFormat, ...]
    asset: AssetSettings

    def as_json(self) -> dict[str, Any]:
        """JSON values by name."""
        values = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}
        return {**values, "asset": self.asset.as_json()}

    def scene_files(self) -> tuple[str, ...]:
        """What the moving splats are written to; the first is read by the later stages."""
        files = {"4dgs": "splat.4dgs", "ply": "splats"}
        return ("moving.safetensors", "splat.ply", *(files[kind] for kind in self.scenes))


def resolve_moving(options: MovingOptions, *, has_cameras: bool) -> MovingSettings:
    """Applies the preset and checks what can be checked without opening a file.

    Args:
        has_cameras: whether the source is a capture with cameras.

    Raises:
        OptionsError: if options contradict each other, are out of range, or name a device that is not there.
    """
    if not options.source.name:
        raise OptionsError("nothing to start from: name a video, a folder of frames, or a capture with times")
    check_range("--seed", options.seed, 0, 2**63 - 1)
    check_range("--times", options.times, 2, 240)
    check_range("--views", options.views, 4, 64)
    check_range("--fps", options.fps, 0.1, 1000)
    check_range("--elevation", options.elevation, -89, 89)
    check_range("--max-gaussians", options.max_gaussians, 500, 10_000_000)
    check_range("--bones", options.bones, 1, 255)
    check_range("--tolerance", options.tolerance, 0, 10)
    fov = None if options.fov == "auto" else options.fov
    check_range("--fov", fov, 1, 150)
    if options.clip is not None and not 0 <= options.clip[0] < options.clip[1] < float("inf"):
        raise OptionsError(f"--clip takes a begin and a later end in seconds, found {options.clip}")
    if options.resume and options.overwrite:
        raise OptionsError("--resume keeps what is there and --overwrite removes it; give one of them")
    if "4dgs" in options.scenes:
        require_extra("fourdgs", "formats", "--scenes 4dgs")
    if len(set(options.scenes)) < len(options.scenes):
        raise OptionsError(f"--scenes names a format twice: {' '.join(options.scenes)}")
    if options.export in ("sequence", "morph") and options.loop != "none":
        raise OptionsError(f"--loop is for bones; --export {options.export} plays as it is")
    _check_places(options.source, options.output)
    if has_cameras:
        _check_unused(options)
    preset = MOVING_PRESETS[options.preset]
    return MovingSettings(
        preset=options.preset,
        seed=options.seed,
        device=resolve_device(options.device),
        times=preset.times if options.times is None else options.times,
        clip=options.clip,
        fps=options.fps,
        views=preset.views if options.views is None else options.views,
        elevation=options.elevation,
        fov=fov,
        max_gaussians=options.max_gaussians,
        bones=options.bones,
        export=options.export,
        tolerance=options.tolerance / 100,
        loop=options.loop,
        scenes=options.scenes,
        asset=resolve_asset(options, preset.asset),
    )


def _check_places(source: Path, output: Path) -> None:
    folder = source.parent if source.is_file() and source.suffix == ".json" else source
    if folder.is_dir() and output.resolve().is_relative_to(folder.resolve()):
        raise OptionsError(f"{output}: lies inside the source {source}; choose another -o")
    if source.resolve().is_relative_to(output.resolve()):
        raise OptionsError(f"{source}: lies inside the output {output}, which would overwrite it; choose another -o")


def _check_unused(options: MovingOptions) -> None:
    defaults = MovingOptions()
    names = ("views", "elevation", "fov", "model", "fps")
    given = [f"--{name}" for name in names if getattr(options, name) != getattr(defaults, name)]
    if given:
        raise OptionsError(f"the source brings its cameras and times, so leave {', '.join(given)} out")
