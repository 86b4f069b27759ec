"""`video2scene4d` run on a known clip, and where what it makes lies in the clip's own world."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks._moving_truth import MovingTruth, capture_of, given_cameras
from benchmarks._results import write_json
from benchmarks._timed_command import timed
from pipelines._options import PresetName
from recon.capture import Capture, Frame, Similarity, Source
from recon.capture.images import write_rgba
from recon.capture.io_nerfstudio import read_transforms, write_transforms
from recon.metrics.images import MASK_THRESHOLD
from recon.surface.rigged import load_rigged


@dataclass(frozen=True)
class MovingRun:
    """A finished run.

    Attributes:
        glb: its `mesh.glb`.
        capture: the pictures that it was made from; with one camera, all but one a time are generated.
        world: from the capture's world to the truth's.
        report: its `report.json`.
        cpu_seconds: of all that it did.
    """

    glb: Path
    capture: Capture
    world: Similarity
    report: dict[str, Any]
    cpu_seconds: float

    def frames_at(self, time: float) -> list[Frame]:
        """Those of one time."""
        nearest = min((frame.time for frame in self.capture), key=lambda known: abs(known - time))
        return [frame for frame in self.capture if abs(frame.time - nearest) < 1e-4]


def run_command(truth: MovingTruth, folder: Path, *, views: int, size: int, preset: PresetName) -> MovingRun:
    """The command's run in `folder`, finished before or now.

    Args:
        views: cameras around; one alone gives the command a folder of pictures without cameras.

    Raises:
        ValueError: if the command cannot make anything of the pictures.
        BenchmarkError: if it fails.
    """
    filmed = capture_of(truth, given_cameras(views, size))
    source, run, note = folder / "source", folder / "run", folder / "run.json"
    times = len(truth.times)
    asked = {"views": views, "size": size, "preset": preset, "times": times, "seed": truth.seed}
    known = json.loads(note.read_text(encoding="utf-8")) if note.exists() else {}
    if known.get("asked") != asked:
        shutil.rmtree(source, ignore_errors=True)
        _write_source(filmed, source, alone=views == 1)
        arguments = [str(source), "-o", str(run), "--overwrite", "--export", "skin", "--preset", preset]
        arguments += ["--times", str(times), "--seed", str(truth.seed)]
        if views == 1:
            arguments += ["--fps", repr((times - 1) / float(truth.times[-1]))]
        spent = timed([sys.executable, "-m", "pipelines.video2scene4d", *arguments])
        known = {"asked": asked, "cpu_seconds": spent}
        write_json(note, known)
    capture = read_transforms(run / "capture")
    world = capture.to_source
    if views == 1:
        world = from_one_view([frame for frame in capture if frame.source is Source.OBSERVED], filmed.frames)
    report = json.loads((run / "report.json").read_text(encoding="utf-8"))
    return MovingRun(run / "mesh.glb", capture, world, report, known["cpu_seconds"])


def to_capture(glb: Path) -> Similarity:
    """From a file to the world of the pictures that it was made from; nothing where it does not say."""
    stored = load_rigged(glb).extras.get("to_capture")
    if stored is None:
        return Similarity()
    return Similarity(translation=torch.tensor(stored["translation"]), scale=float(stored["scale"]))


def _write_source(filmed: Capture, folder: Path, *, alone: bool) -> None:
    if not alone:
        write_transforms(filmed, folder)
        return
    folder.mkdir(parents=True)
    for frame in filmed:
        write_rgba(folder / f"{frame.name}.png", frame.rgba())


def from_one_view(frames: Sequence[Frame], true: Sequence[Frame]) -> Similarity:
    """From a world that was imagined around one camera's pictures to the true one, without a turn. Nobody can know size
    and distance from one view: the subject gets the size and the place that it has in the true pictures, and the origin
    its true distance.

    Args:
        frames: of one camera that looks at the origin, over time, cut to any square.
        true: the same of the true camera.
    """
    (low, high), (true_low, true_high) = (_outline(side) for side in (frames, true))
    scale = float((true_high - true_low).norm() / (high - low).norm())
    across, down = ((true_low + true_high) / 2 - scale * (low + high) / 2).tolist()
    axes = true[0].camera.c2w[:3, :3]
    return Similarity(translation=across * axes[:, 0] + down * axes[:, 1], scale=scale)


def _outline(frames: Sequence[Frame]) -> tuple[Tensor, Tensor]:
    """Corners (2,) of the box around all silhouettes, right and down from the origin, in world units there."""
    camera = frames[0].camera
    mask = torch.stack([frame.rgba()[..., 3] >= MASK_THRESHOLD for frame in frames]).any(0)
    rows, columns = mask.any(1).nonzero()[:, 0], mask.any(0).nonzero()[:, 0]
    corners = torch.tensor([[columns[0], rows[0]], [columns[-1] + 1, rows[-1] + 1]]).float()
    k = camera.intrinsics
    low, high = (corners - k[:2, 2]) / k[[0, 1], [0, 1]] * camera.centre.norm()
    return low, high
