"""`python -m pipelines.img2mesh`: photos of one object in, a textured mesh.glb out."""

from __future__ import annotations

import sys

import tyro

from pipelines._command import run_command
from pipelines._options import MeshOptions


def run(options: MeshOptions) -> None:
    """Runs the command, showing progress.

    Raises:
        ValueError, OSError: for what a user can mend.
    """
    from pipelines._chain import run_chain, run_folders
    from pipelines._progress import display
    from pipelines._viewer_live import on_view

    with display() as shown, on_view(shown, run_folders(options), wanted=options.view):
        run_chain(options, shown)


def main(args: list[str] | None = None) -> int:
    """Parses `args` (the command line unless given); returns the exit code."""
    options = tyro.cli(MeshOptions, args=args, prog="img2mesh", config=(tyro.conf.FlagCreatePairsOff,))
    return run_command(lambda: run(options))


if __name__ == "__main__":
    sys.exit(main())
