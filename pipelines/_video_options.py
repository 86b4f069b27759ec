"""What a user can ask of `video2mesh`, and how it becomes the settings of one run.

Imports nothing heavy: `--help` shows these classes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from pipelines._options import (
    PRESETS,
    FitSettings,
    OptionsError,
    PresetName,
    SceneOptions,
    check_range,
    check_scene,
    require_extra,
    resolve_asset,
)

CamerasFrom = Literal["auto", "sfm", "orbit"]
UpName = Literal["auto", "+x", "-x", "+y", "-y", "+z", "-z"]
FEWEST_OF_ORBIT = 6
VIDEO_FRAMES: Mapping[PresetName, int] = {"fast": 24, "balanced": 40, "quality": 80}
"""Pictures that a preset takes from a video."""


@dataclass(frozen=True)
class Pictures:
    """Where the pictures are and where the run goes."""

    source: tyro.conf.Positional[Path]
    """A video (MP4, MOV, WebM, MKV, GIF); a folder of photos; a capture with cameras (nerfstudio, NeRF-synthetic,
    COLMAP, Middlebury, projection matrices); or the folder of an earlier run."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """The run's folder; made if needed."""


@dataclass(frozen=True)
class VideoOptions(SceneOptions, Pictures):
    """A video, photos or a capture of one object in, a textured mesh.glb out; nothing is generated."""

    preset: PresetName = "balanced"
    """How much work is done; every option that is not given follows from it."""
    seed: int = 0
    """Of everything random. The same seed on the same machine gives the same bytes."""
    frames: int | None = None
    """Pictures to use, at most. Of a video 24, 40 or 80, by preset: sharp ones, evenly spaced in motion. Of photos and
    captures all."""
    cameras: CamerasFrom = "auto"
    """Where cameras come from. auto takes those that the source brings, else solves them by structure from motion
    (sfm), and where that finds too few, as an orbit around the object (orbit). sfm and orbit ignore what is brought."""
    fov: float | Literal["auto"] = "auto"
    """Field of view of the pictures' shorter side in degrees; auto finds it with the cameras, from EXIF on if there
    is some. Orbits keep what is given."""
    up: UpName = "auto"
    """The source's axis that points up; auto takes what the format says, else the ring that the cameras stand on."""
    crop: Literal["auto"] | tuple[float, ...] | None = None
    """The subject is what lies in a region, surroundings of any kind are taken away: auto takes the sphere that the
    cameras look at; X Y Z R is a sphere, X0 Y0 Z0 X1 Y1 Z1 a box, both in the source's world. Left out, each picture's
    alpha or backdrop tells the subject."""
    pictures: Path | None = None
    """Folder that a COLMAP model's picture names are relative to, where it is not `images` beside or above the
    model."""
    matting: Path | None = None
    """ISNet weights (.onnx) that find the subject, through onnxruntime. Left out, alpha or GrabCut does."""
    stop_after: Literal["capture", "splat", "mesh"] | None = None
    """Leave the later stages out; --resume goes on from there."""
    resume: bool = False
    """Go on with an interrupted run of the same options; what is finished is kept."""
    overwrite: bool = False
    """Remove an earlier run's results in the output folder and start anew."""


@dataclass(frozen=True, kw_only=True)
class VideoSettings(FitSettings):
    """A run's settings, presets applied.

    `frames` is None where all are taken, `fov` (degrees) where it is to be found.
    """

    frames: int | None
    cameras: CamerasFrom
    fov: float | None
    up: UpName
    crop: Literal["auto"] | tuple[float, ...] | None


def resolve_video(options: VideoOptions, *, is_video: bool, has_cameras: bool) -> VideoSettings:
    """Applies the preset and checks what can be checked without opening a file.

    Args:
        is_video, has_cameras: what the source is.

    Raises:
        OptionsError: if options contradict each other or are out of range.
    """
    check_scene(options, options.seed, options.resume, options.overwrite)
    fov = None if options.fov == "auto" else options.fov
    check_range("--frames", options.frames, 3, 2000)
    check_range("--fov", fov, 1, 150)
    _check_places(options.source, options.output)
    _check_cameras(options, given=has_cameras and options.cameras == "auto")
    return VideoSettings(
        preset=options.preset,
        seed=options.seed,
        recon=options.recon,
        max_gaussians=options.max_gaussians,
        splats=options.splats,
        refine_texture=options.refine_texture,
        asset=resolve_asset(options, PRESETS[options.preset]),
        frames=VIDEO_FRAMES[options.preset] if options.frames is None and is_video else options.frames,
        cameras=options.cameras,
        fov=fov,
        up=options.up,
        crop=_region(options),
    )


def _check_places(source: Path, output: Path) -> None:
    listing = source.is_file() and source.suffix in (".json", ".txt", ".bin")
    folder = (source.parent if listing else source).resolve()
    if output.resolve().is_relative_to(folder):
        raise OptionsError(f"{output}: lies inside the source {source}; choose another -o")
    if source.resolve().is_relative_to(output.resolve()):
        raise OptionsError(f"{source}: lies inside the output {output}, which would overwrite it; choose another -o")


def _check_cameras(options: VideoOptions, given: bool) -> None:
    """`given`: whether the run takes the cameras that the source brings."""
    if given and options.fov != "auto":
        raise OptionsError("--fov: the source brings its cameras; leave it out, or solve them with --cameras sfm")
    if options.cameras == "sfm":
        require_extra("pycolmap", "colmap", "--cameras sfm")
    if not given and options.crop is not None:
        require_extra("pycolmap", "colmap", "--crop of pictures without cameras")
        if options.crop != "auto":
            raise OptionsError("--crop with numbers needs the source's own cameras: solved ones have another world")
    if options.cameras == "orbit":
        unused = {"--crop": options.crop is not None, "--up": options.up != "auto"}
        for name in (name for name, is_given in unused.items() if is_given):
            raise OptionsError(f"--cameras orbit finds that itself, from silhouettes; leave {name} out")
        if options.frames is not None and options.frames < FEWEST_OF_ORBIT:
            raise OptionsError(f"--cameras orbit needs at least {FEWEST_OF_ORBIT} --frames, found {options.frames}")


def _region(options: VideoOptions) -> Literal["auto"] | tuple[float, ...] | None:
    crop = options.crop
    if crop is None or crop == "auto":
        return crop
    if options.matting is not None:
        raise OptionsError("--crop and --matting both say what the subject is; give one of them")
    numbers = tuple(float(value) for value in crop)
    sphere = len(numbers) == 4 and numbers[3] > 0
    box = len(numbers) == 6 and all(low < high for low, high in zip(numbers[:3], numbers[3:]))
    if not (sphere or box) or not all(math.isfinite(value) for value in numbers):
        raise OptionsError(
            "--crop takes auto, a sphere X Y Z R with a positive radius, or a box X0 Y0 Z0 X1 Y1 Z1 with the smaller "
            f"corner first; found {' '.join(f'{value:g}' for value in numbers)}"
        )
    return numbers
