"""Datasets of what moves: what their views show, what is kept out, and how scenes are drawn from them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from gen.data import format as files
from gen.data import render as module
from gen.data.dataset import OrbitDataset
from gen.data.format import DatasetError
from gen.data.mixing import DatasetMix
from gen.data.render import plan_dataset, render_dataset
from gen.data.scenes import SceneOptions, moving, random_cameras
from recon.surface.rigged import load_rigged
from tests.gen.data.test_dataset import contents
from tests.gen.moving import OPTIONS, moving_solid, write_solids
from tests.gen.small import render_solids
from tests.shared_data import shared_path


@pytest.fixture(scope="module")
def solids(tmp_path_factory) -> Path:
    return write_solids(tmp_path_factory.mktemp("moving") / "solids")


@pytest.fixture(scope="module")
def rendered(solids) -> Path:
    folder = solids.parent / "rendered"
    render_dataset(plan_dataset(solids, OPTIONS), folder)
    return folder


def all_views(dataset: OrbitDataset):
    return dataset.read(np.arange(len(dataset)), np.tile(np.arange(dataset.views), (len(dataset), 1))).decode()


def test_views_show_evenly_spread_times_and_the_first_are_one_camera_s(rendered):
    dataset = OrbitDataset(rendered)
    assert dataset.ids == ("long.glb", "tall.glb")
    assert dataset.times == 4
    views = all_views(dataset)
    times = views.times.unflatten(1, (3, 4))
    assert torch.equal(times, times[:, :1].expand_as(times))
    assert torch.equal(times[..., 0], torch.zeros(2, 3))
    steps = times.diff(dim=-1)
    torch.testing.assert_close(steps, steps[..., :1].expand_as(steps))
    assert (times[..., -1] >= 0.5).all()
    assert (times[..., -1] <= 2).all()
    assert torch.equal(views.c2w[:, :4], views.c2w[:, :1].expand(2, 4, 4, 4))
    assert len(views.c2w[0, 3:].flatten(1).unique(dim=0)) == 9
    first, last = views.rgba[:, 0], views.rgba[:, 3]
    assert (first - last).abs().amax(dim=(1, 2, 3)).min() > 0.3  # the one camera sees it move


def test_what_views_show_lies_where_the_animation_has_it(solids, rendered):
    """Depth of every view, unprojected, lies on the surface of the pose of its time."""
    views = all_views(OrbitDataset(rendered))
    times, poses = moving(OPTIONS, "long.glb", load_rigged(solids / "long.glb"), stretch=False)
    assert torch.allclose(views.times[0, :4], torch.tensor(times), atol=1e-6)
    for view in range(12):
        low, high = poses[view % 4].bounds()
        solid = views.rgba[0, view, ..., 3] == 1
        y, x = (solid.nonzero() + 0.5).unbind(1)
        pixels = torch.stack((x, y, torch.ones_like(x)), dim=-1)
        rays = pixels @ (views.c2w[0, view, :3, :3] @ torch.linalg.inv(views.intrinsics[0, view])).T
        points = views.c2w[0, view, :3, 3] + rays * views.depth[0, view][solid][:, None]
        assert (points > low - 0.03).all(), view
        assert (points < high + 0.03).all(), view


def test_a_whole_motion_lies_in_the_sphere_and_touches_it(solids):
    for stretch in (False, True):
        _, poses = moving(OPTIONS, "tall.glb", load_rigged(solids / "tall.glb"), stretch=stretch)
        assert len(poses) == 4
        vertices = torch.cat([pose.vertices for pose in poses])
        assert float(vertices.norm(dim=1).max()) == pytest.approx(0.5)
        torch.testing.assert_close(vertices.min(0).values, -vertices.max(0).values, atol=1e-6, rtol=0)


def test_variants_show_other_parts_of_the_animations(solids):
    rigged = load_rigged(solids / "tall.glb")
    drawn = {tuple(moving(OPTIONS, f"tall.glb#{v}", rigged, stretch=False)[0]) for v in range(4)}
    assert len(drawn) == 4


def test_light_does_not_move(rendered):
    camera = np.load(rendered / "camera-0000.npy")
    assert camera.shape == (2, 12, 18)
    assert (camera[..., 16] == [[0], [1]]).all()


def test_the_validation_list_beside_animated_files_is_honoured(solids):
    plan = plan_dataset(solids, OPTIONS)
    assert [o.id for o in plan.objects] == ["long.glb", "tall.glb"]
    assert (plan.exclusion, plan.excluded, plan.found) == ("list", ("secret",), ("secret",))
    assert plan_dataset(solids, OPTIONS, exclude="none").exclusion == "ignored"


def test_both_lists_beside_animated_files_count(solids, tmp_path):
    for name in ("long.glb", "tall.glb", "secret.glb", "validation.txt"):
        (tmp_path / name).write_bytes((solids / name).read_bytes())
    (tmp_path / "never_train.txt").write_text("long.glb\n")
    assert [o.id for o in plan_dataset(tmp_path, OPTIONS).objects] == ["tall.glb"]
    for name in ("validation.txt", "never_train.txt"):
        (tmp_path / name).unlink()
    with pytest.raises(DatasetError, match=r"expected a list.*validation\.txt beside it"):
        plan_dataset(tmp_path, OPTIONS)


def test_no_shared_subject_of_the_validation_list_would_be_rendered():
    folder = shared_path("animated")
    listed = set((folder / "validation.txt").read_text().split())
    plan = plan_dataset(folder, OPTIONS)
    assert len(plan.objects) == 85 - len(listed)
    assert not {o.id.removesuffix(".glb") for o in plan.objects} & listed


def test_the_same_bytes_come_from_any_number_of_processes_and_after_an_interruption(solids, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SHARD_OBJECTS", 1)
    plan = plan_dataset(solids, replace(OPTIONS, variants=2))
    for workers in (1, 2):
        render_dataset(plan, tmp_path / str(workers), workers=workers)
    assert contents(tmp_path / "1") == contents(tmp_path / "2")
    broken = tmp_path / "2"
    for name in ("dataset.json", "camera-0002.npy", "rgba-0002.npy"):
        (broken / name).unlink()
    render_dataset(plan, broken)
    assert contents(broken) == contents(tmp_path / "1")


def test_a_thing_that_never_moves_is_refused_by_name(solids, tmp_path):
    still = moving_solid((1, 1, 1))
    still.header["animations"] = []
    still.write(tmp_path / "still.glb")
    (tmp_path / "box.obj").write_text("v 0 0 0\n")  # not of the kind, so not looked at
    with pytest.raises(DatasetError, match=r"still\.glb: has no animation"):
        render_dataset(plan_dataset(tmp_path, OPTIONS, exclude="none"), tmp_path / "out")


@pytest.mark.parametrize("wrong", [{"views": 10}, {"views": 4}, {"times": 0}, {"window": (2.0, 1.0)}])
def test_times_that_views_cannot_show_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        replace(OPTIONS, **wrong)


def test_an_animated_dataset_needs_a_folder(tmp_path):
    (tmp_path / "pack.zip").write_bytes(b"")
    with pytest.raises(DatasetError, match="expected a folder of animated"):
        plan_dataset(tmp_path / "pack.zip", OPTIONS, exclude="none")


def test_cameras_of_things_that_stand_still_did_not_change():
    """The first of a scene's cameras, as they were drawn before there were times."""
    still, moving_cameras = (random_cameras(SceneOptions(views=n, times=t), "a") for n, t in ((9, 1), (12, 4)))
    assert np.array_equal(still.c2w, moving_cameras.c2w[3:])


def test_videos_come_first_then_other_cameras_of_the_same_times(rendered):
    views = OrbitDataset(rendered).sample_videos(np.random.default_rng(0), 3, 8, 50).decode()
    assert views.c2w.shape[:2] == (50, 8)
    assert torch.equal(views.c2w[:, :3], views.c2w[:, :1].expand(50, 3, 4, 4))
    assert (views.times[:, :3].diff(dim=1) > 0).all()
    assert torch.equal(views.times[:, 3:6], views.times[:, :3])
    assert torch.equal(views.times[:, 6:], views.times[:, :2])
    for scene in views.c2w[:, 2:].flatten(2):
        assert len(scene.unique(dim=0)) == 6  # no camera twice besides the video's
    with pytest.raises(ValueError, match="3 views of 4 times"):
        OrbitDataset(rendered).sample_videos(np.random.default_rng(0), 2, 7, 1)


def test_datasets_from_before_there_were_times_are_read_as_still(tmp_path):
    new = render_solids(tmp_path)
    second = all_views(new)
    index = json.loads((new.folder / "dataset.json").read_text())
    for name in ("times", "window"):
        del index["options"][name]
    (new.folder / "dataset.json").write_text(json.dumps(index | {"format": files.STILL_FORMAT}))
    cameras = np.load(new.folder / "camera-0000.npy")
    np.save(new.folder / "camera-0000.npy", cameras[..., :17])
    old = OrbitDataset(new.folder)
    assert old.times == new.times == 1
    first = all_views(old)
    for name in ("rgba", "c2w", "intrinsics", "times"):
        assert torch.equal(getattr(first, name), getattr(second, name))
    assert not first.times.any()


def test_a_mix_draws_batches_by_its_shares_and_is_another_dataset_with_others(rendered, tmp_path):
    parts = [OrbitDataset(rendered), render_solids(tmp_path)]
    mix = DatasetMix(parts, [1, 3])
    rng = np.random.default_rng(0)
    assert sum(mix.pick(rng) is parts[0] for _ in range(2000)) == pytest.approx(500, abs=60)
    hashes = {DatasetMix(parts, s).sha256 for s in ([1, 3], [3, 1], ())} | {DatasetMix([p]).sha256 for p in parts}
    assert len(hashes) == 5
    assert DatasetMix([parts[0]]).sha256 == parts[0].sha256
    for shares in ([1.0], [1, 0], [1, float("nan")]):
        with pytest.raises(DatasetError, match="positive share"):
            DatasetMix(parts, shares)
    with pytest.raises(DatasetError, match="0 datasets"):
        DatasetMix([])
