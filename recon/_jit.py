"""How every kernel of ours is compiled: by Numba on its first call, and kept on disk for the next process.

Compiled code is cached beside the sources, or in the user's cache folder where the sources cannot be written to. Numba
looks at the kernel's own file only: after an edit of a helper that kernels of another file inline, delete
`__pycache__`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba


def compiled(*, cached: bool = True, **options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A decorator: the function compiled without the GIL, with a cache on disk where one can be kept.

    Args:
        cached: whether to keep it on disk.
        options: further ones of `numba.njit`, such as `fastmath` or `inline`.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        try:
            return numba.njit(cache=cached, nogil=True, **options)(function)
        except RuntimeError:  # neither the package nor the user's cache folder can be written to
            return numba.njit(nogil=True, **options)(function)

    return decorate
