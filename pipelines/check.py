"""`python -m pipelines.check`: is this machine ready, and if not, what to install."""

from __future__ import annotations

import argparse
import sys

from pipelines import _preflight


def main(args: list[str] | None = None) -> int:
    """Parses `args` (the command line unless given), prints the findings; returns the exit code.

    Parsed with what Python brings: this is the command to run when packages are missing.
    """
    parser = argparse.ArgumentParser(
        prog="check", description="Is everything here that the commands need? Ends with 1 if something is missing."
    )
    parser.parse_args(args)
    return _preflight.main()


if __name__ == "__main__":
    sys.exit(main())
