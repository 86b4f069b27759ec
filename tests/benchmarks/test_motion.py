"""What the benchmark of moving assets measures is what was done; nothing here needs Blender."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from benchmarks import motion
from benchmarks._errors import BenchmarkError
from benchmarks._moving_methods import APART, CEILING, ONE_BASIS, OURS
from benchmarks._moving_run import from_one_view
from benchmarks._moving_scores import flicker, nearest_places, path_errors, rigid_rest, score
from benchmarks._moving_tables import evenly, markdown
from benchmarks._moving_truth import MovingTruth, chosen_clip, given_cameras, held_out_cameras
from benchmarks._replay import Replay
from pipelines.evaluation.protocol import draw_views
from recon.capture import Similarity, frame_from_tensors
from recon.capture.conversions import rotation_from_quat
from recon.surface.animation import Clip
from tests.recon.metrics.shapes import box

TURN = rotation_from_quat(torch.tensor([0.8, 0.0, 0.6, 0.0]))


def clips(**durations):
    return [Clip(name, duration, ()) for name, duration in durations.items()]


def sliding_box(step=0.05, count=4):
    """A cuboid with sides 0.8, 0.4 and 0.4 that moves along x."""
    shape = box((0.8, 0.4, 0.4))
    poses = tuple(shape.moved(translation=torch.tensor([step * i, 0.0, 0.0])) for i in range(count))
    return MovingTruth("box", "slide", torch.arange(count) / 10, poses)


def shown_as(truth, poses):
    return Replay(truth.views(held_out_cameras()[:2]), torch.stack([pose.vertices for pose in poses]), poses[0].faces)


def test_the_most_vigorous_clip_is_chosen_the_shortest_of_several():
    assert chosen_clip("a", clips(Idle=3.0, Walk=1.0, Gallop_Jump=1.5, Gallop=0.6)) == 3
    assert chosen_clip("b", clips(Fish_Swimming_Normal=2.3, Fish_Swimming_Fast=1.0, Death=0.5)) == 1
    assert chosen_clip("c", clips(Run=0.7, Run_Gun=0.7, Walk=1.2)) == 0
    with pytest.raises(BenchmarkError, match="gallop"):
        chosen_clip("d", clips(Idle=1.0, Run=0.0))


def test_judges_stand_apart_from_the_cameras_that_film():
    for views in (1, 16):
        axes = torch.stack([camera.centre / camera.centre.norm() for camera in given_cameras(views, 64)])
        for camera in held_out_cameras():
            cosine = (axes @ (camera.centre / camera.centre.norm())).max()
            assert math.degrees(math.acos(float(cosine))) > 5


def test_what_one_camera_saw_gets_its_size_and_place_back():
    camera = given_cameras(1, 96)[0]
    shape = box((0.5, 0.3, 0.02))  # flat: what is deep looks larger in front of its middle
    there = Similarity(translation=torch.tensor([0.1, 0.05, 0.0]), scale=0.6)
    pictures = draw_views(shape, [camera]), draw_views(shape.moved(there.scale, there.translation), [camera])
    frames, true = ([frame_from_tensors(camera, picture[0])] for picture in pictures)
    found = from_one_view(frames, true)
    assert found.scale == pytest.approx(0.6, rel=0.05)
    assert float((found.translation - there.translation) @ camera.c2w[:3, 0]) == pytest.approx(0, abs=0.01)
    assert float((found.translation - there.translation) @ camera.c2w[:3, 1]) == pytest.approx(0, abs=0.01)


def test_the_truth_replayed_has_no_errors():
    truth = sliding_box()
    shown = shown_as(truth, truth.poses)
    found = score(shown, truth, shown.views, range(4), follows=True)
    assert min(found.psnr) == 60
    assert max(found.chamfer) < 0.01  # as far as two samples of 10,000 points are apart
    assert (found.path, found.path_high) == pytest.approx((0.0, 0.0), abs=1e-4)
    assert found.flicker == 0 < found.truth_change


def test_what_stands_still_misses_the_way_that_the_truth_went():
    truth = sliding_box(step=0.05)
    shown = shown_as(truth, [truth.poses[truth.reference]] * 4)
    found = score(shown, truth, shown.views, range(4), follows=True)
    steps = torch.tensor([0.05 * abs(time - truth.reference) for time in range(4) if time != truth.reference])
    assert found.path == pytest.approx(100 * float(steps.mean()) / 0.8, rel=1e-3)
    assert found.path_high == pytest.approx(100 * float(steps.max()) / 0.8, rel=1e-3)


def test_shapes_of_their_own_have_no_paths():
    truth = sliding_box()
    shown = shown_as(truth, truth.poses)
    some = Replay(shown.views[[0, 1]], shown.vertices[[0, 1]], shown.faces)
    found = score(some, truth, shown.views, [0, 1], follows=False)
    assert found.path is None
    assert len(found.chamfer) == 2


def test_path_errors_do_not_count_where_points_start():
    true = torch.rand(5, 7, 3)
    found = true + torch.rand(7, 3)
    assert path_errors(found, true, 2).max() < 1e-6
    found[4] += torch.tensor([0.0, 0.3, 0.4])
    errors = path_errors(found, true, 2)
    assert errors.shape == (4, 7)
    torch.testing.assert_close(errors[3], torch.full((7,), 0.5))


def test_a_rigid_motion_leaves_nothing_and_a_bend_something():
    points = torch.rand(50, 3)
    moved = torch.stack((points, points @ TURN.T + 1))
    assert rigid_rest(moved, 0) < 1e-6
    bent = torch.where(points[:, :1] > 0.5, points + torch.tensor([0.0, 0.2, 0.0]), points)
    assert 0.01 < rigid_rest(torch.stack((points, bent)), 0) < 0.2


def test_places_go_where_their_triangles_go():
    shape = box((0.8, 0.4, 0.4))
    points = torch.tensor([[0.4, 0.1, -0.05], [0.0, 0.2, 0.1], [0.5, 0.0, 0.0]])
    places = nearest_places(points, shape.vertices, shape.faces)
    there = places.follow(torch.stack((shape.vertices, shape.vertices @ TURN.T)))
    on_surface = torch.tensor([[0.4, 0.1, -0.05], [0.0, 0.2, 0.1], [0.4, 0.0, 0.0]])
    torch.testing.assert_close(there[0], on_surface)
    torch.testing.assert_close(there[1], on_surface @ TURN.T)


def test_flicker_is_the_change_of_errors_between_neighbours_only():
    truth = torch.rand(4, 2, 6, 6, 4)
    assert flicker(truth, truth, range(4)) == 0
    opaque = torch.cat((torch.rand(4, 2, 6, 6, 3) / 2, torch.ones(4, 2, 6, 6, 1)), dim=-1)
    brighter = opaque + torch.tensor([0.1, 0.1, 0.1, 0.0])
    assert flicker(brighter, opaque, range(4)) == pytest.approx(0, abs=1e-4)  # an error that stays is none
    brighter[2:, ..., :3] += 0.1
    assert flicker(brighter, opaque, range(4)) == pytest.approx(25.5 / 3, rel=1e-4)
    assert flicker(brighter, opaque, [0, 1, 8, 9]) == pytest.approx(0, abs=1e-4)


def test_evenly_keeps_both_ends():
    assert evenly(24) == [0, 3, 7, 10, 13, 16, 20, 23]
    assert evenly(3) == [0, 1, 2]
    assert evenly(1) == [0]


def row(psnr, path):
    values = {"ssim": 0.9, "masked_psnr": 20.0, "masked_ssim": 0.8, "chamfer": 0.005}
    lists = {"psnr": [psnr] * 4} | {name: [value] * 4 for name, value in values.items()}
    high = None if path is None else 3 * path
    figures = {"bytes": 2048.0, "cpu_seconds": 100.0, "keys": 900, "bases": 20}
    return {**lists, "path": path, "path_high": high, "flicker": 1.0, "truth_change": 4.0, "figures": figures}


def test_the_tables_set_methods_side_by_side():
    settings = {"preset": "balanced", "times": 4, "views": 16, "size": 128}
    subjects: dict[str, Any] = {
        name: {
            "clip": "Run",
            "rigid_rest": 3.0,
            "rows": {OURS: row(30.0, 1.0), ONE_BASIS: row(20.0, worse), APART: row(31.0, None)},
        }
        for name, worse in (("a", 4.0), ("b", 1.5))
    }
    subjects["b"]["rows"][CEILING] = {"failed": "no area"}
    text = markdown({"settings": settings, "subjects": subjects})
    assert "| ours, skinned | 30.00 | 0.900 | 20.00 | 0.800 | 0.0050 | 1.00 | 3.00 | 25 | 20 | 900 | – | 2 |" in text
    assert "| one basis | 20.00 |" in text
    assert "| every time for itself | 31.00 | 0.900 | 20.00 | 0.800 | 0.0050 | – | – | 25 |" in text
    assert text.count("0 of 1 |") == 1
    assert "| a, Run | 3.00 | 1.00 | 4.00 | 4.0 | 30.00 | 0.0050 | 25 |" in text
    assert "at least twice as far on 1 of 2 clips" in text
    assert "| one basis: PSNR, dB | 20.00 | 20.00 | 20.00 | 20.00 |" in text


def test_results_of_other_settings_are_not_mixed(tmp_path):
    file = tmp_path / "motion.json"
    file.write_text('{"benchmark": "motion", "settings": {"times": 3}, "subjects": {}}')
    with pytest.raises(BenchmarkError, match="choose another -o"):
        motion.run(motion.MotionOptions(tmp_path, file))


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(BenchmarkError, match="found no wolf"):
        motion.run(motion.MotionOptions(tmp_path, tmp_path / "motion.json", subjects=("wolf",)))
    with pytest.raises(BenchmarkError, match="found magic"):
        motion.run(motion.MotionOptions(tmp_path, tmp_path / "motion.json", rows=("magic",)))
