"""`turnabout COMMAND …`, the same as `python -m pipelines.COMMAND …`."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

COMMANDS = {
    "img2mesh": ("pipelines.img2mesh", "photos to textured .glb files"),
    "video2mesh": ("pipelines.video2mesh", "videos, photo folders and captures to textured .glb files"),
    "video2scene4d": ("pipelines.video2scene4d", "videos of what moves to animated, skinned .glb files"),
    "make_asset": ("pipelines.make_asset", "splats or meshes of any origin to game-ready .glb files"),
    "view": ("pipelines.view", "runs, meshes, splats and captures in the browser, or as one page"),
    "app": ("pipelines.app", "photos and videos to meshes on a page in the browser"),
    "turntable": ("pipelines.turntable", "meshes and splats to turning pictures"),
    "img2orbit": ("pipelines.img2orbit", "photos to orbits of pictures with cameras"),
    "render_dataset": ("pipelines.render_dataset", "3D models to training pictures"),
    "train": ("pipelines.train", "train the orbit generator"),
    "fetch_objects": ("pipelines.fetch_objects", "the evaluation's objects from where their authors keep them"),
    "evaluate": ("pipelines.evaluate", "how good are views and meshes?"),
    "check": ("pipelines.check", "is everything here that the commands need?"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command that `argv` (the process's arguments unless given) names; returns its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_usage())
        return 0 if arguments else 2
    name, *rest = arguments
    if name == "--version":
        from importlib.metadata import version

        print(version("turnabout"))
        return 0
    if name not in COMMANDS:
        print(f"turnabout: there is no command {name!r}\n\n{_usage()}", file=sys.stderr)
        return 2
    return importlib.import_module(COMMANDS[name][0]).main(rest)


def _usage() -> str:
    lines = "\n".join(f"  {name:<15} {purpose}" for name, (_, purpose) in COMMANDS.items())
    return f"usage: turnabout COMMAND ...\n\n{lines}\n\nturnabout COMMAND --help lists a command's options."


if __name__ == "__main__":
    sys.exit(main())
