"""Child processes that time one call at a time, so that contestants can take turns however many threads they have.

The number of threads is fixed when Numba and OpenMP are loaded; so every number has a process of its own. Run as a
module this file is such a process: requests and answers are lines of JSON.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from benchmarks._errors import BenchmarkError
from pipelines._run import kilobytes

_QUICK = 0.1
"""Seconds; quicker calls are made twice before the one that is timed."""
ROOT = Path(__file__).resolve().parent.parent


def thread_variables(threads: int) -> dict[str, str]:
    """What a process must find in its environment to work with that many threads."""
    return dict.fromkeys(("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))


class Clock:
    """A process with `threads` threads that runs what it is asked to, once, and says how long that took."""

    def __init__(self, threads: int, kernels: Path | None, reference: Path | None) -> None:
        self.threads = threads
        command = [sys.executable, "-m", "benchmarks._clock", json.dumps([_text(kernels), _text(reference)])]
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            # Passive: threads of OpenMP that wait must not spin on the cores that the next contestant works on.
            env=os.environ | thread_variables(threads) | {"OMP_WAIT_POLICY": "PASSIVE"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    def __enter__(self) -> Clock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()  # closes the pipe, which ends the child

    def ask(self, **request: Any) -> Any:
        """The answer to one request, see `answer`.

        Raises:
            BenchmarkError: if the child ended; its own message is on stderr.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        line = self._process.stdout.readline()
        if not line:
            raise BenchmarkError(f"the timing process ended while asked for {request}; its message is above")
        return json.loads(line)


def answer(request: Mapping[str, Any], found: Mapping[str, Any], ready: dict[str, Any]) -> Any:
    """What a request asks for: "names", the "fma" peak in flops a second, "memory" in bytes, or one timed call."""
    from benchmarks._flops import fma_peak
    from benchmarks._scenes import SceneSize

    kind = request["kind"]
    if kind == "names":
        return list(found)
    if kind == "fma":
        return fma_peak()
    scene = SceneSize(request["count"], request["size"])
    key = json.dumps([str(scene), request["name"], request["case"], request["backward"]])
    if key not in ready:
        for other in [other for other in ready if json.loads(other)[0] != str(scene)]:
            del ready[other]
        ready[key] = found[request["name"]](scene, request["case"], request["backward"])
    if kind == "memory":
        return _peak_memory(ready[key])
    wall = time.perf_counter()
    ready[key]()  # whoever was before has left the caches full of his own, and threads that still look for work
    if time.perf_counter() - wall < _QUICK:
        ready[key]()
    wall, cpu = time.perf_counter(), time.process_time()
    ready[key]()
    return {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}


def _peak_memory(once: Any) -> int | None:
    """Bytes by which the process grows at most while `once` runs, or None where the system does not say."""
    reset, status = Path("/proc/self/clear_refs"), Path("/proc/self/status")
    if not reset.exists():
        return None
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)  # room that the making of the scene has left free would hide what the call takes
    idle = kilobytes(status, "VmRSS")
    reset.write_text("5")  # the high-water mark starts again from what is resident now
    once()
    return 1024 * (kilobytes(status, "VmHWM") - idle)


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path.resolve())


def main() -> None:
    """Answers requests until the pipe is closed."""
    from benchmarks._contestants import contestants

    answers, sys.stdout = sys.stdout, sys.stderr  # whatever else is printed must not be taken for an answer
    kernels, reference = (None if path is None else Path(path) for path in json.loads(sys.argv[1]))
    found = contestants(kernels, reference)
    ready: dict[str, Any] = {}
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line), found, ready)), file=answers, flush=True)


if __name__ == "__main__":
    main()
