"""Clips of what moves become animated meshes; what is no clip becomes a message and leaves nothing behind."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from pipelines import video2scene4d
from recon.capture import Capture, Source, frame_from_tensors
from recon.capture.images import write_rgba
from recon.capture.io_nerfstudio import read_transforms, write_transforms
from recon.capture.io_synthetic import write_nerf_synthetic
from recon.metrics.topology import is_watertight
from recon.motion.moving_file import read_moving
from recon.splat.ply import read_ply
from recon.surface.rigged import load_rigged
from tests.pipelines.small import content, save_generator
from tests.recon.capture.video_files import write_video
from tests.recon.motion.scenes import arm_capture, bend_at

SMALL = ["--preset", "fast", "--max-gaussians", "600", "--target-faces", "600", "--texture-size", "128"]


def run(*arguments) -> int:
    return video2scene4d.main([str(argument) for argument in arguments])


def report(folder):
    return json.loads((folder / "report.json").read_text())


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """The bending arm from eight sides at five times."""
    folder = tmp_path_factory.mktemp("clip") / "arm"
    write_transforms(arm_capture(), folder)
    return folder


@pytest.fixture(scope="module")
def done(tmp_path_factory, clip):
    out = tmp_path_factory.mktemp("runs") / "arm"
    assert run(clip, "-o", out, *SMALL, "--scenes", "4dgs", "ply", "--loop", "close", "--size", "0.5") == 0
    return out


@pytest.fixture(scope="module")
def video_frames(tmp_path_factory):
    """A folder of the frames of one camera."""
    folder = tmp_path_factory.mktemp("frames") / "arm"
    folder.mkdir()
    frames = [frame for frame in arm_capture(times=6, size=64) if frame.name.endswith("v0")]
    for index, frame in enumerate(frames):
        write_rgba(folder / f"{index}.png", frame.rgba())
    return folder


def test_a_capture_with_times_becomes_an_animated_mesh(done):
    found = {path.name for path in done.iterdir()}
    assert found >= {
        *("capture", "moving.safetensors", "splat.ply", "splat.4dgs", "splats", "mesh.glb", "motion.mp4"),
        *("preview.png", "report.json", "timings.json"),
    }
    quality = report(done)["quality"]
    assert quality["motion"]["bases"] >= 2
    assert quality["mesh"]["moves_by"] == "bones"
    assert quality["mesh"]["watertight"]
    assert quality["mesh"]["against_observed"]["masked_psnr"] > 15
    assert quality["mesh"]["largest_key_error"] <= 1e-3
    assert len(list((done / "splats").iterdir())) == 5


def test_the_mesh_bends_as_the_arm_did(done):
    rigged = load_rigged(done / "mesh.glb")
    back = rigged.extras["to_capture"]
    assert [clip.name for clip in rigged.clips] == ["motion"]
    tips = []
    for time in (0.0, 0.5, 1.0):
        pose = rigged.posed(0, time).moved(back["scale"], torch.tensor(back["translation"])).vertices
        tip = pose[pose[:, 1] > 0.2].mean(0)
        tips.append(math.atan2(-float(tip[0]), float(tip[1])))
    assert tips[0] == pytest.approx(bend_at(0.0), abs=0.2)
    assert tips[1] == pytest.approx(bend_at(0.5), abs=0.2)
    assert tips[2] == pytest.approx(bend_at(0.0), abs=0.2)  # the loop is closed
    assert is_watertight(rigged.posed(0, 0.3))


def test_the_mesh_has_the_size_that_was_asked_for(done):
    low, high = load_rigged(done / "mesh.glb").mesh.bounds()
    assert float((high - low).max()) == pytest.approx(0.5, rel=1e-3)


def test_the_moving_splats_are_what_the_files_say(done):
    moving = read_moving(done / "moving.safetensors")
    torch.testing.assert_close(read_ply(done / "splat.ply").means, moving.canonical.means)
    torch.testing.assert_close(read_ply(done / "splats" / "0004.ply").means, moving.at(1.0).means)


def test_a_run_that_was_stopped_ends_with_the_bytes_of_one_that_was_not(tmp_path, clip):
    quick = [*SMALL, "--times", "3", "--export", "morph"]
    out = tmp_path / "stopped"
    assert run(clip, "-o", out, *quick, "--stop-after", "motion") == 0
    assert not (out / "mesh.glb").exists()
    assert run(clip, "-o", out, *quick, "--resume") == 0
    assert report(out)["quality"]["mesh"]["moves_by"] == "vertices"
    assert run(clip, "-o", out, *quick) == 2  # what is there is not overwritten
    assert run(clip, "-o", tmp_path / "whole", *quick) == 0
    assert content(out) == content(tmp_path / "whole")


def test_meshes_that_replace_each_other_can_be_asked_for(tmp_path, clip):
    out = tmp_path / "sequence"
    assert run(clip, "-o", out, *SMALL, "--times", "3", "--export", "sequence") == 0
    assert report(out)["quality"]["mesh"]["meshes"] == 3
    assert len(load_rigged(out / "mesh.glb").clips) == 1


def test_bones_can_be_limited(tmp_path, clip):
    assert run(clip, "-o", tmp_path / "run", *SMALL, "--bones", "1", "--stop-after", "motion") == 0
    assert report(tmp_path / "run")["quality"]["motion"]["bases"] == 1
    assert any("one rigid motion" in warning for warning in report(tmp_path / "run")["warnings"])


def test_a_scene_in_d_nerf_s_format_is_read(tmp_path):
    """One camera a time, z up, times from 0 to 1."""
    frames = [frame for index, frame in enumerate(arm_capture(times=17)) if index % 8 == (3 * (index // 8)) % 8]
    write_nerf_synthetic(Capture(tuple(frames)), tmp_path / "scene")
    out = tmp_path / "run"
    assert run(tmp_path / "scene", "-o", out, *SMALL, "--stop-after", "motion") == 0
    assert report(out)["quality"]["motion"]["moments"] >= 2
    assert len(read_transforms(out / "capture")) == 17  # all of them, six a moment


def test_one_camera_s_frames_are_completed_by_the_generator(tmp_path, video_frames):
    generator = save_generator(tmp_path / "tiny")
    out = tmp_path / "run"
    asked = ["--model", generator, "--views", "4", "--times", "3", "--fps", "5"]
    assert run(video_frames, "-o", out, *SMALL, *asked, "--stop-after", "capture") == 0
    frames = read_transforms(out / "capture").frames
    seen = [frame for frame in frames if frame.source is Source.OBSERVED]
    made = [frame for frame in frames if frame.source is Source.GENERATED]
    assert (len(seen), len(made)) == (3, 9)
    assert [frame.time for frame in seen] == pytest.approx([0.0, 0.4, 1.0])
    assert {frame.time for frame in made} == {frame.time for frame in seen}
    assert len({tuple(frame.camera.c2w.flatten().tolist()) for frame in seen}) == 1  # the camera stands
    quality = report(out)["quality"]
    assert quality["sides"]["frames"] == {"observed": 3, "generated": 9}


def test_a_video_file_is_read(tmp_path):
    frames = [frame for frame in arm_capture(times=8, size=96) if frame.name.endswith("v0")]
    pictures = [
        ((f.rgba()[..., :3] * f.rgba()[..., 3:] + 1 - f.rgba()[..., 3:]) * 255).round().to(torch.uint8).numpy()
        for f in frames
    ]
    write_video(tmp_path / "arm.mp4", pictures)
    out = tmp_path / "run"
    generator = save_generator(tmp_path / "tiny")
    asked = ["--model", generator, "--views", "4", "--times", "4", "--stop-after", "capture"]
    assert run(tmp_path / "arm.mp4", "-o", out, *SMALL, *asked) == 0
    clip = read_transforms(out / "clip").frames
    assert len(clip) == 4
    assert clip[0].time == 0.0
    cover = np.array([float(frame.rgba()[..., 3].mean()) for frame in clip])
    assert (cover > 0.05).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--times", "1"], "--times must lie between"),
        (["--clip", "2", "1"], "--clip takes a begin and a later end"),
        (["--clip", "50", "60"], "name a longer part"),
        (["--views", "9"], "leave --views out"),
        (["--export", "sequence", "--loop", "close"], "--loop is for bones"),
        (["--export", "morph", "--loop", "pingpong"], "--loop is for bones"),
        (["--bones", "0"], "--bones must lie between"),
        (["--resume", "--overwrite"], "give one of them"),
        (["--scenes", "ply", "ply"], "twice"),
    ],
)
def test_mistakes_are_messages(tmp_path, clip, capsys, arguments, message):
    out = tmp_path / "run"
    assert run(clip, "-o", out, *SMALL, *arguments) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (out / "mesh.glb").exists()


@pytest.mark.parametrize("kind", ["nothing", "empty folder", "still", "sizes", "text"])
def test_what_is_no_clip_is_a_message(tmp_path, capsys, kind):
    source = tmp_path / "source"
    if kind != "nothing":
        source.mkdir()
    message = "no such file or folder"
    if kind == "empty folder":
        message = "no pictures"
    elif kind == "still":
        write_transforms(arm_capture(times=2), tmp_path / "two")
        two = read_transforms(tmp_path / "two")
        shutil.rmtree(source)
        write_transforms(Capture(two.frames[:8]), source)
        message = "at least two"
    elif kind == "sizes":
        for index, size in enumerate((40, 64, 40)):
            frame = arm_capture(times=2, size=size)[0]
            write_rgba(source / f"{index}.png", frame.rgba())
        message = "several sizes"
    elif kind == "text":
        source = tmp_path / "clip.mp4"
        source.write_text("no video")
        message = "clip.mp4"
    assert run(source, "-o", tmp_path / "run", *SMALL) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert message in error
    assert "Traceback" not in error
    assert not (tmp_path / "run" / "capture").exists()


def test_guessed_mattes_are_held_against_those_of_their_own_moment_only():
    """Held against all moments, what moves would be cut away."""
    from pipelines._clip_stages import _agreed_by_moment

    capture = arm_capture(size=96)
    kept = _agreed_by_moment(capture, [frame.name for frame in capture], Path("arm"))
    covers = [
        float((f.rgba()[..., 3] * true.rgba()[..., 3]).sum() / true.rgba()[..., 3].sum())
        for f, true in zip(kept, capture, strict=True)
    ]
    assert min(covers) > 0.93


def test_moments_that_show_nothing_are_left_out(tmp_path):
    frames = [
        frame_from_tensors(
            frame.camera, frame.rgba() * (frame.time not in (0.25, 1.0)), time=1000 + frame.time, name=frame.name
        )
        for frame in arm_capture()
    ]
    write_transforms(Capture(tuple(frames)), tmp_path / "clip")
    out = tmp_path / "run"
    assert run(tmp_path / "clip", "-o", out, *SMALL, "--stop-after", "capture") == 0
    assert sorted({frame.time for frame in read_transforms(out / "capture")}) == pytest.approx([0.0, 0.5, 0.75])
    assert any("at 0.25, 1 s" in warning for warning in report(out)["warnings"])
    assert report(out)["quality"]["capture"]["begin_seconds"] == pytest.approx(1000)


def test_times_for_some_frames_only_are_a_message(tmp_path, clip, capsys):
    shutil.copytree(clip, tmp_path / "clip")
    listing = tmp_path / "clip" / "transforms.json"
    meta = json.loads(listing.read_text())
    for entry in meta["frames"][::3]:
        entry.pop("time", None)
    listing.write_text(json.dumps(meta))
    assert run(tmp_path / "clip", "-o", tmp_path / "run", *SMALL) == 2
    assert 'frames without "time"' in " ".join(capsys.readouterr().err.split())
