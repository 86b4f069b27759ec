"""How fast are pictures and gradients? `python -m benchmarks.rasterize -o rasterize.json [--opensplat-kernels FOLDER]`

The public `rasterize` beside other people's rasterizers, call by call in turn, so that whatever else the machine does
hits all alike. Peers that are not named are left out, and a line says so.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.progress import track

from benchmarks._clock import Clock
from benchmarks._contestants import CASES, GPU, OPENSPLAT, OURS, REFERENCE, Case
from benchmarks._flops import blended_pairs, flops_per_pair
from benchmarks._results import environment, write_json
from benchmarks._scenes import SceneSize
from pipelines._command import run_command
from pipelines.evaluation.markdown import table

SCENES = (SceneSize(20_000, 128), SceneSize(50_000, 256), SceneSize(200_000, 512))
TITLES: dict[Case, str] = {"rgb": "RGB", "all": "SH 3, depth, normals, pose gradients"}
_SLOW = 1.0  # seconds; slower calls are repeated less often
_PATIENCE = 30.0  # seconds that a slow contestant may take in all, per row
_FEWEST = 3
_QUIET = 0.3  # load average below which a machine counts as quiet


@dataclass(frozen=True)
class RasterizeBenchmarkOptions:
    """Time the rasterizer beside others."""

    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """JSON file with all medians."""
    opensplat_kernels: Path | None = None
    """Folder of OpenSplat's CPU kernels, built as the Python module opensplat_kernels."""
    gsplat_reference: Path | None = None
    """Python file with gsplat's torch reference as a function render(...)."""
    threads: tuple[int, ...] = (1, 2)
    """Numbers of threads to time with."""
    repeats: int = 30
    """Calls of which the median counts; calls of more than a second are repeated less often, and the output says so."""
    scenes: tyro.conf.Suppress[tuple[SceneSize, ...]] = SCENES
    """What is drawn."""


@dataclass(frozen=True)
class Row:
    """One kind of call.

    Attributes:
        scene: what is drawn.
        case: which outputs.
        backward: whether gradients are taken too.
        threads: of the process.
    """

    scene: SceneSize
    case: Case
    backward: bool
    threads: int

    def __str__(self) -> str:
        both = "forward + backward" if self.backward else "forward"
        return f"{TITLES[self.case]}: {both}, {self.scene}, {self.threads} thread{'s' if self.threads > 1 else ''}"


def run(options: RasterizeBenchmarkOptions) -> dict[str, Any]:
    """Time everything and write the results.

    Raises:
        BenchmarkError: if a peer that is named is not there.
    """
    paths = (options.opensplat_kernels, options.gsplat_reference)
    load = os.getloadavg()[0]
    rows: list[dict[str, Any]] = []
    with ExitStack() as stack:
        clocks = [stack.enter_context(Clock(threads, *paths)) for threads in options.threads]
        names = clocks[0].ask(kind="names")
        peaks = {clock.threads: clock.ask(kind="fma") for clock in clocks}
        tasks = [(scene, case, backward) for scene in options.scenes for case in CASES for backward in (False, True)]
        for scene, case, backward in track(tasks, "Calls", console=Console(stderr=True)):
            kinds = [Row(scene, case, backward, clock.threads) for clock in clocks]
            times = _in_turn(clocks, kinds, names if case == "rgb" else [n for n in names if n in (OURS, GPU)], options)
            flops = blended_pairs(scene) * flops_per_pair(case, backward)
            for row in kinds:
                timed = {name: _medians(times[row, name]) for name in names if (row, name) in times}
                share = flops / timed[OURS]["wall"] / peaks[row.threads]
                rows.append(
                    {"scene": str(scene), "case": case, "backward": backward, "threads": row.threads, "name": str(row)}
                    | {"fma_share": share, "times": timed}
                )
    once = [record for record in rows if record["threads"] == options.threads[0]]  # threads share what a call takes
    for record in track(once, "Memory", console=Console(stderr=True)):
        _add_memory(record, options)
    document = {
        "benchmark": "rasterize",
        "environment": environment(),
        "load": load,
        "fma_peak": {str(threads): peak for threads, peak in peaks.items()},
        "rows": rows,
    }
    write_json(options.output, document)
    return document


def markdown(document: dict[str, Any]) -> str:
    """Warnings, the table of ours beside the peers', and the table of ours alone."""
    return "\n\n".join([*_remarks(document), _peer_table(document["rows"]), _own_table(document)])


def _in_turn(
    clocks: Sequence[Clock], rows: Sequence[Row], names: Sequence[str], options: RasterizeBenchmarkOptions
) -> dict[tuple[Row, str], list[dict[str, float]]]:
    """Timed calls of every contestant with every number of threads, one of each a round."""
    times: dict[tuple[Row, str], list[dict[str, float]]] = {}
    repeats = {}
    for clock, row, name in _everyone(clocks, rows, names):
        first = [_call(clock, row, name) for _ in range(2)][1]["wall"]  # the first compiles
        repeats[row, name] = options.repeats
        if first > _SLOW:
            repeats[row, name] = min(options.repeats, max(_FEWEST, int(_PATIENCE / first)))
        times[row, name] = []
    for turn in range(options.repeats):
        for clock, row, name in _everyone(clocks, rows, names):
            if turn < repeats[row, name]:
                times[row, name].append(_call(clock, row, name))
    return times


def _everyone(clocks: Sequence[Clock], rows: Sequence[Row], names: Sequence[str]) -> Iterator[tuple[Clock, Row, str]]:
    return ((clock, row, name) for clock, row in zip(clocks, rows, strict=True) for name in names)


def _call(clock: Clock, row: Row, name: str, kind: str = "time") -> Any:
    scene = {"count": row.scene.count, "size": row.scene.size}
    return clock.ask(kind=kind, name=name, case=row.case, backward=row.backward, **scene)


def _medians(times: Sequence[dict[str, float]]) -> dict[str, float]:
    return {key: median(time[key] for time in times) for key in ("wall", "cpu")} | {"repeats": len(times)}


def _add_memory(row: dict[str, Any], options: RasterizeBenchmarkOptions) -> None:
    """Adds to each contestant's record how far one call makes a fresh process grow, in MB."""
    scene = next(scene for scene in options.scenes if str(scene) == row["scene"])
    kind = Row(scene, row["case"], row["backward"], row["threads"])
    small = Row(SceneSize(100, 32), row["case"], row["backward"], row["threads"])
    for name, record in row["times"].items():
        with Clock(row["threads"], options.opensplat_kernels, options.gsplat_reference) as clock:
            _call(clock, small, name)  # loads what is compiled
            size = _call(clock, kind, name, "memory")
        record["memory_mb"] = None if size is None else size / 1e6


def _remarks(document: dict[str, Any]) -> list[str]:
    names = {name for row in document["rows"] for name in row["times"]}
    remarks = []
    if document["load"] > _QUIET:
        load = f"{document['load']:.1f}"
        remarks.append(f"Warning: the load average was {load} at the start; on a machine that is not quiet times grow.")
    for name, remedy in ((OPENSPLAT, "--opensplat-kernels"), (REFERENCE, "--gsplat-reference")):
        if name not in names:
            remarks.append(f"Not here: {name}; name it with {remedy}.")
    if GPU not in names:
        remarks.append("Not here: gsplat on a GPU, which needs an NVIDIA GPU and the package gsplat.")
    fewer = {
        f"{record['repeats']} for {name}, {row['scene']}, {row['threads']} threads"
        for row in document["rows"]
        for name, record in row["times"].items()
        if record["repeats"] < max(r["times"][OURS]["repeats"] for r in document["rows"])
    }
    if fewer:
        remarks.append(f"Calls of more than {_SLOW:g} s were repeated less often: " + "; ".join(sorted(fewer)) + ".")
    return remarks


def _peer_table(rows: Sequence[dict[str, Any]]) -> str:
    peers = [name for name in (OPENSPLAT, REFERENCE, GPU) if any(name in row["times"] for row in rows)]
    header = ["what", "ours", *(title for peer in peers for title in (peer, "ratio")), "unit"]
    lines = []
    for row in rows:
        own = row["times"][OURS]["wall"]
        cells = []
        for peer in peers:
            record = row["times"].get(peer)
            cells += ["–", "–"] if record is None else [_ms(record["wall"]), f"{record['wall'] / own:.1f}"]
        lines.append([row["name"], _ms(own), *cells, "ms"])
    return table(header, lines)


def _own_table(document: dict[str, Any]) -> str:
    peaks = ", ".join(f"{peak / 1e9:.0f} on {n}" for n, peak in document["fma_peak"].items())
    others = [name for name in (OPENSPLAT, REFERENCE) if any(name in row["times"] for row in document["rows"])]
    header = ["what", "CPU ms", f"share of the FMA peak ({peaks} threads, Gflop/s)", "MB"]
    lines = []
    for row in document["rows"]:
        record = row["times"][OURS]
        memory = [_megabytes(row["times"].get(name)) for name in others]
        lines.append([row["name"], _ms(record["cpu"]), f"{row['fma_share']:.0%}", _megabytes(record), *memory])
    return table([*header, *(f"MB, {name}" for name in others)], lines)


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:.1f}" if seconds < 1 else f"{1e3 * seconds:.0f}"


def _megabytes(record: dict[str, Any] | None) -> str:
    return "–" if record is None or record.get("memory_mb") is None else f"{record['memory_mb']:.0f}"


def main(args: list[str] | None = None) -> int:
    """Parses `args` (the command line unless given); returns the exit code."""
    options = tyro.cli(RasterizeBenchmarkOptions, args=args, prog="python -m benchmarks.rasterize")
    return run_command(lambda: print(markdown(run(options))), again="give the same command again")


if __name__ == "__main__":
    sys.exit(main())
