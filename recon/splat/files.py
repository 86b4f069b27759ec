"""What readers and writers of splat files share: the error, the check of what was read, files that appear whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from recon.capture.errors import CaptureError
from recon.splat.gaussians import Gaussians


class SplatsError(CaptureError):
    """A file of splats that cannot be read, or Gaussians that a format cannot hold."""


def require_finite(gaussians: Gaussians, path: Path) -> Gaussians:
    """The same Gaussians.

    Raises:
        SplatsError: if there is NaN or infinity among them, or a quaternion of length 0.
    """
    good = (gaussians.quats != 0).any(1)
    for tensor in gaussians.tensors():
        good = good & torch.isfinite(tensor if tensor.ndim > 1 else tensor[:, None]).flatten(1).all(1)
    if not good.all():
        raise SplatsError(
            path,
            found=f"{int((~good).sum())} Gaussians with NaN, infinity or no rotation",
            expected="finite values",
            remedy="Remove those Gaussians in a splat editor.",
        )
    return gaussians


def require_bytes(needed: int, available: int, path: Path) -> None:
    """To be called before memory is taken for what a header promises.

    Raises:
        SplatsError: if more is promised than the file holds.
    """
    if needed > available:
        raise SplatsError(
            path,
            found=f"{available} bytes after the header",
            expected=f"{needed} bytes",
            remedy="The file is cut off or its header lies; fetch it again.",
        )


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary name beside `path` that becomes `path` when the block ends well, and vanishes when it does not.
    Errors name `path`, which is what the user asked for."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        if str(error.filename) == str(temporary):
            error.filename, error.filename2 = str(path), None
        raise
    finally:
        temporary.unlink(missing_ok=True)
