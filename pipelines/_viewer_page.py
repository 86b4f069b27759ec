"""One self-contained page: viser's client as it is installed, a recorded scene, and our bar (`viewer.js`)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape

from pipelines._shown import Shown
from pipelines._viewer_figures import figures_of
from pipelines._viewer_scene import CAMERAS, LAYERS, add_things, group_names, layers_of, layers_of_any
from pipelines._viewer_server import head, scene_server
from pipelines._viewer_splats import clip_json

_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval' blob: data:; worker-src blob: data:; "
    "style-src 'unsafe-inline'; img-src data: blob:; font-src data:; connect-src data: blob:; base-uri 'none'; "
    "form-action 'none'"
)
"""What a page may load: nothing but what is in it. The client unpacks itself into scripts, so these have to be let."""


def page(things: Sequence[Shown]) -> str:
    """The page's HTML. It opens from a file, without a network.

    Raises:
        OptionsError: if viser is not there.
        ValueError, OSError: if a file cannot be read.
    """
    with scene_server("127.0.0.1", 0) as server:
        add_things(server, things)
        text: str = server.scene.as_html()
    keys = layers_of_any(things)
    has_cameras = any(thing.capture is not None for thing in things)
    bar = {
        "groups": [{"name": name, "layers": layers_of(thing)} for thing, name in zip(things, group_names(things))],
        "layers": [{"key": key, "label": LAYERS[key]} for key in keys],
        "extras": [{"key": CAMERAS, "label": "Cameras", "shown": not keys}] if has_cameras else [],
        "figures": _figures(things),
        "seconds": max(thing.seconds for thing in things),
        "clips": [
            {"name": f"/{name}/splats", **clip_json(thing.moving_splats)}
            for thing, name in zip(things, group_names(things))
            if thing.moving_splats is not None
        ],
    }
    title = escape(" · ".join(thing.path.resolve().name for thing in things))
    text = text.replace("<title>Viser</title>", f"<title>{title}</title>", 1)
    policy = f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
    text = text.replace("<head>", f"<head>{policy}", 1)
    setting = json.dumps(bar).replace("<", "\\u003c")
    return text.replace("</head>", f"{head(f'window.TURNABOUT={setting};')}</head>", 1)


def _figures(things: Sequence[Shown]) -> list[tuple[str, str]]:
    """Of one thing as they are; of several with their names before them."""
    if len(things) == 1:
        return figures_of(things[0])
    named = zip(group_names(things), things)
    return [(f"{name}: {figure}", value) for name, thing in named for figure, value in figures_of(thing)]
