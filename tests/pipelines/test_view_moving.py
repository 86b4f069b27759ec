"""What moves in the viewer: the clips of its paths, files that can be scrubbed, and the panel's time."""

from __future__ import annotations

import base64
import gzip
import io
import json
import re

import numpy as np
import pytest
import torch
from PIL import Image

from pipelines import turntable
from pipelines._options import OptionsError
from pipelines._shown import Shown
from pipelines._viewer_glb import EXTRAS, scrubbed
from pipelines._viewer_live import DEPTH, build
from pipelines._viewer_page import page
from pipelines._viewer_scene import LAYERS, layers_of
from pipelines._viewer_server import scene_server
from pipelines._viewer_splats import clip_json, splat_buffer
from pipelines._viewer_time import NODE
from recon.asset._glb_container import read_container
from recon.motion.files import write_4dgs
from recon.surface.animation import Track
from recon.surface.rigged import load_rigged
from recon.surface.uv import unwrap
from tests.pipelines.moving import SECONDS, moving_balls, moving_run
from tests.pipelines.test_view import _settled
from tests.recon.surface.test_render import cube


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return moving_run(tmp_path_factory.mktemp("runs") / "snake", unwrap(cube(0.5), 64))


def test_a_run_that_moves_is_its_file_at_every_time(run):
    thing = Shown(run)
    assert thing.seconds == pytest.approx(SECONDS)
    rigged = load_rigged(run / "mesh.glb")
    for time in (0.0, 0.7, SECONDS):
        expected = rigged.vertices_at(0, time) * 0.8 + torch.tensor([0.0, 0.05, 0.0])
        torch.testing.assert_close(thing.mesh_at(time).vertices, expected)
        torch.testing.assert_close(thing.splats_at(time).means, moving_balls().at(1 + time).means)
    assert float((thing.mesh_at(0.0).vertices - thing.mesh_at(0.7).vertices).abs().max()) > 0.05
    assert "seen" not in layers_of(thing)


def test_an_animated_file_fits_the_sphere_over_its_whole_clip(run):
    thing = Shown(run / "mesh.glb")
    assert thing.seconds == pytest.approx(SECONDS)
    reach = [float(thing.mesh_at(time).vertices.norm(dim=1).max()) for time in np.linspace(0, SECONDS, 12)]
    assert max(reach) == pytest.approx(0.5, abs=1e-3)
    assert Shown(run / "mesh.glb", "+z").seconds == 0  # turned it stands still


def test_a_4dgs_plays_its_moments_upright_in_the_sphere(tmp_path):
    pytest.importorskip("fourdgs")
    write_4dgs(moving_balls(), tmp_path / "a.4dgs", fps=5)
    thing = Shown(tmp_path / "a.4dgs")
    assert layers_of(thing) == ["splats"]
    assert thing.seconds == pytest.approx(SECONDS)
    first, later = (thing.splats_at(time) for time in (0.0, 1.05))
    torch.testing.assert_close(thing.splats.means, first.means)
    assert float((first.means - later.means).norm(dim=1).max()) > 0.2
    torch.testing.assert_close(later.means, thing.splats_at(1.19).means)  # a moment lasts until the next
    assert float(torch.cat((first.means, later.means)).norm(dim=1).max()) <= 0.5 + 1e-4


def test_a_4dgs_that_is_none_is_named(tmp_path):
    pytest.importorskip("fourdgs")
    (tmp_path / "a.4dgs").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"a\.4dgs"):
        layers_of(Shown(tmp_path / "a.4dgs"))
    with pytest.raises(OptionsError, match="found nothing"):
        Shown(tmp_path / "b.4dgs")


@pytest.mark.parametrize("layer", ["mesh", "shape", "wireframe", "normals", "checker"])
def test_a_file_to_scrub_holds_its_keys_as_data_and_the_look_that_is_asked_for(run, tmp_path, layer):
    thing = Shown(run).moving_mesh
    (tmp_path / "a.glb").write_bytes(scrubbed(thing.file, thing.rigged, layer, "data:image/png;base64,"))
    document, binary = read_container(tmp_path / "a.glb")
    assert "animations" not in document
    assert document["buffers"][0]["byteLength"] <= len(binary)
    for view in document["bufferViews"]:
        assert view["byteOffset"] + view["byteLength"] <= len(binary)
    found = {(node, track["path"]) for node, entry in enumerate(document["nodes"])
             for track in entry.get("extras", {}).get(EXTRAS, ()) if isinstance(track, dict)}  # fmt: skip
    assert found == {(track.node, track.path) for track in thing.rigged.clips[0].tracks}
    if layer == "mesh":
        assert all("KHR_materials_unlit" in material["extensions"] for material in document["materials"])
    else:
        assert len(document["materials"]) == 1
        assert len(document.get("images", ())) == (layer == "checker")
    # what is not pictures is as it was
    still = load_rigged(thing.file).mesh
    np.testing.assert_allclose(load_rigged(tmp_path / "a.glb").mesh.vertices if layer != "checker" else still.vertices,
                               still.vertices, atol=1e-6)  # fmt: skip


def test_splines_are_keyed_as_densely_as_they_need():
    from pipelines._viewer_glb import _as_json

    values = np.zeros((2, 3, 3))
    values[1, 1] = 1.0
    track = Track(0, "translation", "CUBICSPLINE", np.array([0.0, 1.0]), values)
    found = _as_json(track)
    assert len(found["times"]) == 31
    assert found["values"][15] == pytest.approx([0.5] * 3)
    turned = Track(0, "rotation", "LINEAR", np.array([0.0]), np.array([[1.0, 0.0, 0.0, 0.0]]))
    assert _as_json(turned)["values"] == [[0.0, 0.0, 0.0, 1.0]]  # as three.js orders them


def unpacked(clip):
    """(M, N, 3) places, (M, N, 6) covariances and (M, N, 4) colours of a page's clip."""
    data = np.frombuffer(gzip.decompress(base64.b64decode(clip["data"])), np.uint8)
    moments = data.reshape(len(clip["times"]), -1)
    count = clip["count"]
    places = np.cumsum(moments[:, : 6 * count].copy().view("<u2"), axis=0, dtype=np.uint16)
    spreads = np.cumsum(moments[:, 6 * count : 18 * count].copy().view("<u2"), axis=0, dtype=np.uint16)
    colors = np.cumsum(moments[:, 18 * count :], axis=0, dtype=np.uint8)
    shape = (len(moments), count, -1)
    world = (places.reshape(shape) / 65535 * 2 - 1) * clip["reach"]
    return world, spreads.view(np.float16).reshape(shape), colors.reshape(shape)


def test_a_page_s_clip_holds_the_splats_of_each_moment():
    from pipelines._shown_moving import _Carried

    carried = _Carried(moving_balls())
    clip = clip_json(carried)
    assert clip["times"] == pytest.approx(carried.times)
    assert clip["blends"]
    world, spreads, colors = unpacked(clip)
    for place in (0, 9, 16):
        scene = carried.at(carried.times[place])
        np.testing.assert_allclose(world[place], scene.means, atol=1e-4)
        packed = splat_buffer(scene)
        np.testing.assert_array_equal(spreads[place].copy().view(np.uint32), packed[:, 4:7])
        np.testing.assert_array_equal(colors[place].copy().view(np.uint32)[:, 0], packed[:, 7])


def test_a_long_clip_keeps_fewer_moments_and_a_crowd_those_that_show(monkeypatch):
    from pipelines import _viewer_splats
    from pipelines._shown_moving import _Carried, _Sequence

    carried = _Carried(moving_balls())
    monkeypatch.setattr(_viewer_splats, "_MOST_BYTES", 22 * 800 * 8)
    clip = clip_json(carried)
    assert (len(clip["times"]), clip["count"]) == (8, 800)
    assert (clip["times"][0], clip["times"][-1]) == (0.0, pytest.approx(SECONDS))
    monkeypatch.setattr(_viewer_splats, "_MOST_BYTES", 22 * 300 * 6)
    assert (len(clip_json(carried)["times"]), clip_json(carried)["count"]) == (6, 300)
    scene = carried.at(0.0)
    fewer = type(scene)(*(tensor[:5] for tensor in scene.tensors()))
    monkeypatch.setattr(_viewer_splats, "_MOST_BYTES", 10**6)
    sequence = clip_json(_Sequence([0.0, 1.0], [fewer, scene]))
    assert not sequence["blends"]  # nobody knows which is which
    assert sequence["count"] == 800
    assert (unpacked(sequence)[2][0, 5:] == 0).all()  # what is not there does not show


def test_a_page_carries_its_clip_and_loads_nothing(run):
    html = page([Shown(run)])
    setting = json.loads(re.search(r"window\.TURNABOUT=(\{.*?\});//", html)[1])
    assert setting["seconds"] == pytest.approx(SECONDS)
    assert [clip["name"] for clip in setting["clips"]] == ["/snake/splats"]
    policy = re.search(r'<head><meta http-equiv="Content-Security-Policy" content="([^"]+)">', html)[1]
    assert policy.startswith("default-src 'none'")
    assert "http" not in policy
    assert "*" not in policy


def test_the_panel_s_time_moves_splats_and_tells_browsers(run):
    with scene_server("127.0.0.1", 0) as server:
        build(server, [Shown(run)])
        panel = {h.label: h for h in server.gui._gui_input_handle_from_uuid.values() if hasattr(h, "label")}
        nodes = server.scene._handle_from_node_name
        assert list(panel["Show"].options) == [*(label for key, label in LAYERS.items() if key != "seen"), DEPTH]
        panel["Play the clip"].value = False
        panel["Show"].value = LAYERS["splats"]
        _settled(lambda: nodes["/snake/splats"].visible)
        for time in (0.5, 1.5):
            panel["Second"].value = time
            _settled(lambda: nodes[NODE].position[0] == pytest.approx(panel["Second"].value))
            expected = splat_buffer(moving_balls().at(1 + panel["Second"].value))
            _settled(lambda: np.array_equal(nodes["/snake/splats"].buffer, expected))  # noqa: B023
        before = nodes["/snake/splats"].buffer.copy()
        panel["Show"].value = LAYERS["mesh"]
        _settled(lambda: not nodes["/snake/splats"].visible)
        panel["Second"].value = 0.1
        _settled(lambda: nodes[NODE].position[0] < 0.2)
        assert np.array_equal(nodes["/snake/splats"].buffer, before)  # hidden ones are not sent


def test_a_clip_plays_while_somebody_looks(run, monkeypatch):
    with scene_server("127.0.0.1", 0) as server:
        browsers: dict = {}
        monkeypatch.setattr(server, "get_clients", lambda: browsers)
        build(server, [Shown(run)])
        panel = {h.label: h for h in server.gui._gui_input_handle_from_uuid.values() if hasattr(h, "label")}
        assert panel["Play the clip"].value
        assert panel["Second"].value == 0
        browsers[0] = None
        _settled(lambda: panel["Second"].value > 0.1)
        browsers.clear()
        panel["Play the clip"].value = False


def sheet(source, tmp_path, *more) -> np.ndarray:
    name = tmp_path / f"{len(list(tmp_path.iterdir()))}.png"
    assert turntable.main([str(source), "-o", str(name), "--size", "64", "--background", "white", *more]) == 0
    return np.asarray(Image.open(name)).astype(int)


@pytest.mark.parametrize("show", ["mesh", "shape", "normals", "splats"])
def test_a_turntable_plays_the_clip_while_it_turns(run, tmp_path, show):
    """Of two pictures the second is from behind: the same from behind, but for the clip, in a sheet of one moment."""
    moving = sheet(run, tmp_path, "--show", show, "--frames", "4")
    thing = Shown(run)
    looks = turntable._looks(thing, (show,))
    from recon.capture.orbit import orbit_cameras

    cameras = orbit_cameras(4, np.radians(15), np.radians(33.8), 64)
    for place, camera in enumerate(cameras):
        column = moving[:, 64 * place : 64 * (place + 1)]
        then = turntable._over(looks[0](camera, place / 4 * SECONDS), "white").astype(int)
        still = turntable._over(looks[0](camera, 0.0), "white").astype(int)
        assert np.abs(column - then).max() == 0
        assert place == 0 or np.abs(column - still).max() > 60


def test_a_clip_is_played_whole_times_over():
    assert turntable._times(0.0, 4, 4.0) == [0.0] * 4
    assert turntable._times(2.0, 4, 4.1) == [0.0, 1.0, 0.0, 1.0]
    assert turntable._times(9.0, 3, 4.0) == pytest.approx([0.0, 3.0, 6.0])
    assert turntable._times(0.5, 4, None) == pytest.approx([0.0, 0.125, 0.25, 0.375])


def test_a_film_of_what_moves_is_the_same_twice(run, tmp_path):
    for name in ("a.webp", "b.webp"):
        assert turntable.main([str(run), "-o", str(tmp_path / name), "--frames", "3", "--size", "32"]) == 0
    assert (tmp_path / "a.webp").read_bytes() == (tmp_path / "b.webp").read_bytes()
    with Image.open(io.BytesIO((tmp_path / "a.webp").read_bytes())) as image:
        assert getattr(image, "n_frames", 1) == 3


def test_the_floor_does_not_follow_what_jumps(run):
    from recon.surface.studio import floor_under, mesh_look

    thing = Shown(run)
    heights = {round(floor_under(mesh_look(thing.mesh_at(t))).height, 3) for t in np.linspace(0, SECONDS, 5)}
    assert len(heights) > 1
    assert floor_under(mesh_look(thing.mesh), -0.6).height == -0.6
