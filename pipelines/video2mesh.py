"""`python -m pipelines.video2mesh`: a video, photos or a capture of one object in, a textured mesh.glb out."""

from __future__ import annotations

import sys

import tyro

from pipelines._command import run_command
from pipelines._video_options import VideoOptions


def run(options: VideoOptions) -> None:
    """Runs the command, showing progress.

    Raises:
        ValueError, OSError: for what a user can mend.
    """
    from pipelines._progress import display
    from pipelines._video_chain import run_video_chain
    from pipelines._viewer_live import on_view

    with display() as shown, on_view(shown, [options.output], wanted=options.view):
        run_video_chain(options, shown)


def main(args: list[str] | None = None) -> int:
    """Parses `args` (the command line unless given); returns the exit code."""
    options = tyro.cli(VideoOptions, args=args, prog="video2mesh", config=(tyro.conf.FlagCreatePairsOff,))
    return run_command(lambda: run(options))


if __name__ == "__main__":
    sys.exit(main())
