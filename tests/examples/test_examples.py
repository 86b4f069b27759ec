"""The examples run as they are, in small, and are what they say they are."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import json
import re
import shutil
from fractions import Fraction
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from gen.weights import load_pipeline
from pipelines._films import write_mp4
from pipelines._options import DEFAULT_ELEVATION, PRESETS
from recon.asset.gltf import read_glb
from recon.capture import Capture, Similarity, frame_from_tensors
from recon.capture.io_colmap import write_colmap
from recon.capture.orbit import orbit_cameras
from recon.metrics.images import over_white
from recon.metrics.topology import is_watertight
from recon.splat.fit_options import FIT_PRESETS
from recon.splat.ply import write_ply
from recon.splat.solve_poses import OrbitOptions, solve_orbit
from recon.surface.finishing import FinishOptions
from recon.surface.fusion import FUSION_PRESETS
from recon.surface.loading import load_mesh
from recon.surface.mesh import Mesh
from recon.surface.render import prepare_mesh, render_prepared
from recon.surface.texture import BakeOptions
from tests.examples import inria
from tests.recon.surface.test_fusion import ball_of_gaussians
from tests.shared_data import ROOT


def example(name: str) -> ModuleType:
    """The module of a numbered example, whose name no import statement can hold."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", ROOT / "examples" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_first_example_has_the_settings_of_the_fast_preset():
    first, fast = example("01_photo_to_glb"), PRESETS["fast"]
    assert (fast.frames, fast.num_inference_steps) == (first.FRAMES, first.STEPS)
    assert (fast.target_faces, fast.texture_size) == (first.TARGET_FACES, first.TEXTURE_SIZE)
    assert np.rad2deg(first.ELEVATION) == DEFAULT_ELEVATION
    assert (FIT_PRESETS["fast"], FUSION_PRESETS["fast"]) == (first.FIT, first.FUSION)


def test_the_first_example_turns_its_photo_into_a_closed_textured_mesh(tmp_path, monkeypatch):
    first = example("01_photo_to_glb")
    monkeypatch.chdir(tmp_path)  # it finds its photo from anywhere
    for name, value in {"FRAMES": 4, "STEPS": 1, "TARGET_FACES": 800, "TEXTURE_SIZE": 128}.items():
        monkeypatch.setattr(first, name, value)
    monkeypatch.setattr(first, "FIT", dataclasses.replace(first.FIT, iterations=10, max_size=48, grid=48))
    monkeypatch.setattr(first, "FUSION", dataclasses.replace(first.FUSION, resolution=48, size=48, views=16))
    first.main(first.PHOTO, tmp_path / "toadstool.glb")
    asset = read_glb(tmp_path / "toadstool.glb")
    assert asset.name == "toadstool"
    assert is_watertight(asset.mesh)
    assert 0 < len(asset.mesh.faces) <= 800
    red, green, _ = asset.mesh.materials[0].texture.float().mean((0, 1)).tolist()
    assert red > green


def test_the_second_example_draws_the_made_up_photos_that_are_shipped(tmp_path, monkeypatch):
    second = example("02_render_sample_objects")
    monkeypatch.setattr(second, "SIZE", 64)
    second.main(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in second.FOLDER.glob("*.png"))
    for path in tmp_path.iterdir():
        with Image.open(path) as drawn, Image.open(second.FOLDER / path.name) as shipped:
            small = shipped.convert("RGBa").resize((64, 64), Image.Resampling.BOX)
            difference = np.asarray(drawn.convert("RGBa"), float) - np.asarray(small, float)
        assert np.abs(difference).mean() < 4  # of 255


def test_the_third_example_draws_a_foreign_ply_like_the_reference(tmp_path):
    inria.write_ply(tmp_path / "point_cloud.ply")
    inria.write_cameras(tmp_path / "cameras.json")
    example("03_render_a_ply").main(tmp_path / "point_cloud.ply", tmp_path / "cameras.json", tmp_path / "picture.png")
    # The same columns drawn over black by gsplat 1.5.3's pure torch code (`_spherical_harmonics`, then
    # `_fully_fused_projection` and `_rasterize_to_pixels`), rounded to bytes.
    with (
        Image.open(ROOT / "tests/examples/inria_reference.png") as theirs,
        Image.open(tmp_path / "picture.png") as ours,
    ):
        difference = np.asarray(theirs, float) - np.asarray(ours, float)
    assert 10 * np.log10(255**2 / np.square(difference).mean()) > 45


@pytest.fixture
def in_small(monkeypatch):
    """Makes an example's fit, surface and texture small."""

    def shrink(module: ModuleType) -> ModuleType:
        monkeypatch.setattr(module, "FIT", dataclasses.replace(module.FIT, iterations=60, max_size=48, grid=48))
        monkeypatch.setattr(module, "FUSION", dataclasses.replace(module.FUSION, resolution=48, size=48, views=16))
        monkeypatch.setattr(module, "FINISH", FinishOptions(800, bake=BakeOptions(128)))
        return module

    return shrink


def painted_house() -> Mesh:
    return load_mesh(ROOT / "assets" / "eval" / "house.glb")


def test_the_fourth_example_models_the_objects_that_are_shipped(tmp_path, monkeypatch):
    fourth = example("04_model_evaluation_objects")
    names = sorted(fourth.MODELLED)[:2]
    monkeypatch.setattr(fourth, "MODELLED", names)
    monkeypatch.setattr(fourth, "CELL", 32)
    fourth.main(tmp_path)
    wanted = {*(f"{name}.glb" for name in names), "manifest.jsonl", "preview.png"}
    assert {path.name for path in tmp_path.iterdir()} == wanted
    for name in names:
        made, shipped = (load_mesh(folder / f"{name}.glb") for folder in (tmp_path, fourth.FOLDER))
        np.testing.assert_allclose(made.vertices, shipped.vertices, atol=1e-5)
        np.testing.assert_array_equal(made.faces, shipped.faces)
    with Image.open(tmp_path / "preview.png") as sheet:
        assert sheet.size == (256, 32)
        assert len(sheet.convert("RGB").getcolors(1 << 16)) > 50  # not a bare ground
    lines = [json.loads(line) for line in (tmp_path / "manifest.jsonl").read_text().splitlines()]
    shipped_lines = [json.loads(line) for line in (fourth.FOLDER / "manifest.jsonl").read_text().splitlines()]
    assert all(line in shipped_lines for line in lines)


def test_the_fifth_example_turns_a_turntables_video_into_a_mesh(tmp_path, monkeypatch, in_small, capsys):
    fifth = in_small(example("05_video_to_glb"))
    monkeypatch.setattr(fifth, "FRAMES", 10)
    monkeypatch.setattr(fifth, "SIDE", 96)
    quick = OrbitOptions(fit_size=48, passes=10, gaussians=600)
    monkeypatch.setattr(fifth, "solve_orbit", functools.partial(solve_orbit, options=quick))
    house = prepare_mesh(painted_house())
    views = (render_prepared(house, camera).rgba for camera in orbit_cameras(20, 0.3, size=128))
    write_mp4(((over_white(view) * 255).byte().numpy() for view in views), tmp_path / "turn.mp4", Fraction(10))
    fifth.main(tmp_path / "turn.mp4", tmp_path / "turn.glb")
    asset = read_glb(tmp_path / "turn.glb")
    assert asset.name == "turn"
    assert is_watertight(asset.mesh)
    assert "confidence" in capsys.readouterr().out


def test_the_sixth_example_reads_a_colmap_model_of_another_world(tmp_path, in_small, capsys):
    sixth = in_small(example("06_capture_to_glb"))
    flat = painted_house()
    flat = dataclasses.replace(flat, vertices=flat.vertices * torch.tensor([1.0, 0.5, 1.0]), normals=None)
    house = prepare_mesh(flat)
    frames = [
        frame_from_tensors(camera, render_prepared(house, camera).rgba, name=f"v{i}")
        for i, camera in enumerate(orbit_cameras(10, 0.3, size=64))
    ]
    upside_down = Similarity(torch.diag(torch.tensor([1.0, -1.0, -1.0])), torch.tensor([4.0, 5.0, 6.0]), 3.0)
    write_colmap(Capture(tuple(frames)).moved(upside_down), tmp_path / "colmap")
    sixth.main(tmp_path / "colmap", tmp_path / "house.glb")
    asset = read_glb(tmp_path / "house.glb")
    assert asset.name == "colmap"
    assert is_watertight(asset.mesh)
    across, high, deep = (asset.mesh.bounds()[1] - asset.mesh.bounds()[0]).tolist()
    assert high < 0.75 * min(across, deep)  # it stands as the true one does
    unit = float(re.search(r"is ([0-9.]+) units", capsys.readouterr().out)[1])
    assert unit == pytest.approx(3.0, rel=0.3)  # but for the sphere that is put around it


def test_the_seventh_example_draws_a_spiral_of_two_photos(tmp_path, monkeypatch):
    seventh = example("07_photos_and_a_camera_path")
    monkeypatch.setattr(seventh, "FRAMES", 4)
    monkeypatch.setattr(seventh, "SIZE", 32)
    photos = [ROOT / "assets" / "photos" / name for name in ("toadstool.png", "teapot.png")]
    seventh.main(tmp_path / "spiral.webp", photos)
    with Image.open(tmp_path / "spiral.webp") as animation:
        assert (animation.size, getattr(animation, "n_frames", 1)) == ((32, 32), 4)
        assert np.asarray(animation.convert("L")).std() > 5


def test_the_notebook_runs_from_its_first_cell_to_its_last(tmp_path):
    write_ply(ball_of_gaussians(), tmp_path / "splat.ply")
    notebook = json.loads((ROOT / "examples" / "08_splats_in_a_notebook.ipynb").read_text())
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] for cell in cells)
    names: dict[str, Any] = {}
    for cell in cells:
        exec(cell["source"].replace('"../out/toadstool"', repr(str(tmp_path))), names)
    assert names["drawn"].rgb.shape == (4, 256, 256, 3)
    red, green, blue = names["harmonics"].grad[:, 0].abs().sum(dim=0).tolist()
    assert red > 0
    assert green == blue == 0


def test_the_ninth_example_trains_something_that_the_commands_take(tmp_path, monkeypatch):
    ninth = example("09_train_on_own_objects")
    monkeypatch.setattr(ninth, "SCENES", dataclasses.replace(ninth.SCENES, size=16))
    model = dataclasses.replace(ninth.TRAINING.model, sample_size=16, patch_size=4, width=24, heads=2)
    small = dataclasses.replace(ninth.TRAINING, model=model, size=16, steps=2, frames_per_step=8, warmup=1)
    monkeypatch.setattr(ninth, "TRAINING", small)
    models = tmp_path / "models"
    models.mkdir()
    for name in ("house", "mug"):
        shutil.copy(ROOT / "assets" / "eval" / f"{name}.glb", models)
    ninth.main(models, tmp_path / "trained")
    pipeline = load_pipeline(tmp_path / "trained" / "pipeline")
    assert pipeline.transformer.config.sample_size == 16


def test_the_tenth_example_turns_a_clip_into_an_animated_mesh(tmp_path, monkeypatch, capsys):
    from recon.capture.io_nerfstudio import write_transforms
    from recon.surface.rigged import load_rigged
    from tests.recon.motion.scenes import arm_capture
    from tests.recon.motion.test_fit import SMALL

    tenth = example("10_clip_to_animated_glb")
    monkeypatch.setattr(tenth, "MOVING_PRESETS", {"fast": SMALL})
    monkeypatch.setattr(tenth, "FUSION", dataclasses.replace(tenth.FUSION, resolution=48, size=48, views=16))
    monkeypatch.setattr(tenth, "FINISH", FinishOptions(800, bake=BakeOptions(128)))
    write_transforms(arm_capture(), tmp_path / "clip")
    tenth.main(tmp_path / "clip", tmp_path / "arm.glb")
    rigged = load_rigged(tmp_path / "arm.glb")
    assert rigged.clips[0].duration == pytest.approx(2.0)  # there and back
    swung = (rigged.vertices_at(0, 0.0) - rigged.vertices_at(0, 1.0)).norm(dim=1).max()
    assert float(swung) > 0.2
    assert "bones over 1.00 s" in capsys.readouterr().out
