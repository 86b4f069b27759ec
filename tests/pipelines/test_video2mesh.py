"""Videos, photo folders and captures become meshes; what is no capture becomes a message and leaves nothing behind."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh

from pipelines import video2mesh
from recon.asset.gltf import read_glb
from recon.capture import Capture, frame_from_tensors, orbit_camera
from recon.capture.images import write_rgba
from recon.capture.io_colmap import write_colmap
from recon.capture.io_nerfstudio import read_transforms, write_transforms
from recon.splat.formats import read_splats
from recon.surface.mesh import Mesh
from recon.surface.render import render_mesh
from tests.pipelines.small import content
from tests.recon.capture.video_files import noise, sliding, write_sound, write_video

SMALL = ["--preset", "fast", "--max-gaussians", "600", "--target-faces", "300", "--texture-size", "256"]
FOV = math.radians(40)


def speckled() -> Mesh:
    """A lump with a colour of its own at every vertex: full of features, without symmetry."""
    ball = trimesh.creation.icosphere(4, radius=0.36)
    rng = np.random.default_rng(3)
    x, y, z = ball.vertices.T
    ball.vertices *= (1 + 0.25 * np.sin(5 * x + 1) * np.cos(4 * y) + 0.15 * np.sin(7 * z))[:, None]
    colors = rng.uniform(0.1, 0.95, (len(ball.vertices), 3))
    return Mesh(
        torch.from_numpy(ball.vertices).float(),
        torch.from_numpy(ball.faces).int(),
        colors=torch.from_numpy(colors).float(),
    )


@pytest.fixture(scope="module")
def orbit() -> Capture:
    """Sixteen views of it, 22 degrees apart, from 20 degrees above."""
    cameras = [orbit_camera(2 * math.pi * i / 16, math.radians(20), FOV, 224, 224) for i in range(16)]
    mesh = speckled()
    frames = [frame_from_tensors(c, render_mesh(mesh, c).rgba, name=f"v{i:02d}") for i, c in enumerate(cameras)]
    return Capture(tuple(frames))


def run(*arguments) -> int:
    return video2mesh.main([str(argument) for argument in arguments])


def rotation_errors(found: Capture, truth: Capture) -> np.ndarray:
    """Degrees by which frames of the same names are turned, after the best common turn."""
    by_name = {frame.name: frame.camera.c2w[:3, :3].double() for frame in truth}
    pairs = [(frame.camera.c2w[:3, :3].double(), by_name[frame.name]) for frame in found]
    u, _, v = torch.linalg.svd(sum(true @ mine.T for mine, true in pairs))
    turn = u @ torch.diag(torch.tensor([1.0, 1.0, float(torch.det(u @ v))]).double()) @ v
    cosines = [((turn @ mine) * true).sum() / 2 - 0.5 for mine, true in pairs]
    return np.degrees(np.arccos(np.clip(np.array(cosines, float), -1, 1)))


@pytest.fixture(scope="module")
def solved(tmp_path_factory, orbit):
    """A folder of photos with transparent backgrounds and shuffled names, through structure from motion to a mesh."""
    folder = tmp_path_factory.mktemp("photos")
    order = np.random.default_rng(0).permutation(len(orbit))
    for place, index in enumerate(order):
        write_rgba(folder / f"IMG_{place}.png", orbit[int(index)].rgba())
    out = tmp_path_factory.mktemp("runs") / "solved"
    assert run(folder, "-o", out, *SMALL, "--size", "0.3", "--cameras", "sfm", "--splats", "spz", "splat") == 0
    names = {f"IMG_{place}": f"v{index:02d}" for place, index in enumerate(order)}
    return out, names


def test_photos_without_cameras_become_a_mesh(solved, orbit):
    out, names = solved
    report = json.loads((out / "report.json").read_text())
    cameras = report["quality"]["cameras"]["solved"]
    assert cameras["registered"] == len(orbit)
    assert cameras["confidence"] == "good"
    assert report["quality"]["mesh"]["watertight"]
    found = read_transforms(out / "capture")
    found = Capture(tuple(frame_from_tensors(f.camera, f.rgba(), name=names[f.name]) for f in found))
    assert np.median(rotation_errors(found, orbit)) < 1.0
    focal = float(found[0].camera.intrinsics[0, 0])
    assert focal == pytest.approx(float(orbit[0].camera.intrinsics[0, 0]), rel=0.03)
    mesh = trimesh.load(out / "mesh.glb", force="mesh")
    assert max(mesh.extents) == pytest.approx(0.3, rel=0.01)


def test_solved_cameras_stand_upright_around_the_subject_and_the_first_in_front(solved):
    found = read_transforms(solved[0] / "capture")
    elevations = np.degrees([frame.camera.elevation for frame in found])
    assert np.abs(elevations - 20).max() < 2
    assert abs(float(found[0].camera.centre[0])) < 1e-3
    assert float(found[0].camera.centre[2]) > 0


def test_the_scene_leaves_in_the_formats_that_are_asked_for(solved):
    ply, spz, splat = (read_splats(solved[0] / f"splat.{kind}") for kind in ("ply", "spz", "splat"))
    assert len(ply) == len(spz) == len(splat)
    assert torch.allclose(ply.means, spz.means, atol=1e-3)


def test_the_way_back_to_the_solved_world_travels_with_the_mesh(solved, tmp_path, orbit):
    """A corner of the file, led back, is where it is for who looks through the source's own cameras."""
    write_colmap(Capture(tuple(orbit[i] for i in range(0, 16, 2))), tmp_path / "colmap")
    assert run(tmp_path / "colmap", "-o", tmp_path / "run", *SMALL, "--size", "0.3", "--origin", "base") == 0
    asset = read_glb(tmp_path / "run" / "mesh.glb")
    points = asset.mesh.vertices
    for step in ("to_capture", "to_source"):
        way = asset.extras[step]
        turn = torch.tensor(way.get("rotation", torch.eye(3).tolist()))
        points = way["scale"] * points @ turn.T + torch.tensor(way["translation"])
    truth = speckled().vertices
    assert torch.allclose(points.max(0).values, truth.max(0).values, atol=0.05)
    assert torch.allclose(points.min(0).values, truth.min(0).values, atol=0.05)


def test_the_same_seed_gives_the_same_cameras(solved, tmp_path):
    source = solved[0] / "frames" / "images"
    for name in ("a", "b"):
        assert run(source, "-o", tmp_path / name, *SMALL, "--cameras", "sfm", "--stop-after", "capture") == 0
    assert content(tmp_path / "a") == content(tmp_path / "b")


def test_a_run_folder_and_a_colmap_model_are_captures(solved, tmp_path, orbit):
    assert run(solved[0], "-o", tmp_path / "again", *SMALL, "--stop-after", "capture", "--frames", 5) == 0
    assert len(read_transforms(tmp_path / "again" / "capture")) == 5
    write_colmap(orbit, tmp_path / "colmap")
    assert run(tmp_path / "colmap", "-o", tmp_path / "from_colmap", *SMALL, "--stop-after", "capture") == 0
    found = read_transforms(tmp_path / "from_colmap" / "capture")
    assert rotation_errors(found, orbit).max() < 0.1
    report = json.loads((tmp_path / "from_colmap" / "report.json").read_text())
    assert report["quality"]["capture"]["up"]["told_by"] == "ring"


def test_a_video_becomes_a_capture_with_its_times(tmp_path, orbit):
    pictures = [
        (frame.premultiplied()[..., :3] + (1 - frame.rgba()[..., 3:]) * 0.9).mul(255).round().to(torch.uint8).numpy()
        for frame in orbit
    ]
    path = write_video(tmp_path / "turn.mp4", pictures, options={"crf": "12"})
    assert run(path, "-o", tmp_path / "run", *SMALL, "--frames", 16, "--stop-after", "capture") == 0
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    chosen = report["quality"]["frames"]["video"]["chosen"]
    found = read_transforms(tmp_path / "run" / "capture")
    assert len(found) >= 0.7 * len(chosen)
    assert {round(frame.time * 25) for frame in found} <= set(chosen)


def bad_colmap(folder: Path, orbit: Capture) -> Path:
    write_colmap(orbit, folder)
    (binary,) = folder.rglob("images.bin")
    binary.write_bytes(binary.read_bytes()[:100])
    return folder


def bad_transforms(folder: Path, orbit: Capture, change) -> Path:
    write_transforms(Capture(orbit.frames[:3]), folder)
    listing = folder / "transforms.json"
    meta = json.loads(listing.read_text())
    change(meta)
    listing.write_text(json.dumps(meta))
    return folder


def look_away(meta) -> None:
    """Poses as OpenCV has them, where OpenGL's are expected: down for up, behind for before."""
    for frame in meta["frames"]:
        for row in frame["transform_matrix"]:
            row[1], row[2] = -row[1], -row[2]


def linked_to_itself(path: Path) -> Path:
    path.symlink_to(path)
    return path


def piped(path: Path) -> Path:
    os.mkfifo(path)
    return path


def truncated(path: Path) -> Path:
    write_video(path, [noise(i) for i in range(20)])
    path.write_bytes(path.read_bytes()[:3000])
    return path


def written(path: Path, content: bytes = b"") -> Path:
    path.write_bytes(content)
    return path


def emptied(folder: Path) -> Path:
    folder.mkdir()
    return folder


def without_pictures(folder: Path, orbit: Capture) -> Path:
    write_transforms(Capture(orbit.frames[:3]), folder)
    shutil.rmtree(folder / "images")
    return folder


def few_views(folder, frames):
    named = [dataclasses.replace(frame, name=f"f{index}") for index, frame in enumerate(frames)]
    write_transforms(Capture(tuple(named)), folder)
    return folder


def eight_times(folder, orbit):
    folder.mkdir()
    for index in range(8):
        write_rgba(folder / f"{index}.png", orbit.frames[0].rgba())
    return folder


BAD = {
    "0 bytes": (lambda p, o: written(p / "a.mp4"), "a.mp4"),
    "truncated": (lambda p, o: truncated(p / "a.mp4"), "a.mp4"),
    "sound only": (lambda p, o: write_sound(p / "a.mp4"), "sound"),
    "one frame": (lambda p, o: write_video(p / "a.mp4", [noise()]), "1 frame"),
    "all black": (lambda p, o: write_video(p / "a.mp4", [np.zeros((96, 144, 3), np.uint8)] * 9), "black"),
    "nothing moves": (lambda p, o: write_video(p / "a.mp4", [noise()] * 9), "moves"),
    "no video": (lambda p, o: written(p / "a.mp4", b"hello" * 99), "a.mp4"),
    "unknown file": (lambda p, o: written(p / "a.docx", b"hello"), "a.docx"),
    "empty folder": (lambda p, o: emptied(p / "photos"), "no pictures"),
    "not there": (lambda p, o: p / "nowhere", "nowhere"),
    "one photo eight times": (lambda p, o: eight_times(p / "photos", o), "the same picture 8 times"),
    "corrupt COLMAP": (lambda p, o: bad_colmap(p / "colmap", o), "images.bin"),
    "NaN intrinsics": (lambda p, o: bad_transforms(p / "c", o, lambda m: m.update(fl_x=math.nan)), "fl_x"),
    "escaping path": (
        lambda p, o: bad_transforms(p / "c", o, lambda m: m["frames"][0].update(file_path="../../etc/passwd")),
        "outside",
    ),
    "truncated GIF": (lambda p, o: written(p / "a.gif", b"GIF89a" + bytes(99)), "without its end"),
    "two views": (lambda p, o: few_views(p / "c", o.frames[:2]), "2 pictures"),
    "one place": (lambda p, o: few_views(p / "c", o.frames[:1] * 5), "5 pictures from 1 places"),
    "a name that none can be": (
        lambda p, o: bad_transforms(p / "c", o, lambda m: m["frames"][0].update(file_path="\ud800.png")),
        "transforms.json",
    ),
    "a name that is too long": (
        lambda p, o: bad_transforms(p / "c", o, lambda m: m["frames"][0].update(file_path="a" * 300)),
        "transforms.json",
    ),
    "a focal length of light years": (
        lambda p, o: bad_transforms(p / "c", o, lambda m: m.update(fl_x=1e29)),
        "focal length of 1e+29",
    ),
    "a focal length of light years downward": (
        lambda p, o: bad_transforms(p / "c", o, lambda m: m.update(fl_y=1e29)),
        "focal length of 1e+29",
    ),
    "poses in OpenCV's axes": (
        lambda p, o: bad_transforms(p / "c", o, look_away),
        "OpenGL's convention",
    ),
    "a lens that bends all light away": (
        lambda p, o: bad_transforms(p / "c", o, lambda m: m.update(k1=1e20)),
        "distortion coefficients",
    ),
    "a matrix that is no pose": (
        lambda p, o: bad_transforms(p / "c", o, lambda m: m["frames"][0]["transform_matrix"].__setitem__(3, [5] * 4)),
        "last row",
    ),
    "a link to itself": (lambda p, o: linked_to_itself(p / "loop"), "Symlink loop"),
    "a pipe": (lambda p, o: piped(p / "film.mp4"), "a pipe or a device"),
    "missing pictures": (lambda p, o: without_pictures(p / "c", o), "images"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_capture_ends_with_a_message_and_leaves_nothing(kind, tmp_path, orbit, capsys):
    make, words = BAD[kind]
    source = make(tmp_path, orbit)
    before = sorted(tmp_path.rglob("*"))
    assert run(source, "-o", tmp_path / "run", *SMALL) == 2
    said = capsys.readouterr().err
    assert "error: " in said
    assert words in said.replace("\n", "")
    assert "Traceback" not in said
    assert sorted(tmp_path.rglob("*")) == before


def test_a_damaged_photo_among_good_ones_is_left_out_and_named(tmp_path, orbit):
    for frame in orbit.frames[:6]:
        write_rgba(tmp_path / f"{frame.name}.png", frame.rgba())
    (tmp_path / "v03.png").write_bytes((tmp_path / "v03.png").read_bytes()[:2000])
    assert run(tmp_path, "-o", tmp_path.with_name("run"), *SMALL, "--cameras", "sfm", "--stop-after", "capture") == 0
    report = json.loads((tmp_path.with_name("run") / "report.json").read_text())
    assert any("v03.png" in warning for warning in report["warnings"])


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--cameras", "orbit", "--crop", "auto"], "leave --crop out"),
        (["--cameras", "orbit", "--up", "+z"], "leave --up out"),
        (["--cameras", "orbit", "--frames", "5"], "at least 6"),
        (["--cameras", "sfm", "--crop", "0", "0", "0", "1"], "world"),
        (["--crop", "0", "0", "0", "-1"], "positive radius"),
        (["--crop", "auto", "--matting", "a.onnx", "--resume", "--overwrite"], "--resume"),
        (["--fov", "40"], "brings its cameras"),
    ],
)
def test_options_that_contradict_each_other_are_refused_before_anything_is_done(more, words, tmp_path, orbit, capsys):
    write_transforms(Capture(orbit.frames[:3]), tmp_path / "c")
    assert run(tmp_path / "c", "-o", tmp_path / "run", *SMALL, *more) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_source_inside_the_output_is_refused_and_kept(solved, capsys):
    before = content(solved[0])
    assert run(solved[0] / "capture", "-o", solved[0], *SMALL, "--overwrite") == 2
    assert "would overwrite it" in capsys.readouterr().err
    assert content(solved[0]) == before


def test_photos_of_several_sizes_that_nothing_connects_are_refused_with_the_reason(tmp_path, orbit, capsys):
    (tmp_path / "photos").mkdir()
    for index, frame in enumerate(orbit.frames[::2]):
        grey = frame.rgba().clone()
        grey[..., :3] = 0.5
        write_rgba(tmp_path / "photos" / f"{index}.png", grey[: 224 - 8 * (index % 2)])
    assert run(tmp_path / "photos", "-o", tmp_path / "run", *SMALL) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "224x216 and 224x224" in said


def test_a_colmap_models_pictures_may_be_anywhere(tmp_path, orbit, capsys):
    write_colmap(orbit, tmp_path / "colmap")
    (tmp_path / "colmap" / "images").rename(tmp_path / "elsewhere")
    model, out = tmp_path / "colmap" / "sparse" / "0", tmp_path / "run"
    assert run(model, "-o", out, *SMALL, "--stop-after", "capture") == 2
    there = ["--pictures", tmp_path / "elsewhere"]
    assert run(model, "-o", out, *SMALL, "--stop-after", "capture", *there) == 0
    assert len(read_transforms(out / "capture")) == len(orbit)
    capsys.readouterr()
    for source, more, words in (
        (out, there, "goes with a COLMAP model"),
        (model, [*there, "--cameras", "orbit"], "goes with a COLMAP model"),
        (model, ["--pictures", tmp_path / "none"], "no such folder"),
    ):
        assert run(source, "-o", tmp_path / "other", *SMALL, *more) == 2
        assert words in capsys.readouterr().err


def test_pictures_beside_a_colmap_model_count_when_a_run_is_resumed(tmp_path, orbit, capsys):
    write_colmap(Capture(orbit.frames[:5]), tmp_path / "colmap")
    (binary,) = (tmp_path / "colmap").rglob("images.bin")
    command = [binary.parent, "-o", tmp_path / "run", *SMALL, "--stop-after", "capture"]
    assert run(*command) == 0
    write_rgba(next((tmp_path / "colmap" / "images").iterdir()), torch.ones(224, 224, 4))
    assert run(*command, "--resume") == 2
    assert "another run" in " ".join(capsys.readouterr().err.split())


def test_an_8k_video_is_read(tmp_path):
    big = [np.kron(picture, np.ones((45, 53, 1), np.uint8))[:4320, :7632] for picture in sliding([0, 2, 2])]
    path = write_video(tmp_path / "a.mp4", big, options={"preset": "ultrafast", "crf": "30"})
    from recon.capture.video import scan_video

    assert (scan_video(path).width, scan_video(path).height) == (7632, 4320)


def test_a_source_that_contains_the_output_is_refused(tmp_path, capsys):
    (tmp_path / "photos").mkdir()
    assert run(tmp_path / "photos", "-o", tmp_path / "photos" / "run") == 2
    assert "choose another -o" in capsys.readouterr().err
