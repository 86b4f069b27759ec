"""`python -m pipelines.video2scene4d`: a video of something that moves in, an animated, skinned mesh.glb out."""

from __future__ import annotations

import sys

import tyro

from pipelines._command import run_command
from pipelines._moving_options import MovingOptions


def run(options: MovingOptions) -> None:
    """Runs the command, showing progress.

    Raises:
        ValueError, OSError: for what a user can mend.
    """
    from pipelines._moving_chain import run_moving_chain
    from pipelines._progress import display

    with display() as shown:
        run_moving_chain(options, shown)


def main(args: list[str] | None = None) -> int:
    """Parses `args` (the command line unless given); returns the exit code."""
    options = tyro.cli(MovingOptions, args=args, prog="video2scene4d", config=(tyro.conf.FlagCreatePairsOff,))
    return run_command(lambda: run(options))


if __name__ == "__main__":
    sys.exit(main())
