"""The stages from pictures with cameras to `capture/`, and what every capture that was not generated goes through.

Heavy imports stay inside the functions, so that a stage that is kept costs nothing.
"""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines._run import Stage, StageLog
from pipelines._scene_stages import compile_kernels
from pipelines._video_options import UpName, VideoSettings

if TYPE_CHECKING:
    from torch import Tensor

    from recon.capture import Capture


def given_capture_stage(
    source: Path,
    used: Mapping[str, Any],
    settings: VideoSettings | None = None,
    matting: Path | None = None,
    pictures: Path | None = None,
) -> Stage:
    """A capture with cameras to `capture/`; `used` is what its bytes depend on, `pictures` where a COLMAP model's are,
    if not beside it."""
    work = functools.partial(_capture, source=source, settings=settings, matting=matting, pictures=pictures)
    return Stage("capture", (), ("capture",), used, work)


def _capture(
    run: Path,
    out: Path,
    log: StageLog,
    *,
    source: Path,
    settings: VideoSettings | None,
    matting: Path | None,
    pictures: Path | None,
) -> None:
    from pipelines._pictures import evenly
    from recon.capture import Capture
    from recon.capture.errors import CaptureWarning
    from recon.capture.io_colmap import has_points, read_colmap, read_colmap_points
    from recon.capture.io_nerfstudio import write_transforms
    from recon.capture.reading import COLMAP, find_reader, read_capture

    with log.step("reading"), warnings.catch_warnings(record=True) as left_out:
        warnings.simplefilter("always", CaptureWarning)
        given = read_capture(source) if pictures is None else read_colmap(source, pictures)
        if settings is not None and settings.frames is not None:
            given = Capture(tuple(evenly(given.frames, settings.frames)), given.to_source)
    for warning in left_out:
        log.warn(str(warning.message))
    if settings is not None:
        _require_views(given, source)
    if settings is None or settings.crop is None:
        capture, guessed = cut_out_pictures(given, matting, log)
    else:
        is_colmap = find_reader(source) is COLMAP
        points = read_colmap_points(source) if is_colmap and has_points(source) else None
        capture, guessed = cut_out_region(given, points, settings, log), [frame.name for frame in given]
    reader, up = find_reader(source), "auto" if settings is None else settings.up
    if up != "auto" or (reader is not None and not reader.states_up):
        capture = upright(capture, up, log)
    with log.step("placing"):
        capture = placed(capture, guessed, source)
    with log.step("writing"):
        write_transforms(capture, out / "capture")
    log.figures.update(frame_counts(capture))


def _require_views(capture: Capture, source: Path) -> None:
    """Raises CaptureError for fewer pictures, or from fewer places, than any video or folder of photos must have."""
    import torch

    from recon.capture.errors import CaptureError
    from recon.capture.frame_choice import FEWEST_FRAMES

    poses = torch.stack([camera.c2w for camera in capture.cameras])
    places = len(torch.unique(poses.reshape(len(poses), -1), dim=0))
    if places < FEWEST_FRAMES:
        found = f"{len(capture)} pictures" + ("" if places == len(capture) else f" from {places} places")
        expected = f"pictures of one object from at least {FEWEST_FRAMES} places"
        remedy = "Take more; a single picture goes to `img2mesh`."
        raise CaptureError(source, found=found, expected=expected, remedy=remedy)


def cut_out_pictures(given: Capture, matting: Path | None, log: StageLog) -> tuple[Capture, Sequence[str]]:
    """With a matte for every frame; and the names of those whose mattes were guessed."""
    from recon.capture.cutouts import cut_out

    with log.step("cutting out"):
        cut = cut_out(given, log.watcher.advanced, matting)
    for name, reason in cut.refused.items():
        log.warn(f"picture {name} is left out: {reason}")
    if cut.found:
        log.warn(
            f"{len(cut.found)} of {len(given)} pictures have no transparency; their subject was found by "
            f"{'GrabCut' if matting is None else 'the network'} "
            f"(capture/images shows how well; RGBA pictures are taken as they are)"
        )
    log.figures.update({"mattes_found": len(cut.found), "left_out": len(cut.refused)})
    return cut.capture, cut.found


def cut_out_region(
    capture: Capture, points: tuple[Tensor, Tensor] | None, settings: VideoSettings, log: StageLog
) -> Capture:
    """With mattes of what lies in the region that was asked for. `points`: places and colours in the source's world."""
    import torch

    from recon.splat.crop import Region, cropped, framed_region

    compile_kernels(log)
    asked = settings.crop
    in_source = capture.moved(capture.to_source)
    if isinstance(asked, tuple):
        numbers = torch.tensor(asked)
        if len(asked) == 4:
            region = Region(numbers[:3], numbers[3].expand(3))
        else:
            region = Region((numbers[:3] + numbers[3:]) / 2, (numbers[3:] - numbers[:3]) / 2, is_box=True)
    else:
        region = framed_region(in_source.cameras)
    with log.step("fitting the surroundings"):
        found = cropped(
            in_source,
            region,
            points,
            seed=settings.seed,
            progress=lambda done, total, _: log.watcher.advanced(done, total),
        )
    log.figures["region"] = {
        "shape": "box" if region.is_box else "sphere",
        "centre": [round(float(x), 5) for x in region.centre],
        "half": [round(float(x), 5) for x in region.half],
        "visible_in": len(found),
    }
    return found.moved(capture.to_source.inverse())


def placed(capture: Capture, guessed: Sequence[str], source: Path | str) -> Capture:
    """The capture with its subject in the unit sphere. `guessed` names the frames whose mattes one picture alone told:
    with cameras they are held against each other, twice, as what is cut away also makes the sphere smaller. `source` is
    what an error names."""
    from recon.capture.normalise import NormaliseError, normalise
    from recon.splat.agreeing import agreed_mattes

    try:
        capture = normalise(capture)
        for _ in range(2 if guessed else 0):
            capture = normalise(agreed_mattes(capture, guessed), keep=False)
    except NormaliseError as cause:
        raise NormaliseError(f"{source}: {cause}") from cause
    return capture


def upright(capture: Capture, up: UpName, log: StageLog) -> Capture:
    """The capture turned so that what was asked for, or what its cameras tell, is up."""
    from recon.capture.upright import find_up, given_up, turned_upright

    found = find_up(capture.cameras) if up == "auto" else given_up(capture, up)
    log.figures["up"] = {
        "told_by": found.told_by,
        "direction": [round(float(x), 4) for x in found.direction],
        "unevenness_degrees": round(math.degrees(found.spread), 2),
    }
    return turned_upright(capture, found)


def frame_counts(capture: Capture) -> dict[str, Any]:
    """For the report: how many frames are from where."""
    counts: dict[str, int] = {}
    for frame in capture:
        counts[frame.source.value] = counts.get(frame.source.value, 0) + 1
    return {"frames": counts}
