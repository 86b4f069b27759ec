"""`--cameras`: what a file asks for is what the capture holds, lens and aspect included, up to the mesh."""

from __future__ import annotations

import json
import math

import pytest
import torch

from pipelines import img2mesh, img2orbit
from recon.capture import Source, look_at
from recon.capture.conversions import opengl_from_opencv
from recon.capture.io_nerfstudio import read_transforms
from tests.pipelines.small import save_generator, save_photo


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    """Everything but the cameras and the output."""
    folder = tmp_path_factory.mktemp("inputs")
    generator, photo = save_generator(folder / "tiny"), save_photo(folder / "mushroom.png")
    return [str(photo), "--model", str(generator), "--preset", "fast", "--device", "cpu"]


def transforms(path, width=64, height=36, frames=3, **changes):
    """A nerfstudio file of cameras around the object, in a world with Z up, as its own programs write them."""
    entries = []
    for index in range(frames):
        angle = 0.8 + 2 * math.pi * index / frames
        eye = 2.1 * torch.tensor([math.sin(angle), 0.2, math.cos(angle)])
        to_z_up = torch.tensor([[1.0, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
        entries.append(
            {"file_path": f"{index}.png", "transform_matrix": (to_z_up @ opengl_from_opencv(look_at(eye))).tolist()}
        )
    meta = {"fl_x": 70.0, "fl_y": 70.0, "cx": 0.45 * width, "cy": height / 2, "w": width, "h": height}
    path.write_text(json.dumps(meta | changes | {"frames": entries}))
    return path


@pytest.mark.parametrize(("width", "height"), [(64, 36), (30, 64), (64, 64)])
def test_a_transforms_file_is_drawn_with_its_fields_of_view_and_without_its_lens(command, width, height, tmp_path):
    path = transforms(tmp_path / "transforms.json", width, height, k1=-0.2, k2=0.03, p1=0.001)
    assert img2orbit.main([*command, "--cameras", str(path), "-o", str(tmp_path / "run")]) == 0
    capture = read_transforms(tmp_path / "run" / "capture")
    drawn = [frame for frame in capture if frame.source == Source.GENERATED]
    assert len(drawn) == 3
    for index, frame in enumerate(drawn):
        camera = frame.camera
        assert max(camera.width, camera.height) == 16, "the tiny generator's size"
        assert camera.width / camera.height == pytest.approx(width / height, rel=0.07)
        assert camera.fov_x == pytest.approx(2 * math.atan(width / 140), rel=1e-4)
        assert camera.fov_y == pytest.approx(2 * math.atan(height / 140), rel=1e-4)
        assert float(camera.intrinsics[0, 2]) / camera.width == pytest.approx(0.45, abs=1e-4)
        angle = 0.8 + 2 * math.pi * index / 3
        wanted = 2.1 * torch.tensor([math.sin(angle), 0.2, math.cos(angle)])
        torch.testing.assert_close(camera.centre, wanted, atol=1e-5, rtol=0)
        assert frame.rgba().shape == (camera.height, camera.width, 4)
        assert frame.depth().shape == frame.normal().shape[:2] == (camera.height, camera.width)


def test_what_wide_cameras_with_a_lens_drew_can_be_fitted(command, tmp_path):
    path = transforms(tmp_path / "transforms.json", frames=4, k1=-0.1)
    asked = ["--cameras", str(path), "--stop-after", "splat", "-o", str(tmp_path / "run")]
    assert img2mesh.main([*command, *asked]) == 0
    assert (tmp_path / "run" / "splat.ply").stat().st_size > 1000


@pytest.mark.parametrize("content", ['[{"fov": 0}]', '[{"fov": -5}]', json.dumps([{"azimuth": 1}] * 257)])
def test_cameras_that_cannot_be_drawn_are_refused_by_name(command, content, tmp_path, capsys):
    (tmp_path / "path.json").write_text(content)
    assert img2orbit.main([*command, "--cameras", str(tmp_path / "path.json"), "-o", str(tmp_path / "run")]) == 2
    printed = capsys.readouterr().err
    assert "path.json: found" in printed
    assert "Traceback" not in printed


def test_a_camera_that_is_no_number_is_said_once(command, tmp_path, capsys):
    (tmp_path / "path.json").write_text('[{"azimuth": NaN}]')
    assert img2orbit.main([*command, "--cameras", str(tmp_path / "path.json"), "-o", str(tmp_path / "run")]) == 2
    printed = " ".join(capsys.readouterr().err.split())
    assert "path.json: found azimuth = nan; expected a finite number." in printed
    assert printed.count("found") == printed.count("expected") == 1


@pytest.mark.parametrize(
    ("asked", "outside"),
    [
        ('[{"elevation": 60, "fov": 60}, {"elevation": -10, "fov": 20}]', None),
        ('[{"elevation": 75}, {"azimuth": 30}]', 1),
        ('[{"fov": 90}, {"fov": 10}, {"azimuth": 30}]', 2),
    ],
)
def test_views_that_no_generator_was_trained_on_are_drawn_with_a_warning(command, asked, outside, tmp_path):
    (tmp_path / "path.json").write_text(asked)
    assert img2orbit.main([*command, "--cameras", str(tmp_path / "path.json"), "-o", str(tmp_path / "run")]) == 0
    warnings = json.loads((tmp_path / "run" / "report.json").read_text())["warnings"]
    given = [warning for warning in warnings if "was trained on" in warning]
    assert len(given) == (outside is not None)
    if outside is not None:
        assert given[0].startswith(f"{outside} of {1 + len(json.loads(asked))} views")
        assert "from -10 to 60 degrees, fields of view from 20 to 60" in given[0]


def test_more_cameras_in_a_transforms_file_than_can_be_drawn_are_refused(command, tmp_path, capsys):
    path = transforms(tmp_path / "transforms.json", frames=257)
    assert img2orbit.main([*command, "--cameras", str(path), "-o", str(tmp_path / "run")]) == 2
    assert "257 cameras; expected at most 256" in " ".join(capsys.readouterr().err.split())
