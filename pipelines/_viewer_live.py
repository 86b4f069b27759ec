"""The served viewer: what `_viewer_scene` shows, with viser's panel to switch, play, look through cameras and save."""

from __future__ import annotations

import contextlib
import itertools
import sys
import tempfile
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from html import escape
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines._shown import Shown
from pipelines._viewer_depth import DepthPictures
from pipelines._viewer_figures import figures_of
from pipelines._viewer_scene import (
    CAMERAS,
    LAYERS,
    add_things,
    group_names,
    layers_of,
    layers_of_any,
    places,
    point_camera,
    thumbnail,
)
from pipelines._viewer_server import address_of, scene_server
from pipelines._viewer_splats import splat_arrays
from pipelines._viewer_time import Timeline

if TYPE_CHECKING:
    from pipelines._progress import Display
    from recon.capture import Frame
    from recon.splat.gaussians import Gaussians

PORT = 8080
MOST_THINGS = 6
"""Side by side."""
DEPTH = "Depth"
PICTURES, WEIGHTS = "Pictures", "How much they are trusted"
_RATE = 8
"""Frames a second while an orbit plays."""
_TURN_FRAMES, _TURN_SIZE = 48, 384
_SECONDS_APART, _SHARE_AT_MOST = 1.0, 10
"""Between two looks at a fit, at least: so long, and so many times as long as the look took."""
_PATIENCE = 30.0
"""Seconds to wait for a browser's picture."""


def serve(things: Sequence[Shown], host: str, port: int) -> None:
    """Serves until Ctrl-C.

    Raises:
        ValueError, OSError: if a file cannot be read, or the address cannot be had.
    """
    with scene_server(host, port) as server:
        build(server, things)
        print(f"{address_of(server)}  (Ctrl-C ends it)", file=sys.stderr)
        _until_interrupted()


@contextmanager
def on_view(display: Display, results: Sequence[Path], *, wanted: bool) -> Iterator[None]:
    """If it is wanted, what is fitted inside is shown in the browser as it changes, and afterwards, until Ctrl-C, what
    the folders `results` hold.

    Raises:
        OptionsError: if viser is not installed, or no port can be had.
    """
    if not wanted:
        yield
        return
    with scene_server("127.0.0.1", PORT) as server:
        display.said(address_of(server))
        display.onlooker = FitOnView(server)
        try:
            yield
        finally:
            display.onlooker = None
        server.scene.reset()
        server.gui.reset()
        build(server, [Shown(path) for path in results[:MOST_THINGS]])
        display.said("the result is shown until Ctrl-C")
        _until_interrupted()


class FitOnView:
    """Shows a scene again while it changes: not more often than is bearable, and only while somebody looks."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self._next = 0.0
        point_camera(server)
        server.gui.add_markdown(
            "Splats appear while they are fitted, a field does not. The result follows with all controls."
        )

    def __call__(self, gaussians: Gaussians) -> None:
        begin = time.monotonic()
        if begin < self._next or not self._server.get_clients():
            return
        with contextlib.suppress(Exception):  # a fit does not end because who looks on cannot be shown it
            self._server.scene.add_gaussian_splats("/fit", **splat_arrays(gaussians))
        self._next = time.monotonic() + max(_SECONDS_APART, _SHARE_AT_MOST * (time.monotonic() - begin))


def _until_interrupted() -> None:
    with contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()


def build(server: Any, things: Sequence[Shown]) -> None:
    """Adds the scene and the panel to a viser server.

    Raises:
        ValueError, OSError: if a file cannot be read.
    """
    handles = add_things(server, things)
    timeline = Timeline(server, things, group_names(things), handles)
    showing = _add_choice(server, things, handles, timeline)
    for thing, name, place in zip(things, group_names(things), places(things)):
        if thing.capture is not None:
            with server.gui.add_folder("Cameras" if len(things) == 1 else f"Cameras of {name}"):
                _add_cameras(server, thing, handles[f"{name}/{CAMERAS}"], place, timeline)
    with server.gui.add_folder("Save"):
        _add_saving(server, things, showing)
    for thing, name in zip(things, group_names(things)):
        if figures := figures_of(thing):
            with server.gui.add_folder("Figures" if len(things) == 1 else f"Figures of {name}"):
                rows = "".join(f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>" for name, value in figures)
                server.gui.add_html(f'<table style="margin: 0 0.7em; font-size: 0.8em">{rows}</table>')


def _add_choice(server: Any, things: Sequence[Shown], handles: dict[str, Any], timeline: Timeline) -> Callable[[], str]:
    """The choice of what is shown; returns what tells the layer, or `DEPTH`, or "" where there is nothing to choose."""
    keys = layers_of_any(things)
    if not keys:
        return lambda: ""
    choice = server.gui.add_dropdown("Show", [*(LAYERS[key] for key in keys), DEPTH], initial_value=LAYERS[keys[0]])
    by_label = {label: key for key, label in LAYERS.items()} | {DEPTH: DEPTH}
    depth = DepthPictures(server, things, lambda: timeline.now)
    timeline.onlookers.append(depth.refresh)

    @choice.on_update
    def _(_event: Any) -> None:
        wanted = by_label[choice.value]
        for thing, name in zip(things, group_names(things)):
            own = layers_of(thing)
            # What has no such layer keeps its first, so that it does not go.
            seen = wanted if wanted == DEPTH or wanted in own else next(iter(own), None)
            for key in own:
                handles[f"{name}/{key}"].visible = key == seen
        timeline.refresh()
        depth.switch(wanted == DEPTH)

    return lambda: by_label[choice.value]


def _add_cameras(
    server: Any, thing: Shown, cameras: Any, place: tuple[float, float, float], timeline: Timeline
) -> None:
    """Cameras shown or not, with pictures or weights; one frame at a time, and all in turn. What moves is shown as it
    was when the frame was taken."""
    from recon.splat.rotations import quat_from_rotation

    assert thing.capture is not None
    frames = thing.capture.frames
    shown = server.gui.add_checkbox("Show them", initial_value=cameras.node.visible)
    kind = server.gui.add_dropdown("With", [PICTURES, WEIGHTS])
    picture = server.gui.add_html(_figure(frames[0], weights=False))
    number = server.gui.add_slider("Frame", min=0, max=max(len(frames) - 1, 1), step=1, initial_value=0)
    through = server.gui.add_checkbox("Look through it", initial_value=False)
    playing = server.gui.add_checkbox("Play", initial_value=False)

    @shown.on_update
    def _(_event: Any) -> None:
        cameras.node.visible = shown.value

    @kind.on_update
    def _(_event: Any) -> None:
        for frame, handle in zip(frames, cameras.frusta):
            handle.image = thumbnail(frame, weights=kind.value == WEIGHTS)
        show()

    def show() -> None:
        frame = frames[min(int(number.value), len(frames) - 1)]
        picture.content = _figure(frame, weights=kind.value == WEIGHTS)
        if frame.time is not None and thing.seconds > 0:
            timeline.stop_at(frame.time)
        if not through.value:
            return
        for client in server.get_clients().values():
            with client.atomic():
                client.camera.wxyz = quat_from_rotation(frame.camera.c2w[:3, :3]).numpy()
                client.camera.position = frame.camera.centre.numpy() + place
                client.camera.fov = frame.camera.fov_y

    number.on_update(lambda _event: show())
    through.on_update(lambda _event: show())

    turn = itertools.count()
    latest = 0

    @playing.on_update
    def _(_event: Any) -> None:
        nonlocal latest
        latest = next(turn)  # an earlier player that has not noticed yet stops
        if playing.value:
            threading.Thread(target=play, args=(latest,), daemon=True).start()

    def play(own: int) -> None:
        pause = threading.Event()
        while playing.value and own == latest:
            number.value = (int(number.value) + 1) % len(frames)
            show()
            pause.wait(1 / _RATE)


def _figure(frame: Frame, *, weights: bool) -> str:
    """HTML of a frame's picture with its name. (viser's own element for pictures asks for a file that is gone.)"""
    from PIL import Image

    file = BytesIO()
    Image.fromarray(thumbnail(frame, weights=weights)).save(file, format="PNG")
    source = f"data:image/png;base64,{b64encode(file.getvalue()).decode('ascii')}"
    caption = escape(f"{frame.name} ({frame.source.value})")
    image = f'<img src="{source}" alt="{caption}"><figcaption>{caption}</figcaption>'
    return f'<figure style="margin: 0 0.7em">{image}</figure>'


def _add_saving(server: Any, things: Sequence[Shown], showing: Callable[[], str]) -> None:
    """A picture of what the browser shows, and a turntable of what is chosen."""
    from PIL import Image

    shot = server.gui.add_button("Screenshot")
    stem = "_".join(group_names(things))

    @shot.on_click
    def _(event: Any) -> None:
        client = event.client
        width = max(1, min(2048, round(1024 * client.camera.aspect)))
        pixels = client.get_render(1024, width, transport_format="png", timeout=_PATIENCE)
        file = BytesIO()
        Image.fromarray(pixels).save(file, format="PNG")
        client.send_file_download(f"{stem}.png", file.getvalue(), save_immediately=True)

    solid = [thing for thing in things if layers_of(thing)]
    if len(solid) == 1:
        turn = server.gui.add_button("Turntable (.mp4)")

        @turn.on_click
        def _(event: Any) -> None:
            turn.disabled = True  # one at a time is drawn, for whoever asked first
            try:
                _send_turntable(event.client, solid[0], stem, showing())
            finally:
                turn.disabled = False


def _send_turntable(client: Any, thing: Shown, stem: str, layer: str) -> None:
    from pipelines.turntable import Show, TurntableOptions, run

    looks: dict[str, Show] = {"splats": "splats", "shape": "shape", "wireframe": "shape", "normals": "normals"}
    look = looks.get(layer, "mesh" if thing.mesh is not None else "splats")
    note = client.add_notification("Turntable", f"Drawing {_TURN_FRAMES} pictures …", loading=True)
    try:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / f"{stem}.mp4"
            run(TurntableOptions(thing.path, file, (look,), _TURN_FRAMES, size=_TURN_SIZE, up=thing.up))
            client.send_file_download(file.name, file.read_bytes(), save_immediately=True)
    finally:
        note.remove()
