"""Commands of ours, run as a user runs them, and the processor time that they take."""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Sequence

from benchmarks._clock import ROOT
from benchmarks._errors import BenchmarkError

_MENDABLE = 2
"""Exit code of what a user can mend."""


def timed(command: Sequence[str]) -> float:
    """Processor seconds of a command.

    Raises:
        ValueError: if it refuses what it is given; its last line.
        BenchmarkError: if it fails.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode == _MENDABLE:
        raise ValueError(done.stderr.strip().splitlines()[-1])
    if done.returncode:
        raise BenchmarkError(f"{' '.join(command)}: failed\n{done.stderr[-2000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
