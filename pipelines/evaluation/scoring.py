"""From an answer and the truth to figures: one value a measure, or a list with one a view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from pipelines.evaluation.protocol import counted_views, degrees_away, draw_views, held_out_cameras
from pipelines.evaluation.subject import Answer, Method, Subject, Timer
from recon.capture import Camera
from recon.metrics.alignment import Aligned, compare_aligned
from recon.metrics.images import over_white
from recon.metrics.meshes import TrueShape, compare_meshes
from recon.metrics.views import compare_views, sample_spread
from recon.surface.baselines import bounding_sphere
from recon.surface.mesh import Mesh

Scores = dict[str, Any]
APPEARANCE_SIZE = 256
_ALIGNED = ("chamfer", "f_0.01", "f_0.02", "f_0.05", "f_0.1", "f_0.2", "f_0.5", "iou", "normal_consistency")
_LOOKS = ("psnr", "masked_psnr", "masked_ssim", "flip")
_UNSEEN = 90.0
"""Degrees away from the input from which on a view shows what the input does not."""


class PerceptualDistance(Protocol):
    """LPIPS with the user's weights: pictures (V, H, W, 3) and their truths to (V,)."""

    def __call__(self, predicted: Tensor, truth: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Truth:
    """What answers about one object are compared with.

    Attributes:
        shape: its surface and filled shape, or None where only views are measured.
        held_out: (8, S, S, 4) its views from the held-out cameras, or None likewise.
    """

    shape: TrueShape | None
    held_out: Tensor | None

    @classmethod
    def of(cls, mesh: Mesh, *, seed: int) -> Truth:
        return cls(TrueShape.of(mesh, seed=seed), draw_views(mesh, held_out_cameras(APPEARANCE_SIZE)))


def score(
    method: Method,
    answer: Answer,
    subject: Subject,
    truth: Truth,
    timer: Timer,
    perceptual: PerceptualDistance | None = None,
) -> Scores:
    """All figures of one answer. A mesh that is missing or cannot be measured counts as failed and is scored as the
    bounding sphere, views that are missing as empty pictures: leaving hard objects out would improve the mean.
    """
    scores: Scores = {}
    if "views" in method.makes:
        targets = counted_views(len(subject.cameras), method.context)
        views = torch.zeros_like(subject.views[targets]) if answer.views is None else answer.views
        scores |= score_views(views, subject.views[targets], perceptual)
        if answer.views is not None and answer.another is not None:
            behind = [k for k, i in enumerate(targets) if degrees_away(subject.cameras[i]) > _UNSEEN]
            scores["seed_spread"] = sample_spread(answer.views[behind], answer.another()[behind])
    if truth.shape is not None and truth.held_out is not None and "meshes" in method.makes:
        scores |= _score_mesh(method, answer, truth.shape, truth.held_out, subject.seed, timer)
    return scores


def score_views(views: Tensor, truth: Tensor, perceptual: PerceptualDistance | None = None) -> Scores:
    """Figures of views (V, S, S, 4), each a list with one value a view."""
    compared = {name: values.tolist() for name, values in compare_views(views, truth).items()}
    if perceptual is not None:
        compared["lpips"] = perceptual(over_white(views), over_white(truth)).tolist()
    return compared


def _score_mesh(method: Method, answer: Answer, shape: TrueShape, held_out: Tensor, seed: int, timer: Timer) -> Scores:
    mesh = answer.mesh
    if mesh is not None:
        try:
            scores, aligned = _compared(mesh, shape, seed)
            scores |= _looks("look_", mesh, held_out, answer.lit) if _has_looks(method, answer, mesh) else {}
            if method.elsewhere:  # its frame may be another, and pictures show nothing but that
                placed = replace(mesh, vertices=shape.frame.back(aligned.vertices), normals=None)
                scores |= _looks("aligned_look_", placed, held_out, answer.lit)
            return scores | {"failed": 0}
        except ValueError as error:
            timer.warnings.append(str(error))
    scores = _compared(bounding_sphere(), shape, seed)[0] | {"failed": 1}
    if method.kind != "trivial":
        scores |= _compare_looks("look_", torch.zeros_like(held_out), held_out)
    if method.elsewhere:
        scores |= _compare_looks("aligned_look_", torch.zeros_like(held_out), held_out)
    return scores


def _compared(mesh: Mesh, shape: TrueShape, seed: int) -> tuple[Scores, Aligned]:
    given = compare_meshes(mesh, shape, seed=seed)
    best = compare_aligned(mesh, shape, seed=seed, given=given)
    aligned = {f"aligned_{name}": value for name, value in best.scores.as_dict().items() if name in _ALIGNED}
    return given.as_dict() | aligned | {"aligned_turn": best.turn, "aligned_size": best.size}, best


def _has_looks(method: Method, answer: Answer, mesh: Mesh) -> bool:
    """Bare shapes of our own have none: their colour would be our choice. Those from elsewhere count as they are."""
    return (
        method.elsewhere or answer.lit or mesh.colors is not None or any(m.texture is not None for m in mesh.materials)
    )


def _looks(prefix: str, mesh: Mesh, truth: Tensor, lit: bool) -> Scores:
    """The textured mesh from views that nobody was given."""
    return _compare_looks(prefix, draw_views(mesh, held_out_cameras(truth.shape[1]), lit=lit), truth)


def _compare_looks(prefix: str, drawn: Tensor, truth: Tensor) -> Scores:
    compared = dict(compare_views(drawn, truth).items())
    return {f"{prefix}{name}": float(compared[name].mean()) for name in _LOOKS if name in compared}


def finite(scores: Scores) -> bool:
    """Whether every figure is a number."""
    values = [v for value in scores.values() for v in (value if isinstance(value, list) else [value])]
    return bool(torch.isfinite(torch.tensor(values, dtype=torch.float64)).all())


def azimuths(cameras: Sequence[Camera], context: Sequence[int]) -> list[float]:
    """Degrees away from the input of the counted views."""
    return [round(degrees_away(cameras[i]), 3) for i in counted_views(len(cameras), context)]
