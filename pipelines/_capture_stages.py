"""The stages from pictures to `capture/` where nothing is generated: a capture with cameras, a video, photos.

Heavy imports stay inside the functions, so that a stage that is kept costs nothing.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines._run import Stage, StageLog

if TYPE_CHECKING:
    from recon.capture import Capture


def given_capture_stage(source: Path, inputs: Mapping[str, Any]) -> Stage:
    """A capture with cameras to `capture/`."""
    return Stage("capture", (), ("capture",), inputs, functools.partial(_capture, source=source))


def _capture(run: Path, out: Path, log: StageLog, *, source: Path) -> None:
    from recon.capture.cutouts import cut_out
    from recon.capture.io_nerfstudio import write_transforms
    from recon.capture.normalise import normalise
    from recon.capture.reading import read_capture

    with log.step("reading"):
        given = read_capture(source)
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
    log.figures.update(frame_counts(capture) | {"mattes_found": len(cut.found), "left_out": len(cut.refused)})


def frame_counts(capture: Capture) -> dict[str, Any]:
    """For the report: how many frames are from where."""
    counts: dict[str, int] = {}
    for frame in capture:
        counts[frame.source.value] = counts.get(frame.source.value, 0) + 1
    return {"frames": counts}
