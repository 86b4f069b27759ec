"""`python -m pipelines.view`: a run, a mesh, splats or a capture in the browser, served or as one page."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from pipelines._command import ended_as_interrupted, run_command
from pipelines._options import OptionsError
from pipelines._shown import Shown


@dataclass(frozen=True)
class ViewOptions:
    """Shows what was made: mesh and splats, shape and wireframe, cameras with their pictures, and figures.

    Needs pip install 'turnabout[view]'."""

    paths: tyro.conf.Positional[tuple[Path, ...]]
    """Run folders, captures, meshes (.glb, .gltf, .obj), splats (.ply, compressed or not, .splat, .spz) or moving
    splats (.4dgs); several stand side by side."""
    export: Path | None = None
    """Write one page (.html) that opens from a file without a network, instead of serving."""
    host: str = "127.0.0.1"
    """Where to listen; 0.0.0.0 lets other machines look, without asking who they are."""
    port: int = 8080
    """The port; another one is taken if it is in use."""
    up: Literal["+x", "-x", "+y", "-y", "+z", "-z"] = "+y"
    """The axis of files that points up; run folders know their own."""
    overwrite: bool = False
    """Replace the exported page if it is there."""


def run(options: ViewOptions) -> None:
    """Writes the page, or serves until it is stopped.

    Raises:
        ValueError, OSError: for what a user can mend.
    """
    from pipelines._viewer_live import MOST_THINGS, serve
    from pipelines._viewer_server import import_viser

    if not 1 <= len(options.paths) <= MOST_THINGS:
        raise OptionsError(f"expected 1 to {MOST_THINGS} paths, found {len(options.paths)}")
    if options.export is not None and options.export.suffix.lower() not in (".html", ".htm"):
        raise OptionsError(f"--export: expected a name that ends in .html, found {options.export}")
    if options.export is not None and options.export.exists() and not options.overwrite:
        raise OptionsError(f"{options.export}: is there already; choose another name or add --overwrite")
    things = [Shown(path, options.up) for path in options.paths]
    import_viser()
    if options.export is None:
        serve(things, options.host, options.port)
    else:
        _export(things, options.export)


def _export(things: list[Shown], path: Path) -> None:
    from pipelines._viewer_page import page
    from recon.splat.files import whole_file

    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as draft:
        draft.write_text(page(things), encoding="utf-8")
    print(f"{path}  ({path.stat().st_size / 1e6:.1f} MB)", file=sys.stderr)


def main(args: list[str] | None = None) -> int:
    """Parses `args` (the command line unless given); returns the exit code."""
    options = tyro.cli(ViewOptions, args=args, prog="view", config=(tyro.conf.FlagCreatePairsOff,))
    with ended_as_interrupted():
        return run_command(lambda: run(options), again="give the same command again")


if __name__ == "__main__":
    sys.exit(main())
