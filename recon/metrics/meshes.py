"""Measures of a mesh against the true one: chamfer distance, F-scores, normals, overlap of the filled shapes.

Everything is measured in the truth's box frame: the truth's bounding box is moved to the origin and its longest side
scaled to 1, and the prediction is moved along, so a wrong place or size counts as an error.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from recon.metrics.errors import MetricError
from recon.metrics.sampling import SurfacePoints, sample_surface, sample_visible_surface
from recon.metrics.topology import component_count, is_watertight
from recon.metrics.voxels import Voxels, fill, voxel_iou
from recon.surface.mesh import Mesh

SAMPLES = 10_000
F_THRESHOLDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)


@dataclass(frozen=True)
class BoxFrame:
    """x -> (x - centre) * scale: the move that puts a box's centre at 0 and makes its longest side 1."""

    centre: Tensor  # (3,)
    scale: float

    @classmethod
    def of(cls, mesh: Mesh) -> BoxFrame:
        """The frame of a mesh's own box.

        Raises:
            MetricError: if the mesh has no faces, is not finite, or is a single point.
        """
        if len(mesh.faces) == 0 or not torch.isfinite(mesh.vertices).all():
            raise MetricError(f"mesh of {len(mesh.faces)} faces cannot be measured: it needs faces and finite vertices")
        corners = mesh.vertices[mesh.faces.reshape(-1).unique()]
        low, high = corners.min(0).values, corners.max(0).values
        longest = float((high - low).max())
        if not longest > 0:
            raise MetricError("mesh cannot be measured: all its vertices lie in one point")
        return cls((low + high) / 2, 1 / longest)

    def apply(self, mesh: Mesh) -> Mesh:
        return Mesh((mesh.vertices - self.centre) * self.scale, mesh.faces)

    def back(self, vertices: Tensor) -> Tensor:
        """Vertices (V, 3) of the box's frame where they were before."""
        return vertices / self.scale + self.centre


@dataclass(frozen=True)
class TrueShape:
    """A truth made ready to be compared with many predictions.

    Attributes:
        frame: its box frame.
        visible: `SAMPLES` of its points that can be seen from outside, in that frame.
        voxels: its filled shape, in that frame.
    """

    frame: BoxFrame
    visible: SurfacePoints
    voxels: Voxels

    @classmethod
    def of(cls, mesh: Mesh, *, seed: int, samples: int = SAMPLES) -> TrueShape:
        frame = BoxFrame.of(mesh)
        boxed = frame.apply(mesh)
        return cls(frame, sample_visible_surface(boxed, samples, seed=seed), fill(boxed))


@dataclass(frozen=True)
class MeshScores:
    """Lengths in units of the truth's longest box side.

    Attributes:
        accuracy: mean distance from the prediction's points to the truth's.
        completeness: mean distance from the truth's points to the prediction's.
        chamfer: the mean of the two, not squared.
        f_scores: threshold -> harmonic mean of the two shares of points that lie within it.
        normal_consistency: mean |cosine| between the normals of nearest points, both ways.
        iou: overlap of the filled shapes on the 64-voxel lattice.
        watertight, components, faces: of the predicted mesh.
    """

    accuracy: float
    completeness: float
    chamfer: float
    f_scores: dict[float, float]
    normal_consistency: float
    iou: float
    watertight: bool
    components: int
    faces: int

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers for JSON; F-scores become `f_0.01` and so on."""
        values = asdict(self)
        f_scores = values.pop("f_scores")
        return {**values, **{f"f_{threshold:g}": value for threshold, value in f_scores.items()}}


def compare_meshes(predicted: Mesh, truth: TrueShape, *, seed: int) -> MeshScores:
    """Compare a mesh given in the truth's own frame (same place, same size) with that truth.

    Raises:
        MetricError: if the prediction has no faces, no area, or is not finite.
    """
    BoxFrame.of(predicted)
    return compare_boxed(truth.frame.apply(predicted), truth, seed=seed)


def compare_boxed(predicted: Mesh, truth: TrueShape, *, seed: int) -> MeshScores:
    """`compare_meshes` for a prediction that is already in the truth's box frame."""
    points = sample_surface(predicted, len(truth.visible), seed=seed + 1)
    to_truth, nearest_truth = nearest_points(points.points, truth.visible.points)
    to_predicted, nearest_predicted = nearest_points(truth.visible.points, points.points)
    accuracy, completeness = float(to_truth.mean()), float(to_predicted.mean())
    agreement = [
        (points.normals * truth.visible.normals[nearest_truth]).sum(1).abs().mean(),
        (truth.visible.normals * points.normals[nearest_predicted]).sum(1).abs().mean(),
    ]
    return MeshScores(
        accuracy=accuracy,
        completeness=completeness,
        chamfer=(accuracy + completeness) / 2,
        f_scores={threshold: _f_score(to_truth, to_predicted, threshold) for threshold in F_THRESHOLDS},
        normal_consistency=float(sum(agreement) / 2),
        iou=voxel_iou(fill(predicted), truth.voxels),
        watertight=is_watertight(predicted),
        components=component_count(predicted),
        faces=len(predicted.faces),
    )


def nearest_points(sources: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Distance (N,) from each source (N, 3) to its nearest target of (M, 3), and that target's index (N,)."""
    from scipy.spatial import cKDTree

    distance, index = cKDTree(targets.numpy()).query(sources.numpy())
    return torch.from_numpy(distance), torch.from_numpy(index)


def chamfer_distance(a: Tensor, b: Tensor) -> float:
    """Half the sum of the mean nearest distances from points (N, 3) to (M, 3) and back, not squared."""
    return float((nearest_points(a, b)[0].mean() + nearest_points(b, a)[0].mean()) / 2)


def _f_score(to_truth: Tensor, to_predicted: Tensor, threshold: float) -> float:
    precision = float((to_truth <= threshold).double().mean())
    recall = float((to_predicted <= threshold).double().mean())
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0
