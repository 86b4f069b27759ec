"""The web app's work: uploads wait in a queue, one at a time becomes a run of `img2mesh` or `video2mesh`.

Each run is a process of its own, so that it can be ended, and what it breaks stays its own. Everything is kept in one
temporary folder, apart for each owner, and goes after a while or with the app.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pipelines._app_root import new_root, sweep

State = Literal["waiting", "running", "done", "failed", "cancelled"]
FINISHED: tuple[State, ...] = ("done", "failed", "cancelled")
PRESETS = ("fast", "balanced", "quality")
FILES = ("mesh.glb", "splat.ply", "orbit.mp4", "preview.png", "report.json", "view.html")
"""What can be fetched of a job."""
PHOTO_STAGES = ("photo", "orbit", "video", "splat", "mesh", "preview", "page")
VIDEO_STAGES = ("frames", "cameras", "video", "splat", "mesh", "preview", "page")
_STAGE = re.compile(r"^(\w+) +([0-9.]+) s$")
_SECONDS_TO_STOP = 5.0
_SECONDS_TO_TIDY = 30.0
_log = logging.getLogger("turnabout.app")


class QueueFullError(ValueError):
    """Too many jobs wait already."""


@dataclass
class Job:
    """One upload and what becomes of it.

    Attributes:
        id: not to be guessed.
        owner: who may see it.
        name: of the uploaded file, for people.
        folder: everything of the job; `out` in it is the run folder.
        is_video: whether `video2mesh` takes it.
        seconds: of the stages that are finished.
        notes: what the run remarked.
        message: why it failed.
    """

    id: str
    owner: str
    name: str
    source: Path
    preset: str
    is_video: bool
    state: State = "waiting"
    seconds: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    message: str = ""
    finished: float | None = None
    process: subprocess.Popen[str] | None = None

    @property
    def folder(self) -> Path:
        return self.source.parent

    @property
    def out(self) -> Path:
        return self.folder / "out"

    @property
    def is_cancelled(self) -> bool:
        return self.state == "cancelled"

    def file(self, name: str) -> Path | None:
        """A file of the run that can be fetched now."""
        path = self.out / name
        return path if name in FILES and path.is_file() else None

    def as_json(self) -> dict[str, Any]:
        """What is known of it without the queue."""
        stages = VIDEO_STAGES if self.is_video else PHOTO_STAGES
        return {
            "id": self.id,
            "name": self.name,
            "state": self.state,
            "stages": [{"name": name, "seconds": self.seconds.get(name)} for name in stages],
            "notes": self.notes,
            "message": self.message,
            "files": [name for name in FILES if self.file(name)],
        }


class Jobs:
    """The queue, and one thread that works it off.

    Args:
        most_waiting: jobs that may wait at a time.
        keep: seconds that a finished job's files stay.
    """

    def __init__(self, most_waiting: int = 8, keep: float = 3600.0) -> None:
        sweep()
        self.root, self._lock_file = new_root()
        self._keep = keep
        self._most_waiting = most_waiting
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Lock()
        self._arriving = 0
        self._waiting: queue.Queue[Job | None] = queue.Queue()
        self._closed = threading.Event()
        self._worker = threading.Thread(target=self._work, daemon=True)
        self._worker.start()
        threading.Thread(target=self._tidy_by_the_clock, daemon=True).start()

    def folder_for(self, owner: str) -> Path:
        """A new, private folder for an upload of `owner`, who is a token, not a path. It goes to `submit` or `give_up`.

        Raises:
            QueueFullError: if too many jobs wait or arrive.
        """
        with self._lock:
            waiting = sum(job.state == "waiting" for job in self._jobs.values())
            if waiting + self._arriving >= self._most_waiting:
                found = f"{waiting} jobs wait and {self._arriving} uploads arrive already"
                raise QueueFullError(f"{found}, of at most {self._most_waiting} in all; try again later")
            self._arriving += 1
        (self.root / owner).mkdir(mode=0o700, exist_ok=True)
        return Path(tempfile.mkdtemp(dir=self.root / owner))

    def give_up(self, folder: Path) -> None:
        """Deletes the folder of an upload that came to nothing."""
        with self._lock:
            self._arriving -= 1
        _delete(folder)

    def submit(self, owner: str, source: Path, name: str, preset: str, *, is_video: bool) -> Job:
        """Queues an upload that lies in a folder of `folder_for`."""
        job = Job(secrets.token_urlsafe(16), owner, name, source, preset, is_video)
        with self._lock:
            self._arriving -= 1
            self._jobs[job.id] = job
        self._waiting.put(job)
        return job

    def of(self, owner: str) -> list[Job]:
        """An owner's jobs, the oldest first."""
        with self._lock:
            return [job for job in self._jobs.values() if job.owner == owner]

    def get(self, owner: str, job_id: str) -> Job | None:
        """The job, if there is one and it is the owner's."""
        job = self._jobs.get(job_id)
        return job if job is not None and job.owner == owner else None

    def place(self, job: Job) -> int | None:
        """A waiting job's place in the queue, 1 for the next; None for others."""
        with self._lock:
            waiting = [other.id for other in self._jobs.values() if other.state == "waiting"]
        return waiting.index(job.id) + 1 if job.id in waiting else None

    def as_json(self, job: Job) -> dict[str, Any]:
        """What browsers and clients are told of a job."""
        return job.as_json() | {"place": self.place(job)}

    def remove(self, job: Job) -> None:
        """Ends a job wherever it is, and deletes its files."""
        with self._lock:
            self._jobs.pop(job.id, None)
            running = job.state == "running"
            if job.state not in FINISHED:
                job.state = "cancelled"
        if running:
            _stop(job.process)  # whoever works on it deletes its files
        else:
            _delete(job.folder)

    def tidy(self) -> None:
        """Deletes what was finished long ago."""
        now = time.monotonic()
        for job in list(self._jobs.values()):
            if job.finished is not None and now - job.finished > self._keep:
                self.remove(job)

    def close(self) -> None:
        """Ends everything and deletes all files."""
        self._closed.set()
        for job in list(self._jobs.values()):
            self.remove(job)
        self._waiting.put(None)
        self._worker.join(timeout=2 * _SECONDS_TO_STOP)
        shutil.rmtree(self.root, ignore_errors=True)
        self._lock_file.close()

    def _tidy_by_the_clock(self) -> None:
        while not self._closed.wait(min(self._keep, _SECONDS_TO_TIDY)):
            self.tidy()

    def _work(self) -> None:
        while True:
            job = self._waiting.get()
            if job is None:
                return
            with self._lock:
                if job.state != "waiting":
                    continue
                job.state = "running"
            try:
                self._run(job)
            except Exception as error:  # the thread must live: whatever it was, the job failed
                job.message = job.message or f"{type(error).__name__}: {error}"
                self._finish(job, "failed")
            job.source.unlink(missing_ok=True)
            if job.is_cancelled:
                _delete(job.folder)

    def _run(self, job: Job) -> None:
        command = "pipelines.video2mesh" if job.is_video else "pipelines.img2mesh"
        arguments = [str(job.source), "-o", str(job.out), "--preset", job.preset]
        if self._call(job, command, *arguments) != 0:
            self._finish(job, "failed")
            return
        page, start = job.out / "view.html", time.monotonic()
        if self._call(job, "pipelines.view", str(job.out), "--export", str(page)) != 0:
            self._finish(job, "failed")
            return
        job.seconds["page"] = time.monotonic() - start
        self._finish(job, "done")

    def _call(self, job: Job, module: str, *arguments: str) -> int:
        """Runs a command of ours, reading what it says; its exit code."""
        with subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            encoding="utf-8", errors="replace", start_new_session=True, env=os.environ | {"COLUMNS": "1000"},
        ) as process:  # fmt: skip
            job.process = process
            if job.is_cancelled:
                _stop(process)
            for line in process.stderr or ():
                self._heard(job, line.strip())
        return process.returncode

    def _heard(self, job: Job, line: str) -> None:
        if match := _STAGE.match(line):
            job.seconds[match[1]] = float(match[2])
        elif line.startswith("note: "):
            job.notes.append(self._placeless(job, line.removeprefix("note: ")))
        elif line.startswith("error: "):
            job.message = self._placeless(job, line.removeprefix("error: "))
        elif line:
            _log.warning("%s: %s", job.id, line)

    def _placeless(self, job: Job, text: str) -> str:
        """Without the paths of this machine, also those that are cut."""
        whole = text.replace(f"{job.folder}{os.sep}", "")
        return re.sub(rf"'?{re.escape(str(self.root))}[^\s'\");]*'?", "the upload", whole)

    def _finish(self, job: Job, state: State) -> None:
        with self._lock:
            if job.state == "running":
                job.state = state
        if job.state == "failed" and not job.message:
            job.message = "it ended without saying why; the server's log may tell"
        job.finished = time.monotonic()


def _delete(folder: Path) -> None:
    """A job's folder, and its owner's if that was the last."""
    shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):
        folder.parent.rmdir()


def _stop(process: subprocess.Popen[str] | None) -> None:
    """Interrupts a process and what it started, and ends the hard way what has not listened."""
    if process is None:
        return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_SECONDS_TO_STOP)
        os.killpg(process.pid, signal.SIGKILL)
