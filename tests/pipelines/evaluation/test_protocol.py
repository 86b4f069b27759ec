"""The protocol of evaluations: cameras, seeds, the choice of objects."""

from __future__ import annotations

import math

import pytest
import torch

from gen.data.sources import ObjectInfo
from pipelines.evaluation.protocol import (
    HELD_OUT,
    VIEWS,
    EvaluationError,
    context_views,
    degrees_away,
    groups_of,
    held_out_cameras,
    object_seed,
    path_cameras,
    stratified,
)

OBJECTS = [ObjectInfo(f"a{i}", tier="A") for i in range(42)]
OBJECTS += [ObjectInfo(f"b{i}", tier="B") for i in range(13)] + [ObjectInfo(f"c{i}", tier="C") for i in range(5)]


def elevation(camera) -> float:
    return math.degrees(math.asin(float(camera.centre[1] / camera.centre.norm())))


def test_both_paths_begin_at_the_input_view():
    level, wave = (path_cameras(path, 64) for path in ("level", "wave"))
    assert len(level) == len(wave) == VIEWS
    assert torch.allclose(level[0].c2w, wave[0].c2w, atol=1e-6)
    assert float(level[0].centre[2]) > 0


def test_the_level_path_stays_and_the_wave_rises_and_falls():
    assert all(elevation(camera) == pytest.approx(10, abs=1e-3) for camera in path_cameras("level", 64))
    heights = [elevation(camera) for camera in path_cameras("wave", 64)]
    assert max(heights) == pytest.approx(30, abs=0.1)
    assert min(heights) == pytest.approx(-10, abs=0.1)


def test_every_camera_frames_the_unit_sphere_with_the_house_margin():
    for camera in path_cameras("wave", 64):
        assert float(camera.centre.norm()) == pytest.approx(0.55 / math.sin(math.radians(16.9)), rel=1e-5)


def test_the_choice_of_objects_keeps_the_tiers_in_proportion_and_never_changes():
    chosen = stratified(OBJECTS, 20)
    assert [sum(o.tier == tier for o in chosen) for tier in "ABC"] == [14, 4, 2]
    assert chosen == stratified(list(reversed(OBJECTS)), 20)
    assert stratified(OBJECTS, 60) == tuple(sorted(OBJECTS, key=lambda o: o.id))


@pytest.mark.parametrize("count", [0, 61])
def test_an_impossible_number_of_objects_is_refused(count):
    with pytest.raises(EvaluationError, match="1 to 60"):
        stratified(OBJECTS, count)


def test_an_object_has_its_own_seed_for_ever():
    assert object_seed("chair") == object_seed("chair")
    assert object_seed("chair") != object_seed("table")
    assert object_seed("chair") == object_seed("chair.glb")
    assert 0 <= object_seed("chair") < 2**31


def test_scans_have_a_group_of_their_own():
    assert groups_of(ObjectInfo("x", tier="A", kind="scan")) == ("tier A", "scan")
    assert groups_of(ObjectInfo("x", tier="C", kind="lowpoly")) == ("tier C",)


def test_contexts_contain_the_input_and_lie_evenly_around():
    assert context_views(1) == [0]
    assert context_views(2) == [0, 10]
    assert context_views(4) == [0, 5, 10, 15]


def test_both_paths_together_show_no_view_twice():
    places = torch.stack([camera.centre for camera in path_cameras("both", 64)])
    assert len(places) == 2 * VIEWS - 1
    assert float((torch.cdist(places, places) + torch.eye(len(places))).min()) > 1e-3


def test_views_left_and_right_of_the_input_are_as_far_away():
    away = [degrees_away(camera) for camera in path_cameras("level", 64)]
    assert away[0] == pytest.approx(0, abs=1e-4)
    assert away[1] == pytest.approx(away[20], abs=1e-3)
    assert away[1] == pytest.approx(360 / 21, abs=1e-3)
    assert max(away) < 180


@pytest.mark.parametrize(("path", "degrees"), [("level", 15), ("wave", 7)])
def test_held_out_views_keep_away_from_the_paths(path, degrees):
    held_out, places = (
        torch.nn.functional.normalize(torch.stack([camera.centre for camera in cameras]), dim=1).double()
        for cameras in (held_out_cameras(64), path_cameras(path, 64))
    )
    assert len(held_out) == len(HELD_OUT)
    assert float((held_out @ places.T).clamp(-1, 1).acos().min()) >= math.radians(degrees)
