"""The tables of saved results. `python -m benchmarks.tables rasterize.json fit.json [--into docs/splatting.md]`

Prints what the benchmarks print; with a page, writes it there between `<!-- NAME -->` and `<!-- end of NAME -->`.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from benchmarks import asset, command_cameras, fit, motion, rasterize, surface, train
from benchmarks._errors import BenchmarkError
from pipelines._command import run_command

_TABLES = {
    "rasterize": rasterize.markdown,
    "fit": fit.markdown,
    "train": train.markdown,
    "surface": surface.markdown,
    "asset": asset.markdown,
    "motion": motion.markdown,
    "command_cameras": command_cameras.markdown,
}


@dataclass(frozen=True)
class TableOptions:
    """Show saved results of benchmarks."""

    files: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """JSON files of benchmarks.rasterize, fit, train, surface, asset, motion and command_cameras."""
    into: Path | None = None
    """Markdown page that holds the tables."""


def run(options: TableOptions) -> None:
    """Print every file's tables, or put them into the page.

    Raises:
        BenchmarkError: if a file holds something else, or the page has no place for it.
    """
    page = None if options.into is None else options.into.read_text(encoding="utf-8")
    for file in options.files:
        document: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        name = document.get("benchmark", "")
        if name not in _TABLES:
            raise BenchmarkError(f"{file}: expected results of {' or '.join(_TABLES)}, found {name!r}")
        text = _TABLES[name](document)
        if page is None:
            print(text)
        else:
            page = placed(page, name, text)
    if options.into is not None and page is not None:
        options.into.write_text(page, encoding="utf-8")


def placed(page: str, name: str, text: str) -> str:
    """The page with `text` at its place.

    Raises:
        BenchmarkError: if it has none.
    """
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    if page.count(begin) != 1 or page.count(end) != 1:
        raise BenchmarkError(f"expected one {begin} and one {end} in the page")
    return f"{page[: page.index(begin)]}{begin}\n\n{text}\n\n{page[page.index(end) :]}"


def main(args: list[str] | None = None) -> int:
    """Parses `args` (the command line unless given); returns the exit code."""
    options = tyro.cli(TableOptions, args=args, prog="python -m benchmarks.tables")
    return run_command(lambda: run(options), again="give the same command again")


if __name__ == "__main__":
    sys.exit(main())
