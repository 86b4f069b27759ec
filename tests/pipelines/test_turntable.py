"""A turn as a video, an animation and a sheet: what is in the files; nothing is half-written or overwritten."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import av
import numpy as np
import pytest
import torch
from PIL import Image

from pipelines import turntable
from pipelines.__main__ import main
from recon.asset import write_glb
from recon.splat.ply import write_ply
from tests.recon.surface.test_fusion import ball_of_gaussians
from tests.recon.surface.test_render import cube
from tests.shared_data import ROOT


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run folder with a red mesh and splats."""
    folder = tmp_path_factory.mktemp("run")
    mesh = cube(0.6)
    red = torch.tensor([[0.8, 0.1, 0.1]]).expand(len(mesh.vertices), 3)
    extras = {"to_capture": {"scale": 1.0, "translation": [0.0, 0.0, 0.0]}}
    write_glb(type(mesh)(mesh.vertices, mesh.faces, colors=red), folder / "mesh.glb", size=0.6, extras=extras)
    write_ply(ball_of_gaussians(), folder / "splat.ply")
    return folder


def durations(image) -> list[int]:
    """Milliseconds of each picture."""
    found = []
    for index in range(image.n_frames):
        image.seek(index)
        image.load()
        found.append(image.info["duration"])
    return found


def turn(source, output, *more) -> int:
    return turntable.main([str(source), "-o", str(output), *more])


def test_a_video_has_the_pictures_and_seconds_that_were_asked_for(run, tmp_path):
    assert turn(run, tmp_path / "t.mp4", "--frames", "12", "--seconds", "1.5", "--size", "64") == 0
    with av.open(str(tmp_path / "t.mp4")) as video:
        frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
        assert float(video.streams.video[0].average_rate) == pytest.approx(8)
    assert len(frames) == 12
    assert frames[0].shape == (64, 64, 3)
    middle = np.stack([frame[28:36, 28:36].mean((0, 1)) for frame in frames])
    assert (middle[:, 0] > middle[:, 1] + 60).all()  # red all around
    assert np.abs(frames[0].astype(int) - frames[2]).max() > 40  # it turns
    assert [path.name for path in tmp_path.iterdir()] == ["t.mp4"]


@pytest.mark.parametrize("name", ["t.webp", "t.gif"])
def test_animations_turn_for_ever_and_can_be_transparent(run, tmp_path, name):
    more = ["--frames", "5", "--seconds", "1", "--size", "48", "--background", "transparent"]
    assert turn(run, tmp_path / name, *more) == 0
    with Image.open(tmp_path / name) as image:
        assert getattr(image, "n_frames", 1) == 5
        assert sum(durations(image)) == 1000
        assert image.info.get("loop", 0) == 0
        for index in range(5):
            image.seek(index)
            pixels = np.asarray(image.convert("RGBA"))
            assert pixels[2, 2, 3] == 0
            assert pixels[24, 24, 3] == 255
            assert pixels[24, 24, 0] > 120


def test_a_sheet_has_a_row_for_each_thing_that_is_shown(run, tmp_path):
    assert turn(run, tmp_path / "s.png", "--show", "mesh", "normals", "splats", "--frames", "3", "--size", "40") == 0
    assert turn(run, tmp_path / "w.png", "--background", "white", "--frames", "2", "--size", "40") == 0
    sheet = np.asarray(Image.open(tmp_path / "s.png"))
    assert sheet.shape == (120, 120, 3)
    assert sheet[20, 20, 0] > sheet[20, 20, 1] + 60
    assert sheet[60, 20, 2] > 200  # normals towards the camera are blue
    assert np.asarray(Image.open(tmp_path / "w.png"))[0, 0].tolist() == [255, 255, 255]


def test_files_are_shown_as_run_folders_are_and_the_same_twice(run, tmp_path):
    small = ["--frames", "3", "--size", "32"]
    for source, name in ((run / "splat.ply", "a.png"), (run / "mesh.glb", "b.png"), (run, "c.webp"), (run, "d.webp")):
        assert turn(source, tmp_path / name, *small) == 0
    assert (tmp_path / "c.webp").read_bytes() == (tmp_path / "d.webp").read_bytes()
    assert main(["turntable", str(run / "mesh.glb"), "-o", str(tmp_path / "e.png"), *small]) == 0
    assert (tmp_path / "b.png").read_bytes() == (tmp_path / "e.png").read_bytes()
    centres = [
        np.asarray(Image.open(tmp_path / name).convert("RGB"))[16, 16].astype(int) for name in ("a.png", "b.png")
    ]
    assert centres[1][0] > centres[1][1] + 60
    assert np.abs(centres[0] - centres[1]).max() > 40  # not the mesh, the splats


@pytest.mark.parametrize(
    ("output", "more", "words"),
    [
        ("t.avi", (), "expected .mp4, .gif, .webp, .png, found .avi"),
        ("t", (), "found no suffix"),
        ("t.mp4", ("--background", "transparent"), "cannot be transparent"),
        ("t.mp4", ("--size", "65"), "must be even"),
        ("t.png", ("--background", "greenish"), "found 'greenish'"),
        ("t.png", ("--frames", "0"), "--frames"),
        ("t.png", ("--size", "100000"), "--size"),
        ("t.gif", ("--seconds", "nan"), "--seconds"),
        ("t.mp4", ("--seconds", "0.1"), "pictures a second"),
        ("t.gif", ("--seconds", "1"), "pictures a second"),
        ("t.gif", ("--seconds", "3600", "--frames", "4"), "pictures a second"),
        ("t.webp", ("--size", "4096", "--show", "mesh", "unlit", "shape", "normals"), "pixels"),
        ("t.png", ("--size", "4096", "--frames", "100"), "pixels"),
        ("t.png", ("--elevation", "100"), "--elevation"),
        ("t.png", ("--fov", "nan"), "--fov"),
    ],
)
def test_what_cannot_be_made_is_said_before_anything_is_drawn(run, tmp_path, capsys, output, more, words):
    assert turn(run, tmp_path / output, *more) == 2
    assert words in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_sources_that_have_nothing_to_show_are_named(run, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.glb").write_bytes(b"glTF nothing")
    for source, more, words in (
        (tmp_path / "none", (), "found nothing"),
        (tmp_path / "empty", (), "found none of them"),
        (tmp_path / "broken.glb", (), "broken.glb"),
        (run / "splat.ply", ("--show", "mesh"), "has no mesh to show"),
        (run / "mesh.glb", ("--show", "splats"), "has no splats to show"),
    ):
        assert turn(source, tmp_path / "t.png", *more) == 2
        assert words in capsys.readouterr().err
        assert not (tmp_path / "t.png").exists()


def test_a_picture_that_is_there_is_replaced_only_if_asked(run, tmp_path, capsys):
    (tmp_path / "t.png").write_bytes(b"mine")
    assert turn(run, tmp_path / "t.png", "--frames", "1", "--size", "16") == 2
    assert "--overwrite" in capsys.readouterr().err
    assert (tmp_path / "t.png").read_bytes() == b"mine"
    assert turn(run, tmp_path / "t.png", "--frames", "1", "--size", "16", "--overwrite") == 0
    assert Image.open(tmp_path / "t.png").size == (16, 16)


def test_a_turn_that_is_ended_from_outside_leaves_nothing(run, tmp_path):
    command = [sys.executable, "-m", "pipelines.turntable", str(run), "-o", str(tmp_path / "t.webp")]
    with subprocess.Popen([*command, "--size", "1024", "--frames", "900", "--seconds", "60"], cwd=ROOT) as process:
        try:
            end = time.monotonic() + 60
            while not list(tmp_path.iterdir()):
                assert time.monotonic() < end
                time.sleep(0.05)
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 130
        finally:
            process.kill()
    assert not list(tmp_path.iterdir())
