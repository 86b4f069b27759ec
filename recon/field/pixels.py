"""The pixels that a field is held to: of all frames, those in the masks and near them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from recon.capture import Frame, Source
from recon.field.fit_options import FieldOptions
from recon.splat.fit import visits
from recon.splat.resizing import resized, shrunk

_COVERED = 0.02
"""Alpha from which on a pixel belongs to the mask that its neighbours are asked around."""


@dataclass(frozen=True)
class Pixels:
    """P pixels, or a choice of them. Directions are of length 1, depths along them; 0 = unknown."""

    origins: Tensor  # (P, 3)
    directions: Tensor  # (P, 3)
    color: Tensor  # (P, 3) premultiplied
    alpha: Tensor  # (P,)
    weight: Tensor  # (P,)
    depth: Tensor  # (P,)

    def __len__(self) -> int:
        return len(self.origins)

    def chosen(self, index: Tensor) -> Pixels:
        """Those of some indices."""
        return Pixels(*(getattr(self, column.name)[index] for column in fields(self)))


def pixels_of(frames: Sequence[Frame], options: FieldOptions) -> tuple[Pixels, Tensor]:
    """The pixels of all frames, and (Q,) indices of those that are drawn from evenly: as in fits of splats, frames that
    were not generated make a third of what is looked at beside generated ones.

    Raises:
        ValueError: if no frame shows anything.
    """
    parts = [_pixels(frame, options) for frame in frames]
    counts = [len(part) for part in parts]
    starts = torch.tensor([0, *counts]).cumsum(0).tolist()
    if starts[-1] == 0:
        raise ValueError(f"none of the {len(frames)} frames shows an object: expected masks of one; check their alpha")
    pool = torch.cat([torch.arange(starts[number], starts[number + 1]) for number in visits(frames)])
    columns = [torch.cat([getattr(part, column.name) for part in parts]) for column in fields(Pixels)]
    return Pixels(*columns), pool


def _pixels(frame: Frame, options: FieldOptions) -> Pixels:
    camera = shrunk(frame.camera, options.max_size)
    size = (camera.height, camera.width)
    picture = resized(frame.premultiplied(), size, "area")
    weight = resized(frame.weight()[..., None], size, "area")[..., 0]
    # Generated depths disagree with each other: they only place the first surface.
    depth = None if frame.source is Source.GENERATED else frame.depth()
    depth = torch.zeros(size) if depth is None else resized(depth[..., None], size, "nearest-exact")[..., 0]
    origin, directions = camera.rays()
    reach = max(1, round(options.around * max(size)))
    shown = picture[None, ..., 3] > _COVERED
    near = torch.nn.functional.max_pool2d(shown.float(), 2 * reach + 1, 1, reach)[0] > 0
    chosen = near & (weight > 0)
    lengths = directions[chosen].norm(dim=-1)
    unit = directions[chosen] / lengths[:, None]
    colors = picture[chosen]
    along = depth[chosen] * lengths
    return Pixels(origin.expand_as(unit), unit, colors[:, :3], colors[:, 3], weight[chosen], along)
