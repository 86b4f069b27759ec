"""The examples run as they are, in small, and are what they say they are."""

from __future__ import annotations

import dataclasses
import importlib.util
from types import ModuleType

import numpy as np
from PIL import Image

from pipelines._options import DEFAULT_ELEVATION, PRESETS
from recon.asset.gltf import read_glb
from recon.metrics.topology import is_watertight
from recon.splat.fit_options import FIT_PRESETS
from recon.surface.fusion import FUSION_PRESETS
from tests.examples import inria
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
