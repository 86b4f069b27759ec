"""What several of the modelled objects share: colours, and parts made of the kit's pieces."""

from __future__ import annotations

import math

import numpy as np
from torch import Tensor

from gen.data.modelled import patterns
from gen.data.modelled.kit import Point, box, curve, decal, extrude, placed
from recon.surface.mesh import Material, Mesh

Rng = np.random.Generator
Bands = tuple[tuple[float, patterns.Color], ...]
OAK: tuple[patterns.Color, patterns.Color] = ((0.76, 0.54, 0.31), (0.42, 0.24, 0.11))
WALNUT: tuple[patterns.Color, patterns.Color] = ((0.55, 0.33, 0.18), (0.24, 0.12, 0.06))
RUST: patterns.Color = (0.50, 0.25, 0.12)


def coated(texture: Tensor, name: str) -> Material:
    return Material(texture=texture, name=name)


def on_wall(radius: float, degrees: float, height: float) -> Point:
    """A point on an upright cylinder; 0 is in front, 90 at +X."""
    angle = math.radians(degrees)
    return radius * math.sin(angle), height, radius * math.cos(angle)


def thin_fin(outline: list[tuple[float, float]], material: Material) -> Mesh:
    """A thin upright sheet with a rounded outline, counter-clockwise."""
    return extrude(rounded(outline, 3), 0.03, material, bevel=0.008)


def rounded(outline: list[tuple[float, float]], steps: int) -> list[tuple[float, float]]:
    return [(x, y) for x, y in curve(outline, steps, loop=True).tolist()]


def banded(first: patterns.Color, second: patterns.Color, count: int, share: float) -> Bands:
    """`count` times the first colour over `share` of the way and the second over the rest."""
    ends = ((i + part, color) for i in range(count) for part, color in ((share, first), (1.0, second)))
    return tuple((end / count, color) for end, color in ends)


def tiled_slab(tile: Material, edge: Material, wide: float, long: float) -> Mesh:
    """A slab tiled on both sides, its tiles pointing to +X."""
    slab = decal(decal(box((long, 0.07, wide), edge), tile, (0, 1, 0)), tile, (0, -1, 0))
    return placed(slab, turn=(0, 90, 0))


def pane(frame: Material, pane: Material, at: Point, size: tuple[float, float], *, glazed: bool = True) -> list[Mesh]:
    """A framed pane on a wall that looks to +Z, with glazing bars or without (a door)."""
    x, y, z = at
    wide, tall = size
    parts = [placed(decal(box((wide, tall, 0.05), pane), pane, (0, 0, 1)), at)]
    for side in (-1, 1):
        parts.append(placed(box((0.05, tall + 0.09, 0.09), frame), (x + side * wide / 2, y, z)))
        parts.append(placed(box((wide + 0.1, 0.05, 0.1), frame), (x, y + side * tall / 2, z)))
    if glazed:
        parts.append(placed(box((0.03, tall, 0.07), frame), at))
        parts.append(placed(box((wide, 0.03, 0.075), frame), at))
    return parts
