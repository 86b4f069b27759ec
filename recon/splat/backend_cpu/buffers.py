"""Memory that one drawing hands on to the next.

The system clears memory page by page when it is first written, which for a small picture takes a third as long as
drawing it. So what the kernels work in and what they return comes from here, and comes back by itself.
"""

from __future__ import annotations

import math
import os
import threading
import weakref
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

_MOST_KEPT = 1 << 28
"""Bytes that are kept for later, at most."""
_SMALLEST = 1 << 12
_LINE = 64
"""Bytes of a cache line, where arrays begin: records and rows of gradients are as long, and would else lie in two."""


class _Block(NamedTuple):
    memory: memoryview
    offset: int  # of the first cache line
    size: int


_free: dict[int, list[_Block]] = {}
_lent: dict[int, tuple[weakref.ref[np.ndarray], _Block]] = {}
"""What is in use: references by which its end is noticed, and by their identity, because arrays cannot be keys. (A
weakref.finalize for each would do the same, and take as long as a small kernel.)"""
_kept = 0
_lock = threading.RLock()
"""May be taken twice by one thread: the collector of cycles gives memory back at any allocation, also at one here."""


def _renew_lock() -> None:
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    # Another thread may have held it at the fork, and is not there any more to give it back.
    os.register_at_fork(after_in_child=_renew_lock)


def empty(count: int, dtype: type[np.generic]) -> np.ndarray:
    """(count,) entries of any content. Their memory is used again when neither the array nor a view of it is left."""
    global _kept
    wanted = count * np.dtype(dtype).itemsize
    size = _rounded_up(wanted) + _LINE
    with _lock:
        shelf = _free.get(size)
        block = shelf.pop() if shelf else None
        if block is not None:
            _kept -= size
    if block is None:
        memory = np.empty(size, np.uint8)
        block = _Block(memory.data, -memory.ctypes.data % _LINE, size)
    # Not an array over the block but one over its buffer: views of it then keep itself alive, and not just the block.
    array = np.frombuffer(block.memory, dtype, count, offset=block.offset)
    reference = weakref.ref(array, _give_back)
    _lent[id(reference)] = reference, block
    return array


def empty_tensor(*shape: int) -> Tensor:
    """The same as a float32 tensor."""
    return torch.from_numpy(empty(math.prod(shape), np.float32)).view(shape)


def _give_back(reference: weakref.ref[np.ndarray]) -> None:
    global _kept
    _, block = _lent.pop(id(reference))
    with _lock:
        if _kept + block.size <= _MOST_KEPT:
            _kept += block.size
            _free.setdefault(block.size, []).append(block)


def _rounded_up(size: int) -> int:
    """The next power of two, or three quarters of it where that is enough."""
    power = 1 << max(size - 1, _SMALLEST - 1).bit_length()
    return power * 3 // 4 if size <= power * 3 // 4 else power
