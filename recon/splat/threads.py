"""Torch's own threads, kept out of loops over small tensors."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def one_torch_thread() -> Iterator[None]:
    """Within it, torch's operators on the processor use one thread; the kernels of the `cpu` backend use theirs.

    The operators around a drawing are too small to gain from more. Their threads spin while they wait for each other:
    where another program wants the cores, steps then take five times as long.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
