"""`python -m pipelines.turntable`: a mesh or splats, turned before the camera, as a video, an animation or a sheet."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

import tyro

from pipelines._command import ended_as_interrupted, run_command
from pipelines._options import OptionsError
from pipelines._shown import Shown

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from recon.capture import Camera
    from recon.surface.studio import Draw

_Thing = TypeVar("_Thing")
Show = Literal["mesh", "unlit", "shape", "normals", "splats"]
KINDS = {".mp4": "mp4", ".gif": "GIF", ".webp": "WEBP", ".png": "PNG"}
_MOST_FRAMES, _MOST_PIXELS = 1_000, 4_096
_SLOWEST, _FASTEST = 1 / 60, {"mp4": 240, "GIF": 50, "WEBP": 240}
"""Pictures a second; players take a GIF's that are faster for a mistake."""
_LONGEST_SIDE, _MOST_IN_ALL = 16_000, 100 * 10**6
_FILM, _SHEET = (72, 512), (8, 256)
"""Pictures in a turn, and their side in pixels, unless given."""
_FLOOR_MOMENTS = 12
"""Of a clip, at which the floor is looked for."""


@dataclass(frozen=True)
class TurntableOptions:
    """Turns a mesh or splats once before the camera, in a studio's light. What moves plays its clip meanwhile, whole
    times over at about its own speed; over a sheet once."""

    source: tyro.conf.Positional[Path]
    """A run folder, a mesh (.glb, .gltf, .obj), splats (.ply, compressed or not, .splat, .spz) or moving splats
    (.4dgs)."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """A .mp4, .gif or .webp, which turns, or a .png, which is a sheet of pictures from all around."""
    show: tuple[Show, ...] = ()
    """The mesh under the lights, its colours unlit, its shape in grey, its normals as colours, or the splats. Several
    stand side by side, in a sheet one below the other. Unless given: the mesh if there is one, else the splats."""
    frames: int | None = None
    """Pictures in a turn; 72 unless given, 8 in a sheet."""
    seconds: float = 4.0
    """That a turn takes."""
    size: int | None = None
    """Side of each picture in pixels; 512 unless given, 256 in a sheet."""
    elevation: float = 15.0
    """Degrees from which the camera looks down."""
    fov: float = 33.8
    """The camera's field of view in degrees."""
    background: str = "studio"
    """"studio" (light grey, brighter in the middle), "transparent" (not in .mp4), or a colour: a name or #rrggbb."""
    up: Literal["+x", "-x", "+y", "-y", "+z", "-z"] = "+y"
    """The axis of a file that points up; a run folder knows its own."""
    overwrite: bool = False
    """Replace the output if it is there."""


def run(options: TurntableOptions) -> None:
    """Draws the turn and writes it, showing progress. The file appears whole or not at all.

    Raises:
        ValueError, OSError: for what a user can mend.
    """
    import numpy as np
    from PIL import Image

    from pipelines._films import write_animation, write_mp4
    from pipelines._progress import display
    from recon.capture.orbit import orbit_cameras
    from recon.splat.files import whole_file

    kind, frames, size = _checked(options)
    source = Shown(options.source, options.up)
    looks = _looks(source, options.show)
    _check_sides(kind, frames, size, len(looks))
    cameras = orbit_cameras(frames, math.radians(options.elevation), math.radians(options.fov), size)
    times = _times(source.seconds, frames, None if kind == "PNG" else options.seconds)
    rate = Fraction(frames) / Fraction(options.seconds).limit_denominator(1000)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    with display() as shown, whole_file(options.output) as draft:
        shown.stage_started("turning")

        def pictures() -> Iterator[list[NDArray[np.uint8]]]:
            for index, (camera, time) in enumerate(zip(cameras, times)):
                yield [_over(look(camera, time), options.background) for look in looks]
                shown.advanced(index + 1, len(cameras))

        if kind == "PNG":
            columns = [np.concatenate(column, axis=0) for column in pictures()]
            Image.fromarray(np.concatenate(columns, axis=1)).save(draft, format="PNG")
        elif kind == "mp4":
            write_mp4((np.concatenate(row, axis=1) for row in pictures()), draft, rate)
        else:
            rows = (np.concatenate(row, axis=1) for row in pictures())
            write_animation(rows, draft, len(cameras), options.seconds, kind)
        if options.output.exists() and not options.overwrite:
            raise _in_the_way(options.output)
        shown.said(str(options.output))


def _checked(options: TurntableOptions) -> tuple[str, int, int]:
    """What is to be written: its kind, how many pictures, their side.

    Raises:
        OptionsError: if the options cannot be met.
    """
    kind = KINDS.get(options.output.suffix.lower())
    if kind is None:
        found = options.output.suffix or "no suffix"
        raise OptionsError(f"{options.output}: expected {', '.join(KINDS)}, found {found}")
    if options.output.exists() and not options.overwrite:
        raise _in_the_way(options.output)
    default_frames, default_size = _SHEET if kind == "PNG" else _FILM
    frames, size = options.frames or default_frames, options.size or default_size
    if options.frames is not None and not 1 <= options.frames <= _MOST_FRAMES:
        raise OptionsError(f"--frames: expected 1 to {_MOST_FRAMES}, found {options.frames}")
    if options.size is not None and not 16 <= options.size <= _MOST_PIXELS:
        raise OptionsError(f"--size: expected 16 to {_MOST_PIXELS} pixels, found {options.size}")
    if not 0.1 <= options.seconds <= 3600:
        raise OptionsError(f"--seconds: expected 0.1 to 3600, found {options.seconds:g}")
    if kind != "PNG" and not _SLOWEST <= frames / options.seconds <= _FASTEST[kind]:
        wanted = f"expected {_SLOWEST:g} to {_FASTEST[kind]}: change --frames or --seconds"
        raise OptionsError(f"{frames / options.seconds:g} pictures a second; {wanted}")
    if not -90 <= options.elevation <= 90:
        raise OptionsError(f"--elevation: expected -90 to 90 degrees, found {options.elevation:g}")
    if not 1 <= options.fov <= 120:
        raise OptionsError(f"--fov: expected 1 to 120 degrees, found {options.fov:g}")
    if kind == "mp4" and size % 2:
        raise OptionsError(f"--size: a video's sides must be even, found {size}")
    if kind == "mp4" and options.background == "transparent":
        raise OptionsError("a .mp4 cannot be transparent: take .webp, .gif or another --background")
    _colour(options.background)
    return kind, frames, size


def _check_sides(kind: str, frames: int, size: int, looks: int) -> None:
    """Raises OptionsError for a picture that is larger than its format, or memory, holds."""
    across = size * (frames if kind == "PNG" else looks)
    down = size * (looks if kind == "PNG" else 1)
    if max(across, down) > _LONGEST_SIDE or across * down > _MOST_IN_ALL:
        expected = f"at most {_LONGEST_SIDE:,} a side and {_MOST_IN_ALL // 10**6} million in all"
        raise OptionsError(f"{across:,} x {down:,} pixels; {expected}: take a smaller --size, fewer --frames or --show")


def _in_the_way(path: Path) -> OptionsError:
    return OptionsError(f"{path}: is there already; choose another output or add --overwrite")


def _times(clip: float, frames: int, seconds: float | None) -> list[float]:
    """The moment of a clip of so many seconds that each picture of a turn shows: as many whole clips as fit best, in a
    sheet one."""
    times = 1 if seconds is None or clip == 0 else max(1, round(seconds / clip))
    return [(index * times / frames) % 1 * clip for index in range(frames)]


_Look = Callable[["Camera", float], "Tensor"]
"""A picture (H, W, 4) for a camera and a time."""


def _looks(source: Shown, show: Sequence[Show]) -> list[_Look]:
    """How each of what is to be shown is drawn.

    Raises:
        OptionsError: if the source has not what is asked for.
    """
    from recon.splat.warm_up import warm_up
    from recon.surface.studio import mesh_look, splats_look

    def look(name: Show) -> _Look:
        if name == "splats":
            if source.splats is None:
                raise OptionsError(f"{source.path}: has no splats to show")
            warm_up()
            return _over_time(source, lambda time: splats_look(_there(source.splats_at(time))))
        if source.mesh is None:
            raise OptionsError(f"{source.path}: has no mesh to show")
        kind: Literal["lit", "unlit", "shape", "normals"] = "lit" if name == "mesh" else name
        return _over_time(source, lambda time: mesh_look(_there(source.mesh_at(time)), kind), bare=name == "normals")

    wanted: Sequence[Show] = show or (("mesh",) if source.mesh is not None else ("splats",))
    return [look(name) for name in dict.fromkeys(wanted)]


def _over_time(source: Shown, drawn: Callable[[float], Draw], *, bare: bool = False) -> _Look:
    """What is `drawn` at a time, on a floor unless `bare`, which lies where the clip comes lowest."""
    from recon.surface.studio import floor_under, in_studio

    def dressed(time: float) -> Callable[[Camera], Tensor]:
        draw = drawn(time)
        return (lambda camera: draw(camera).rgba) if bare else in_studio(draw, lowest)

    lowest = None
    if source.seconds > 0 and not bare:
        moments = [source.seconds * index / _FLOOR_MOMENTS for index in range(_FLOOR_MOMENTS + 1)]
        floors = [floor_under(drawn(time)) for time in moments]
        lowest = min((floor.height for floor in floors if floor is not None), default=None)
    if source.seconds == 0:
        still = dressed(0.0)
        return lambda camera, _time: still(camera)
    return lambda camera, time: dressed(time)(camera)


def _there(thing: _Thing | None) -> _Thing:
    assert thing is not None  # looked at before
    return thing


def _over(rgba: Tensor, background: str) -> NDArray[np.uint8]:
    """A straight-alpha picture (H, W, 4) as bytes: (H, W, 4) over nothing, (H, W, 3) over a background."""
    import torch

    if background == "transparent":
        pixels = rgba
    else:
        height, width = rgba.shape[:2]
        colour = _colour(background)
        ground = _backdrop(height, width) if colour is None else torch.tensor(colour).float() / 255
        pixels = rgba[..., :3] * rgba[..., 3:] + ground * (1 - rgba[..., 3:])
    return (pixels.clamp(0, 1) * 255).round().byte().numpy()


def _colour(background: str) -> tuple[int, int, int] | None:
    """The colour that is named; None for the studio and for nothing.

    Raises:
        OptionsError: if it is no colour.
    """
    from PIL import ImageColor

    if background in ("studio", "transparent"):
        return None
    try:
        return ImageColor.getrgb(background)[:3]
    except ValueError:
        expected = '"studio", "transparent", a colour\'s name or #rrggbb'
        raise OptionsError(f"--background: expected {expected}, found {background!r}") from None


def _backdrop(height: int, width: int) -> Tensor:
    """(H, W, 3) light grey, brightest a little above the middle."""
    import torch

    y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    grey = 0.96 - 0.11 * (x**2 + (y + 0.2) ** 2).clamp(max=2)
    return grey[..., None] * torch.tensor([0.99, 1.0, 1.01])


def main(args: list[str] | None = None) -> int:
    """Parses `args` (the command line unless given); returns the exit code."""
    options = tyro.cli(TurntableOptions, args=args, prog="turntable", config=(tyro.conf.FlagCreatePairsOff,))
    with ended_as_interrupted():
        return run_command(lambda: run(options), again="give the same command again")


if __name__ == "__main__":
    sys.exit(main())
