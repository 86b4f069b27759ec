"""From answers to figures: the truth is best, a failure counts, nothing is left out."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from pipelines.evaluation.protocol import draw_views, path_cameras
from pipelines.evaluation.scoring import Truth, finite, score
from pipelines.evaluation.subject import Answer, Method, Subject, Timer
from recon.surface.baselines import hull_mesh
from recon.surface.loading import normalised
from recon.surface.mesh import Mesh
from tests.pipelines.evaluation.sets import gray_views, painted
from tests.recon.metrics.shapes import chair, mirrored

SIZE = 48
MESH = painted(normalised(chair()))


@pytest.fixture(scope="module")
def subject() -> Subject:
    cameras = path_cameras("level", SIZE)
    return Subject("chair", cameras, draw_views(MESH, cameras), 3)


@pytest.fixture(scope="module")
def truth() -> Truth:
    return Truth.of(MESH, seed=3)


def scored(answer, subject, truth, makes=frozenset({"views", "meshes"}), elsewhere=False):
    timer = Timer()
    method = Method("tested", "generated", lambda s, t: answer, makes, elsewhere=elsewhere)
    return score(method, answer, subject, truth, timer), timer


def test_the_truth_scores_perfectly(subject, truth):
    scores, _ = scored(Answer(subject.views[1:], MESH, lit=True), subject, truth)
    assert scores["masked_psnr"] == [60.0] * 20
    assert scores["mask_iou"] == [1.0] * 20
    assert scores["sharpness"] == pytest.approx([1.0] * 20)
    assert scores["iou"] == 1
    assert scores["look_psnr"] == pytest.approx(60)
    assert scores["failed"] == 0
    assert finite(scores), {k: v for k, v in scores.items() if not finite({k: v})}


def test_meshes_rank_truth_before_mirrored_truth_and_hull_before_nothing(subject, truth):
    hull = hull_mesh(subject.cameras, list(subject.views[..., 3]))
    meshes = [MESH, hull, None]
    values = [scored(Answer(mesh=m), subject, truth, frozenset({"meshes"}))[0]["chamfer"] for m in meshes]
    assert values == sorted(values)
    wrong = scored(Answer(mesh=mirrored(MESH)), subject, truth, frozenset({"meshes"}))[0]
    assert wrong["aligned_chamfer"] > 1.3 * values[0]


def test_a_mesh_from_elsewhere_is_laid_on_the_truth_and_what_that_took_is_said(subject, truth):
    turn = torch.tensor([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])
    other = Mesh(4 * MESH.vertices @ turn.T + 1, MESH.faces)
    scores, _ = scored(Answer(mesh=other), subject, truth, frozenset({"meshes"}))
    assert scores["chamfer"] > 0.5
    assert scores["aligned_chamfer"] < 0.02
    assert scores["aligned_turn"] == pytest.approx(90, abs=1)
    assert scores["aligned_size"] == pytest.approx(0.25, rel=0.01)


@pytest.mark.parametrize("size", [0.01, 4.0, 1000.0, 1e25])
def test_textured_meshes_of_any_size_are_measured_where_they_are_laid(size, subject, truth):
    other = replace(MESH, vertices=size * MESH.vertices)
    scores, _ = scored(Answer(mesh=other, lit=True), subject, truth, frozenset({"meshes"}), elsewhere=True)
    assert finite(scores), {k: v for k, v in scores.items() if not finite({k: v})}
    assert scores["failed"] == 0
    assert scores["look_masked_psnr"] < 20
    if size < 1e6:  # beyond, the float32 box itself is too coarse
        assert scores["aligned_look_masked_psnr"] > 20


@pytest.mark.parametrize(
    "mesh",
    [None, Mesh(torch.zeros(3, 3), torch.tensor([[0, 1, 2]])), Mesh(torch.zeros(0, 3), torch.zeros(0, 3).long())],
)
def test_no_mesh_counts_as_failed_and_as_the_bounding_sphere(mesh, subject, truth):
    scores, _ = scored(Answer(mesh=mesh), subject, truth, frozenset({"meshes"}), elsewhere=True)
    assert scores["failed"] == 1
    assert scores["chamfer"] > 0.1
    assert scores["look_masked_psnr"] == scores["aligned_look_masked_psnr"] < 20


def test_no_views_count_as_empty_pictures(subject, truth):
    scores, _ = scored(Answer(), subject, Truth(None, None), frozenset({"views"}))
    assert scores["mask_iou"] == [0.0] * 20
    assert max(scores["masked_psnr"]) < 20


def test_bare_shapes_have_no_looks(subject, truth):
    bare = Answer(mesh=Mesh(MESH.vertices, MESH.faces))
    scores, _ = scored(bare, subject, truth, frozenset({"meshes"}))
    assert not any(name.startswith("look_") for name in scores)
    scores, _ = scored(bare, subject, truth, frozenset({"meshes"}), elsewhere=True)
    assert scores["look_masked_psnr"] < 20


def test_the_spread_of_samples_is_their_standard_deviation_behind_the_subject(subject):
    views = gray_views(20, SIZE).clone()
    other = views.clone()
    other[..., :3] += 0.1
    method = frozenset({"views"})
    answer = Answer(views, another=lambda: other)
    scores, _ = scored(answer, subject, Truth(None, None), method)
    assert scores["seed_spread"] == pytest.approx(255 * 0.1 / 2**0.5, rel=1e-3)
    same, _ = scored(Answer(views, another=views.clone), subject, Truth(None, None), method)
    assert same["seed_spread"] == 0
