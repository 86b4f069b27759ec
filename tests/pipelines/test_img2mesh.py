"""The commands from the outside: a photo becomes a run folder, killed or not; mistakes become messages."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import trimesh
from PIL import Image

from pipelines import img2mesh, img2orbit
from pipelines._run import STATE
from tests.pipelines.small import content, save_generator, save_photo

ROOT = Path(__file__).parents[2]
SMALL = [
    *("--preset", "fast", "--frames", "4", "--max-gaussians", "600"),
    *("--target-faces", "300", "--texture-size", "256", "--device", "cpu"),
    *("--size", "0.25", "--origin", "base", "--image-format", "jpeg", "--also", "stl"),
]


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    return save_generator(tmp_path_factory.mktemp("generator") / "tiny")


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    return save_photo(tmp_path_factory.mktemp("photos") / "mushroom.png")


@pytest.fixture(scope="module")
def whole(tmp_path_factory, generator, photo):
    """An unbroken run."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    assert img2mesh.main([str(photo), "-o", str(folder), "--model", str(generator), *SMALL]) == 0
    return folder


def test_a_photo_becomes_a_run_folder(whole):
    names = {"photo", "capture", "orbit.mp4", "splat.ply", "mesh.glb", "mesh.stl", "preview.png", "report.json"}
    assert {path.name for path in whole.iterdir()} == {*names, "timings.json", ".turnabout"}
    report = json.loads((whole / "report.json").read_text())
    assert report["options"]["seed"] == 0
    assert report["inputs"]["photos"][0]["name"] == "mushroom.png"
    assert report["versions"]["torch"] != "absent"
    assert report["quality"]["mesh"]["watertight"]
    too_many = report["quality"]["mesh"]["faces"] > 300
    assert too_many == any("too many holes" in warning for warning in report["warnings"])
    assert any("33.8 degrees" in warning for warning in report["warnings"])
    assert str(whole.parent) not in (whole / "report.json").read_text()


def test_the_report_says_what_made_the_files_and_the_times_are_apart(whole):
    report = json.loads((whole / "report.json").read_text())
    assert report["options"]["frames"] == 4
    assert report["options"]["asset"]["target_faces"] == 300
    assert report["quality"]["splat"]["gaussians"] <= report["options"]["max_gaussians"] == 600
    assert len(report["inputs"]["photos"][0]["sha256"]) == 64
    for stage in ("photo", "orbit", "splat", "mesh"):
        assert report["quality"][stage], stage
    files = {name for name in content(whole) if not name.startswith(".turnabout")} - {"report.json"}
    assert {name.split("/")[0] for name in files} == set(report["outputs"])
    assert report["outputs"]["mesh.glb"] == content(whole)["mesh.glb"]
    stages = json.loads((whole / "timings.json").read_text())["stages"]
    assert {"photo", "orbit", "video", "splat", "mesh", "preview"} <= set(stages)


def test_the_preview_is_a_picture_of_every_stage(whole, tmp_path):
    with Image.open(whole / "preview.png") as preview:
        preview.load()
        assert preview.width > 500
        assert len(preview.convert("RGB").getcolors(1 << 24)) > 100


def test_the_mesh_opens_elsewhere_watertight_on_its_base_and_of_the_size_that_was_asked_for(whole):
    mesh = trimesh.load(whole / "mesh.glb", force="mesh")
    assert mesh.extents.max() == pytest.approx(0.25, abs=1e-4)
    assert mesh.bounds[0, 1] == pytest.approx(0, abs=1e-5)
    assert abs(mesh.bounds.mean(axis=0)[[0, 2]]).max() < 1e-4
    assert mesh.visual.material.baseColorTexture.size == (256, 256)
    mesh.merge_vertices(merge_tex=True, merge_norm=True)
    assert mesh.is_watertight


def test_the_video_has_every_frame_of_the_orbit(whole):
    import av

    with av.open(str(whole / "orbit.mp4")) as video:
        assert sum(1 for _ in video.decode(video=0)) == 4


def test_the_mesh_lies_where_the_report_says_it_came_from(whole):
    from pipelines._report import read_placed

    low, high = read_placed(whole / "mesh.glb").bounds()
    assert float((high - low).max()) < 1.1
    assert float(low.min()) > -0.6
    assert float(high.max()) < 0.6


def test_a_run_killed_three_times_stopped_once_and_resumed_has_the_same_bytes(whole, generator, photo, tmp_path):
    folder = tmp_path / "run"
    command = [str(photo), "-o", str(folder), "--model", str(generator), *SMALL, "--resume"]

    def kill_at(victim: str) -> None:
        killed = _killed_at(victim, command)
        assert killed.returncode == -signal.SIGKILL, killed.stderr

    kill_at("capture")
    assert img2mesh.main([*command, "--stop-after", "orbit"]) == 0
    assert (folder / "preview.png").exists()
    assert not (folder / "splat.ply").exists()
    kill_at("splat.json")
    _kill_when(folder / STATE / "work-mesh", command)
    assert (folder / STATE / "work-mesh").exists(), "killed inside the stage"
    assert not (folder / "mesh.glb").exists()
    assert img2mesh.main(command) == 0
    assert content(folder) == content(whole)
    assert img2mesh.main([*command, "--stop-after", "orbit"]) == 0
    assert content(folder) == content(whole), "asking for less must not undo what is finished"


def _killed_at(victim: str, command: list[str]) -> subprocess.CompletedProcess[str]:
    script = [sys.executable, "-m", "tests.pipelines.killing", victim, *command]
    return subprocess.run(script, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)


def _kill_when(appears: Path, command: list[str]) -> None:
    """Starts the command and kills it soon after `appears` is there."""
    with subprocess.Popen(
        [sys.executable, "-m", "pipelines.img2mesh", *command], cwd=ROOT, stderr=subprocess.PIPE
    ) as child:
        deadline = time.monotonic() + 300
        while not appears.exists() and child.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.2)
        child.kill()
        _, said = child.communicate()
    assert child.returncode == -signal.SIGKILL, said.decode()


def test_a_capture_takes_the_generator_s_place_as_it_is(whole, tmp_path):
    folder = tmp_path / "run"
    command = ["--capture", str(whole / "capture"), "-o", str(folder), *SMALL[:2], *SMALL[4:]]
    assert img2mesh.main([*command, "--stop-after", "orbit"]) == 0
    theirs, ours = content(whole / "capture"), content(folder / "capture")
    assert {name: digest for name, digest in theirs.items() if name.startswith("images/")} == {
        name: digest for name, digest in ours.items() if name.startswith("images/")
    }
    assert not (folder / "photo").exists()
    assert json.loads((folder / "report.json").read_text())["inputs"]["capture"]["name"] == "capture"


def test_a_variant_is_the_run_of_its_own_seed(generator, photo, tmp_path):
    orbit = [str(photo), "--model", str(generator), "--preset", "fast", "--frames", "3", "--device", "cpu"]
    assert img2orbit.main([*orbit, "-o", str(tmp_path / "two"), "--samples", "2", "--seed", "4"]) == 0
    assert img2orbit.main([*orbit, "-o", str(tmp_path / "one"), "--seed", "5"]) == 0
    assert (tmp_path / "two" / "samples.png").exists()
    assert content(tmp_path / "two" / "seed_5") == content(tmp_path / "one")
    assert content(tmp_path / "two" / "seed_4")["orbit.mp4"] != content(tmp_path / "one")["orbit.mp4"]


def test_refined_views_are_others_and_the_same_ones_every_time(whole, generator, photo, tmp_path):
    command = [str(photo), "--model", str(generator), *SMALL, "--refine", "1", "--stop-after", "orbit"]
    for name in ("one", "two"):
        assert img2mesh.main([*command, "-o", str(tmp_path / name)]) == 0
    assert content(tmp_path / "one" / "capture") == content(tmp_path / "two" / "capture")
    assert content(tmp_path / "one" / "photo") == content(whole / "photo")
    assert content(tmp_path / "one" / "capture") != content(whole / "capture")


def test_several_photos_keep_their_stated_azimuths(generator, photo, tmp_path):
    from pipelines._pictures import azimuth
    from recon.capture.io_nerfstudio import read_transforms

    command = [str(photo), str(photo), "--azimuths", "0", "90", "--frames", "4", "--preset", "fast", "--device", "cpu"]
    assert img2orbit.main([*command, "--model", str(generator), "-o", str(tmp_path / "run")]) == 0
    frames = read_transforms(tmp_path / "run" / "capture").frames
    assert [round(57.29578 * azimuth(frame)) for frame in frames] == [0, 90, 180, 270]
    assert [frame.source.value for frame in frames] == ["observed"] * 2 + ["generated"] * 2


def test_a_camera_path_is_drawn_as_given(generator, photo, tmp_path):
    from recon.capture.io_nerfstudio import read_transforms

    path = tmp_path / "path.json"
    path.write_text(json.dumps([{"azimuth": 30, "elevation": 50}, {"azimuth": 200, "fov": 25}]))
    command = [str(photo), "--cameras", str(path), "--model", str(generator), "--preset", "fast", "--device", "cpu"]
    assert img2orbit.main([*command, "-o", str(tmp_path / "run")]) == 0
    capture = read_transforms(tmp_path / "run" / "capture")
    assert len(capture) == 3
    height = capture[1].camera.centre[1] / capture[1].camera.centre.norm()
    assert float(height) == pytest.approx(0.766, abs=1e-3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name a photo"),
        (["absent.png"], "absent.png: no such file"),
        (["{photo}", "{photo}"], "--azimuths"),
        (["{photo}", "--azimuths", "90"], "begins with 0"),
        (["{photo}", "--model", "/absent/model"], "no such folder"),
        (["{photo}", "--model", "{photo}"], "model_index.json"),
        (["{photo}", "--fov", "200"], "--fov must lie between"),
        (["{photo}", "--capture", "{photo}"], "leave photos out"),
        (["{photo}", "--resume", "--overwrite"], "one of them"),
        (["{folder}"], "expected a file, found a folder"),
    ],
)
def test_mistakes_end_with_a_message_and_exit_code_2(arguments, message, photo, tmp_path, capsys):
    filled = [argument.format(photo=photo, folder=photo.parent) for argument in arguments]
    assert img2mesh.main([*filled, "-o", str(tmp_path / "run")]) == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert "Traceback" not in printed
    assert not (tmp_path / "run").exists()


def test_an_output_below_a_file_is_a_message(generator, photo, capsys):
    assert img2mesh.main([str(photo), "--model", str(generator), "-o", str(photo / "run")]) == 2
    assert str(photo) in capsys.readouterr().err


@pytest.mark.parametrize("command", ["img2mesh", "img2orbit"])
def test_help_names_the_options_and_loads_nothing_heavy(command):
    code = (
        f"import sys; from pipelines import {command}\n"
        f"try: {command}.main(['--help'])\n"
        "except SystemExit as end: assert not end.code\n"
        "heavy = {'torch', 'numpy', 'numba', 'diffusers', 'open3d', 'cv2', 'av', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    common = {"preset", "seed", "device", "frames", "elevation", "fov", "cameras", "samples", "model", "resume"}
    own = {"target-faces", "texture-size", "capture", "stop-after"}
    for option in common | own if command == "img2mesh" else common:
        assert f"--{option}" in run.stdout, option


def test_the_module_is_a_command():
    run = subprocess.run(
        [sys.executable, "-m", "pipelines.img2mesh", "--help"], cwd=ROOT, capture_output=True, text=True
    )
    assert run.returncode == 0
    assert "PHOTOS" in run.stdout.upper()
