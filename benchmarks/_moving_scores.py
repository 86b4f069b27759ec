"""Measures of what moves against its truth: pictures, shape, paths of surface points, and flicker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks._moving_truth import SAMPLES, MovingTruth
from benchmarks._replay import Replay
from recon._open3d import import_open3d
from recon.metrics.images import over_white
from recon.metrics.meshes import BoxFrame, chamfer_distance
from recon.metrics.sampling import sample_visible_surface
from recon.metrics.views import compare_views
from recon.surface.mesh import Mesh

_FOLLOWED = 2000
"""Surface points whose paths are compared."""
_PERCENTILE = 0.95


@dataclass(frozen=True)
class MovingScores:
    """Attributes:
    psnr, ssim, masked_psnr, masked_ssim: one value a time, means over the views.
    chamfer: one value a time, in units of the truth's longest box side at that time.
    path, path_high: mean and 95th percentile of how far surface points are from where they should have moved to, in
        percent of that side at the reference time; None where no vertex lives longer than one time.
    flicker: mean change of the error from one time to the next, in grey levels of 255.
    truth_change: the same of the true pictures themselves, which is the flicker of what stands still.
    """

    psnr: list[float]
    ssim: list[float]
    masked_psnr: list[float]
    masked_ssim: list[float]
    chamfer: list[float]
    path: float | None
    path_high: float | None
    flicker: float
    truth_change: float


@dataclass(frozen=True)
class Places:
    """Points of a surface that go where it goes.

    Attributes:
        corners: (N, 3) vertices of the triangles that they lie on.
        weights: (N, 3) barycentric.
    """

    corners: Tensor
    weights: Tensor

    def follow(self, vertices: Tensor) -> Tensor:
        """(T, N, 3) where they are when the surface's vertices are at (T, V, 3)."""
        return (self.weights[..., None] * vertices[:, self.corners]).sum(2)


def score(shown: Replay, truth: MovingTruth, views: Tensor, keys: Sequence[int], *, follows: bool) -> MovingScores:
    """Compares a replay with the truth.

    Args:
        views: (T, C, H, W, 4) the truth's, at all of its times.
        keys: which of the truth's times were replayed.
        follows: whether vertices live throughout.
    """
    true_views = views[list(keys)]
    compared = [compare_views(drawn, true, with_flip=False) for drawn, true in zip(shown.views, true_views)]
    means: dict[str, Any] = {
        name: [float(getattr(scores, name).mean()) for scores in compared]
        for name in ("psnr", "ssim", "masked_psnr", "masked_ssim")
    }
    chamfer = [_chamfer(Mesh(vertices, shown.faces), truth, key) for vertices, key in zip(shown.vertices, keys)]
    errors = _path_errors(shown, truth) if follows else None
    return MovingScores(
        **means,
        chamfer=chamfer,
        path=None if errors is None else float(errors.mean()),
        path_high=None if errors is None else float(np.quantile(errors.numpy(), _PERCENTILE)),
        flicker=flicker(shown.views, true_views, keys),
        truth_change=flicker(torch.ones_like(true_views), true_views, keys),
    )


def flicker(drawn: Tensor, truth: Tensor, keys: Sequence[int]) -> float:
    """Mean absolute change of (drawn - truth) between neighbouring times, of whole pictures (T, C, H, W, 4) over white,
    in grey levels of 255.

    Args:
        keys: numbers of the times; those that do not follow each other are not compared.
    """
    error = over_white(drawn) - over_white(truth)
    steps = [place for place, (first, second) in enumerate(pairwise(keys)) if second == first + 1]
    return 255 * float(torch.stack([(error[place + 1] - error[place]).abs().mean() for place in steps]).mean())


def path_errors(found: Tensor, true: Tensor, reference: int) -> Tensor:
    """(T - 1, N) distances between the ways that points (T, N, 3) went from the reference time to the others."""
    apart = (found - found[reference]) - (true - true[reference])
    others = [time for time in range(len(true)) if time != reference]
    return apart[others].norm(dim=-1)


def rigid_rest(true: Tensor, reference: int) -> float:
    """Mean distance that points (T, N, 3) are from where the best rigid motion of each time takes them from their
    places at the reference time (Kabsch 1976): what a single basis has to leave."""
    others = [time for time in range(len(true)) if time != reference]
    source, target = true[reference].double(), true[others].double()
    source = source - source.mean(0)
    target = target - target.mean(1, keepdim=True)
    u, _, vh = torch.linalg.svd(torch.einsum("tni,nj->tij", target, source))
    sign = torch.ones(len(u), 3, dtype=u.dtype)
    sign[:, 2] = torch.linalg.det(u @ vh).sign()
    turned = source @ ((u * sign[:, None]) @ vh).transpose(1, 2)
    return float((turned - target).norm(dim=-1).mean())


def followed(truth: MovingTruth) -> tuple[Tensor, float]:
    """(T, N, 3) visible surface points of the truth over time, and its box's longest side at the reference time."""
    pose = truth.poses[truth.reference]
    points = truth.visible[truth.reference].points[:_FOLLOWED]
    paths = nearest_places(points, pose.vertices, pose.faces).follow(truth.vertices)
    return paths, 1 / BoxFrame.of(pose).scale


def nearest_places(points: Tensor, vertices: Tensor, faces: Tensor) -> Places:
    """The places of a surface that are nearest to points (N, 3)."""
    o3d = import_open3d()
    scene = o3d.t.geometry.RaycastingScene()

    def tensor(values: Tensor, kind: type) -> Any:
        return o3d.core.Tensor(np.ascontiguousarray(values.numpy().astype(kind)))

    scene.add_triangles(tensor(vertices, np.float32), tensor(faces, np.uint32))
    found = scene.compute_closest_points(tensor(points, np.float32))
    second, third = torch.from_numpy(found["primitive_uvs"].numpy().copy()).unbind(1)
    face = torch.from_numpy(found["primitive_ids"].numpy().astype(np.int64))
    return Places(faces[face], torch.stack((1 - second - third, second, third), dim=1))


def _path_errors(shown: Replay, truth: MovingTruth) -> Tensor:
    """In percent of the longest side."""
    true, side = followed(truth)
    places = nearest_places(true[truth.reference], shown.vertices[truth.reference], shown.faces)
    return 100 / side * path_errors(places.follow(shown.vertices), true, truth.reference)


def _chamfer(shown: Mesh, truth: MovingTruth, key: int) -> float:
    points = sample_visible_surface(shown, SAMPLES, seed=truth.seed + 1).points
    return chamfer_distance(points, truth.visible[key].points) * BoxFrame.of(truth.poses[key]).scale
