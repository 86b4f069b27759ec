"""What a user can ask of `img2orbit` and `img2mesh`, the presets, and how both become the settings of one run.

Imports nothing heavy: `--help` shows these classes.
"""

from __future__ import annotations

import importlib.util
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

PresetName = Literal["fast", "balanced", "quality"]
OriginName = Literal["centre", "base"]
ImageFormat = Literal["png", "jpeg", "webp"]
MeshFormat = Literal["obj", "ply", "stl"]
SplatFormat = Literal["compressed.ply", "splat", "spz"]
StopAfter = Literal["orbit", "capture", "splat", "mesh"]
ReconName = Literal["splat", "nerf", "auto"]

DEFAULT_ELEVATION = 10.0
"""Degrees; the evaluation protocol's. Said in the report whenever it is assumed."""
TEXTURE_SIZES = (64, 8192)
SIZES = (0.001, 10_000)
"""Metres."""


class OptionsError(ValueError):
    """Options that contradict each other or cannot be met."""


@dataclass(frozen=True)
class Preset:
    """What a preset decides; options that are given win.

    The reconstruction's own settings of the same name are in `recon.splat.fit` and `recon.surface.fusion`.
    """

    frames: int
    num_inference_steps: int
    target_faces: int
    texture_size: int


PRESETS: Mapping[PresetName, Preset] = {
    "fast": Preset(frames=12, num_inference_steps=1, target_faces=6_000, texture_size=1024),
    "balanced": Preset(frames=20, num_inference_steps=1, target_faces=15_000, texture_size=2048),
    "quality": Preset(frames=32, num_inference_steps=1, target_faces=40_000, texture_size=4096),
}


@dataclass(frozen=True)
class OrbitOptions:
    """Photos of one object in, an orbit of pictures with cameras out."""

    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """The run's folder; made if needed."""
    photos: tyro.conf.Positional[tuple[Path, ...]] = ()
    """Photos of one object. The first is the front. Several need --azimuths."""
    preset: PresetName = "balanced"
    """How much work is done; every option below that is not given follows from it."""
    seed: int = 0
    """Of everything random. The same seed on the same machine gives the same bytes."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the generator computes; auto takes a GPU if there is one."""
    frames: int | None = None
    """Pictures on the orbit, the photos included."""
    elevation: float | Literal["auto"] | None = None
    """Degrees above the horizon that the photos were taken from, and the orbit's. Left out, 10 are assumed; auto asks
    the generator, which answers between -10 and 60."""
    fov: float | Literal["auto"] = "auto"
    """Field of view of the square around the subject in degrees; auto asks EXIF, then assumes 33.8."""
    azimuths: tuple[float, ...] | None = None
    """Degrees around the object, counter-clockwise seen from above, at which each photo was taken: as many as photos,
    all different, the first 0."""
    cameras: Path | None = None
    """Cameras to draw instead of the orbit, at most 256. A JSON list of {azimuth, elevation, fov, distance, roll} in
    degrees and object diameters, relative to the first photo. Or a nerfstudio transforms.json, taken as it is: the
    object is the sphere of diameter 1 around the origin, +Y is up, and the first photo is at azimuth 0, on +Z (in
    nerfstudio's own world, where +Z is up: on -Y)."""
    refine: int = 0
    """Rounds in which splats are fitted to the orbit, rendered, noised and drawn anew. Views get sharper and agree
    better with each other, though no nearer to the truth; each round takes as long as a fit."""
    samples: int = 1
    """Variants, of seeds --seed, --seed + 1 and so on, each in a folder of its own, shown together in samples.png."""
    model: str | None = None
    """The generator: a folder or a Hugging Face id. Left out, the weights that ship with the program."""
    matting: Path | None = None
    """ISNet weights (.onnx) that find the subject, through onnxruntime. Left out, alpha or GrabCut does."""
    resume: bool = False
    """Go on with an interrupted run of the same options; what is finished is kept."""
    overwrite: bool = False
    """Remove an earlier run's results in the output folder and start anew."""


def metres(text: str) -> float:
    """A length such as "0.3", "0.3m", "30cm" or "300mm".

    Raises:
        ValueError: if it is none.
    """
    found = re.fullmatch(r"(.+?)\s*(mm|cm|m|)", text.strip().lower())
    if found is None:
        raise ValueError(f"{text!r} is no length such as 0.3, 0.3m or 30cm")
    try:
        return float(found[1]) * {"mm": 0.001, "cm": 0.01}.get(found[2], 1.0)
    except ValueError:
        raise ValueError(f"{text!r} is no length such as 0.3, 0.3m or 30cm") from None


_LENGTH = tyro.constructors.PrimitiveConstructorSpec(
    nargs=1,
    metavar="LENGTH",
    instance_from_str=lambda words: metres(words[0]),
    is_instance=lambda value: isinstance(value, (int, float)),
    str_from_instance=lambda value: [f"{value:g}"],
)


@dataclass(frozen=True)
class AssetOptions:
    """What the mesh and its files are to be like."""

    target_faces: int | None = None
    """Triangles of the mesh, within 5 %."""
    texture_size: int | None = None
    """Side of the texture in texels."""
    keep_open: bool = False
    """Leave out what nothing shows, instead of closing it. Left as it is, the mesh is watertight."""
    size: Annotated[float, _LENGTH] = 1.0
    """Length of the longest side: metres, or with a unit, such as 30cm."""
    origin: OriginName = "centre"
    """Where the file's origin lies: in the middle of the bounding box, or of its base, so that the object stands on
    the ground."""
    image_format: ImageFormat = "png"
    """Of the texture. JPEG and WebP are several times smaller; WebP is not read everywhere (Godot 3 does not)."""
    also: tuple[MeshFormat, ...] = ()
    """Further files of the same mesh: .obj with its texture, .ply with a colour at every vertex, .stl."""


@dataclass(frozen=True)
class SceneOptions(AssetOptions):
    """What the scene in between and the mesh are to be like."""

    recon: ReconName = "splat"
    """What is fitted to the pictures: Gaussian splats; or a radiance field (nerf) of signed distances and colours on a
    grid, slower, and better for true pictures. auto takes the field where no picture was generated."""
    max_gaussians: int | None = None
    """Gaussians of the scene in between, at most; the memory and the time of its fit grow with them."""
    splats: tuple[SplatFormat, ...] = ()
    """Further files of the scene beside splat.ply: compressed.ply and spz need the extra [formats], splat keeps no
    view-dependent colour."""
    refine_texture: bool = False
    """Solve for the texture whose renders are nearest to the pictures, which must agree: not with generated ones. A
    little sharper, a little longer."""
    view: bool = False
    """Show the fit in the browser while it runs, and then the result until Ctrl-C; needs the extra [view]."""


@dataclass(frozen=True)
class MeshOptions(SceneOptions, OrbitOptions):
    """Photos of one object in, a textured mesh.glb out."""

    capture: Path | None = None
    """Pictures with cameras (nerfstudio, NeRF-synthetic, COLMAP or Middlebury) to reconstruct; nothing is generated.
    Pictures without transparency are cut out first."""
    stop_after: Literal["orbit", "splat", "mesh"] | None = None
    """Leave the later stages out; --resume goes on from there."""


@dataclass(frozen=True)
class AssetSettings:
    """What changes a mesh's bytes besides what it is made from, preset applied."""

    target_faces: int
    texture_size: int
    keep_open: bool
    size: float
    origin: OriginName
    image_format: ImageFormat
    also: tuple[MeshFormat, ...]

    def as_json(self) -> dict[str, Any]:
        """JSON values by name."""
        return {**asdict(self), "also": list(self.also)}

    def files(self) -> tuple[str, ...]:
        """What is written, `mesh.glb` first."""
        beside = {"obj": ("mesh.obj", "mesh.mtl", "mesh.png"), "ply": ("mesh.ply",), "stl": ("mesh.stl",)}
        return ("mesh.glb", *(name for kind in self.also for name in beside[kind]))


@dataclass(frozen=True, kw_only=True)
class FitSettings:
    """What changes a reconstruction's bytes besides its capture, presets applied.

    `max_gaussians` is None where the user did not say; it is then the preset's in `recon.splat.fit_options`.
    """

    preset: PresetName
    seed: int
    recon: ReconName
    max_gaussians: int | None
    splats: tuple[SplatFormat, ...]
    refine_texture: bool
    asset: AssetSettings

    def splat_files(self) -> tuple[str, ...]:
        """What the scene is written to, `splat.ply` first."""
        return ("splat.ply", *(f"splat.{kind}" for kind in self.splats))

    def as_json(self) -> dict[str, Any]:
        """JSON values by name."""
        values = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}
        return {**values, "asset": self.asset.as_json()}


@dataclass(frozen=True, kw_only=True)
class Settings(FitSettings):
    """A run's settings, presets applied: everything that changes its bytes besides the input files. Angles in degrees.

    `elevation` is None where the user did not say, `fov` where the photo is to tell it.
    """

    device: Literal["cpu", "cuda"]
    frames: int
    num_inference_steps: int
    elevation: float | Literal["auto"] | None
    fov: float | None
    azimuths: tuple[float, ...]
    refine: int
    samples: int


def as_mesh_options(options: OrbitOptions) -> MeshOptions:
    """The `img2mesh` run of which `options` is the first part."""
    return MeshOptions(**{f.name: getattr(options, f.name) for f in fields(OrbitOptions)}, stop_after="orbit")


def resolve_asset(options: AssetOptions, preset: Preset) -> AssetSettings:
    """Applies the preset and checks the ranges.

    Raises:
        OptionsError: if a value is out of range.
    """
    check_range("--target-faces", options.target_faces, 20, 2_000_000)
    check_range("--texture-size", options.texture_size, *TEXTURE_SIZES)
    check_range("--size", options.size, *SIZES)
    if len(set(options.also)) < len(options.also):
        raise OptionsError(f"--also names a format twice: {' '.join(options.also)}")
    return AssetSettings(
        target_faces=preset.target_faces if options.target_faces is None else options.target_faces,
        texture_size=preset.texture_size if options.texture_size is None else options.texture_size,
        keep_open=options.keep_open,
        size=options.size,
        origin=options.origin,
        image_format=options.image_format,
        also=options.also,
    )


def resolve(options: MeshOptions) -> Settings:
    """Applies the preset and checks what can be checked without opening a file.

    Raises:
        OptionsError: if options contradict each other, are out of range, or name a device that is not there.
    """
    _check_inputs(options)
    _check_refinement(options)
    check_scene(options, options.seed, options.resume, options.overwrite)
    check_range("--samples", options.samples, 1, 64)
    check_range("--refine", options.refine, 0, 16)
    check_range("--frames", options.frames, 2, 256)
    fov = None if options.fov == "auto" else options.fov
    check_range("--elevation", None if options.elevation == "auto" else options.elevation, -89, 89)
    check_range("--fov", fov, 1, 150)
    preset = PRESETS[options.preset]
    frames, azimuths = preset.frames if options.frames is None else options.frames, _azimuths(options)
    _check_views(options, frames, azimuths)
    return Settings(
        preset=options.preset,
        seed=options.seed,
        device=resolve_device(options.device),
        frames=frames,
        num_inference_steps=preset.num_inference_steps,
        elevation=options.elevation,
        fov=fov,
        azimuths=azimuths,
        refine=options.refine,
        samples=options.samples,
        recon=options.recon,
        max_gaussians=options.max_gaussians,
        splats=options.splats,
        refine_texture=options.refine_texture,
        asset=resolve_asset(options, preset),
    )


def check_scene(options: SceneOptions, seed: int, resume: bool, overwrite: bool) -> None:
    """What every run of a scene checks.

    Raises:
        OptionsError: if a value is out of range or two contradict each other.
    """
    check_range("--seed", seed, 0, 2**63 - 1)
    check_range("--max-gaussians", options.max_gaussians, 500, 10_000_000)
    of_splats = {"--max-gaussians": options.max_gaussians is not None, "--splats": bool(options.splats)}
    for name in (name for name, is_given in of_splats.items() if is_given and options.recon != "splat"):
        raise OptionsError(f"--recon {options.recon}: {name} is for runs of splats; leave it out")
    if {"compressed.ply", "spz"} & set(options.splats):
        require_extra("gsply", "formats", "--splats")
    if len(set(options.splats)) < len(options.splats):
        raise OptionsError(f"--splats names a format twice: {' '.join(options.splats)}")
    if resume and overwrite:
        raise OptionsError("--resume keeps what is there and --overwrite removes it; give one of them")


def require_extra(module: str, extra: str, asked: str) -> None:
    """Before a long run that would end for want of a package.

    Raises:
        OptionsError: if it is not installed.
    """
    if importlib.util.find_spec(module) is None:
        raise OptionsError(f"{asked} needs {module}, which is not installed: pip install 'turnabout[{extra}]'")


def views_to_draw(frames: int, azimuths: Sequence[float]) -> list[int]:
    """Which of an orbit's `frames` views, numbered from azimuth 0 on, no photo was taken from: those with no photo
    within half of their spacing. `azimuths` are the photos', in degrees."""
    spacing = 360 / frames

    def is_photographed(index: int) -> bool:
        return any(abs((index * spacing - taken + 180) % 360 - 180) < spacing / 2 for taken in azimuths)

    return [index for index in range(frames) if not is_photographed(index)]


def _check_refinement(options: MeshOptions) -> None:
    if options.refine_texture and options.capture is None:
        raise OptionsError("--refine-texture needs pictures that agree, a --capture; generated views do not")


def _check_views(options: MeshOptions, frames: int, azimuths: Sequence[float]) -> None:
    if options.capture is not None:
        return
    if options.cameras is not None:
        if options.frames is not None:
            raise OptionsError("--cameras names every view to draw and --frames how many; give one of them")
        return
    if not views_to_draw(frames, azimuths):
        raise OptionsError(
            f"{frames} frames on the orbit and a photo at each of them leave nothing to draw; "
            f"ask for more with --frames, or name other views with --cameras"
        )


def _check_inputs(options: MeshOptions) -> None:
    if options.capture is None and not options.photos:
        raise OptionsError("nothing to start from: name a photo, or a capture with --capture DIR")
    if options.capture is None:
        return
    of_generation = {
        "photos": bool(options.photos),
        "--cameras": options.cameras is not None,
        "--frames": options.frames is not None,
        "--elevation": options.elevation is not None,
        "--fov": options.fov != "auto",
        "--azimuths": options.azimuths is not None,
        "--model": options.model is not None,
        "--matting": options.matting is not None,
        "--samples": options.samples > 1,
        "--refine": options.refine > 0,
    }
    given = [name for name, is_given in of_generation.items() if is_given]
    if given:
        raise OptionsError(f"--capture brings its own pictures and cameras, so leave {', '.join(given)} out")
    folder = options.capture.parent if options.capture.is_file() else options.capture
    if options.output.resolve().is_relative_to(folder.resolve()):
        raise OptionsError(f"{options.output}: lies inside --capture {options.capture}; choose another -o")


def _azimuths(options: MeshOptions) -> tuple[float, ...]:
    count = len(options.photos)
    given = options.azimuths
    if given is None:
        if count > 1:
            raise OptionsError(
                f"{count} photos, but not where each was taken from, and no pose is guessed: add --azimuths with one "
                "angle a photo (for four sides: --azimuths 0 90 180 270); many that overlap go to video2mesh"
            )
        return (0.0,) * count
    if len(given) != count or not all(math.isfinite(angle) for angle in given):
        raise OptionsError(f"--azimuths needs one angle for each of the {count} photos, found {len(given)}")
    if given[0] != 0:
        raise OptionsError(f"the first photo is the front: --azimuths begins with 0, found {given[0]:g}")
    for index, angle in enumerate(given):
        if any(math.isclose((angle - other + 180) % 360, 180, abs_tol=1e-6) for other in given[:index]):
            raise OptionsError(
                f"--azimuths {angle:g}: two photos cannot be taken from one angle; leave the worse one out"
            )
    return tuple(float(angle) for angle in given)


def check_range(name: str, value: float | None, low: float, high: float) -> None:
    """Raises:
    OptionsError: unless the value is not given or lies within the bounds.
    """
    if value is not None and not low <= value <= high:
        raise OptionsError(f"{name} must lie between {low} and {high}, found {value:g}")


def resolve_device(asked: Literal["auto", "cpu", "cuda"]) -> Literal["cpu", "cuda"]:
    """Where the generator computes.

    Raises:
        OptionsError: if a GPU is asked for that is not there.
    """
    if asked == "cpu":
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if asked == "cuda":
        raise OptionsError(
            "--device cuda: this PyTorch sees no CUDA device; check the driver and PyTorch's build, or use --device cpu"
        )
    return "cpu"
