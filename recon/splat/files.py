"""What readers and writers of scenes share: the error, checks of what is read, tensors, files that appear whole."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

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


def read_tensors(path: Path, kind: str, names: Sequence[str], most_bytes: int) -> dict[str, Tensor]:
    """The named tensors of a safetensors file whose metadata say that it is of a kind.

    Raises:
        ValueError: if it is not, is larger than that, damaged, or has not all of them; without the file's name.
        OSError: if it cannot be opened.
    """
    from safetensors import SafetensorError, safe_open

    if path.stat().st_size > most_bytes:
        raise ValueError(f"more than {most_bytes >> 30} GiB")
    try:
        with safe_open(path, "pt") as file:
            if (file.metadata() or {}).get("format") != kind:
                raise ValueError("another file of tensors")
            return {name: file.get_tensor(name) for name in names}
    except SafetensorError as error:
        raise ValueError(str(error)) from error


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
