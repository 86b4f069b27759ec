"""The run folder: named stages that read their inputs from disk and publish their outputs atomically.

A stage works in a scratch folder inside the run folder, then the names of its outputs are noted, then every output is
renamed into place, then a marker with the outputs' hashes is written. Whatever kills the process, a finished stage has
a marker that matches its files, everything else is done again, and what an unfinished stage had published is known, so
that a resumed run ends with the bytes of an unbroken one (but `timings.json`).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pipelines._command import UNTOUCHED

if TYPE_CHECKING:
    from recon.splat.gaussians import Gaussians

STATE = ".turnabout"
"""Hidden folder inside a run folder: `run.json`, one marker per finished stage, scratch space, the lock."""
TIMINGS = "timings.json"
RUNS = "runs.json"
"""In the hidden folder: names of the run folders that a run of variants made."""
PUBLISHING = "publishing.json"
"""In the hidden folder: what a stage is renaming into place, for as long as no marker says so."""


class RunFolderError(ValueError):
    """The output folder cannot be used for this run."""


class Watcher(Protocol):
    """What a run tells whoever shows it."""

    def stage_started(self, name: str) -> None: ...
    def stage_kept(self, name: str) -> None: ...
    def stage_finished(self, name: str, seconds: float) -> None: ...
    def step_started(self, name: str) -> None: ...
    def advanced(self, done: int, total: int) -> None: ...
    def warned(self, message: str) -> None: ...
    def scene_changed(self, gaussians: Gaussians) -> None: ...


@dataclass
class StageLog:
    """What a stage leaves besides its outputs: figures and warnings for the report, durations, progress."""

    watcher: Watcher
    figures: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    steps: dict[str, float] = field(default_factory=dict)

    def warn(self, message: str) -> None:
        """Keep `message` for the report and show it."""
        self.warnings.append(message)
        self.watcher.warned(message)

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time a part of the stage under `name`."""
        self.watcher.step_started(name)
        start = time.perf_counter()
        yield
        self.steps[name] = self.steps.get(name, 0.0) + time.perf_counter() - start


Work = Callable[[Path, Path, StageLog], None]
"""`work(run folder to read from, scratch folder to write to, log)`."""


@dataclass(frozen=True)
class Stage:
    """One step of a run.

    Attributes:
        name: unique in the run; the marker's file name.
        inputs: paths inside the run folder that it reads.
        outputs: paths inside the run folder that it writes, files or folders.
        settings: everything else that its bytes depend on (options, hashes of files from outside), as JSON values.
        work: writes every output into the scratch folder.
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    settings: Mapping[str, Any]
    work: Work


@dataclass(frozen=True)
class Done:
    """A finished stage's marker."""

    key: str
    outputs: dict[str, str]
    figures: dict[str, Any]
    warnings: list[str]


@dataclass
class RunFolder:
    """A folder that one run at a time fills. Made by `open_run`.

    Attributes:
        path: the folder.
        identity: what describes the run.
        stale: what lies here is of an earlier run, which is removed as soon as this one has something to put there.
    """

    path: Path
    identity: Mapping[str, Any]
    stale: bool = False

    def marker(self, stage: Stage) -> Done | None:
        """The stage's marker when it is finished: same settings, same inputs, outputs present and unharmed."""
        if self.stale:
            return None
        done = _read_marker(self.path / STATE / f"{stage.name}.json")
        if done is None or set(done.outputs) != set(stage.outputs) or done.key != self._key(stage):
            return None
        intact = all(_content_hash_or_none(self.path / name) == digest for name, digest in done.outputs.items())
        return done if intact else None

    def has_done(self, stage: Stage) -> bool:
        """Whether an earlier run of the same options, which went farther, has finished a stage."""
        return all((self.path / name).exists() for name in stage.inputs) and self.marker(stage) is not None

    def run(self, stage: Stage, watcher: Watcher) -> Done:
        """Do `stage` unless it is finished, and return its marker.

        Raises:
            RunFolderError: if an input is missing or the stage did not write one of its outputs.
        """
        done = self.marker(stage)
        if done is not None:
            watcher.stage_kept(stage.name)
            return done
        key = self._key(stage)
        watcher.stage_started(stage.name)
        start = time.perf_counter()
        log = StageLog(watcher)
        scratch = self.path / STATE / f"work-{stage.name}"
        _remove(scratch)
        scratch.mkdir()
        try:
            stage.work(self.path, scratch, log)
            done = Done(key, {name: content_hash(scratch / name) for name in stage.outputs}, log.figures, log.warnings)
            self._begin()
            publishing = self.path / STATE / PUBLISHING
            write_json(publishing, {"stage": stage.name, "outputs": list(stage.outputs)})
            (self.path / STATE / f"{stage.name}.json").unlink(missing_ok=True)
            for name in stage.outputs:
                _publish(scratch / name, self.path / name)
            write_json(self.path / STATE / f"{stage.name}.json", vars(done))
            publishing.unlink()
        finally:
            _remove(scratch)
        seconds = time.perf_counter() - start
        self._note_time(stage.name, seconds, log.steps)
        watcher.stage_finished(stage.name, seconds)
        return done

    def announce(self, names: Sequence[str]) -> None:
        """Notes that the folders `names` in here are runs of their own, made by this one and overwritten with it."""
        self._begin()
        write_json(self.path / STATE / RUNS, {"runs": list(names)})

    def _begin(self) -> None:
        """Makes the folder this run's own."""
        if self.stale:
            _clear(self.path)
            write_json(self.path / STATE / "run.json", self.identity)
            self.stale = False

    def _key(self, stage: Stage) -> str:
        inputs = {name: content_hash(self.path / name) for name in stage.inputs}
        parts = {"stage": stage.name, "settings": stage.settings, "inputs": inputs}
        return hashlib.sha256(to_json(parts).encode()).hexdigest()

    def _note_time(self, name: str, seconds: float, steps: Mapping[str, float]) -> None:
        path = self.path / TIMINGS
        read = _read_json(path)
        timings = read if isinstance(read, dict) and isinstance(read.get("stages"), dict) else {}
        stages = timings.get("stages", {})
        stages[name] = {"seconds": round(seconds, 3), "steps": {k: round(v, 3) for k, v in steps.items()}}
        timings["stages"] = stages
        timings["total_seconds"] = round(sum(entry["seconds"] for entry in stages.values()), 3)
        peak = peak_memory_mib()
        if peak is not None:
            timings["peak_memory_mib"] = max(peak, timings.get("peak_memory_mib", 0))
        write_json(path, timings)


@contextlib.contextmanager
def open_run(
    path: Path, identity: Mapping[str, Any], *, resume: bool = False, overwrite: bool = False
) -> Iterator[RunFolder]:
    """Claim `path` for a run that `identity` (options, seed, hashes of inputs; JSON values) describes.

    A run that ends with an error before it published anything leaves the place as it was, an earlier run that it was to
    overwrite included, so that the same command can be given again once the fault is mended. Only a run of runs
    (`announce`) is overwritten at once.

    Raises:
        RunFolderError: if the folder has content and neither `resume` nor `overwrite` is given, if `resume` meets
            another identity, if `overwrite` meets a folder that no run made, or if another run is using it.
        OSError: if the folder cannot be made or written.
    """
    if path.exists() and not path.is_dir():
        raise RunFolderError(f"{path}: the output must be a folder, found a file; choose another -o")
    record = path / STATE / "run.json"
    if not record.exists() and path.is_dir() and any(child.name != STATE for child in path.iterdir()):
        raise RunFolderError(f"{path}: the folder has files that no run of ours made; choose another or an empty -o")
    existed = path.exists()
    (path / STATE).mkdir(parents=True, exist_ok=True)
    with _locked(path / STATE / "lock", path):
        started = record.exists()
        if started and not resume and not overwrite:
            raise RunFolderError(
                f"{path}: holds a run already; add --resume to go on with it or --overwrite to start anew"
            )
        if started and not overwrite:
            _refuse_other_identity(path, _read_json(record), json.loads(to_json(identity)))
            _withdraw_unmarked(path)
        try:
            for leftover in (*(path / STATE).glob("work-*"), *(path / STATE).glob("*.part"), *path.glob("*.json.part")):
                _remove(leftover)
            if not started:
                write_json(record, identity)
            folder = RunFolder(path, identity, stale=started and overwrite)
            yield folder
        except BaseException as error:
            if started and overwrite and folder.stale:
                error.add_note(UNTOUCHED)
            if not started and all(child.name == STATE for child in path.iterdir()):
                _leave(path, existed)
            raise


def content_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, or of a folder's relative file names and their hashes.

    Raises:
        RunFolderError: if there is nothing at `path`.
    """
    if path.is_dir():
        return files_digest(path, [file for file in path.rglob("*") if file.is_file()])
    if not path.is_file():
        raise RunFolderError(f"{path}: expected a file or a folder, found nothing; start the run anew")
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def files_digest(folder: Path, files: Iterable[Path]) -> str:
    """SHA-256 of files inside a folder: of their paths there and their contents, not of their order."""
    digest = hashlib.sha256()
    for name, file in sorted({file.relative_to(folder).as_posix(): file for file in files}.items()):
        digest.update(f"{name}\0{content_hash(file)}\n".encode("utf-8", "surrogateescape"))  # names may be any bytes
    return digest.hexdigest()


def to_json(value: Any) -> str:
    """Readable JSON with a stable order: equal values give equal bytes."""
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def write_json(path: Path, value: Any) -> None:
    """Write `value` atomically."""
    temporary = path.with_name(path.name + ".part")
    try:
        temporary.write_text(to_json(value), encoding="utf-8")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def peak_memory_mib() -> int | None:
    """The largest resident size of this process so far, or None where the system does not say."""
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1024 * 1024 if sys.platform == "darwin" else 1024))


def kilobytes(status: Path, name: str) -> int:
    """A figure of `/proc/self/status`."""
    return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith(name + ":"))


def _content_hash_or_none(path: Path) -> str | None:
    return content_hash(path) if path.exists() else None


def _publish(source: Path, target: Path) -> None:
    """Rename `source` to `target`, replacing what is there; folders on the way are made."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_dir():  # a folder cannot be replaced by a rename: step the old one aside first
        aside = source.with_name(source.name + ".old")
        os.replace(target, aside)
        os.replace(source, target)
        _remove(aside)
    else:
        os.replace(source, target)


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, UnicodeDecodeError, json.JSONDecodeError):
        return None


def _read_marker(path: Path) -> Done | None:
    value = _read_json(path)
    return Done(**value) if isinstance(value, dict) and set(value) == set(Done.__dataclass_fields__) else None


def _refuse_other_identity(path: Path, found: Any, asked: Any) -> None:
    if found == asked:
        return
    before, now = _flatten(found), _flatten(asked)
    changes = [
        f"{key}: the run has {before.get(key)!r}, asked for {now.get(key)!r}"
        for key in sorted(before.keys() | now.keys())
        if before.get(key) != now.get(key)
    ]
    raise RunFolderError(
        f"{path}: cannot resume, this is another run ({'; '.join(changes)}); "
        "give the same options and files, another -o, or --overwrite"
    )


def _flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(value, dict):
        return {k: v for key, item in value.items() for k, v in _flatten(item, f"{prefix}{key}.").items()}
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        return {k: v for i, item in enumerate(value) for k, v in _flatten(item, f"{prefix}{i}.").items()}
    return {prefix.rstrip("."): value}


def _clear(path: Path) -> None:
    """Remove what earlier runs published here, and nothing else. `run.json`, the sign of a run, stays."""
    state = path / STATE
    _withdraw_unmarked(path)
    for name in (_read_json(state / RUNS) or {}).get("runs", ()):
        if _is_inside(path, name) and (path / name / STATE / "run.json").exists():
            _clear(path / name)
            if all(child.name == STATE for child in (path / name).iterdir()):
                _remove(path / name)
    for marker in state.glob("*.json"):
        done = _read_marker(marker)
        for name in done.outputs if done else ():
            if _is_inside(path, name):
                _remove(path / name)
    (path / TIMINGS).unlink(missing_ok=True)
    for marker in state.glob("*.json"):
        if marker.name != "run.json":
            marker.unlink()


def _leave(path: Path, existed: bool) -> None:
    """Take the bookkeeping of a run that published nothing away, and the folder unless it `existed` before."""
    with contextlib.suppress(OSError):  # Windows keeps the lock's file while it is held; without run.json it is no run
        (path / STATE / "run.json").unlink(missing_ok=True)
        _remove(path / STATE)
        if not existed:
            path.rmdir()


def _withdraw_unmarked(path: Path) -> None:
    """Remove what a stage had published when it was killed, before its marker was written."""
    record = path / STATE / PUBLISHING
    found = _read_json(record)
    if isinstance(found, dict) and not (path / STATE / f"{found.get('stage')}.json").exists():
        for name in found.get("outputs", ()):
            if _is_inside(path, name):
                _remove(path / name)
    record.unlink(missing_ok=True)


def _is_inside(path: Path, name: str) -> bool:
    """Whether a state file's `name` is something that a run may have published in `path`."""
    whole, target = path.resolve(), (path / name).resolve()
    return whole in target.parents and STATE not in target.relative_to(whole).parts


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def _locked(lock: Path, folder: Path) -> Iterator[None]:
    """Hold an advisory lock that the system drops when the process dies."""
    with lock.open("a+b") as stream:
        try:
            if sys.platform == "win32":
                import msvcrt

                msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)
            else:
                import fcntl

                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RunFolderError(
                f"{folder}: another run is using this folder; wait for it or choose another -o"
            ) from error
        yield
