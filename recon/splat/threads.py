"""Torch's own threads, kept out of loops over small tensors."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import torch

_lock = threading.Lock()
_local = threading.local()
_inside = 0
_usual = 1


@contextlib.contextmanager
def one_torch_thread() -> Iterator[None]:
    """Within it, torch's operators on the processor use one thread; the kernels of the `cpu` backend use theirs.

    The operators around a drawing are too small to gain from more. Their threads spin while they wait for each other:
    where another program wants the cores, steps then take five times as long.

    Torch keeps the number both for each thread and for threads to come; so the first to enter notes it, and everybody
    restores that.
    """
    global _inside, _usual
    if getattr(_local, "inside", False):
        yield
        return
    with _lock:
        found = torch.get_num_threads()  # asked in any case: a new thread's first question sets its number
        if _inside == 0:
            _usual = found
        _inside += 1
    _local.inside = True
    torch.set_num_threads(1)
    try:
        yield
    finally:
        _local.inside = False
        with _lock:
            torch.set_num_threads(_usual)
            _inside -= 1
