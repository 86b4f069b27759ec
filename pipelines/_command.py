"""From an exception to an exit code: what every command does with errors that a user can mend."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Callable

TRACEBACK = "TURNABOUT_TRACEBACK"
"""Environment variable; when set, errors come with the place in the code."""


def run_command(command: Callable[[], None], again: str = "add --resume") -> int:
    """Runs `command`; 0 when done, 2 with a message on stderr for `ValueError` and `OSError`, 130 for Ctrl-C.

    `again` says how the user goes on with what an interrupted run has finished.
    """
    try:
        command()
    except KeyboardInterrupt:
        print(f"stopped; what is finished is kept: to go on, {again}", file=sys.stderr)
        return 130
    except (ValueError, OSError) as error:
        if os.environ.get(TRACEBACK):
            traceback.print_exc()
        print(f"error: {_explain(error, again)}", file=sys.stderr)
        return 2
    return 0


def _explain(error: ValueError | OSError, again: str) -> str:
    if not isinstance(error, OSError) or error.errno is None:
        return str(error) or type(error).__name__
    where = f"{error.filename}: " if error.filename is not None else ""
    text = f"{where}{os.strerror(error.errno)}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{text}; what is finished is kept: make room and {again}"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{text}; choose a place that you may read and write"
    return text
