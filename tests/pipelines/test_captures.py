"""Pictures of one object: several photos agree on its size, and a capture that others made becomes a mesh."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from pipelines import img2mesh, img2orbit
from recon.capture import Camera, Capture, frame_from_tensors, look_at, orbit_camera
from recon.capture.conversions import Z_UP_TO_Y_UP
from recon.capture.images import write_rgba
from recon.capture.io_nerfstudio import read_transforms, write_transforms
from recon.surface.mesh import Mesh
from recon.surface.render import render_mesh
from tests.pipelines.small import save_generator, save_photo
from tests.recon.capture.network import save_network


def box(*sides: float) -> Mesh:
    """A red box about the origin."""
    solid = trimesh.creation.box(sides)
    solid = solid.subdivide()
    vertices = torch.from_numpy(solid.vertices).float()
    red = torch.tensor([0.8, 0.15, 0.1]).expand(len(vertices), 3)
    return Mesh(vertices, torch.from_numpy(solid.faces).int(), colors=red)


def crop(rgba: torch.Tensor) -> torch.Tensor:
    """The picture around the subject, as a photographer with a zoom would take it: the scale is lost."""
    rows, columns = torch.nonzero(rgba[..., 3] > 0.5, as_tuple=True)
    return rgba[
        max(int(rows.min()) - 4, 0) : int(rows.max()) + 5, max(int(columns.min()) - 4, 0) : int(columns.max()) + 5
    ]


@pytest.mark.parametrize("elevation", [0, 10])
def test_two_photos_of_a_long_box_show_it_at_one_scale(elevation, tmp_path):
    generator = save_generator(tmp_path / "tiny")
    for name, azimuth in (("side", 0.0), ("end", math.pi / 2)):
        camera = orbit_camera(azimuth, math.radians(elevation), 0.1, 480, 480)
        write_rgba(tmp_path / f"{name}.png", crop(render_mesh(box(0.9, 0.18, 0.18), camera).rgba))
    command = [
        str(tmp_path / "side.png"),
        str(tmp_path / "end.png"),
        "--azimuths",
        "0",
        "90",
        "--elevation",
        str(elevation),
    ]
    command += ["--fov", "5.73", "--model", str(generator), "--preset", "fast", "--frames", "4", "--device", "cpu"]
    assert img2orbit.main([*command, "-o", str(tmp_path / "run")]) == 0
    side, end = read_transforms(tmp_path / "run" / "photo").frames
    wide = [float((frame.rgba()[..., 3] > 0.5).any(0).sum()) / frame.camera.width for frame in (side, end)]
    assert wide[0] == pytest.approx(0.78, abs=0.03), "the largest silhouette circle fills 0.80 of its picture"
    assert wide[1] / wide[0] == pytest.approx(0.18 / 0.9, rel=0.06)
    if elevation == 0:
        tall = [float((frame.rgba()[..., 3] > 0.5).any(1).sum()) / frame.camera.height for frame in (side, end)]
        assert tall[0] == pytest.approx(tall[1], abs=0.01)


@pytest.fixture
def told(monkeypatch):
    """A generator that knows from where photos were taken: a list of elevations in degrees, used one after another."""
    elevations: list[float] = []

    def tell(network, pictures, generator):
        assert pictures.shape == (1, 16, 16, 4)
        return [orbit_camera(0.0, math.radians(elevations.pop(0)), 0.6, 16, 16)]

    monkeypatch.setattr("gen.unposed.tell_cameras", tell)
    return elevations


@pytest.mark.parametrize(
    ("asked", "tells", "expected"),
    [
        ((), [], 10.0),
        (("--elevation", "auto"), [40.0], 40.0),
        (("--elevation", "auto"), [85.0], 60.0),
        (("--elevation", "-5"), [], -5.0),
    ],
)
def test_a_photo_is_taken_from_where_the_user_says_or_else_the_generator(told, asked, tells, expected, tmp_path):
    told.extend(tells)
    command = [str(save_photo(tmp_path / "a.png")), "--model", str(save_generator(tmp_path / "tiny")), *asked]
    run = tmp_path / "run"
    assert img2orbit.main([*command, "--preset", "fast", "--frames", "4", "--device", "cpu", "-o", str(run)]) == 0
    assert told == []
    for frame in (*read_transforms(run / "photo"), *read_transforms(run / "capture")):
        assert math.degrees(frame.camera.elevation) == pytest.approx(expected, abs=1e-3)
    report = json.loads((run / "report.json").read_text())
    assert report["quality"]["photo"]["elevation_degrees"] == pytest.approx(expected, abs=1e-3)
    assert any("the generator takes" in warning for warning in report["warnings"]) == bool(tells)
    assert any("is assumed 10 degrees" in warning for warning in report["warnings"]) == (not asked)


def test_several_photos_are_taken_from_one_height(told, tmp_path):
    told.extend([10.0, 30.0])
    photos = [str(save_photo(tmp_path / name)) for name in ("front.png", "side.png")]
    command = [
        *photos,
        "--azimuths",
        "0",
        "90",
        "--elevation",
        "auto",
        "--model",
        str(save_generator(tmp_path / "tiny")),
    ]
    run = tmp_path / "run"
    assert img2orbit.main([*command, "--preset", "fast", "--frames", "4", "--device", "cpu", "-o", str(run)]) == 0
    elevations = [math.degrees(frame.camera.elevation) for frame in read_transforms(run / "photo")]
    assert elevations == pytest.approx([20.0, 20.0], abs=1e-3)


def test_opaque_pictures_of_a_solver_become_a_mesh_of_the_right_shape(tmp_path, capsys):
    """Eight renders over grey, cameras in another place and scale of a world with Z up."""
    mesh, frames = box(0.7, 0.5, 0.3), []
    for index in range(8):
        camera = orbit_camera(index * math.pi / 4, 0.35 * (-1) ** index, 0.7, 72, 64)
        rgba = render_mesh(mesh, camera).rgba
        over = rgba[..., :3] * rgba[..., 3:] + 0.75 * (1 - rgba[..., 3:])
        frames.append(frame_from_tensors(camera, torch.cat((over, torch.ones(64, 72, 1)), -1), name=f"view_{index}"))
    away = Capture(tuple(frames)).moved(Z_UP_TO_Y_UP.inverse())
    moved = [
        frame_from_tensors(f.camera.moved(torch.eye(3), torch.tensor([4.0, -2.0, 9.0]), 5.0), f.rgba(), name=f.name)
        for f in away
    ]
    write_transforms(Capture(tuple(moved)), tmp_path / "pictures")
    listing = tmp_path / "pictures" / "transforms.json"
    meta = json.loads(listing.read_text())
    del meta["turnabout_world"], meta["to_source"]
    listing.write_text(json.dumps(meta))
    run = tmp_path / "run"
    command = ["--capture", str(tmp_path / "pictures"), "-o", str(run), "--preset", "fast", "--device", "cpu"]
    assert img2mesh.main([*command, "--target-faces", "500", "--texture-size", "128"]) == 0
    found = trimesh.load(run / "mesh.glb", force="mesh")
    assert found.extents / found.extents.max() == pytest.approx([1.0, 5 / 7, 3 / 7], abs=0.1)
    report = json.loads((run / "report.json").read_text())
    assert report["quality"]["capture"]["mattes_found"] == 8
    assert any("8 of 8 pictures have no transparency" in warning for warning in report["warnings"])
    scale = read_transforms(run / "capture").to_source.scale
    assert scale == pytest.approx(5 * math.sqrt(0.7**2 + 0.5**2 + 0.3**2), rel=0.1)


def test_a_picture_without_a_subject_is_left_out_and_named(tmp_path):
    mesh, frames = box(0.5, 0.5, 0.5), []
    for index in range(4):
        camera = Camera(look_at(torch.tensor([math.sin(index), 0.2, math.cos(index)]) * 2), torch.tensor(
            [[80.0, 0, 32], [0, 80, 32], [0, 0, 1]]), 64, 64)  # fmt: skip
        rgba = render_mesh(mesh, camera).rgba
        over = rgba[..., :3] * rgba[..., 3:] + (1 - rgba[..., 3:])
        if index == 2:
            over = torch.full((64, 64, 3), 0.5)
        frames.append(frame_from_tensors(camera, torch.cat((over, torch.ones(64, 64, 1)), -1), name=f"view_{index}"))
    write_transforms(Capture(tuple(frames)), tmp_path / "pictures")
    command = ["--capture", str(tmp_path / "pictures"), "-o", str(tmp_path / "run"), "--device", "cpu"]
    assert img2mesh.main([*command, "--stop-after", "orbit"]) == 0
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["quality"]["capture"] == {"frames": {"observed": 3}, "mattes_found": 3, "left_out": 1}
    assert any("view_2 is left out: no subject" in warning for warning in report["warnings"])


def test_the_report_says_what_found_the_subject_and_what_is_doubtful(tmp_path):
    generator = save_generator(tmp_path / "tiny")
    y, x = torch.meshgrid(torch.arange(96) + 0.5, torch.arange(96) + 0.5, indexing="ij")
    disc = (x - 48) ** 2 + (y - 48) ** 2 < 24**2
    rgb = torch.where(disc[..., None], torch.tensor([40, 20, 30]), torch.tensor([230, 230, 225])).byte().numpy()
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA405] = 300  # millimetres on 36 x 24 mm film
    Image.fromarray(rgb).save(tmp_path / "far.jpg", exif=exif, quality=95)
    halves = disc & ((x - 48).abs() > 6)
    Image.fromarray(np.dstack((rgb, halves.byte().numpy() * 255))).save(tmp_path / "halves.png")
    network = save_network(tmp_path / "net.onnx")

    def report(name: str, *more: str) -> tuple[dict, str]:
        command = [str(tmp_path / name), "--model", str(generator), "--preset", "fast", "--frames", "2", *more]
        assert img2orbit.main([*command, "--device", "cpu", "-o", str(tmp_path / "run"), "--overwrite"]) == 0
        said = json.loads((tmp_path / "run" / "report.json").read_text())
        return said["quality"]["photo"]["photos"][0], "\n".join(said["warnings"])

    figures, warnings = report("far.jpg")
    assert (figures["matte_from"], figures["fov_from"], figures["fov_degrees"]) == ("GrabCut", "exif, limited", 20.0)
    assert "far.jpg: EXIF's field of view" in warnings
    figures, _ = report("far.jpg", "--matting", str(network))
    assert figures["matte_from"] == "network"
    figures, warnings = report("halves.png")
    assert figures["matte_from"] == "alpha"
    assert "halves.png: its alpha shows 2 separate parts" in warnings
    assert "border" not in warnings
    Image.open(tmp_path / "halves.png").crop((0, 0, 96, 54)).save(tmp_path / "cut.png")
    assert "cut.png: the subject runs along the picture's border for" in report("cut.png")[1]
    Image.open(tmp_path / "far.jpg").crop((0, 0, 96, 54)).save(tmp_path / "cut.jpg")
    assert "cut.jpg: the subject runs along the picture's border for" in report("cut.jpg")[1]


def write_views(folder: Path, turn: float) -> None:
    """Four views of a box, each `turn` radians on."""
    frames = []
    for index in range(4):
        camera = orbit_camera(index * turn, 0.35 * (-1) ** index, 0.7, 64, 64)
        frames.append(frame_from_tensors(camera, render_mesh(box(0.6, 0.5, 0.6), camera).rgba, name=f"view_{index}"))
    write_transforms(Capture(tuple(frames)), folder)


def test_left_open_and_refined_the_asset_ends_where_no_picture_shows_it(tmp_path, capsys):
    write_views(tmp_path / "pictures", 0.25)
    command = ["--capture", str(tmp_path / "pictures"), "-o", str(tmp_path / "run"), "--preset", "fast"]
    command += ["--device", "cpu", "--target-faces", "500", "--texture-size", "128", "--keep-open", "--refine-texture"]
    assert img2mesh.main(command) == 0
    figures = json.loads((tmp_path / "run" / "report.json").read_text())["quality"]["mesh"]
    assert not figures["watertight"]
    assert figures["texels_from"]["observed"] > 0.8
    assert b'"doubleSided":true' in (tmp_path / "run" / "mesh.glb").read_bytes()
    assert img2mesh.main([*(word for word in command if word != "--refine-texture"), "--resume"]) == 2
    assert "refine_texture" in capsys.readouterr().err


def test_generated_views_are_not_refined_from(tmp_path, capsys):
    assert img2mesh.main(["photo.png", "-o", str(tmp_path / "run"), "--refine-texture"]) == 2
    assert "--refine-texture needs pictures that agree" in capsys.readouterr().err


@pytest.mark.parametrize(("turn", "warned"), [(0.25, True), (math.pi / 2, False)])
def test_a_mesh_that_the_pictures_show_little_of_comes_with_a_warning(turn, warned, tmp_path):
    write_views(tmp_path / "pictures", turn)
    command = ["--capture", str(tmp_path / "pictures"), "-o", str(tmp_path / "run"), "--preset", "fast"]
    assert img2mesh.main([*command, "--device", "cpu", "--target-faces", "500", "--texture-size", "128"]) == 0
    warnings = json.loads((tmp_path / "run" / "report.json").read_text())["warnings"]
    assert warned == any("of the texture is in no picture" in warning for warning in warnings)
