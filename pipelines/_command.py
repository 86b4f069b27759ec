"""From an exception to an exit code: what every command does with errors that a user can mend."""

from __future__ import annotations

import errno
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager

TRACEBACK = "TURNABOUT_TRACEBACK"
"""Environment variable; when set, errors come with the place in the code."""
_OURS = ("benchmarks", "gen", "pipelines", "recon")
UNTOUCHED = "the earlier run in the output folder is as it was"
"""Note on an error that came before anything of the earlier run was overwritten."""


def run_command(command: Callable[[], None], again: str = "add --resume") -> int:
    """Runs `command`; 0 when done, 2 with a message on stderr for what a user can mend, 130 for Ctrl-C.

    A user can mend `ValueError` and `OSError`, a package that is missing, a lack of memory, and a worker process that
    was ended from outside. Everything else is a mistake of ours and keeps its traceback.

    `again` says how the user goes on with what an interrupted run has finished.
    """
    try:
        command()
    except KeyboardInterrupt as stop:
        if _is_untouched(stop):
            print(f"stopped; {UNTOUCHED}", file=sys.stderr)
        else:
            print(f"stopped; what is finished is kept: to go on, {again}", file=sys.stderr)
        return 130
    except Exception as error:
        message = _explain(error, "give the same command again" if _is_untouched(error) else again)
        if message is None:
            raise
        if os.environ.get(TRACEBACK):
            traceback.print_exc()
        print(f"error: {message}", file=sys.stderr)
        return 2
    return 0


@contextmanager
def ended_as_interrupted() -> Iterator[None]:
    """Within, the signals that end programs stop as Ctrl-C does, so that nothing half-written is left: SIGTERM, and
    that of a terminal that is closed (SIGHUP), unless it is to be ignored, as `nohup` asks."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    names = ("SIGTERM", "SIGHUP")  # the latter not on Windows
    there = [getattr(signal, name) for name in names if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in there}
    heard = [number for number in there if before[number] is not signal.SIG_IGN]
    for number in heard:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number in heard:
            signal.signal(number, before[number])


def _is_untouched(error: BaseException) -> bool:
    return UNTOUCHED in getattr(error, "__notes__", ())


def _explain(error: Exception, again: str) -> str | None:
    """What to tell the user; None if only a programmer can mend it."""
    if isinstance(error, OSError) and error.errno is not None:
        return _explain_system(error, again)
    if isinstance(error, (ValueError, OSError)):
        return str(error) or type(error).__name__
    if isinstance(error, ImportError):
        package = (error.name or "").split(".")[0]
        if not package or package in _OURS:
            return None
        return f"the package {package!r} is missing or does not load ({error}); run `turnabout check`"
    if isinstance(error, RuntimeError) and str(error).startswith("Symlink loop"):  # pathlib's, before Python 3.13
        return f"{error}; name what it should lead to"
    if isinstance(error, BrokenExecutor):
        return f"a worker process was killed, mostly for want of memory; take fewer --workers and {again}"
    if _is_lack_of_memory(error):
        return f"out of memory ({str(error).splitlines()[0] if str(error) else 'no details'}); ask for less and {again}"
    return None


def _explain_system(error: OSError, again: str) -> str:
    where = f"{error.filename}: " if error.filename is not None else ""
    text = f"{where}{os.strerror(error.errno)}"  # type: ignore[arg-type]
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{text}; what is finished is kept: make room and {again}"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{text}; choose a place that you may read and write"
    return text


def _is_lack_of_memory(error: Exception) -> bool:
    """Python's and NumPy's error, and PyTorch's: one of its own on GPUs, a plain `RuntimeError` on CPUs."""
    torch = sys.modules.get("torch")  # whoever has not imported it cannot have its error
    return (
        isinstance(error, MemoryError)
        or (torch is not None and isinstance(error, torch.OutOfMemoryError))
        or (isinstance(error, RuntimeError) and "can't allocate memory" in str(error))
    )
