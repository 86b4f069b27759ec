"""`python -m pipelines.img2orbit`: photos of one object in, an orbit of pictures with cameras out."""

from __future__ import annotations

import sys

import tyro

from pipelines import img2mesh
from pipelines._command import run_command
from pipelines._options import OrbitOptions, as_mesh_options


def main(args: list[str] | None = None) -> int:
    """Parses `args` (the command line unless given); returns the exit code."""
    options = tyro.cli(OrbitOptions, args=args, prog="img2orbit", config=(tyro.conf.FlagCreatePairsOff,))
    return run_command(lambda: img2mesh.run(as_mesh_options(options)))


if __name__ == "__main__":
    sys.exit(main())
