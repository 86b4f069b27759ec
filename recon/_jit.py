"""How every kernel of ours is compiled: by Numba on its first call, and kept on disk for the next process.

Compiled code is cached beside the sources, or in the user's cache folder where the sources cannot be written to. Numba
itself would only notice that a kernel's own file has changed, not one that the kernel inlines or takes a constant from,
and code of two versions that disagree about where things stand in an array destroys memory. So the cache's folder is
named after the contents of all files that kernels are made of.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import filelock
import numba

_PACKAGE = Path(__file__).resolve().parent
_PATIENCE = 30.0  # seconds
_SOURCES = ("_jit.py", "splat/backend_torch*.py", "splat/backend_cpu/*.py", "*/_*kernels.py")


def compiled(*, cached: bool = True, **options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A decorator: the function compiled without the GIL, with a cache on disk where one can be kept.

    Args:
        cached: whether to keep it on disk.
        options: further ones of `numba.njit`, such as `fastmath` or `inline`.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        folder = cache_folder() if cached else None
        if folder is not None:
            with contextlib.suppress(RuntimeError), _numba_caches_in(folder):  # it cannot write there after all
                return _saved_alone(numba.njit(cache=True, nogil=True, **options)(function), folder)
        return numba.njit(nogil=True, **options)(function)

    return decorate


def _saved_alone(dispatcher: Any, folder: Path) -> Any:
    """The function, whose compiled versions are saved under a lock.

    Numba reads a function's index, chooses a file by it, writes the index and then the file. Two processes that do so
    at once with two versions of a function can leave an index that names one and a file that holds the other.
    """
    file = getattr(dispatcher._cache, "_cache_file", None)
    if file is not None:
        save = file.save

        def save_alone(key: Any, data: Any) -> None:
            # Not saved where it cannot be locked: the next process compiles again.
            cannot = OSError, NotImplementedError, filelock.Timeout
            with contextlib.suppress(*cannot), filelock.FileLock(folder / "saving.lock", timeout=_PATIENCE):
                save(key, data)

        file.save = save_alone
    return dispatcher


@functools.cache
def cache_folder() -> Path | None:
    """Where this version's compiled kernels are kept; None where nothing can be written."""
    digest = hashlib.sha256()
    for path in sorted(path for pattern in _SOURCES for path in _PACKAGE.glob(pattern)):
        digest.update(path.name.encode() + path.read_bytes())
    if numba.config.CACHE_DIR:
        parents = [Path(numba.config.CACHE_DIR)]
    else:
        user = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        parents = [_PACKAGE / "__pycache__", Path(user) / "turnabout"]
    for parent in parents:
        folder = parent / f"kernels-{digest.hexdigest()[:12]}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                return folder
        except OSError:
            continue
    return None


@contextlib.contextmanager
def _numba_caches_in(folder: Path) -> Iterator[None]:
    """Numba reads the setting when a function is decorated; other people's functions keep theirs."""
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(folder)
    try:
        yield
    finally:
        numba.config.CACHE_DIR = before
