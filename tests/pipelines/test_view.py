"""The viewer: what its scene holds, what its page is made of, and what its panel does, without a browser.

What a browser makes of it is in `tests/acceptance/test_viewer.py`.
"""

from __future__ import annotations

import base64
import json
import math
import re
import socket
import sys
import threading
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
import zstandard

from pipelines import view
from pipelines._shown import Shown
from pipelines._viewer_depth import camera_of, depth_picture
from pipelines._viewer_figures import figures_of
from pipelines._viewer_live import DEPTH, WEIGHTS, FitOnView, build, on_view
from pipelines._viewer_page import page
from pipelines._viewer_scene import _SOURCES, LAYERS, _by_source, group_names, layers_of, start_camera
from pipelines._viewer_server import address_of, refusal, scene_server
from recon.asset import write_glb
from recon.capture import Capture, Source, frame_from_tensors
from recon.capture.io_nerfstudio import write_transforms
from recon.capture.orbit import orbit_cameras
from recon.splat.ply import write_ply
from recon.splat.rotations import quat_from_rotation
from recon.surface.mesh import Material, Mesh
from recon.surface.uv import unwrap
from tests.recon.splat.balls import ball_capture
from tests.recon.surface.test_fusion import ball_of_gaussians
from tests.recon.surface.test_render import cube

BREAKS_OUT = "</script><script>alert(1)</script>|`"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run folder with everything that the viewer shows; its name needs escaping."""
    folder = tmp_path_factory.mktemp("runs") / "a <b> & c"
    folder.mkdir()
    flat = unwrap(cube(0.6), 64)
    texture = torch.full((64, 64, 3), 90, dtype=torch.uint8)
    mesh = Mesh(flat.vertices, flat.faces, flat.uvs, materials=(Material(texture=texture),))
    extras = {"to_capture": {"scale": 0.6, "translation": [0.0, 0.1, 0.0]}}
    write_glb(mesh, folder / "mesh.glb", size=1.0, extras=extras)
    write_ply(ball_of_gaussians(), folder / "splat.ply")
    frames = []
    for index, camera in enumerate(orbit_cameras(3, 0.2, size=24)):
        rgba = torch.full((24, 24, 4), index / 3)
        weight = torch.linspace(0, 1, 24 * 24).reshape(24, 24)
        source = Source.OBSERVED if index == 0 else Source.GENERATED
        frames.append(frame_from_tensors(camera, rgba, source=source, name=f"f{index}", weight=weight))
    write_transforms(Capture(tuple(frames)), folder / "capture")
    quality = {"mesh": {"faces": 12_345, "note": BREAKS_OUT, "to_capture": {}}, "splat": {"gaussians": 3000}}
    (folder / "report.json").write_text(json.dumps({"quality": quality}))
    return folder


def messages(html: str) -> list[dict]:
    """The scene that a page carries, as viser's client reads it."""
    data = base64.b64decode(re.search(r'__VISER_EMBED_DATA__="([^"]+)"', html)[1])
    inner = zstandard.ZstdDecompressor().decompress(data[8:], max_output_size=int.from_bytes(data[:8], "little"))
    length = int.from_bytes(inner[:8], "little")
    return [message for _, message in msgspec.msgpack.decode(inner[8 : 8 + length])["messages"]]


@pytest.fixture(scope="module")
def html(run):
    return page([Shown(run)])


def test_a_page_is_one_small_file_that_asks_nobody_for_anything(html):
    assert len(html) < 3e6
    head = html.split("__VISER_EMBED_DATA__")[0]
    assert not re.search(r'<(script|link|img|iframe)[^>]+(src|href)="(?!data:)', head)
    assert "<title>a &lt;b&gt; &amp; c</title>" in html
    assert html.count("prefers-color-scheme") >= 2


def test_the_same_run_gives_the_same_page(run, html):
    assert page([Shown(run)]) == html


def test_the_bar_knows_what_there_is_and_cannot_be_broken_out_of(html, run):
    setting = re.search(r"window\.TURNABOUT=(\{.*?\});", html)[1]
    assert "<" not in setting
    bar = json.loads(setting)
    assert [layer["label"] for layer in bar["layers"]] == list(LAYERS.values())
    assert bar["extras"] == [{"key": "cameras", "label": "Cameras", "shown": False}]
    assert ["Mesh: triangles", "12,345"] in bar["figures"]
    assert ["Mesh: note", BREAKS_OUT] in bar["figures"]
    assert BREAKS_OUT not in html
    assert not [name for name, _ in bar["figures"] if "to capture" in name]
    nodes = {message["name"] for message in messages(html) if "name" in message}
    (group,) = bar["groups"]
    assert group["layers"] == [layer["key"] for layer in bar["layers"]]
    assert {f"/{group['name']}/{key}" for key in group["layers"]} <= nodes
    assert {f"/{group['name']}/cameras/f{index}" for index in range(3)} <= nodes


def test_the_first_layer_is_shown_and_the_others_wait(html):
    shown = {message["name"]: message["visible"] for message in messages(html) if "visible" in message}
    layers = {name.rsplit("/", 1)[1]: visible for name, visible in shown.items() if name.count("/") == 2}
    assert layers["mesh"]
    assert not any(visible for key, visible in layers.items() if key != "mesh")


def test_cameras_stand_where_the_captures_do_and_their_colour_says_who_took_the_picture(html, run):
    capture = Shown(run).capture
    colours = set()
    for frame in capture:
        told = [m for m in messages(html) if str(m.get("name")).endswith(f"/cameras/{frame.name}")]
        position, wxyz, props = (next(m[key] for m in told if key in m) for key in ("position", "wxyz", "props"))
        np.testing.assert_allclose(position, frame.camera.centre, atol=1e-5)
        quat = quat_from_rotation(frame.camera.c2w[:3, :3])
        np.testing.assert_allclose(np.abs(np.dot(wxyz, quat)), 1, atol=1e-5)
        colours.add((frame.source, tuple(props["color"])))
    assert len(colours) == 2


def test_things_side_by_side_have_names_of_their_own_and_room(run, tmp_path):
    write_ply(ball_of_gaussians(), tmp_path / "ball.ply")
    things = [Shown(run), Shown(tmp_path / "ball.ply"), Shown(run)]
    names = group_names(things)
    assert len(set(names)) == 3
    assert layers_of(things[1]) == ["splats"]
    poses = {m["name"]: m["position"] for m in messages(page(things)) if "position" in m and "name" in m}
    across = [poses.get(f"/{name}", (0.0, 0.0, 0.0))[0] for name in names]
    assert across[1] == 0
    assert across[0] == -across[2] < -1
    assert start_camera(3).centre.norm() > 2 * start_camera().centre.norm()


def test_a_capture_alone_shows_its_cameras(run, tmp_path):
    (only,) = {Shown(run / "capture")}
    assert layers_of(only) == []
    assert len(only.capture) == 3
    shown = {m["name"]: m["visible"] for m in messages(page([only])) if "visible" in m}
    assert shown["/capture/cameras"]
    setting = json.loads(re.search(r"window\.TURNABOUT=(\{.*?\});", page([only]))[1])
    assert setting["extras"][0]["shown"]


def test_the_panel_switches_layers_plays_and_shows_weights(run):
    with scene_server("127.0.0.1", 0) as server:
        thing = Shown(run)
        build(server, [thing])
        (name,) = group_names([thing])
        panel = {h.label: h for h in server.gui._gui_input_handle_from_uuid.values() if hasattr(h, "label")}
        nodes = server.scene._handle_from_node_name
        assert set(panel) >= {"Show", "Show them", "With", "Frame", "Look through it", "Play"}
        assert list(panel["Show"].options) == [*LAYERS.values(), DEPTH]
        panel["Show"].value = LAYERS["normals"]
        _settled(lambda: nodes[f"/{name}/normals"].visible)
        assert not any(nodes[f"/{name}/{key}"].visible for key in LAYERS if key != "normals")
        panel["Show"].value = DEPTH
        _settled(lambda: not nodes[f"/{name}/normals"].visible)
        panel["Show them"].value = True
        _settled(lambda: nodes[f"/{name}/cameras"].visible)
        picture = nodes[f"/{name}/cameras/f0"].image.copy()
        panel["With"].value = WEIGHTS
        _settled(lambda: not np.array_equal(nodes[f"/{name}/cameras/f0"].image, picture))
        weights = nodes[f"/{name}/cameras/f2"].image.astype(float)
        assert weights[0].mean() < 20
        assert weights[-1].mean() > 235
        for pressed in (True, False, True, False, True):
            panel["Play"].value = pressed
        _settled(lambda: panel["Frame"].value == 2)
        _settled(lambda: sum("play" in thread.name for thread in threading.enumerate()) == 1)
        panel["Play"].value = False


def test_figures_are_text_to_the_panel(run, monkeypatch):
    with scene_server("127.0.0.1", 0) as server:
        added: list[str] = []
        html = server.gui.add_html

        def noted(content):
            added.append(content)
            return html(content)

        monkeypatch.setattr(server.gui, "add_html", noted)
        build(server, [Shown(run)])
    (table,) = [content for content in added if "<table" in content]
    assert "12,345" in table
    assert "<script" not in table


def _settled(condition) -> None:
    """Waits for what the panel's callbacks, which run in threads, bring about."""
    import time

    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "the panel did nothing"
        time.sleep(0.02)


class Onlooked:
    """A server with as many browsers as it is told, which counts what it is shown."""

    def __init__(self):
        self.browsers = 0
        self.shown: list[int] = []
        self.scene = SimpleNamespace(
            add_gaussian_splats=lambda name, **arrays: self.shown.append(len(arrays["centers"]))
        )
        self.gui = SimpleNamespace(add_markdown=lambda text: None)
        self.initial_camera = SimpleNamespace()

    def show(self, name, **arrays):
        self.shown.append(len(arrays["centers"]))

    def get_clients(self):
        return dict.fromkeys(range(self.browsers))


def test_a_fit_is_shown_while_somebody_looks_and_not_at_every_step(monkeypatch):
    server, now = Onlooked(), [100.0]
    monkeypatch.setattr("pipelines._viewer_live.time", SimpleNamespace(monotonic=lambda: now[0]))
    look, scene = FitOnView(server), ball_of_gaussians()
    look(scene)
    assert server.shown == []
    server.browsers = 1
    for moment in (100.0, 100.1, 100.9, 101.5):
        now[0] = moment
        look(scene)
    assert server.shown == [3000, 3000]


def test_a_run_on_view_ends_with_its_result_in_the_browser(run, monkeypatch):
    built: list[list] = []
    said: list[str] = []
    monkeypatch.setattr("pipelines._viewer_live.build", lambda server, things: built.append([t.path for t in things]))
    monkeypatch.setattr("pipelines._viewer_live._until_interrupted", lambda: None)
    display: Any = SimpleNamespace(onlooker=None, said=said.append)
    with on_view(display, [run], wanted=True):
        assert isinstance(display.onlooker, FitOnView)
    assert display.onlooker is None
    assert built == [[run]]
    assert said[0].startswith("http://127.0.0.1:")
    with on_view(display, [run], wanted=False):
        assert display.onlooker is None


def test_the_fit_of_a_run_tells_who_looks_on(tmp_path, monkeypatch):
    from pipelines import img2mesh

    seen = []
    write_transforms(ball_capture(8, 32), tmp_path / "ball")
    monkeypatch.setattr("pipelines._viewer_live.FitOnView", lambda server: lambda scene: seen.append(len(scene)))
    monkeypatch.setattr("pipelines._viewer_live._until_interrupted", lambda: None)
    arguments = ["--capture", str(tmp_path / "ball"), "-o", str(tmp_path / "out"), "--preset", "fast", "--view"]
    assert img2mesh.main([*arguments, "--stop-after", "splat", "--max-gaussians", "500"]) == 0
    assert len(seen) > 100


def test_a_browsers_camera_is_ours():
    ours = start_camera(size=200)
    seen = SimpleNamespace(
        wxyz=quat_from_rotation(ours.c2w[:3, :3]).numpy(), position=ours.centre.numpy(), fov=ours.fov_y, aspect=1.5
    )
    camera = camera_of(seen, 200)
    assert (camera.width, camera.height) == (300, 200)
    points = torch.tensor([[0.1, 0.2, 0.3], [-0.2, 0.0, 0.1]])
    (pixels, depth), (own, own_depth) = camera.project(points), ours.project(points)
    torch.testing.assert_close(depth, own_depth)
    torch.testing.assert_close(pixels - torch.tensor([50.0, 0.0]), own, atol=1e-3, rtol=0)
    assert camera_of(SimpleNamespace(**{**vars(seen), "aspect": math.inf}), 10).width == 30


def test_depth_is_white_where_nothing_is_and_brighter_near():
    depth = torch.tensor([[1.0, 2.0, torch.inf]])
    near, far, nothing = depth_picture(depth)[0].astype(int).sum(-1)
    assert nothing == 765
    assert near > far + 100
    assert (depth_picture(torch.full((2, 2), torch.inf)) == 255).all()
    assert depth_picture(torch.full((2, 2), 3.0)).shape == (2, 2, 3)


def test_a_page_is_written_whole_or_not_at_all_and_never_over_another(run, tmp_path, capsys):
    target = tmp_path / "page.html"
    assert view.main([str(run), "--export", str(target)]) == 0
    assert target.stat().st_size > 5e5
    assert view.main([str(run), "--export", str(target)]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def test_a_page_that_cannot_be_written_is_named_as_it_was_asked_for(run, tmp_path, capsys, monkeypatch):
    def refused(_path, *_arguments, **_more):
        raise FileNotFoundError(2, "No such file or directory", str(_path))

    monkeypatch.setattr("pathlib.Path.write_text", refused)
    assert view.main([str(run), "--export", str(tmp_path / "page.html")]) == 2
    assert capsys.readouterr().err == f"error: {tmp_path / 'page.html'}: No such file or directory\n"


@pytest.mark.parametrize(
    ("where", "words"),
    [
        (["--host", "nonsense.invalid"], "the host 'nonsense.invalid' has no address"),
        (["--host", "192.0.2.1"], "cannot listen at '192.0.2.1', port 8080"),  # reserved for documentation
        (["--port", "65536"], "from 0 to 65535, found 65536"),
        (["--port", "-1"], "from 0 to 65535, found -1"),
    ],
)
def test_an_address_that_cannot_be_had_is_named(run, capsys, where, words):
    assert view.main([str(run), *where]) == 2
    assert words in capsys.readouterr().err


def test_a_port_that_is_in_use_gives_way_to_another():
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        with scene_server("127.0.0.1", taken) as server:
            assert server.get_port() > taken
    with socket.create_server(("127.0.0.1", 65535)), pytest.raises(ValueError, match="65535 on are in use"):
        scene_server("127.0.0.1", 65535).__enter__()


def test_addresses_can_be_typed_into_a_browser():
    for host, expected in (("127.0.0.1", "http://127.0.0.1:80"), ("::1", "http://[::1]:80")):
        server = SimpleNamespace(get_host=lambda host=host: host, get_port=lambda: 80)
        assert address_of(server) == expected


def test_what_cannot_be_shown_is_named(run, tmp_path, capsys):
    broken = tmp_path / "broken"
    broken.mkdir()
    (tmp_path / "empty").mkdir()
    (broken / "splat.ply").write_bytes((run / "splat.ply").read_bytes())
    (broken / "report.json").write_text("{")
    (tmp_path / "mesh.glb").write_bytes(b"glTF")
    for arguments, words in (
        ([], "expected 1 to 6 paths"),
        ([str(run)] * 7, "found 7"),
        ([str(tmp_path / "none")], "found nothing"),
        ([str(tmp_path / "empty")], "found none of them"),
        ([str(tmp_path / "mesh.glb")], "mesh.glb"),
        ([str(broken)], "report.json"),
    ):
        assert view.main([*arguments, "--export", str(tmp_path / "p.html")]) == 2
        assert words in capsys.readouterr().err
    assert view.main([str(run), "--export", str(tmp_path / "p.txt")]) == 2
    assert ".html" in capsys.readouterr().err
    assert not list(tmp_path.glob("p.*"))


def test_without_viser_the_extra_is_named(run, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "viser", None)
    assert view.main([str(run), "--export", str(tmp_path / "p.html")]) == 2
    assert "turnabout[view]" in capsys.readouterr().err


def test_a_report_that_is_none_shows_no_figures(run, tmp_path):
    (tmp_path / "splat.ply").write_bytes((run / "splat.ply").read_bytes())
    assert figures_of(Shown(tmp_path)) == []
    (tmp_path / "report.json").write_text('{"quality": {"mesh": 3, "splat": {"gaussians": 5}}}')
    assert figures_of(Shown(tmp_path)) == [("Splats: Gaussians", "5")]


@pytest.mark.parametrize(
    ("host", "headers", "answered"),
    [
        ("127.0.0.1", {"Host": "127.0.0.1:8080"}, True),
        ("127.0.0.1", {"Host": "localhost:9000", "Origin": "http://localhost:9000"}, True),  # through a tunnel
        ("127.0.0.1", {"Host": "[::1]:8080"}, True),
        ("127.0.0.1", {"Host": "127.0.0.1:8080", "Origin": "http://evil.example"}, False),
        ("127.0.0.1", {"Host": "127.0.0.1:8080", "Origin": "http://127.0.0.1:3000"}, False),
        ("127.0.0.1", {"Host": "127.0.0.1:8080", "Origin": "null"}, False),
        ("127.0.0.1", {"Host": "evil.example:8080", "Origin": "http://evil.example:8080"}, False),  # DNS rebinding
        ("127.0.0.1", {}, False),
        ("0.0.0.0", {"Host": "box.lan:8080", "Origin": "http://box.lan:8080"}, True),
        ("0.0.0.0", {"Host": "box.lan:8080", "Origin": "http://evil.example"}, False),
    ],
)  # fmt: skip
def test_pages_of_others_are_refused(host, headers, answered):
    assert (refusal(host, headers) == "") == answered


def test_a_served_scene_goes_to_its_own_page_alone(run):
    from http.client import HTTPConnection
    from urllib.request import urlopen

    import viser
    from websockets.exceptions import InvalidStatus
    from websockets.sync.client import connect

    with scene_server("127.0.0.1", 0) as server:
        build(server, [Shown(run)])
        port = server.get_port()
        with urlopen(f"http://127.0.0.1:{port}/") as answer:
            served = answer.read().decode()
        assert "findViewer" in served
        assert "turnabout-bar" in served
        plain = HTTPConnection("127.0.0.1", port, timeout=20)  # says nothing about encodings, as curl does
        plain.putrequest("GET", "/", skip_accept_encoding=True)
        plain.endheaders()
        with plain.getresponse() as answer:
            assert answer.status == 200
            assert answer.read().decode() == served
        plain.close()
        speaks: Any = [f"viser-v{viser.__version__}"]
        with connect(f"ws://127.0.0.1:{port}", origin=f"http://127.0.0.1:{port}", subprotocols=speaks) as own:  # type: ignore[arg-type]
            assert len(own.recv(timeout=20)) > 100
        with pytest.raises(InvalidStatus, match="403"):
            connect(f"ws://127.0.0.1:{port}", origin="http://evil.example", subprotocols=speaks)  # type: ignore[arg-type]


def test_one_turntable_is_drawn_at_a_time(run, monkeypatch):
    drawn: list[str] = []
    release = threading.Event()

    def draw(client, thing, stem, layer):
        drawn.append(layer)
        assert release.wait(20)

    monkeypatch.setattr("pipelines._viewer_live._send_turntable", draw)
    with scene_server("127.0.0.1", 0) as server:
        build(server, [Shown(run)])
        (button,) = (
            handle for handle in server.gui._gui_input_handle_from_uuid.values()
            if getattr(handle, "label", "") == "Turntable (.mp4)"
        )  # fmt: skip
        press = button._impl.update_cb[0]
        first = threading.Thread(target=press, args=(SimpleNamespace(client=None),))
        first.start()
        _settled(lambda: button.disabled)
        release.set()
        first.join(20)
        assert not button.disabled
    assert drawn == ["mesh"]


def test_the_surface_is_coloured_by_who_saw_it(run):
    """One camera in front has taken a photo, one behind was generated; nobody looks from the side."""
    from recon.capture import orbit_camera

    frames = []
    for name, azimuth, source in (("front", 0.0, Source.OBSERVED), ("back", math.pi, Source.GENERATED)):
        camera = orbit_camera(azimuth, 0.0, 0.6, 64, 64)
        frames.append(frame_from_tensors(camera, torch.ones(64, 64, 4), source=source, name=name))
    thing: Any = SimpleNamespace(mesh=cube(0.6), capture=Capture(tuple(frames)))
    mesh = _by_source(thing)
    assert mesh.colors is not None
    z = mesh.vertices[mesh.faces].mean(dim=1)[:, 2]
    faces = mesh.colors[mesh.faces[:, 0]]
    for side, kind in ((z > 0.29, "observed"), (z < -0.29, "generated"), (z.abs() < 0.29, "rendered")):
        assert side.any()
        expected = (torch.tensor(_SOURCES[kind]) / 255).expand_as(faces[side])
        torch.testing.assert_close(faces[side], expected, atol=0.06, rtol=0)


def test_a_run_without_splats_shows_its_mesh(run, tmp_path):
    """As a density field leaves it."""
    import shutil

    shutil.copytree(run, tmp_path / "nerf")
    (tmp_path / "nerf" / "splat.ply").unlink()
    (tmp_path / "nerf" / "field.safetensors").write_bytes(b"")
    thing = Shown(tmp_path / "nerf")
    assert layers_of(thing) == [key for key in LAYERS if key != "splats"]
    assert "turnabout-bar" in page([thing])


def test_figures_have_words_and_units(tmp_path):
    (tmp_path / "splat.ply").write_bytes(b"")
    mesh = {
        "against_observed": {"masked_psnr": 26.817, "mask_iou": 0.987}, "watertight": True, "to_capture": {"scale": 1},
        "keys_before": 3, "texels_from": {"filled": 0.2383}, "new_figure": 0.123456, "bytes": 949_948,
    }  # fmt: skip
    (tmp_path / "report.json").write_text(json.dumps({"quality": {"mesh": mesh, "splat": {"gaussians": "many"}}}))
    assert figures_of(Shown(tmp_path)) == [
        ("Mesh: likeness to the photos", "26.8 dB"),
        ("Mesh: overlap with the photos' outlines", "99%"),
        ("Mesh: closed", "yes"),
        ("Mesh: texture filled in", "24%"),
        ("Mesh: size of the file", "0.9 MB"),
        ("Mesh: new figure", "0.1235"),
        ("Splats: Gaussians", "many"),
    ]
