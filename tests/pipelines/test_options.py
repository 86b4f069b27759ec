"""What may be asked of a run: presets, ranges, options that exclude each other, and messages that say the remedy."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import pytest

from pipelines._options import (
    PRESETS,
    MeshOptions,
    OptionsError,
    OrbitOptions,
    Settings,
    as_mesh_options,
    metres,
    resolve,
    views_to_draw,
)


def settings(**changes) -> Settings:
    """Settings of one photo on the CPU, with `changes` to the options."""
    return resolve(options(**changes))


def options(**changes) -> MeshOptions:
    return replace(MeshOptions(output=Path("out"), photos=(Path("cup.png"),), device="cpu"), **changes)


def refusal(**changes) -> str:
    with pytest.raises(OptionsError) as caught:
        settings(**changes)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_decides_what_is_not_given(name):
    resolved, preset = settings(preset=name), PRESETS[name]
    assert (resolved.frames, resolved.num_inference_steps) == (preset.frames, preset.num_inference_steps)
    assert (resolved.asset.target_faces, resolved.asset.texture_size) == (preset.target_faces, preset.texture_size)


def test_presets_grow_from_fast_to_quality():
    fast, balanced, quality = (PRESETS[name] for name in ("fast", "balanced", "quality"))
    for name in ("frames", "target_faces", "texture_size"):
        assert getattr(fast, name) < getattr(balanced, name) < getattr(quality, name), name
    # With the shipped weights more steps add grain, not detail (docs/evaluation.md).
    assert fast.num_inference_steps == balanced.num_inference_steps == quality.num_inference_steps == 1


def test_a_given_option_wins_over_the_preset():
    resolved = settings(preset="quality", frames=5, target_faces=321, texture_size=100)
    assert (resolved.frames, resolved.asset.target_faces, resolved.asset.texture_size) == (5, 321, 100)
    assert resolved.num_inference_steps == PRESETS["quality"].num_inference_steps


def test_where_the_user_did_not_say_the_settings_do_not_pretend_so():
    resolved = settings()
    assert (resolved.elevation, resolved.fov) == (None, None)
    assert (settings(elevation=0.0).elevation, settings(fov=40.0).fov) == (0.0, 40.0)
    assert (settings(elevation="auto").elevation, settings(fov="auto").fov) == ("auto", None)


def test_one_photo_is_the_front_unless_said_otherwise():
    assert settings().azimuths == (0.0,)


def test_several_photos_without_azimuths_are_refused_with_the_remedy():
    message = refusal(photos=(Path("front.png"), Path("back.png")))
    assert message.startswith("2 photos")
    assert "--azimuths 0 90 180 270" in message
    assert "video2mesh" in message


def test_several_photos_with_an_azimuth_each_are_taken():
    both = (Path("front.png"), Path("back.png"))
    assert settings(photos=both, azimuths=(0, -180)).azimuths == (0.0, -180.0)


@pytest.mark.parametrize("again", [0.0, 360.0, -360.0, 719.9999999])
def test_two_photos_from_one_angle_are_refused(again):
    both = (Path("front.png"), Path("again.png"))
    assert "two photos cannot be taken from one angle" in refusal(photos=both, azimuths=(0.0, again))


def test_photos_at_every_angle_of_the_orbit_are_refused_with_the_remedy():
    four = tuple(Path(f"{side}.png") for side in ("front", "right", "back", "left"))
    message = refusal(photos=four, azimuths=(0.0, 90.0, 180.0, 270.0), frames=4)
    assert "nothing to draw" in message
    assert "--frames" in message
    assert "--cameras" in message
    assert settings(photos=four, azimuths=(0.0, 90.0, 180.0, 270.0), frames=5).frames == 5


def test_the_views_to_draw_are_those_that_no_photo_is_near():
    assert views_to_draw(4, (0.0,)) == [1, 2, 3]
    assert views_to_draw(4, (0.0, 100.0)) == [2, 3]
    assert views_to_draw(8, (0.0, -90.0, 181.0)) == [1, 2, 3, 5, 7]


def test_cameras_and_a_number_of_frames_contradict_each_other():
    assert "give one of them" in refusal(cameras=Path("path.json"), frames=8)
    assert settings(cameras=Path("path.json")).frames == PRESETS["balanced"].frames


@pytest.mark.parametrize("azimuths", [(), (0.0, 90.0), (float("nan"),), (float("inf"),)])
def test_azimuths_are_numbers_and_as_many_as_photos(azimuths):
    assert "--azimuths needs one angle for each of the 1 photos" in refusal(azimuths=azimuths)


def test_the_first_photo_is_at_azimuth_0():
    assert "begins with 0, found 30" in refusal(azimuths=(30.0,))


@pytest.mark.parametrize(
    ("option", "low", "high", "below", "above"),
    [
        ("samples", 1, 64, 0, 65),
        ("seed", 0, 2**63 - 1, -1, 2**63),
        ("frames", 2, 256, 1, 257),
        ("elevation", -89.0, 89.0, -89.5, 90.0),
        ("fov", 1.0, 150.0, 0.5, 151.0),
        ("target_faces", 20, 2_000_000, 19, 2_000_001),
        ("max_gaussians", 500, 10_000_000, 499, 10_000_001),
        ("texture_size", 64, 8192, 63, 8193),
    ],
)
def test_numbers_lie_in_their_ranges(option, low, high, below, above):
    for value in (low, high):
        resolved = settings(**{option: value})
        assert getattr(resolved if hasattr(resolved, option) else resolved.asset, option) == value
    for value in (below, above):
        message = refusal(**{option: value})
        assert message.startswith(f"--{option.replace('_', '-')} must lie between")
        assert "found" in message


@pytest.mark.parametrize("option", ["elevation", "fov"])
def test_an_angle_that_is_no_number_is_refused(option):
    assert "must lie between" in refusal(**{option: float("nan")})


def test_nothing_to_start_from_is_refused():
    message = refusal(photos=())
    assert "name a photo" in message
    assert "--capture" in message


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("photos", {"photos": (Path("cup.png"),)}),
        ("--cameras", {"cameras": Path("path.json")}),
        ("--frames", {"frames": 8}),
        ("--elevation", {"elevation": 0.0}),
        ("--fov", {"fov": 40.0}),
        ("--azimuths", {"azimuths": (0.0,)}),
        ("--model", {"model": "owner/name"}),
        ("--matting", {"matting": Path("isnet.onnx")}),
        ("--samples", {"samples": 2}),
    ],
)
def test_a_capture_excludes_what_it_brings_itself(name, changes, tmp_path):
    changes = {"photos": ()} | changes
    assert f"leave {name} out" in refusal(capture=tmp_path / "capture", **changes)


def test_a_capture_alone_is_enough(tmp_path):
    resolved = settings(photos=(), capture=tmp_path, target_faces=500)
    assert (resolved.azimuths, resolved.asset.target_faces) == ((), 500)


@pytest.mark.parametrize("inside", [".", "run", "a/b"])
def test_the_output_does_not_go_into_the_capture_that_is_read(inside, tmp_path):
    message = refusal(photos=(), capture=tmp_path, output=tmp_path / inside)
    assert "lies inside --capture" in message
    assert "another -o" in message


def test_resume_and_overwrite_contradict_each_other():
    assert "give one of them" in refusal(resume=True, overwrite=True)


def test_a_device_that_is_not_there_is_refused_and_auto_does_without(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert settings(device="auto").device == "cpu"
    message = refusal(device="cuda")
    assert "no CUDA device" in message
    assert "--device cpu" in message


def test_auto_takes_the_gpu_that_is_there(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert settings(device="auto").device == settings(device="cuda").device == "cuda"
    assert settings(device="cpu").device == "cpu"


def test_img2orbit_is_the_first_part_of_img2mesh():
    orbit = OrbitOptions(output=Path("out"), photos=(Path("cup.png"),), seed=7, frames=9, device="cpu", resume=True)
    mesh = as_mesh_options(orbit)
    assert mesh.stop_after == "orbit"
    assert all(getattr(mesh, field.name) == getattr(orbit, field.name) for field in fields(OrbitOptions))
    assert resolve(mesh).seed == 7


def test_settings_are_json_values():
    values = settings(fov=30.0).as_json()
    assert values["azimuths"] == [0.0]
    assert values["fov"] == 30.0
    assert set(values) == {field.name for field in fields(Settings)}


@pytest.mark.parametrize(
    ("text", "expected"), [("0.3", 0.3), ("0.3m", 0.3), ("30cm", 0.3), ("300 mm", 0.3), ("2M", 2.0), ("1e-1m", 0.1)]
)
def test_lengths_may_have_a_unit(text, expected):
    assert metres(text) == pytest.approx(expected)


@pytest.mark.parametrize("text", ["", "m", "big", "3 feet", "1,5m"])
def test_what_is_no_length_is_said(text):
    with pytest.raises(ValueError, match="no length such as"):
        metres(text)
