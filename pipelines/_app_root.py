"""The temporary folder of one run of the web app, and what is left of those of runs that were killed.

The app holds a lock on a file in its folder for as long as it lives, however it ends. So a folder whose lock can be
taken belongs to nobody any more. A number of a process would not tell: another process, or another container that
shares the folder, may have it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
from pathlib import Path
from typing import IO

PREFIX = "turnabout-app-"
LOCK = "lock"


def new_root() -> tuple[Path, IO[str]]:
    """A new, private folder, and the file that says whose it is: who closes it gives the folder up."""
    root = Path(tempfile.mkdtemp(prefix=PREFIX))
    file = (root / LOCK).open("w", encoding="ascii")
    with contextlib.suppress(ImportError, OSError):  # without locks it is empty, and the folder nobody's to sweep
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(str(os.getpid()))
        file.flush()
    return root, file


def sweep() -> None:
    """Deletes the folders that this user's killed apps have left."""
    try:
        import fcntl
    except ImportError:
        return
    for root in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            if not _is_own(root.lstat(), stat.S_IFDIR):
                continue
            with open(os.open(root / LOCK, os.O_RDWR | os.O_NOFOLLOW), "r+") as file:
                found = os.fstat(file.fileno())
                if _is_own(found, stat.S_IFREG) and found.st_size > 0:  # an empty one is about to be locked
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # an OSError if its app lives
                    shutil.rmtree(root, ignore_errors=True)


def _is_own(found: os.stat_result, kind: int) -> bool:
    return stat.S_IFMT(found.st_mode) == kind and found.st_uid == os.getuid()
