"""`video2scene4d` run on a known clip, and where what it makes lies in the clip's own world."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks._clock import ROOT
from benchmarks._errors import BenchmarkError
from benchmarks._moving_truth import MovingTruth, capture_of, given_cameras
from benchmarks._results import write_json
from pipelines._options import PresetName
from recon.capture import Capture, Frame, Similarity
from recon.capture.images import write_rgba
from recon.capture.io_nerfstudio import read_transforms, write_transforms
from recon.surface.loading import box_in_sphere
from recon.surface.rigged import load_rigged

_MENDABLE = 2
"""Exit code of what a user can mend."""


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
    source, run, note = folder / "source", folder / "run", folder / "run.json"
    times = len(truth.times)
    asked = {"views": views, "size": size, "preset": preset, "times": times, "seed": truth.seed}
    known = json.loads(note.read_text(encoding="utf-8")) if note.exists() else {}
    if known.get("asked") != asked:
        shutil.rmtree(source, ignore_errors=True)
        _write_source(truth, source, views, size)
        arguments = [str(source), "-o", str(run), "--overwrite", "--export", "skin", "--preset", preset]
        arguments += ["--times", str(times), "--seed", str(truth.seed)]
        if views == 1:
            arguments += ["--fps", repr((times - 1) / float(truth.times[-1]))]
        spent = _timed([sys.executable, "-m", "pipelines.video2scene4d", *arguments])
        known = {"asked": asked, "cpu_seconds": spent}
        write_json(note, known)
    capture = read_transforms(run / "capture")
    world = _fitted(run / "mesh.glb", truth) if views == 1 else capture.to_source
    report = json.loads((run / "report.json").read_text(encoding="utf-8"))
    return MovingRun(run / "mesh.glb", capture, world, report, known["cpu_seconds"])


def to_capture(glb: Path) -> Similarity:
    """From a file to the world of the pictures that it was made from; nothing where it does not say."""
    stored = load_rigged(glb).extras.get("to_capture")
    if stored is None:
        return Similarity()
    return Similarity(translation=torch.tensor(stored["translation"]), scale=float(stored["scale"]))


def _write_source(truth: MovingTruth, folder: Path, views: int, size: int) -> None:
    capture = capture_of(truth, given_cameras(views, size))
    if views > 1:
        write_transforms(capture, folder)
        return
    folder.mkdir(parents=True)
    for frame in capture:
        write_rgba(folder / f"{frame.name}.png", frame.rgba())


def _fitted(glb: Path, truth: MovingTruth) -> Similarity:
    """From the capture's world to the truth's, by the rule that made the truth's: nobody can know size and place from
    one view. It does not turn."""
    rigged = load_rigged(glb)
    still = not rigged.clips
    poses = [rigged.mesh.vertices if still else rigged.vertices_at(0, time) for time in truth.times.tolist()]
    return box_in_sphere(torch.cat(poses), str(glb)).compose(to_capture(glb).inverse())


def _timed(command: list[str]) -> float:
    """Processor seconds of a command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode == _MENDABLE:
        raise ValueError(done.stderr.strip().splitlines()[-1])
    if done.returncode:
        raise BenchmarkError(f"{' '.join(command)}: failed\n{done.stderr[-2000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
