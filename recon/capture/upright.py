"""Which way is up in a solved world: from the ring that the cameras stand on, or from how they were held."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from recon.capture.camera import Camera
from recon.capture.types import Capture, Similarity

UpAxis = Literal["+x", "-x", "+y", "-y", "+z", "-z"]
UP = torch.tensor([0.0, 1.0, 0.0])
_FLAT = 0.15
"""Thickness of a ring of cameras over its width below which the ring says what is level."""
_WIDE = 0.35
"""The ring's narrower width over its wider one: a short arc is nearly a line, and any plane through it would do."""


@dataclass(frozen=True)
class Up:
    """A direction and where it comes from.

    Attributes:
        direction: (3,) unit, in the world of the cameras.
        told_by: "ring" (the plane of the cameras' places), "hands" (the mean of the cameras' own up directions) or
            "given".
        spread: standard deviation, in radians, of the cameras' own up directions about it, their elevation left out:
            how uneven they were held.
    """

    direction: Tensor
    told_by: Literal["ring", "hands", "given"]
    spread: float


def find_up(cameras: Sequence[Camera]) -> Up:
    """The world's up as the cameras tell it.

    People hold cameras level and walk around things on one height, and turntables stand level. So the plane of a flat,
    wide ring of cameras is the ground; else level is where the cameras' right directions lie: up is the direction that
    is most nearly at right angles to all of them, whatever the elevations. Its sign is the cameras' own.
    """
    held = torch.stack([-camera.c2w[:3, 1] for camera in cameras]).double()
    centres = torch.stack([camera.centre for camera in cameras]).double()
    told_by: Literal["ring", "hands"] = "hands"
    rights = torch.stack([camera.c2w[:3, 0] for camera in cameras]).double()
    direction = torch.linalg.svd(rights)[2][-1]
    if _span(rights) < _FLAT:  # all look the same way: what is level along the line of sight cannot be told by it
        direction = held.mean(0)
    if len(cameras) > 2:
        spreads, axes = torch.linalg.svd(centres - centres.mean(0), full_matrices=True)[1:]
        if spreads[2] < _FLAT * spreads[0] and spreads[1] > _WIDE * spreads[0]:
            direction, told_by = axes[2], "ring"
    direction = torch.nn.functional.normalize(direction, dim=0)
    if float((held @ direction).sum()) < 0:
        direction = -direction
    return Up(direction.float(), told_by, _unevenness(rights, direction))


def axis_direction(axis: UpAxis) -> Tensor:
    """(3,) unit."""
    direction = torch.zeros(3)
    direction["xyz".index(axis[1])] = 1.0 if axis[0] == "+" else -1.0
    return direction


def given_up(capture: Capture, axis: UpAxis) -> Up:
    """What somebody says is up: an axis of the source's world."""
    direction = capture.to_source.rotation.T @ axis_direction(axis)
    rights = torch.stack([camera.c2w[:3, 0] for camera in capture.cameras]).double()
    return Up(direction, "given", _unevenness(rights, direction.double()))


def turned_upright(capture: Capture, up: Up) -> Capture:
    """The capture turned so that `up` is +Y; `to_source` leads back."""
    return capture.moved(Similarity(_rotation_between(up.direction, UP)))


def facing_first(capture: Capture) -> Capture:
    """The capture turned about +Y so that its first camera is at azimuth 0, on the +Z side of the origin."""
    x, _, z = capture[0].camera.centre.tolist()
    turn = -math.atan2(x, z)
    c, s = math.cos(turn), math.sin(turn)
    return capture.moved(Similarity(torch.tensor([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])))


def _span(directions: Tensor) -> float:
    """How far unit directions (N, 3) are from being parallel: the second singular value over the first."""
    values = torch.linalg.svdvals(directions)
    return float(values[1] / values[0]) if len(values) > 1 else 0.0


def _unevenness(rights: Tensor, direction: Tensor) -> float:
    return float((rights @ direction).clamp(-1, 1).asin().square().mean().sqrt())


def _rotation_between(start: Tensor, end: Tensor) -> Tensor:
    """(3, 3) shortest rotation that takes one unit direction to another."""
    start, end = (torch.nn.functional.normalize(v.double(), dim=0) for v in (start, end))
    identity, cosine = torch.eye(3, dtype=torch.float64), float(start @ end)
    if cosine < -1 + 1e-9:  # half a turn, about anything at right angles
        axis = torch.linalg.cross(start, identity[int(start.abs().argmin())])
        axis = torch.nn.functional.normalize(axis, dim=0)
        return (2 * torch.outer(axis, axis) - identity).float()
    x, y, z = torch.linalg.cross(start, end).tolist()
    skew = torch.tensor([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]], dtype=torch.float64)
    return (identity + skew + skew @ skew / (1 + cosine)).float()
