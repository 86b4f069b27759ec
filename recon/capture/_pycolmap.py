"""pycolmap, the optional package: its import, and its silence."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from recon.capture.errors import CaptureError


def import_pycolmap(error: type[CaptureError], source: Path | str) -> Any:
    """The module.

    Raises:
        CaptureError: of the given kind, if it is not installed; `source` is what asked for it.
    """
    first = "pycolmap" not in sys.modules and threading.current_thread() is threading.main_thread()
    ours = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)} if first else {}
    try:
        import pycolmap
    except ImportError as cause:
        raise error(
            source,
            found="pictures without cameras and no pycolmap to solve them",
            expected="the optional COLMAP package",
            remedy="Install it with: pip install 'turnabout[colmap]'",
        ) from cause
    for number, handler in ours.items():  # its own print a stack trace of C++ to whom ends the program
        if handler is not None:
            signal.signal(number, handler)
    return pycolmap


@contextmanager
def silenced(pycolmap: Any) -> Iterator[None]:
    """COLMAP's messages are not for the terminal; what matters is returned or raised."""
    before = pycolmap.logging.minloglevel
    pycolmap.logging.minloglevel = int(pycolmap.logging.Level.FATAL)
    try:
        yield
    finally:
        pycolmap.logging.minloglevel = before
