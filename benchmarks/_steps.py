"""Times the steps of a fit for `benchmarks.fit`: the one loop that every fit uses, on a scene of a fixed size.

Run as a module it is a process with a number of threads of its own, which prints its measurements as JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median
from typing import Literal, cast

import torch

from benchmarks._clock import ROOT
from benchmarks._errors import BenchmarkError
from benchmarks._scenes import SceneSize, shell, views
from recon.capture import Capture, Similarity, Source, frame_from_tensors
from recon.capture.camera import OBJECT_RADIUS
from recon.splat.fit import fit_gaussians
from recon.splat.fit_options import FIT_PRESETS, FitOptions
from recon.splat.rasterize import rasterize

Start = Literal["points", "shell"]
"""Where timed fits start: on the pictures' visual hull, as the peer does too, or as the shell itself. The hull's
Gaussians are as wide as the gaps between them, on average the wider the larger the pictures; the shell's are 2 to 6
pixels, as those of fits that have been under way for a while are."""
VIEWS = 24
_SETTLING = 10  # first steps that do not count: memory is found, caches fill


@dataclass(frozen=True)
class StepTimes:
    """Attributes:
    wall: median seconds a step.
    cpu: median CPU seconds a step, all threads.
    """

    wall: float
    cpu: float


def step_options(scene: SceneSize, steps: int) -> FitOptions:
    """Colours of four harmonics, as the peer is asked to fit them; Gaussians are neither added nor moved."""
    return replace(
        FIT_PRESETS["views"],
        iterations=steps,
        initial_gaussians=scene.count,
        max_gaussians=scene.count,
        pixels_per_gaussian=1e-3,
        max_size=scene.size,
        sh_degree=1,
        renew_every=steps + 1,
    )


_SHRINK = Similarity(scale=OBJECT_RADIUS)
"""The shell into the unit-diameter sphere."""


def shell_capture(scene: SceneSize) -> Capture:
    """Pictures of the synthetic shell, shrunk into the unit-diameter sphere."""
    gaussians = shell(scene).transform(_SHRINK)
    frames = []
    for index, camera in enumerate(views(scene, VIEWS)):
        moved = camera.moved(_SHRINK.rotation, _SHRINK.translation, _SHRINK.scale)
        with torch.no_grad():
            drawn = rasterize(gaussians, [moved], geometry=False)
        alpha = drawn.alpha[0, ..., None]
        straight = (drawn.rgb[0] / alpha.clamp_min(1e-6)).clamp(0, 1)
        rgba = torch.cat((straight, alpha), dim=-1)
        frames.append(frame_from_tensors(moved, rgba, source=Source.RENDERED, name=f"view_{index:02d}"))
    return Capture(tuple(frames))


def time_steps(scene: SceneSize, steps: int, start: Start) -> StepTimes:
    """Medians over the steps of one fit, in this process; those that are taken at once share their time evenly."""
    options = step_options(scene, steps + _SETTLING)
    wall, cpu = [], []

    def watch(done: int, _: object) -> None:
        if done >= _SETTLING and done % options.steps_at_once == 0:
            wall.append(time.perf_counter())
            cpu.append(time.process_time())

    given = shell(scene, sh_degree=options.sh_degree).transform(_SHRINK) if start == "shell" else None
    fit_gaussians(shell_capture(scene), options, watch=watch, start=given)
    return StepTimes(*(median(b - a for a, b in pairwise(times)) / options.steps_at_once for times in (wall, cpu)))


def time_steps_apart(scene: SceneSize, steps: int, start: Start, threads: int) -> StepTimes:
    """The same in a process with so many threads.

    Raises:
        BenchmarkError: if that process fails; its message is on stderr.
    """
    variables = dict.fromkeys(("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
    command = [sys.executable, "-m", "benchmarks._steps", *map(str, (scene.count, scene.size, steps)), start]
    run = subprocess.run(command, cwd=ROOT, env=os.environ | variables, stdout=subprocess.PIPE, text=True)
    if run.returncode != 0:
        raise BenchmarkError(f"timing {scene} ended with exit code {run.returncode}; the message is above")
    return StepTimes(**json.loads(run.stdout.splitlines()[-1]))


if __name__ == "__main__":
    *numbers, start = sys.argv[1:]
    count, size, steps = map(int, numbers)
    print(json.dumps(vars(time_steps(SceneSize(count, size), steps, cast(Start, start)))))
