"""One object through the methods, in a process of its own: figures, pictures and meshes go to a scratch folder."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pipelines._run import kilobytes, peak_memory_mib, to_json
from pipelines.evaluation.methods import Chain, Rows
from pipelines.evaluation.outside import MESH, Outside
from pipelines.evaluation.protocol import (
    EvaluationError,
    PathName,
    counted_views,
    draw_views,
    object_seed,
    path_cameras,
)
from pipelines.evaluation.scoring import Scores, Truth, finite, score
from pipelines.evaluation.sets import open_set
from pipelines.evaluation.subject import Answer, Method, Subject, Timer

SCORES = "scores.json"
"""What every method leaves of an object, beside the numbered views and `MESH` of what is generated."""


@dataclass(frozen=True)
class Bench:
    """What all jobs of an evaluation share; plain values, as they travel to other processes.

    Attributes:
        folder: of the set.
        training: of the set whose training objects baselines remember.
        training_digest: of that set.
        path, size: of the views.
        chain: of the generator and the reconstructor.
        wanted: which of "views" and "meshes" are measured.
        outside: methods from elsewhere, by name.
        lpips: the user's weights, or None.
        commit: of this program.
    """

    folder: Path
    training: Path
    training_digest: str
    path: PathName
    size: int
    chain: Chain
    wanted: frozenset[str]
    outside: dict[str, Outside]
    lpips: Path | None
    commit: str


@dataclass(frozen=True)
class Job:
    """An object, the names of the methods that it has still to go through, and where what they leave goes."""

    object_id: str
    methods: tuple[str, ...]
    scratch: Path


@dataclass(frozen=True)
class Found:
    """What a method left of an object: seconds by step, the memory it took, and what went wrong."""

    object_id: str
    method: str
    folder: Path
    steps: dict[str, float]
    peak_memory_mib: int | None
    warnings: list[str]


class Worker:
    """Does jobs one after the other; the weights and the set stay open in between."""

    def __init__(self, bench: Bench) -> None:
        torch.set_num_threads(1)  # the same arithmetic however many processes share the machine
        self._bench = bench
        self._set = open_set(bench.folder)
        training = self._set if bench.training == bench.folder else open_set(bench.training)
        self._rows = Rows(self._set, training, bench.training_digest, bench.path, bench.size, bench.chain, bench.wanted)
        self._cameras = path_cameras(bench.path, bench.size)
        self._lpips = None
        if bench.lpips is not None:
            from recon.metrics.lpips import load_lpips

            self._lpips = load_lpips(bench.lpips)

    def do(self, job: Job) -> list[Found]:
        """Every method of the job, in turn.

        Raises:
            EvaluationError: if a figure is no number.
        """
        mesh, seed = self._set.mesh(job.object_id), object_seed(job.object_id)
        subject = Subject(job.object_id, self._cameras, draw_views(mesh, self._cameras), seed)
        truth = Truth.of(mesh, seed=seed) if "meshes" in self._bench.wanted else Truth(None, None)
        return [self._one(name, subject, truth, job.scratch / slug(name)) for name in job.methods]

    def _method(self, name: str) -> Method:
        if name in self._bench.outside:
            return self._bench.outside[name].method(self._bench.wanted)
        return self._rows.method(name)

    def _one(self, name: str, subject: Subject, truth: Truth, folder: Path) -> Found:
        method = self._method(name)
        timer = Timer()
        _forget_peak()
        with timer.step("total"):
            answer = _attempt(method, subject, timer)
        peak = _peak()
        scores = score(method, answer, subject, truth, timer, self._lpips)
        if not finite(scores):
            raise EvaluationError(f"{subject.id}, {name}: a figure is not a number: {scores}")
        warnings = [f"{subject.id}, {name}: {text}" for text in timer.warnings]
        self._leave(folder, method, answer, scores)
        return Found(subject.id, name, folder, timer.steps, peak, warnings)

    def _leave(self, folder: Path, method: Method, answer: Answer, scores: Scores) -> None:
        from recon.asset.gltf import write_glb
        from recon.capture.images import write_rgba

        folder.mkdir(parents=True)
        record = {"commit": self._bench.commit, "notes": answer.notes, "scores": _rounded(scores)}
        (folder / SCORES).write_text(to_json(record), encoding="utf-8")
        if method.kind != "generated":
            return
        if answer.views is not None and "views" in method.makes:
            for index, view in zip(counted_views(len(self._cameras), method.context), answer.views):
                write_rgba(folder / f"{index:03d}.png", view)
        if answer.mesh is not None and "meshes" in method.makes:
            write_glb(answer.mesh, folder / MESH, size=None, origin="keep", name=method.name)


def read_scores(folder: Path) -> dict[str, Any]:
    """What `Worker` wrote: "commit", "notes" and "scores"."""
    record: dict[str, Any] = json.loads((folder / SCORES).read_text(encoding="utf-8"))
    return record


def slug(name: str) -> str:
    """A method's name in file names."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", name)


def _attempt(method: Method, subject: Subject, timer: Timer) -> Answer:
    """The answer; an empty one where the method gives up."""
    try:
        return method.answers(subject, timer)
    except ValueError as error:
        timer.warnings.append(str(error))
        return Answer()


def _forget_peak() -> None:
    """Start the high-water mark of this process's memory anew, where the system can (Linux)."""
    reset = Path("/proc/self/clear_refs")
    if reset.exists():
        reset.write_text("5")


def _peak() -> int | None:
    """MiB that this process held at most since `_forget_peak`, or since its start where that is not known."""
    status = Path("/proc/self/status")
    if not status.exists():
        return peak_memory_mib()
    return round(kilobytes(status, "VmHWM") / 1024)


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return round(value, 5) if isinstance(value, float) else value


_worker: Worker | None = None


def start_worker(bench: Bench) -> None:
    """Makes this process ready for `do_job`."""
    global _worker
    _worker = Worker(bench)


def do_job(job: Job) -> list[Found]:
    """`Worker.do` in a process that `start_worker` made ready."""
    assert _worker is not None
    return _worker.do(job)
