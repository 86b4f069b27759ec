"""The viewer in a real browser: what it shows is what our renderers draw, and its controls do what they say.

A picture of nothing, and one of the other layer, must fail what the right picture passes, so that these tests can fail.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image

from pipelines._shown import Shown
from pipelines._viewer_live import build
from pipelines._viewer_page import page
from pipelines._viewer_scene import LAYERS, start_camera
from pipelines._viewer_server import scene_server
from recon.asset import read_glb, write_glb
from recon.capture import Capture, Source, frame_from_tensors
from recon.capture.io_nerfstudio import write_transforms
from recon.capture.orbit import orbit_cameras
from recon.metrics.topology import is_watertight
from recon.splat.fit import fit_gaussians
from recon.splat.fit_options import FIT_PRESETS
from recon.splat.gaussians import Gaussians, from_points
from recon.splat.ply import write_ply
from recon.surface.render import render_mesh
from recon.surface.studio import mesh_look, splats_look
from tests.acceptance.test_glb_clients import TOOLS, baked_chair, installed, read_picture, run
from tests.pipelines.moving import moving_run
from tests.shared_data import ROOT

SIDE = 640
SAME = 20.0
"""Decibels inside the object's box, from which on two pictures show the same."""


@pytest.fixture(scope="module")
def chair_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a chair: its mesh, splats that were fitted to pictures of it, cameras, and a report."""
    folder = tmp_path_factory.mktemp("runs") / "chair"
    folder.mkdir()
    mesh = baked_chair()
    to_capture = {"scale": 1.0, "translation": [0.0, 0.0, 0.0]}
    write_glb(mesh, folder / "mesh.glb", size=None, origin="keep", extras={"to_capture": to_capture})
    frames = []
    for index, camera in enumerate(orbit_cameras(16, 0.35, size=96)):
        drawn = render_mesh(mesh, camera)
        source = Source.OBSERVED if index == 0 else Source.GENERATED
        frames.append(frame_from_tensors(camera, drawn.rgba, source=source, name=f"f{index:02d}", depth=drawn.depth))
    write_transforms(Capture(tuple(frames)), folder / "capture")
    write_ply(fit_gaussians(Capture(tuple(frames)), FIT_PRESETS["fast"]), folder / "splat.ply")
    report = {"quality": {"mesh": {"faces": len(mesh.faces)}}}
    (folder / "report.json").write_text(json.dumps(report))
    return folder


@pytest.fixture(scope="module")
def chair_page(chair_run: Path) -> Path:
    file = chair_run.parent / "page.html"
    file.write_text(page([Shown(chair_run)]), encoding="utf-8")
    return file


def browse(url: str, folder: Path, *steps: dict[str, Any], known: str | None = None) -> dict[str, Any]:
    """What `page_client.mjs` found; console errors but a known one fail the test."""
    installed("node/node_modules/playwright-core")
    script = folder / "steps.json"
    script.write_text(json.dumps([*steps, {"size": [SIDE, SIDE]}]))  # the first size counts
    found = json.loads(run("node", TOOLS / "page_client.mjs", url, script))
    unknown = [problem for problem in found["problems"] if known is None or known not in problem]
    assert not unknown, found["problems"]
    return found


def agreement(picture: np.ndarray, ours: np.ndarray) -> float:
    """PSNR over white inside the box of what ours (H, W, 4) shows."""
    rows, columns = np.nonzero(ours[..., 3] > 0.5)
    window = slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1)

    def over_white(image: np.ndarray) -> np.ndarray:
        return (image[..., :3] * image[..., 3:] + 1 - image[..., 3:])[window]

    return float(-10 * np.log10(np.mean((over_white(picture) - over_white(ours)) ** 2)))


def best_agreement(picture: np.ndarray, ours: np.ndarray) -> float:
    """The same for a picture as high as ours whose middle is at another column, which is looked for."""
    rows, columns = np.nonzero(ours[..., 3] > 0.5)
    box = ours[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    box = box[..., :3] * box[..., 3:] + 1 - box[..., 3:]
    strip = picture[rows.min() : rows.max() + 1, :, :3] * picture[rows.min() : rows.max() + 1, :, 3:]
    strip = strip + 1 - picture[rows.min() : rows.max() + 1, :, 3:]
    errors = [
        np.mean((strip[:, left : left + box.shape[1]] - box) ** 2) for left in range(strip.shape[1] - box.shape[1])
    ]
    return float(-10 * np.log10(min(errors)))


def changes(folder: Path, url: str) -> float:
    """Mean difference between moments of a page, in [0, 1], once it shows what it holds."""
    files = [str(folder / f"moment_{index}.png") for index in range(8)]
    browse(url, folder, {"moments": files})
    moments = [read_picture(Path(file))[..., :3] for file in files[4:]]
    return max(float(np.abs(moment - moments[0]).mean()) for moment in moments)


def ours(folder: Path) -> dict[str, np.ndarray]:
    """Our own pictures of the view that the page opens with."""
    thing, camera = Shown(folder), start_camera(size=SIDE)
    assert thing.mesh is not None
    assert thing.splats is not None
    return {
        "mesh": mesh_look(thing.mesh, "unlit")(camera).rgba.numpy(),
        "splats": splats_look(thing.splats)(camera).rgba.numpy(),
        "nothing": np.ones((SIDE, SIDE, 4), np.float32),
    }


def test_a_page_without_a_network_shows_the_mesh_and_then_the_splats(chair_run, chair_page, tmp_path):
    assert chair_page.stat().st_size < 8e6
    mesh, splats, hidden = (tmp_path / f"{name}.png" for name in ("mesh", "splats", "wire"))
    found = browse(
        chair_page.as_uri(), tmp_path, {"bare": True},
        {"picture": str(mesh)}, {"click": "Splats"}, {"picture": str(splats)},
        {"click": "Wireframe"}, {"picture": str(hidden)},
    )  # fmt: skip
    assert all(url.startswith(("file:", "data:", "blob:")) for url in found["requests"]), found["requests"]
    drawn = ours(chair_run)
    assert agreement(read_picture(mesh), drawn["mesh"]) > SAME
    assert agreement(read_picture(splats), drawn["splats"]) > SAME
    for picture, other in ((drawn["nothing"], "mesh"), (drawn["nothing"], "splats"), (read_picture(hidden), "mesh")):
        assert agreement(picture, drawn[other]) < SAME
    assert found["bar"]["pressed"] == ["Wireframe"]


def test_a_page_whose_object_is_taken_away_fails_what_the_other_passes(chair_run, chair_page, tmp_path):
    text = chair_page.read_text(encoding="utf-8")
    empty = tmp_path / "empty.html"
    empty.write_text(page([Shown(chair_run / "capture")]), encoding="utf-8")
    assert "TURNABOUT" in text
    found = browse(empty.as_uri(), tmp_path, {"picture": str(tmp_path / "p.png")})
    assert found["bar"]["pressed"] == ["Cameras"]
    assert agreement(read_picture(tmp_path / "p.png"), ours(chair_run)["mesh"]) < SAME


def test_keys_and_dragging_do_what_they_say(chair_run, chair_page, tmp_path):
    still, turned, cameras, seen = (tmp_path / f"{name}.png" for name in ("still", "turned", "cameras", "seen"))
    found = browse(
        chair_page.as_uri(), tmp_path, {"bare": True},
        {"press": "3"}, {"press": "1"}, {"picture": str(still)},
        {"press": "c"}, {"picture": str(cameras)}, {"press": "c"},
        {"press": "7"}, {"picture": str(seen)}, {"press": "1"},
        {"drag": [120, 0]}, {"picture": str(turned)}, {"press": "f"},
    )  # fmt: skip
    assert found["bar"]["pressed"] == ["Mesh", "Figures"]
    assert "Mesh: triangles" in found["bar"]["figures"]
    drawn = ours(chair_run)["mesh"]
    assert agreement(read_picture(still), drawn) > SAME
    assert agreement(read_picture(turned), drawn) < agreement(read_picture(still), drawn) - 3
    difference = np.abs(read_picture(cameras) - read_picture(still))[..., :3].max(-1)
    assert difference[drawn[..., 3] == 0].max() > 0.3  # frames of pictures around the chair
    red, _, blue, _ = np.moveaxis(read_picture(seen), -1, 0)
    assert 0.1 < (blue - red > 0.4)[drawn[..., 3] == 1].mean() < 0.9  # what the photo from the front saw
    assert (red - blue > 0.4)[drawn[..., 3] == 1].mean() > 0.05  # and what only generated frames did


def test_on_a_narrow_dark_screen_the_bar_is_whole_dark_and_reached_by_keyboard(chair_page, tmp_path):
    picture = tmp_path / "dark.png"
    found = browse(
        chair_page.as_uri(), tmp_path, {"size": [390, 700]}, {"dark": True}, {"picture": str(picture)}, {"tab": 14}
    )
    left, top, right, bottom = found["bar"]["box"]
    assert left >= 0
    assert right <= 390
    assert bottom <= 700
    assert bottom - top < 200
    shade = [float(x) for x in found["bar"]["background"].split("(")[1].rstrip(")").split(",")[:3]]
    assert max(shade) < 90
    shown = read_picture(picture)
    assert shown[5, 5, :3].max() < 0.3
    chair = np.nonzero(np.ptp(shown[: int(top), :, :3], axis=-1) > 0.3)[1]
    assert len(chair) > 1000
    assert 10 < chair.min() < chair.max() < 380  # all of it
    stops = {name: seen for _, name, seen, _ in found["stops"]}
    for control in (*LAYERS.values(), "Cameras", "Figures"):
        assert stops[control], found["stops"]
    outlines = {name: color for _, name, _, color in found["stops"]}
    assert {outlines[label] for label in LAYERS.values()} == {"rgb(138, 180, 248)"}  # light, on the dark


def test_the_served_viewer_shows_switches_and_saves(chair_run, tmp_path):
    mesh, depth, shot, turn = (tmp_path / name for name in ("mesh.png", "depth.png", "shot.png", "turn.mp4"))
    with scene_server("127.0.0.1", 0) as server:
        build(server, [Shown(chair_run)])
        url = f"http://127.0.0.1:{server.get_port()}"
        browse(
            url, tmp_path, {"size": [SIDE + 340, SIDE]},
            {"picture": str(mesh)}, {"download": "Screenshot", "to": str(shot)}, {"choose": [0, "Depth"]},
            {"picture": str(depth)}, {"download": "Turntable (.mp4)", "to": str(turn)},
        )  # fmt: skip
    drawn = ours(chair_run)["mesh"]
    shown, far = read_picture(mesh), read_picture(depth)
    solid = drawn[..., 3] == 1
    # The panel takes a side of the window, so the object stands left of the middle.
    assert best_agreement(shown, drawn) > SAME
    assert best_agreement(far, drawn) < SAME
    assert 0.5 < (far[:, :SIDE, :3].min(-1) < 0.9).sum() / solid.sum() < 2
    with Image.open(shot) as image:
        saved = image.convert("RGBA").resize((round(image.width * SIDE / image.height), SIDE), Image.Resampling.BOX)
    assert best_agreement(np.asarray(saved, np.float32) / 255, drawn) > SAME
    with av.open(str(turn)) as video:
        assert sum(1 for _ in video.decode(video=0)) == 48


@pytest.fixture
def app_url(tmp_path: Path) -> Iterator[str]:
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    command = [sys.executable, "-m", "pipelines.app", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment, cwd=ROOT) as process:
        try:
            assert process.stderr is not None
            yield process.stderr.readline().split()[0]
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0
        finally:
            process.kill()


def test_a_photo_that_is_dropped_into_the_app_ends_in_a_glb_that_validates(app_url, tmp_path):
    installed("node/node_modules/gltf-validator")
    glb, picture, narrow = (tmp_path / name for name in ("got.glb", "app.png", "narrow.png"))
    photo = ROOT / "assets" / "photos" / "toadstool.png"
    (tmp_path / "notes.txt").write_text("no photo")
    found = browse(
        app_url, tmp_path, {"size": [390, 900]}, {"upload": str(tmp_path / "notes.txt")},
        {"until": "#said:has-text('expected a photo or a video')"}, {"picture": str(narrow)},
        {"drop": str(photo)}, {"until": "article[data-state=done], article[data-state=failed]"}, {"text": "article"},
        {"download": "Mesh (.glb)", "to": str(glb)}, {"picture": str(picture), "of": ".view"},
        {"click": "Delete"}, {"until": "#jobs:not(:has(article))"}, {"text": "#jobs"}, known="415",
    )  # fmt: skip
    assert "done" in found["texts"][0]
    assert "mesh" in found["texts"][0]
    assert found["texts"][1].strip() == ""
    report = json.loads(run("node", TOOLS / "validate.mjs", glb))["issues"]
    assert (report["numErrors"], report["numWarnings"]) == (0, 0)
    asset = read_glb(glb)
    assert asset.name == "toadstool"
    assert is_watertight(asset.mesh)
    shown, drawn = read_picture(picture), mesh_look(asset.mesh, "unlit")(start_camera(size=SIDE)).rgba.numpy()
    assert cap(shown).sum() > 0.04 * shown[..., 0].size  # in the 3-D frame alone
    shapes = [in_its_box(cap(image)) for image in (shown, drawn)]
    assert (shapes[0] & shapes[1]).sum() > 0.8 * (shapes[0] | shapes[1]).sum()
    assert read_picture(narrow).shape[1] == 390


def cap(picture: np.ndarray) -> np.ndarray:
    """Where a picture of the toadstool is red."""
    red: np.ndarray = (picture[..., 0] > 0.5) & (picture[..., 1] < 0.3) & (picture[..., 3] > 0.5)
    return red


def in_its_box(mask: np.ndarray) -> np.ndarray:
    """A mask's shape, wherever and however large it is: what it encloses, 64 pixels square."""
    rows, columns = np.nonzero(mask)
    box = Image.fromarray(mask[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1])
    return np.asarray(box.resize((64, 64), Image.Resampling.NEAREST))


@pytest.fixture(scope="module")
def moving(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose chair writhes and whose ball of splats goes round for two seconds."""
    return moving_run(tmp_path_factory.mktemp("moving") / "chair", baked_chair())


@pytest.fixture(scope="module")
def moving_page(moving: Path) -> Path:
    file = moving.parent / "page.html"
    file.write_text(page([Shown(moving)]), encoding="utf-8")
    return file


def at_times(folder: Path, *times: float) -> list[dict[str, np.ndarray]]:
    """Our own pictures of a run that moves."""
    thing, camera = Shown(folder), start_camera(size=SIDE)
    found = []
    for time in times:
        mesh, splats = thing.mesh_at(time), thing.splats_at(time)
        assert mesh is not None
        assert splats is not None
        drawn = {"mesh": mesh_look(mesh, "unlit")(camera), "splats": splats_look(splats)(camera)}
        found.append({name: view.rgba.numpy() for name, view in drawn.items()})
    return found


def test_the_page_of_a_run_that_moves_plays(chair_page, moving_page, tmp_path):
    assert moving_page.stat().st_size < 8e6
    assert changes(tmp_path, moving_page.as_uri()) > 0.01
    assert changes(tmp_path, chair_page.as_uri()) < 0.002


def test_the_time_slider_of_a_page_moves_the_mesh_and_the_splats(moving, moving_page, tmp_path):
    early, late = 0.35, 1.15
    files = {name: tmp_path / f"{name}.png" for name in ("mesh", "later", "splats", "wire")}
    to_early, to_late = ({"slide": ["Time in seconds", time]} for time in (early, late - 0.02))
    found = browse(
        moving_page.as_uri(), tmp_path, {"bare": True}, {"press": "p"},
        to_early, {"picture": str(files["mesh"])},
        to_late, *[{"press": "ArrowRight"}] * 10, {"picture": str(files["later"])},
        {"click": "Splats"}, {"picture": str(files["splats"])},
        {"click": "Wireframe"}, {"picture": str(files["wire"])},
    )  # fmt: skip
    assert all(url.startswith(("file:", "data:", "blob:")) for url in found["requests"]), found["requests"]
    before, after = at_times(moving, early, late)
    shown = {name: read_picture(file) for name, file in files.items()}
    assert agreement(shown["mesh"], before["mesh"]) > SAME
    assert agreement(shown["later"], after["mesh"]) > SAME
    assert agreement(shown["splats"], after["splats"]) > SAME
    # What stands still fails: the picture of one time is none of the other.
    assert agreement(shown["mesh"], after["mesh"]) < SAME
    assert agreement(before["splats"], after["splats"]) < SAME
    lines = np.abs(shown["wire"][..., :3] - 1).max(-1) > 0.2
    inside = after["mesh"][..., 3] > 0.5
    assert lines[inside].mean() > 5 * lines[~inside].mean()  # the other layers move along


def test_the_focus_on_the_time_slider_shows_in_the_dark(moving_page, tmp_path):
    found = browse(moving_page.as_uri(), tmp_path, {"dark": True}, {"press": "p"}, {"tab": 4})
    (slider,) = [stop[2:] for stop in found["stops"] if stop[1] == "Time in seconds"]
    assert slider == [True, "rgb(138, 180, 248)"]


def test_the_time_slider_of_the_served_viewer_moves_the_mesh_and_the_splats(moving, tmp_path):
    early, late = 0.35, 1.15
    files = {name: tmp_path / f"{name}.png" for name in ("mesh", "later", "splats", "earlier")}
    with scene_server("127.0.0.1", 0) as server:
        build(server, [Shown(moving)])
        browse(
            f"http://127.0.0.1:{server.get_port()}", tmp_path, {"size": [SIDE + 340, SIDE]}, {"tick": "Play the clip"},
            {"moments": [str(tmp_path / "stopped.png")]},
            {"number": ["Second", early]}, {"picture": str(files["mesh"])},
            {"number": ["Second", late]}, {"picture": str(files["later"])},
            {"choose": [0, "Splats"]}, {"picture": str(files["splats"])},
            {"number": ["Second", early]}, {"picture": str(files["earlier"])},
        )  # fmt: skip
    before, after = at_times(moving, early, late)
    shown = {name: read_picture(file) for name, file in files.items()}
    assert best_agreement(shown["mesh"], before["mesh"]) > SAME
    assert best_agreement(shown["later"], after["mesh"]) > SAME
    assert best_agreement(shown["splats"], after["splats"]) > SAME
    assert best_agreement(shown["earlier"], before["splats"]) > SAME
    assert best_agreement(shown["mesh"], after["mesh"]) < SAME
    assert best_agreement(shown["splats"], before["splats"]) < SAME


def test_splats_in_a_page_hide_what_is_behind_them(tmp_path):
    """The near ones come first in the file: drawn in its order, the far ones would lie over them."""
    across = torch.linspace(-0.3, 0.3, 25)
    sheet = torch.cartesian_prod(across, across)
    scenes = []
    for depth, color in ((0.25, (0.9, 0.1, 0.1)), (-0.25, (0.1, 0.2, 0.9))):
        points = torch.cat((sheet, torch.full((len(sheet), 1), depth)), dim=1)
        scenes.append(from_points(points, torch.tensor(color).expand(len(points), 3), 0.02, opacity=0.95))
    near, far = (scene.tensors() for scene in scenes)
    write_ply(Gaussians(*(torch.cat(pair) for pair in zip(near, far))), tmp_path / "sheets.ply")
    file, picture = tmp_path / "page.html", tmp_path / "p.png"
    file.write_text(page([Shown(tmp_path / "sheets.ply")]), encoding="utf-8")
    browse(file.as_uri(), tmp_path, {"bare": True}, {"picture": str(picture)})
    shown = Shown(tmp_path / "sheets.ply").splats
    assert shown is not None
    drawn = splats_look(shown)(start_camera(size=SIDE)).rgba.numpy()
    assert agreement(read_picture(picture), drawn) > SAME
    wrong = drawn.copy()
    red = (drawn[..., 0] > 0.6) & (drawn[..., 3] > 0.5)
    wrong[red, :3] = (0.1, 0.2, 0.9)
    assert agreement(wrong, drawn) < SAME


def test_the_served_panel_is_reached_by_keyboard_and_dark_where_the_reader_is(chair_run, tmp_path):
    picture = tmp_path / "dark.png"
    with scene_server("127.0.0.1", 0) as server:
        build(server, [Shown(chair_run)])
        found = browse(
            f"http://127.0.0.1:{server.get_port()}", tmp_path, {"size": [390, 800]}, {"dark": True},
            {"picture": str(picture)}, {"tab": 12},
        )  # fmt: skip
    stops = {name: seen for _, name, seen, _ in found["stops"]}
    for control in ("Show", "Show them", "With", "Look through it", "Play", "Screenshot", "Turntable (.mp4)"):
        assert stops[control], found["stops"]
    shown = read_picture(picture)
    assert shown.shape[1] == 390
    assert shown[5, 5, :3].max() < 0.3
    assert np.median(shown[-200:, :, :3]) < 0.3
    assert (np.ptp(shown[:400, :, :3], axis=-1) > 0.3).sum() > 1000  # the chair
