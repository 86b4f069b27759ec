"""nerfstudio both ways: it opens our captures and fits with our splats; what it exports becomes our meshes.

`make nerfstudio` installs it. The commands of docs/nerfstudio.md are run as they stand there.
"""

from __future__ import annotations

import json
import math
import os
import re
import shlex
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from recon.asset import read_glb
from recon.capture import Camera, Capture, Frame, Similarity, frame_from_tensors, orbit_camera
from recon.capture.conversions import Z_UP_TO_Y_UP
from recon.capture.io_nerfstudio import write_transforms
from recon.capture.reading import read_capture
from recon.metrics.topology import is_watertight
from recon.splat.ply import read_ply
from recon.splat.rasterize import rasterize
from tests.acceptance.test_glb_clients import TOOLS, installed, read_picture, run
from tests.recon.splat.balls import CENTRE, RADIUS, ball_frame
from tests.shared_data import ROOT

CLIENT = TOOLS / "nerfstudio_client.py"
DOCUMENT = ROOT / "docs" / "nerfstudio.md"
SECONDS = 600
STEPS = 50
RAYS = 512
"""Of each of nerfacto's steps. Its 4096 are for a GPU; with them it would take fifteen minutes for fifty steps."""
BETTER = 5.0
"""Decibels by which ours is better than nerfacto after fifty steps, in less time; 10 are found."""


def environment() -> dict[str, str]:
    """In which its commands are found first; on the processor."""
    commands = installed("nerfstudio/bin/ns-train").parent
    found = {**os.environ, "PATH": f"{commands}:{os.environ['PATH']}"}
    return found | {"CUDA_VISIBLE_DEVICES": "", "TERM": "dumb", "PYTHONPATH": ""}


def nerfstudio(*command: str | Path, cwd: Path, seconds: float = SECONDS) -> str:
    """Runs one of the commands of its environment, or `turnabout` of ours, which stands in both."""
    first = Path(sys.executable).with_name("turnabout") if command[0] == "turnabout" else command[0]
    result = subprocess.run(
        [str(part) for part in (first, *command[1:])],
        cwd=cwd,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=seconds,
    )
    assert result.returncode == 0, result.stdout[-6000:]
    return result.stdout


def test_the_plug_in_and_what_it_is_made_of_work_with_its_older_numpy():
    folders = [f"tests/recon/splat/test_{name}.py" for name in ("rasterize", "losses", "points", "optimiser_state")]
    folders += ["tests/pipelines/nerfstudio", "tests/recon/capture/test_stored.py"]
    said = nerfstudio("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", *folders, cwd=ROOT)
    version = nerfstudio("python", "-c", "import numpy; print(numpy.__version__)", cwd=ROOT)
    assert version.startswith("1.26")
    assert " passed" in said.splitlines()[-1]
    assert "skipped" not in said


def several_cameras() -> Capture:
    """Pictures of three sizes and lenses, off-centre, at three times, half trusted; a world of its own behind them."""
    frames: list[Frame] = []
    for index, (azimuth, width, height, fov) in enumerate([(0.3, 64, 48, 40), (2.4, 40, 40, 30), (4.5, 48, 80, 50)]):
        camera = orbit_camera(azimuth, 0.3, math.radians(fov), width, height)
        intrinsics = camera.intrinsics.clone()
        intrinsics[0, 2] += 3.25
        intrinsics[1, 1] *= 1.1
        camera = Camera(camera.c2w, intrinsics, width, height)
        seen = ball_frame(camera, f"view-{index}").rgba()
        weight = torch.full((height, width), 0.5)
        frames.append(frame_from_tensors(camera, seen, time=0.5 * index, name=f"view-{index}", weight=weight))
    return Capture(tuple(frames), Similarity(translation=torch.tensor([1.0, 2.0, 3.0]), scale=4.0))


def test_captures_open_unchanged_and_points_and_pixels_are_where_they_were(tmp_path):
    capture = several_cameras()
    write_transforms(capture, tmp_path / "capture")
    point = CENTRE + RADIUS * torch.tensor([0.1, 0.9, 0.1])
    places = {frame.name: frame.camera.project(point)[0].tolist() for frame in capture}
    (tmp_path / "asked.json").write_text(json.dumps(places))
    answer = json.loads(nerfstudio("python", CLIENT, "read", "capture", "asked.json", cwd=tmp_path).splitlines()[-1])
    for name, found in answer.items():
        transform = torch.tensor(found["transform"])
        there = found["scale"] * (transform[:3, :3] @ point + transform[:3, 3])
        assert found["frames"].keys() == places.keys()
        for frame in capture:
            seen = found["frames"][frame.name]
            x, y = places[frame.name]
            expected = (frame.rgba()[int(y), int(x)] * 255).round().int().tolist()
            assert seen["pixel"] == expected, name
            assert seen["size"] == seen["camera_size"] == [frame.camera.width, frame.camera.height]
            way, direction = there - torch.tensor(seen["origin"]), torch.tensor(seen["direction"])
            assert float(torch.linalg.cross(way, direction).norm() / way.norm()) < 1e-4, name
            assert float(way @ direction) > 0
    ours, theirs = answer["turnabout-data"], answer["nerfstudio-data"]
    assert ours["scale"] == 1
    assert [ours["frames"][frame.name]["time"] for frame in capture] == [frame.time for frame in capture]
    # The other parser moves the world: a check that the points above were not in one and the same.
    assert not np.allclose(ours["transform"], theirs["transform"], atol=1e-2)


def ball_views(count: int, size: int) -> Capture:
    """Views all around that nod."""
    frames = []
    for index in range(count):
        azimuth = 2 * math.pi * index / count
        camera = orbit_camera(azimuth, math.radians(50) * math.sin(3 * azimuth), math.radians(40), size, size)
        frames.append(ball_frame(camera, f"view-{index:02d}"))
    return Capture(tuple(frames))


def commands(title: str) -> list[list[str]]:
    """The commands of the document's first block of code after a heading."""
    section = DOCUMENT.read_text().split(f"## {title}\n", 1)[1]
    block = re.search(r"```sh\n(.*?)```", section, re.DOTALL)
    assert block is not None
    return [words for line in block[1].splitlines() if (words := shlex.split(line, comments=True))]


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the document's commands of "Our splats in nerfstudio" have run."""
    folder = tmp_path_factory.mktemp("fitted")
    write_transforms(ball_views(24, 96), folder / "capture")
    for command in commands("Our splats in nerfstudio"):
        nerfstudio(*command, cwd=folder)
    return folder


def test_its_export_shows_what_the_capture_shows_where_the_capture_does(fitted):
    scene = read_ply(fitted / "nerf" / "splat.ply").transform(Z_UP_TO_Y_UP)
    errors = []
    for frame in read_capture(fitted / "capture"):
        drawn = rasterize(scene, [frame.camera], geometry=False)
        errors.append(float((drawn.rgb[0] - frame.premultiplied()[..., :3]).square().mean()))
    assert -10 * math.log10(np.mean(errors)) > 30
    evaluated = json.loads((fitted / "nerf" / "eval.json").read_text())["results"]
    assert evaluated["psnr"] > 30


def test_its_export_becomes_a_mesh_of_the_ball_in_the_capture_s_world(fitted):
    asset = read_glb(fitted / "out" / "ball" / "mesh.glb")
    assert is_watertight(asset.mesh)
    report = json.loads((fitted / "out" / "ball" / "report.json").read_text())
    assert report["inputs"]["source"]["name"] == "splat.ply"
    extras = asset.extras
    vertices = asset.mesh.vertices
    for key in ("to_capture", "to_source"):
        move = extras[key]
        rotation = torch.tensor(move.get("rotation", torch.eye(3).tolist()))
        vertices = move["scale"] * vertices @ rotation.T + torch.tensor(move["translation"])
    vertices = Z_UP_TO_Y_UP.apply(vertices)  # the export's world has Z up
    distances = (vertices - CENTRE).norm(dim=-1)
    assert float((distances - RADIUS).abs().median()) < 0.02


def test_its_cameras_come_back_beside_the_capture_they_are_of(fitted):
    listing = fitted / "capture" / "transforms_train.json"
    listing.write_bytes((fitted / "nerf" / "transforms_train.json").read_bytes())
    given = {frame.name: frame for frame in read_capture(fitted / "capture")}
    exported = read_capture(listing)
    listing.unlink()
    assert len(exported) == 21
    for frame in exported:
        torch.testing.assert_close(frame.camera.c2w, given[frame.name].camera.c2w, atol=1e-5, rtol=0)
        torch.testing.assert_close(frame.camera.intrinsics, given[frame.name].camera.intrinsics)


def test_a_training_shows_in_its_viewer(fitted, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--max-num-iterations", "50", "--machine.device-type", "cpu", "--viewer.websocket-port", str(port)]
    command = ["ns-train", "turnabout", "--data", str(fitted / "capture"), "--output-dir", str(tmp_path), *options]
    picture, script, log = (tmp_path / name for name in ("viewer.png", "steps.json", "log.txt"))
    script.write_text(json.dumps([{"size": [1100, 800]}, {"until": "canvas"}, {"picture": str(picture)}]))
    with (
        log.open("w") as said,
        subprocess.Popen(command, env=environment(), cwd=tmp_path, stdout=said, stderr=said) as training,
    ):
        try:
            until = time.monotonic() + 300
            while "Training Finished" not in log.read_text(errors="replace"):
                assert training.poll() is None, log.read_text(errors="replace")[-4000:]
                assert time.monotonic() < until
                time.sleep(1)
            run("node", TOOLS / "page_client.mjs", f"http://127.0.0.1:{port}", script)
        finally:
            training.kill()
    scene = read_picture(picture)[60:, :770, :3]  # left of the panel, under the bar
    coloured = scene.max(-1) - scene.min(-1) > 0.25
    assert 0.1 < coloured.mean() < 0.98
    # The ball's colours are its normals: all kinds of them, and bright.
    assert scene[coloured].max(0).min() > 0.4


def trained(method: str, folder: Path, *options: str) -> tuple[float, float]:
    """(held-out PSNR, seconds of the whole command) after fifty steps, over white."""
    common = ["--data", "capture", "--output-dir", "compared", "--timestamp", "t", "--vis", "tensorboard"]
    common += ["--machine.device-type", "cpu", "--max-num-iterations", str(STEPS)]
    common += ["--pipeline.model.background-color", "white"]
    if method == "nerfacto":
        common += ["--pipeline.model.implementation", "torch"]
        common += ["--pipeline.datamanager.train-num-rays-per-batch", str(RAYS)]
        common += ["--pipeline.datamanager.num-processes", "1"]
    started = time.monotonic()
    nerfstudio("python", CLIENT, "run", "ns-train", method, *common, *options, cwd=folder)
    seconds = time.monotonic() - started
    config, result = f"compared/capture/{method}/t/config.yml", f"{method}.json"
    evaluate = ["--load-config", config, "--output-path", result]
    nerfstudio("python", CLIENT, "run", "ns-eval", *evaluate, cwd=folder)
    return json.loads((folder / result).read_text())["results"]["psnr"], seconds


def test_fifty_steps_of_ours_show_held_out_views_better_than_fifty_of_nerfacto_and_sooner(tmp_path, capsys):
    write_transforms(ball_views(24, 48), tmp_path / "capture")
    ours, our_seconds = trained("turnabout", tmp_path)
    theirs, their_seconds = trained("nerfacto", tmp_path, "nerfstudio-data", "--eval-mode", "interval")
    with capsys.disabled():
        print(f"\n{STEPS} steps, held-out views: turnabout {ours:.2f} dB in {our_seconds:.0f} s, ", end="")
        print(f"nerfacto {theirs:.2f} dB in {their_seconds:.0f} s")
    assert our_seconds < their_seconds
    assert ours > theirs + BETTER


def test_a_processed_folder_becomes_a_mesh_by_the_document_s_command(tmp_path):
    """What ns-process-data leaves of a video: opaque pictures, cameras in a world of their own, and points."""
    plain = ball_views(16, 128).moved(Similarity(translation=torch.tensor([0.4, -0.2, 0.3]), scale=2.5))
    frames = [frame_from_tensors(f.camera, _opaque(f.rgba()), name=f"frame_{i:05d}") for i, f in enumerate(plain)]
    write_transforms(Capture(tuple(frames)).moved(Z_UP_TO_Y_UP.inverse()), tmp_path / "processed")
    listing = tmp_path / "processed" / "transforms.json"
    meta = json.loads(listing.read_text())
    for key in ("turnabout_world", "to_source"):
        del meta[key]
    meta["applied_transform"] = [[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, -1, 0]]
    listing.write_text(json.dumps(meta))
    process, *rest = commands("From a phone's video to a .glb")
    assert process[:2] == ["ns-process-data", "video"]
    assert process[process.index("--output-dir") + 1] == "processed"
    for command in rest:
        nerfstudio(*command, cwd=tmp_path)
    mesh = read_glb(tmp_path / "out" / "phone" / "mesh.glb").mesh
    assert is_watertight(mesh)
    extent = mesh.vertices.amax(0) - mesh.vertices.amin(0)
    assert float(extent.min() / extent.max()) > 0.85
    with Image.open(tmp_path / "out" / "phone" / "preview.png") as preview:
        assert preview.width > 100


def _opaque(rgba: torch.Tensor) -> torch.Tensor:
    """Before a grey wall."""
    color = rgba[..., :3] * rgba[..., 3:] + 0.75 * (1 - rgba[..., 3:])
    return torch.cat((color, torch.ones_like(rgba[..., 3:])), -1)
