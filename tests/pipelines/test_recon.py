"""`--recon`: the same stages and files whichever way the scene is fitted."""

from __future__ import annotations

import json

import pytest
import torch

from pipelines import img2mesh, video2mesh
from pipelines._fitted_scene import chosen_recon, read_fitted
from recon.capture import Capture, Source
from recon.capture.io_nerfstudio import write_transforms
from recon.field.field import Field
from recon.field.fit_options import FIELD_PRESETS, FieldOptions
from tests.pipelines.small import content
from tests.recon.splat.balls import ball_capture

FEW = FieldOptions(resolutions=(32, 40), steps=(30, 30), rays=512, max_size=32, grid=32)
SMALL = ["--preset", "fast", "--target-faces", "300", "--texture-size", "128"]


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    """A fit of a second."""
    monkeypatch.setitem(FIELD_PRESETS, "fast", FEW)


@pytest.fixture(scope="module")
def orbit(tmp_path_factory):
    """Pictures of a ball with their cameras."""
    folder = tmp_path_factory.mktemp("orbits") / "ball"
    write_transforms(ball_capture(9, 40, source=Source.OBSERVED), folder)
    return folder


@pytest.fixture
def whole(tmp_path, orbit):
    assert img2mesh.main(["--capture", str(orbit), "-o", str(tmp_path / "whole"), "--recon", "nerf", *SMALL]) == 0
    return tmp_path / "whole"


def test_a_field_goes_through_the_stages_of_splats(whole):
    names = {"capture", "orbit.mp4", "field.safetensors", "mesh.glb", "preview.png", "report.json"}
    assert {path.name for path in whole.iterdir()} == {*names, "timings.json", ".turnabout"}
    report = json.loads((whole / "report.json").read_text())
    assert report["options"]["recon"] == "nerf"
    field = read_fitted(whole, "nerf")
    assert isinstance(field, Field)
    assert report["quality"]["field"]["grid_points"] == len(field)
    assert report["quality"]["field"]["against_observed"]["mask_iou"] > 0.9
    assert report["quality"]["mesh"]["watertight"]
    assert report["quality"]["mesh"]["against_observed"]["masked_psnr"] > 18
    assert "field.safetensors" in report["outputs"]


def test_a_run_of_a_field_that_stopped_and_was_resumed_has_the_same_bytes(whole, orbit, tmp_path):
    again = tmp_path / "again"
    arguments = ["--capture", str(orbit), "-o", str(again), "--recon", "nerf", *SMALL]
    assert img2mesh.main([*arguments, "--stop-after", "splat"]) == 0
    assert (again / "field.safetensors").exists()
    assert not (again / "mesh.glb").exists()
    assert img2mesh.main([*arguments, "--resume"]) == 0
    assert content(again) == content(whole)


def test_auto_takes_a_field_for_true_pictures(orbit, tmp_path):
    folder = tmp_path / "run"
    assert video2mesh.main([str(orbit), "-o", str(folder), "--recon", "auto", *SMALL, "--stop-after", "splat"]) == 0
    assert (folder / "field.safetensors").exists()
    assert json.loads((folder / "report.json").read_text())["options"]["recon"] == "auto"


def test_auto_takes_splats_where_a_picture_was_generated(tmp_path, orbit):
    seen, drawn = ball_capture(3, 16, source=Source.OBSERVED), ball_capture(4, 16, source=Source.GENERATED)
    write_transforms(Capture((*seen.frames, drawn.frames[3])), tmp_path / "mixed")
    assert chosen_recon("auto", tmp_path / "mixed") == "splat"
    assert chosen_recon("nerf", tmp_path / "mixed") == "nerf"
    assert chosen_recon("auto", orbit) == "nerf"
    assert chosen_recon("splat", orbit) == "splat"


@pytest.mark.parametrize("recon", ["nerf", "auto"])
@pytest.mark.parametrize("more", [["--max-gaussians", "600"], ["--splats", "splat"]])
def test_what_only_splats_have_is_refused_with_a_field(recon, more, orbit, tmp_path, capsys):
    arguments = ["--capture", str(orbit), "-o", str(tmp_path / "run"), "--recon", recon, *more]
    assert img2mesh.main(arguments) == 2
    assert f"{more[0]} is for runs of splats" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "run").exists()


def test_a_damaged_field_is_fitted_again_when_the_run_is_resumed(whole, orbit):
    (whole / "mesh.glb").unlink()
    path = whole / "field.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    arguments = ["--capture", str(orbit), "-o", str(whole), "--recon", "nerf", *SMALL, "--resume"]
    assert img2mesh.main(arguments) == 0
    field = read_fitted(whole, "nerf")
    assert isinstance(field, Field)
    assert torch.isfinite(field.distances).all()
    assert (whole / "mesh.glb").exists()
