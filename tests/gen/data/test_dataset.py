from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh

from gen.data import render as module
from gen.data.dataset import TIER_SHARES, OrbitDataset
from gen.data.format import DatasetError
from gen.data.names import find_excluded
from gen.data.render import plan_dataset, render_dataset
from gen.data.scenes import SceneOptions
from gen.options import TrainOptions
from gen.train import train
from tests.shared_data import ROOT

OPTIONS = SceneOptions(size=32, views=6, seed=1)
COLORS = {"ball": [200, 40, 40, 255], "box": [40, 200, 40, 255], "ring": [40, 40, 200, 255]}


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    """A folder of three GLB files and one that is no mesh at all, listed as never to be trained on."""
    folder = tmp_path_factory.mktemp("models")
    shapes = {
        "ball": trimesh.creation.icosphere(subdivisions=4, radius=2.0),
        "box": trimesh.creation.box((1, 1, 1)),
        "ring": trimesh.creation.torus(1.0, 0.3),
    }
    for name, shape in shapes.items():
        shape.visual.face_colors = COLORS[name]
        (folder / f"{name}.glb").write_bytes(trimesh.Scene(shape).export(file_type="glb"))
    (folder / "forbidden.glb").write_bytes(b"whoever loads this fails")
    (folder / "never_train.txt").write_text("# not for training\nforbidden.glb\n")
    lines = [{"id": "ball.glb", "tier": "A"}, {"id": "box.glb", "tier": "B"}, {"id": "ring.glb", "tier": "B"}]
    (folder / "manifest.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return folder


@pytest.fixture(scope="module")
def rendered(models, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("rendered")
    render_dataset(plan_dataset(models, OPTIONS), folder)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_views_hold_what_was_drawn(rendered):
    dataset = OrbitDataset(rendered)
    assert dataset.ids == ("ball.glb", "box.glb", "ring.glb")
    views = dataset.read(np.array([0]), np.arange(6)[None]).decode()
    camera_to_surface = views.depth[..., None] * _rays(views)
    points = views.c2w[..., None, None, :3, 3] + camera_to_surface
    whole = views.rgba[..., 3] == 1
    assert whole.float().mean() > 0.3
    # The ball touches the sphere of diameter 1, so its surface and normals are known.
    torch.testing.assert_close(points[whole].norm(dim=-1), torch.full((int(whole.sum()),), 0.5), atol=0.01, rtol=0)
    assert ((points[whole] / 0.5) * views.normal[whole]).sum(-1).min() > 0.98
    nothing = views.rgba[..., 3] == 0
    assert (views.depth[nothing] == 0).all()
    assert (views.normal[nothing] == 0).all()


def _rays(views):
    size = views.rgba.shape[-2]
    y, x = torch.meshgrid(torch.arange(size) + 0.5, torch.arange(size) + 0.5, indexing="ij")
    pixels = torch.stack((x, y, torch.ones_like(x)), dim=-1)
    to_world = views.c2w[..., :3, :3] @ torch.linalg.inv(views.intrinsics)
    return torch.einsum("bfij,hwj->bfhwi", to_world, pixels)


def test_what_must_never_be_trained_on_is_not_even_opened(models, rendered):
    index = json.loads((rendered / "dataset.json").read_text())
    assert index["excluded"] == ["forbidden.glb"]
    assert "forbidden.glb" not in [o["id"] for o in index["objects"]]
    with pytest.raises(ValueError, match=r"forbidden\.glb"):
        render_dataset(plan_dataset(models, OPTIONS, exclude="none"), rendered.parent / "everything")


@pytest.mark.parametrize("entry", ["inner/secret.glb", "inner/secret", "secret.glb", "secret", "secret.obj"])
def test_an_excluded_object_stays_out_however_the_list_names_it(models, rendered, tmp_path, entry):
    folder, listing = tmp_path / "more", tmp_path / "list.txt"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "secret.glb").write_bytes(b"whoever loads this fails")
    (folder / "box.glb").write_bytes((models / "box.glb").read_bytes())
    listing.write_text(f"{entry}\nunknown\n", encoding="utf-8-sig")  # with the mark that Windows editors put first
    plan = plan_dataset(folder, OPTIONS, exclude=str(listing))
    assert [o.id for o in plan.objects] == ["box.glb"]
    assert plan.excluded == tuple(sorted((entry, "unknown")))
    assert plan.found == (entry,)


def test_a_given_list_adds_to_the_one_beside_the_objects(models, tmp_path):
    listing = tmp_path / "more.txt"
    listing.write_text("box\n")
    plan = plan_dataset(models, OPTIONS, exclude=str(listing))
    assert {o.id for o in plan.objects} == {"ball.glb", "ring.glb"}


def test_what_was_rendered_against_a_list_is_not_trained_on(models, rendered, tmp_path):
    assert plan_dataset(models, OPTIONS, exclude="none").exclusion == "ignored"
    for name, data in contents(rendered).items():
        (tmp_path / name).write_bytes(data)
    index = json.loads((tmp_path / "dataset.json").read_text()) | {"exclusion": "ignored"}
    (tmp_path / "dataset.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match="measuring only"):
        train(OrbitDataset(tmp_path), tmp_path / "run", TrainOptions(size=32))


@pytest.mark.parametrize("entry", ["box.glb", "box"])
def test_a_dataset_that_holds_an_excluded_object_is_refused(rendered, tmp_path, entry):
    for name, data in contents(rendered).items():
        (tmp_path / name).write_bytes(data)
    index = json.loads((tmp_path / "dataset.json").read_text())
    index["excluded"].append(entry)
    (tmp_path / "dataset.json").write_text(json.dumps(index))
    with pytest.raises(DatasetError, match=r"box\.glb"):
        OrbitDataset(tmp_path)


def test_names_that_only_look_alike_are_not_excluded():
    ids = ("box.glb", "boxes.glb", "my.box.v2", "box/ball.glb")
    assert find_excluded(ids, ["box", "v2", "my"]) == {"box.glb": {"box"}}


def test_a_file_name_that_is_not_utf8_is_refused_with_a_remedy(tmp_path):
    try:
        (tmp_path / "b\udce9.obj").write_text("")
    except (OSError, UnicodeEncodeError):
        pytest.skip("this file system has no such names")
    with pytest.raises(DatasetError, match=r"'b\\udce9\.obj' is not UTF-8; rename"):
        plan_dataset(tmp_path, OPTIONS, exclude="none")


def test_without_a_list_rendering_is_refused_unless_asked_for(models, tmp_path):
    (tmp_path / "box.glb").write_bytes((models / "box.glb").read_bytes())
    with pytest.raises(DatasetError, match="--exclude none"):
        plan_dataset(tmp_path, OPTIONS)
    assert plan_dataset(tmp_path, OPTIONS, exclude="none").exclusion == "none"


def test_only_listed_objects_are_rendered(models, tmp_path):
    chosen = tmp_path / "chosen.txt"
    chosen.write_text("box.glb\n")
    assert [o.id for o in plan_dataset(models, OPTIONS, only=chosen).objects] == ["box.glb"]
    chosen.write_text("ring\nforbidden\n")
    assert [o.id for o in plan_dataset(models, OPTIONS, only=chosen).objects] == ["ring.glb"]
    chosen.write_text("box.glb\nmissing.glb\n")
    with pytest.raises(DatasetError, match=r"missing\.glb"):
        plan_dataset(models, OPTIONS, only=chosen)


def test_the_same_options_give_the_same_bytes_on_any_number_of_processes(models, rendered, tmp_path, monkeypatch):
    render_dataset(plan_dataset(models, OPTIONS), tmp_path / "again")
    assert contents(tmp_path / "again") == contents(rendered)
    monkeypatch.setattr(module, "SHARD_OBJECTS", 1)
    render_dataset(plan_dataset(models, OPTIONS), tmp_path / "one", workers=1)
    render_dataset(plan_dataset(models, OPTIONS), tmp_path / "two", workers=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    split = OrbitDataset(tmp_path / "one").read(np.array([2, 0]), np.array([[1, 2], [3, 4]])).decode()
    whole = OrbitDataset(rendered).read(np.array([2, 0]), np.array([[1, 2], [3, 4]])).decode()
    assert torch.equal(split.rgba, whole.rgba)
    assert torch.equal(split.depth, whole.depth)


def test_another_seed_gives_other_pictures(models, rendered, tmp_path):
    render_dataset(plan_dataset(models, SceneOptions(size=32, views=6, seed=2)), tmp_path)
    assert contents(tmp_path)["rgba-0000.npy"] != contents(rendered)["rgba-0000.npy"]


def test_variants_show_an_object_stretched_and_its_first_one_as_it_is(models, rendered, tmp_path):
    render_dataset(plan_dataset(models, replace(OPTIONS, variants=3)), tmp_path)
    dataset, plain = OrbitDataset(tmp_path), OrbitDataset(rendered)
    assert dataset.ids == tuple(name for name in plain.ids for _ in range(3))
    every = np.arange(6)[None]
    assert torch.equal(dataset.read(np.array([3]), every).decode().rgba, plain.read(np.array([1]), every).decode().rgba)
    ball, stretched = (dataset.read(np.array([i]), every).decode() for i in (0, 1))
    points = stretched.c2w[..., None, None, :3, 3] + stretched.depth[..., None] * _rays(stretched)
    radius = points[stretched.rgba[..., 3] == 1].norm(dim=-1)
    assert radius.max() == pytest.approx(0.5, abs=0.02)  # still fills its sphere
    assert radius.min() < 0.45  # and is a ball no longer
    assert not torch.equal(ball.c2w, stretched.c2w)


def test_a_killed_run_is_finished_by_the_same_command_with_the_same_bytes(models, tmp_path, monkeypatch):
    code = """if True:
        import sys
        from pathlib import Path
        from gen.data import render
        from gen.data.scenes import SceneOptions
        render.SHARD_OBJECTS = 1
        plan = render.plan_dataset(Path(sys.argv[1]), SceneOptions(size=64, views=400, seed=1))
        render.render_dataset(plan, Path(sys.argv[2]))
    """
    killed, unbroken = tmp_path / "killed", tmp_path / "unbroken"
    command = [sys.executable, "-c", code, str(models), str(killed)]
    process = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(ROOT)})
    deadline = time.monotonic() + 120
    while not (killed / "camera-0000.npy").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (killed / "dataset.json").exists()
    with pytest.raises(DatasetError, match="finished dataset"):
        OrbitDataset(killed)

    monkeypatch.setattr(module, "SHARD_OBJECTS", 1)
    plan = plan_dataset(models, SceneOptions(size=64, views=400, seed=1))
    stamp = (killed / "rgba-0000.npy").stat().st_mtime_ns
    render_dataset(plan, killed)
    assert (killed / "rgba-0000.npy").stat().st_mtime_ns == stamp
    render_dataset(plan, unbroken)
    assert contents(killed) == contents(unbroken)


def test_a_folder_with_something_else_in_it_is_left_alone(models, rendered, tmp_path):
    (tmp_path / "diary.txt").write_text("mine")
    with pytest.raises(DatasetError, match="not empty"):
        render_dataset(plan_dataset(models, OPTIONS), tmp_path)
    with pytest.raises(DatasetError, match="other options"):
        render_dataset(plan_dataset(models, SceneOptions(size=32, views=7)), rendered)


def test_samples_follow_the_tiers_and_never_repeat_a_view(rendered):
    dataset = OrbitDataset(rendered)
    views = dataset.sample(np.random.default_rng(0), frames=2, batch=4000).decode()
    share = views.objects.bincount() / len(views.objects)
    a, b = TIER_SHARES["A"], TIER_SHARES["B"]
    expected = torch.tensor([a, b / 2, b / 2]) / (a + b)
    torch.testing.assert_close(share, expected, atol=0.03, rtol=0)
    assert (views.c2w[:, 0] != views.c2w[:, 1]).flatten(1).any(dim=1).all()
    assert views.rgba.shape == (4000, 2, 32, 32, 4)


def test_sampling_follows_the_generator(rendered):
    dataset = OrbitDataset(rendered)
    first, second = (dataset.sample(np.random.default_rng(5), 3, 4).decode() for _ in range(2))
    assert torch.equal(first.rgba, second.rgba)
    assert torch.equal(first.c2w, second.c2w)
    with pytest.raises(ValueError, match="6 views"):
        dataset.sample(np.random.default_rng(0), frames=7, batch=1)


@pytest.mark.parametrize("victim", ["rgba-0000.npy", "camera-0000.npy", "dataset.json"])
def test_damaged_datasets_are_refused_with_the_files_name(rendered, tmp_path, victim):
    for name, data in contents(rendered).items():
        (tmp_path / name).write_bytes(data[: len(data) // 2] if name == victim else data)
    with pytest.raises(DatasetError, match=victim):
        OrbitDataset(tmp_path)
