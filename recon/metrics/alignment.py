"""Alignment of a mesh from elsewhere, whose frame is unknown, before it is measured: rotation search, then ICP.

The size is never searched for: each mesh is brought to longest box side 1 and keeps it. Mirrors are never tried.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from recon.metrics.meshes import BoxFrame, MeshScores, TrueShape, chamfer_distance, compare_boxed, nearest_points
from recon.metrics.sampling import sample_surface
from recon.surface.mesh import Mesh

_SEARCH_POINTS = 800
_ICP_POINTS = 1500
_ICP_STEPS = 30
_SETTLED = 1e-4
_REFINED_STARTS = 3


@dataclass(frozen=True)
class Aligned:
    """A mesh after it was laid on the truth.

    Attributes:
        scores: of the best placement.
        vertices: (V, 3) the mesh's, so placed, in the truth's box frame.
        turn: degrees that it was turned by, 0 where the given placement is the best.
        size: factor by which it was scaled, 1 where the given size is the best.
    """

    scores: MeshScores
    vertices: Tensor
    turn: float
    size: float


def compare_aligned(predicted: Mesh, truth: TrueShape, *, seed: int, given: MeshScores | None = None) -> Aligned:
    """The best rigid placement of a mesh: as it is given, or boxed, rotated and refined.

    Args:
        given: the scores of the mesh as it is given (`compare_meshes`), if they are already known.

    Raises:
        MetricError: if the prediction has no faces, no area, or is not finite.
    """
    own = BoxFrame.of(predicted)
    boxed, placed, size = own.apply(predicted), truth.frame.apply(predicted), own.scale / truth.frame.scale
    starts = [(placed, torch.eye(3), 1.0)]
    starts += [(boxed, rotation, size) for rotation in _best_rotations(boxed, truth, seed)]
    target = truth.visible.points[:_ICP_POINTS]
    best: tuple[float, Mesh, Tensor, float] | None = None
    for mesh, rotation, factor in starts:
        turn, shift, points = _refine(sample_surface(mesh, _ICP_POINTS, seed=seed).points, target, rotation)
        distance = chamfer_distance(points, target)
        if best is None or distance < best[0]:
            best = distance, Mesh((mesh.vertices.double() @ turn.T + shift).float(), mesh.faces), turn, factor
    assert best is not None
    as_given = compare_boxed(placed, truth, seed=seed) if given is None else given
    refined = compare_boxed(best[1], truth, seed=seed)
    if as_given.chamfer <= refined.chamfer:
        return Aligned(as_given, placed.vertices, 0.0, 1.0)
    cosine = (float(best[2].trace()) - 1) / 2
    return Aligned(refined, best[1].vertices, math.degrees(math.acos(max(-1.0, min(1.0, cosine)))), best[3])


def rotation_starts() -> Tensor:
    """(72, 3, 3) rotations: the 24 of the cube, each also turned by 30 and 60 degrees about the upright axis."""
    cube = []
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1.0, -1.0), repeat=3):
            matrix = torch.zeros(3, 3)
            for row, (column, sign) in enumerate(zip(order, signs, strict=True)):
                matrix[row, column] = sign
            if torch.det(matrix) > 0:
                cube.append(matrix)
    turns = [_turn(math.radians(degrees)) for degrees in (0.0, 30.0, 60.0)]
    return torch.stack([turn @ matrix for turn in turns for matrix in cube])


def _turn(angle: float) -> Tensor:
    c, s = math.cos(angle), math.sin(angle)
    return torch.tensor([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])


def _best_rotations(mesh: Mesh, truth: TrueShape, seed: int) -> Tensor:
    points = sample_surface(mesh, _SEARCH_POINTS, seed=seed).points
    target = truth.visible.points[:_SEARCH_POINTS]
    starts = rotation_starts()
    distances = torch.tensor([chamfer_distance(points @ rotation.T, target) for rotation in starts])
    return starts[distances.topk(_REFINED_STARTS, largest=False).indices]


def _refine(source: Tensor, target: Tensor, rotation: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Point-to-point ICP (Besl & McKay 1992) of points (N, 3) from a rotation about the origin: the rotation (3, 3)
    and shift (3,) found, in double precision, and the moved points."""
    source, target = source.double(), target.double()
    turn, shift = rotation.double(), torch.zeros(3, dtype=torch.float64)
    moved = source @ turn.T
    for _ in range(_ICP_STEPS):
        # Matching both ways keeps parts of the truth that the prediction lacks from being ignored.
        forward, backward = nearest_points(moved, target)[1], nearest_points(target, moved)[1]
        turn, shift = _rigid_fit(torch.cat((source, source[backward])), torch.cat((target[forward], target)))
        before, moved = moved, source @ turn.T + shift
        if float((moved - before).abs().max()) < _SETTLED:
            break
    return turn, shift, moved.float()


def _rigid_fit(source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Rotation and shift of the least squared distance between paired points (N, 3) (Kabsch 1976)."""
    source_mean, target_mean = source.mean(0), target.mean(0)
    u, _, vh = torch.linalg.svd((target - target_mean).T @ (source - source_mean))
    sign = torch.ones(3, dtype=source.dtype)
    sign[2] = torch.det(u @ vh).sign()
    turn = u @ torch.diag(sign) @ vh
    return turn, target_mean - turn @ source_mean
