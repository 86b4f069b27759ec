"""Moves a capture so that its subject sits where everything after it expects it: in the unit-diameter sphere.

Solved cameras come in whatever place and scale their solver liked; the silhouettes say where the subject is.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from recon.capture.camera import OBJECT_RADIUS
from recon.capture.types import Capture, Frame, Similarity

_LONGEST_SIDE = 256
_ROUNDS = 3


class NormaliseError(ValueError):
    """A capture whose subject cannot be located."""


def normalise(capture: Capture, *, keep: bool = True) -> Capture:
    """The capture with its subject's bounding sphere of diameter 1 around the origin; `to_source` leads back.

    The centre is where the rays through the middles of the silhouettes meet, the radius the largest distance from it
    of a ray through a silhouette, as every such ray touches the subject. With `keep`, a capture whose silhouettes
    already lie in the sphere and reach half of its radius is left alone, so that our own captures keep their frame.

    Raises:
        NormaliseError: if no frame has a silhouette, or the views do not agree on a place.
    """
    rays = [found for found in map(_silhouette_rays, capture) if found is not None]
    if not rays and not any(bool((frame.weight() > 0).any()) for frame in capture):
        raise NormaliseError(
            "no pixel of the pictures can be used: their weights are 0, or the lenses' distortion coefficients "
            "(k1, ...) bend all of them out of the pictures"
        )
    if not rays:
        raise NormaliseError(
            "the capture's pictures have no silhouettes (alpha is full or empty everywhere), so the subject cannot be "
            "told from its surroundings; cut it out and save RGBA pictures"
        )
    origin = torch.zeros(3, dtype=torch.float64)
    if keep and _lies_ahead(rays, origin) and OBJECT_RADIUS / 2 <= _radius(rays, origin) <= OBJECT_RADIUS * 1.05:
        return capture
    centre = _meeting_point([(start, directions.mean(0)) for start, directions in rays])
    for _ in range(_ROUNDS):
        centre = _meeting_point([(start, _middle(start, directions, centre)) for start, directions in rays])
    radius = _radius(rays, centre)
    if not _lies_ahead(rays, centre) or not 0 < radius < min(float((start - centre).norm()) for start, _ in rays):
        raise NormaliseError(
            "the silhouettes do not surround one place before the cameras; are the poses in OpenGL's convention "
            "(transforms.json) and the masks of the same subject?"
        )
    scale = OBJECT_RADIUS / radius
    return capture.moved(Similarity(translation=(-scale * centre).float(), scale=scale))


Rays = tuple[Tensor, Tensor]
"""The camera's place (3,) and unit directions (N, 3), float64."""


def _silhouette_rays(frame: Frame) -> Rays | None:
    """Rays through the subject's pixels, or None where the picture has no silhouette."""
    mask = (frame.rgba()[..., 3] > 0.5) & (frame.weight() > 0)
    if not mask.any() or mask.all():
        return None
    stride = max(1, max(mask.shape) // _LONGEST_SIDE)
    origin, directions = frame.camera.rays()
    chosen = directions[::stride, ::stride][mask[::stride, ::stride]].double()
    if len(chosen) == 0:
        return None
    return origin.double(), torch.nn.functional.normalize(chosen, dim=-1)


def _lies_ahead(rays: Sequence[Rays], place: Tensor) -> bool:
    """Whether all cameras look toward a place; lines through it lie behind as well as before them."""
    return all(float((place - start) @ directions.mean(0)) > 0 for start, directions in rays)


def _meeting_point(rays: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """(3,) point of the least squared distance to lines, each a place (3,) and a direction (3,)."""
    total, right = torch.zeros(3, 3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    for start, direction in rays:
        unit = torch.nn.functional.normalize(direction, dim=0)
        across = torch.eye(3, dtype=torch.float64) - torch.outer(unit, unit)
        total, right = total + across, right + across @ start
    if torch.linalg.eigvalsh(total)[0] < 1e-4 * len(rays):
        raise NormaliseError("the views look from (almost) one direction; the subject's distance cannot be told")
    return torch.linalg.solve(total, right)


def _middle(start: Tensor, directions: Tensor, centre: Tensor) -> Tensor:
    """(3,) direction to the middle of the silhouette's extent, seen toward `centre`."""
    forward = torch.nn.functional.normalize(centre - start, dim=0)
    flat = directions / (directions @ forward).clamp_min(1e-6)[:, None] - forward
    axes = torch.linalg.svd(forward[None])[2][1:]
    across = flat @ axes.T
    return forward + (across.min(0).values + across.max(0).values) / 2 @ axes


def _radius(rays: Sequence[Rays], centre: Tensor) -> float:
    """Largest distance from `centre` of any ray."""
    return max(float(torch.linalg.cross(directions, (centre - start).expand_as(directions)).norm(dim=-1).max())
               for start, directions in rays)  # fmt: skip
