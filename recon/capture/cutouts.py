"""Silhouettes for captures that have none: a turntable's pictures are opaque, and a reconstruction needs outlines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from recon.capture.errors import PhotoError
from recon.capture.matte import clean_colours
from recon.capture.matting import find_foreground
from recon.capture.photo import Photo
from recon.capture.types import Capture, Frame


@dataclass(frozen=True)
class Cutouts:
    """What `cut_out` did to a capture.

    Attributes:
        capture: the frames that can be used, in their order.
        found: names of the frames whose subject was looked for and found.
        refused: the frames that are left out, each with the reason.
    """

    capture: Capture
    found: tuple[str, ...]
    refused: dict[str, str]


def cut_out(
    capture: Capture, progress: Callable[[int, int], None] = lambda done, total: None, weights: Path | None = None
) -> Cutouts:
    """Gives every frame that is opaque all over a matte of its subject (`find_foreground`); others stay as they are.

    Args:
        progress: told (frames done, frames in all).
        weights: of a segmentation network (ONNX); GrabCut finds the subject without.

    Raises:
        PhotoError: if no frame is left, the first one's reason.
    """
    frames, found = [], []
    errors: dict[str, PhotoError] = {}
    for index, frame in enumerate(capture):
        progress(index, len(capture))
        rgba = frame.rgba()
        if bool((rgba[..., 3] > 0.5).all()):
            try:
                frame = _cut_out(frame, rgba, weights)
            except PhotoError as error:
                errors[frame.name] = error
                continue
            found.append(frame.name)
        frames.append(frame)
    if not frames:
        raise next(iter(errors.values()))
    refused = {name: f"{error.found}; expected {error.expected}" for name, error in errors.items()}
    return Cutouts(Capture(tuple(frames), capture.to_source), tuple(found), refused)


def with_matte(rgb: Tensor, alpha: Tensor) -> Tensor:
    """(H, W, 4) straight alpha: colours (H, W, 3) in [0, 1], cleaned of the backdrop along the matte (H, W)."""
    colours = clean_colours(rgb.numpy(), alpha.numpy())
    return torch.cat((torch.from_numpy(colours), alpha[..., None]), dim=-1)


def _cut_out(frame: Frame, rgba: Tensor, weights: Path | None) -> Frame:
    rgb = (rgba[..., :3] * 255).round().to(torch.uint8)
    matte = (find_foreground(Photo(Path(frame.name), rgb), weights) * 255).round().to(torch.uint8)
    return replace(frame, load_rgba=lambda: with_matte(frame.rgba()[..., :3], matte.float() / 255))
