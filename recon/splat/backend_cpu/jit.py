"""How kernels are compiled and spread over cores.

Kernels are plain serial Numba functions that release the GIL and work on one chunk of tiles or Gaussians; chunks are
handed to a small pool of Python threads. Compared with Numba's own parallel loops this compiles several times faster,
needs no threading layer (nothing to clash with the OpenMP of torch), may be called from several threads at once and
survives a fork. What a chunk computes never depends on which thread takes it, so results do not depend on the number
of threads, which is `NUMBA_NUM_THREADS` (all cores unless set).
"""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait

import numba

from recon._jit import cache_folder, compiled
from recon.splat.backend_cpu.simd import HOST_LANES, LANES

_CACHED = LANES == HOST_LANES
"""Kernels for another vector length are not kept on disk, where they could be taken for the usual ones."""
kernel = compiled(error_model="numpy", cached=_CACHED)
"""The decorator of all kernels here; the error model is IEEE division."""


def nothing_is_kept() -> bool:
    """Whether kernels are kept on disk, and none is yet."""
    folder = cache_folder() if _CACHED else None
    return folder is not None and next(folder.rglob("*.nbi"), None) is None


def all_threads() -> int:
    """Threads in all; read from Numba's settings, because asking Numba itself would start its threading layer."""
    return max(1, int(numba.config.NUMBA_NUM_THREADS))


def thread_count() -> int:
    """Threads that the calling thread may use, itself one of them: all, unless it has a share."""
    return getattr(_local, "share", None) or all_threads()


_pool: ThreadPoolExecutor | None = None
_local = threading.local()


def _forget_pool() -> None:
    global _pool
    _pool = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)


def for_each_chunk(count: int, work: Callable[[int], None]) -> None:
    """Calls `work(0) ... work(count - 1)`, each once, in any order, on all threads; returns when all are done.

    Raises:
        Exception: the first one that `work` raised.
    """
    global _pool
    helpers = min(thread_count(), count) - 1
    if helpers <= 0:
        for index in range(count):
            work(index)
        return
    tickets = itertools.count()  # next() on it is atomic under the GIL

    def drain() -> None:
        for ticket in tickets:
            if ticket >= count:
                return
            work(ticket)

    if _pool is None:
        _pool = ThreadPoolExecutor(all_threads() - 1, thread_name_prefix="splat")
    futures = [_pool.submit(drain) for _ in range(helpers)]
    try:
        drain()
    finally:
        # Also when the work here has failed: whoever called may give away what helpers still write to.
        wait([future for future in futures if not future.cancel()])
    for future in futures:
        if not future.cancelled():
            future.result()


def for_each_apart(count: int, work: Callable[[int], None]) -> None:
    """The same for work that is itself handed out in chunks: each gets a share of the threads."""
    share = max(1, thread_count() // max(1, count))

    def shared(index: int) -> None:
        before = getattr(_local, "share", None)
        _local.share = share
        try:
            work(index)
        finally:
            _local.share = before

    for_each_chunk(count, shared)
