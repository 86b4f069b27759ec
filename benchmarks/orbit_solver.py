"""How well are turntables solved from pixels alone? `python -m benchmarks.orbit_solver OBJECTS -o orbits.json`

Orbits of test objects are drawn and given to `recon.splat.solve_poses` as bare pictures: no names, no focal length, in
order or shuffled. Its answer is turned about the axis to fit the truth and compared, beside an answer that knows
nothing: even azimuths in the order given, the usual field of view and elevation.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import tyro
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from benchmarks._errors import BenchmarkError
from benchmarks._results import environment, write_json
from pipelines._command import run_command
from pipelines.evaluation.markdown import table
from pipelines.evaluation.plots import require_matplotlib
from pipelines.evaluation.protocol import ELEVATION, draw_views, object_seed, stratified
from pipelines.evaluation.sets import EvaluationSet, open_set
from recon.capture import Camera, orbit_camera
from recon.capture.orbit import DEFAULT_FOV
from recon.splat.solve_poses import solve_orbit
from recon.surface.mesh import Material, Mesh
from recon.surface.render import Lights

Floats = NDArray[np.float64]
FRAMES, SIZE = 24, 128
SYMMETRIC = (
    "gso_Room_Essentials_Salad_Plate_Turquoise",
    "gz_coke_can_coke_can",
    "qt_modular_dungeon_pack_Potion",
    "ycb_017_orange",
)
"""Solids of revolution or nearly so: only what is painted on them tells how they are turned."""
AZIMUTH_TARGET = 2.0
"""Degrees, median over the frames."""


@dataclass(frozen=True)
class Case:
    """One way of turning.

    Attributes:
        fov: degrees.
        azimuths: makes radians from a generator of random numbers.
        shuffled: whether the order is kept from the solver.
        wobble: standard deviation by which each camera is turned about the object, in degrees, and moved, in
            hundredths of its distance.
        plain: whether the object is drawn in one even colour, so that only outlines tell.
        turntable: whether the light stands still beside the camera while the object turns; otherwise it stands still
            around the object, as where the camera walks.
    """

    fov: float
    azimuths: Callable[[np.random.Generator], Floats]
    shuffled: bool = False
    wobble: float = 0.0
    plain: bool = False
    turntable: bool = False

    @property
    def focal_target(self) -> float:
        """Per cent."""
        return 3.0 if self.fov >= 35 else 8.0


def even(turn: float) -> Callable[[np.random.Generator], Floats]:
    """Azimuths at equal steps; `turn` in degrees, 360 for a closed one, negative for the other way."""
    steps = FRAMES if abs(turn) == 360 else FRAMES - 1
    return lambda random: np.radians(turn) * np.arange(FRAMES) / steps


def uneven(random: np.random.Generator) -> Floats:
    """A full turn either way whose speed varies by a factor of three and more."""
    phase = random.uniform(0, 2 * math.pi)
    speed = np.exp(0.5 * np.sin(2 * math.pi * np.arange(FRAMES) / FRAMES + phase) + 0.3 * random.normal(size=FRAMES))
    turned = np.concatenate(([0.0], np.cumsum(speed)[:-1]))
    return float(random.choice((-1.0, 1.0))) * 2 * math.pi * turned / float(speed.sum())


CASES = {
    "fov 35, uneven": Case(35, uneven),
    "fov 50, reversed, shuffled": Case(50, even(-360), shuffled=True),
    "fov 20, even": Case(20, even(360)),
    "fov 35, 220° of it, wobbling": Case(35, even(220), wobble=0.5),
    "fov 35, outlines alone": Case(35, even(360), plain=True),
    "fov 35, uneven, on a turntable": Case(35, uneven, turntable=True),
}


@dataclass(frozen=True)
class OrbitBenchmarkOptions:
    """Solve drawn orbits and compare."""

    objects: tyro.conf.Positional[Path]
    """Folder of the object pack with its list of test objects, or of mesh files."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """JSON file; what it holds already is kept. The calibration plot is put beside it."""
    count: int = 12
    """Test objects, chosen by hash, tiers in proportion; the symmetric ones come on top, in two cases."""


def run(options: OrbitBenchmarkOptions) -> None:
    """Solves, writes the file after every orbit, prints the tables, writes the plot.

    Raises:
        ValueError, OSError: for what a user can mend.
    """
    require_matplotlib()
    objects = open_set(options.objects)
    settings = {"frames": FRAMES, "size": SIZE}
    rows: dict[str, Any] = {}
    if options.output.exists():
        found = json.loads(options.output.read_text(encoding="utf-8"))
        if found.get("settings") != settings:
            raise BenchmarkError(f"{options.output}: holds results of {found.get('settings')}; choose another -o")
        rows = found["orbits"]
    names = [item.id for item in stratified(objects.objects, options.count)]
    known = {item.id for item in objects.objects}
    wanted = [(name, case) for name in SYMMETRIC if name in known for case in list(CASES)[:2]]
    wanted += [(name, case) for name in names if name not in SYMMETRIC for case in CASES]
    document = {"benchmark": "orbit_solver", "environment": environment(), "settings": settings, "orbits": rows}
    for name, case in track(wanted, "orbits", console=Console(stderr=True)):
        key = f"{name} | {case}"
        if key not in rows:
            rows[key] = _measure(objects, name, case)
            write_json(options.output, document)
    document["orbits"] = {f"{name} | {case}": rows[f"{name} | {case}"] for name, case in wanted}
    print(markdown(document))
    write_plot(document, options.output.with_suffix(".png"))


def _measure(objects: EvaluationSet, name: str, case_name: str) -> dict[str, Any]:
    """One orbit: the truth, what was found, and how far it is off."""
    case = CASES[case_name]
    random = np.random.default_rng([object_seed(name), list(CASES).index(case_name)])
    elevation, start = random.uniform(0, math.radians(40)), random.uniform(0, 2 * math.pi)
    azimuths = case.azimuths(random)
    if case.shuffled:
        azimuths = random.permutation(azimuths)
    cameras = [
        wobbling(orbit_camera(start + a, elevation, math.radians(case.fov), SIZE, SIZE), case.wobble, random)
        for a in azimuths
    ]
    mesh = objects.mesh(name)
    views = _drawn(mesh, cameras, start + azimuths, case)
    begin = time.process_time()
    solved = solve_orbit(list(views), ordered=not case.shuffled)
    seconds = time.process_time() - begin
    truth = math.radians(case.fov), elevation
    search = solved.found.orbit
    return {
        "case": case_name,
        "object": name,
        "symmetric": name in SYMMETRIC,
        "confidence": solved.confidence,
        "reasons": solved.reasons,
        "score": solved.found.score,
        "rivals": [rival.score for rival in solved.alternatives],
        "expected": vars(solved.found.uncertainty) if solved.found.uncertainty else None,
        "solved": _errors(solved.azimuths.numpy(), solved.fov, solved.elevation, azimuths, *truth),
        "search alone": _errors(search.azimuths, search.fov(SIZE, SIZE), search.elevation, azimuths, *truth),
        "nothing known": _errors(
            2 * math.pi * np.arange(FRAMES) / FRAMES, DEFAULT_FOV, ELEVATION, azimuths, *truth
        ),
        "cpu_seconds": round(seconds, 1),
    }  # fmt: skip


def _drawn(mesh: Mesh, cameras: list[Camera], azimuths: Floats, case: Case) -> torch.Tensor:
    if case.plain:
        return draw_views(_plain(mesh), cameras, lit=False)
    if not case.turntable:
        return draw_views(mesh, cameras)
    studio, views = Lights.studio(), []
    for camera, azimuth in zip(cameras, azimuths):
        c, s = math.cos(azimuth), math.sin(azimuth)
        turn = torch.tensor([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])
        views.append(draw_views(mesh, [camera], lights=replace(studio, directions=studio.directions @ turn.T)))
    return torch.cat(views)


def wobbling(camera: Camera, wobble: float, random: np.random.Generator) -> Camera:
    """The camera a little beside its place: turned about the object, in degrees, then moved, in hundredths of its
    distance, by as much as `wobble` in the standard deviation."""
    twist = torch.tensor(random.normal(size=3) * math.radians(wobble))
    skew = torch.zeros(3, 3, dtype=torch.float64)
    skew[0, 1], skew[0, 2], skew[1, 2] = -twist[2], twist[1], -twist[0]
    turn = torch.linalg.matrix_exp(skew - skew.T).float()
    shift = torch.tensor(random.normal(size=3) * wobble / 100 * float(camera.centre.norm())).float()
    return camera.moved(turn, shift) if wobble else camera


def _plain(mesh: Mesh) -> Mesh:
    """The mesh in one colour."""
    grey = tuple(Material(torch.tensor([0.6, 0.6, 0.6, 1.0])) for _ in mesh.materials)
    return replace(mesh, materials=grey, colors=None)


def _errors(
    azimuths: Floats, fov: float, elevation: float, true_azimuths: Floats, true_fov: float, true_elevation: float
) -> dict[str, float]:
    """Degrees and per cent, after the turn about the axis that fits best (the mean of the azimuths' differences)."""
    gap = np.exp(1j * (np.asarray(azimuths, float) - true_azimuths))
    middle = gap.mean() / max(abs(gap.mean()), 1e-9) if abs(gap.mean()) > 1e-9 else 1
    apart = np.degrees(np.abs(np.angle(gap * np.conj(middle))))
    return {
        "azimuth": float(np.median(apart)),
        "azimuth_90": float(np.quantile(apart, 0.9)),
        "focal": 100 * (math.tan(true_fov / 2) / math.tan(fov / 2) - 1),
        "elevation": math.degrees(elevation - true_elevation),
    }


def hits(row: dict[str, Any], who: str = "solved") -> bool:
    """Whether an orbit is within the targets."""
    errors = row[who]
    return bool(errors["azimuth"] <= AZIMUTH_TARGET and abs(errors["focal"]) <= CASES[row["case"]].focal_target)


def markdown(document: dict[str, Any]) -> str:
    """The tables of saved results."""
    rows = list(document["orbits"].values())
    usual = [row for row in rows if not row["symmetric"]]
    lines = []
    for case in CASES:
        for who in ("solved", "search alone", "nothing known"):
            lines.append(_line(case if who == "solved" else f"— {who}", [r for r in usual if r["case"] == case], who))
    for who in ("solved", "nothing known"):
        label = "solids of revolution" if who == "solved" else f"— {who}"
        lines.append(_line(label, [row for row in rows if row["symmetric"]], who))
    header = ["orbits", "n", "azimuth °, median", "90 %", "focal %, median", "90 %", "elevation °, median", "on target"]
    seconds = np.median([row["cpu_seconds"] for row in rows])
    closing = f"{len(rows)} orbits of {FRAMES} pictures, {SIZE}²; processor time {seconds:.0f} s each (median)."
    return "\n\n".join((table(header, [line for line in lines if line]), calibration(rows), closing))


def _line(label: str, rows: list[dict[str, Any]], who: str) -> list[str]:
    if not rows:
        return []
    azimuth, focal, elevation = (np.abs([row[who][key] for row in rows]) for key in ("azimuth", "focal", "elevation"))
    numbers = [np.median(azimuth), np.quantile(azimuth, 0.9), np.median(focal), np.quantile(focal, 0.9)]
    cells = [f"{number:.2f}" for number in (*numbers, np.median(elevation))]
    return [label, str(len(rows)), *cells, f"{sum(hits(row, who) for row in rows)} of {len(rows)}"]


def calibration(rows: list[dict[str, Any]]) -> str:
    """How errors fall with confidence: rank correlations, and a table by confidence."""
    from scipy.stats import spearmanr

    confidence = [row["confidence"] for row in rows]
    by_error = {key: spearmanr(confidence, np.abs([r["solved"][key] for r in rows])) for key in ("azimuth", "focal")}
    edges = (0.0, 0.2, 0.5, 0.8, 1.01)
    lines = []
    for low, high in pairwise(edges):
        group = [row for row in rows if low <= row["confidence"] < high]
        lines.append(_line(f"{low:g} to {min(high, 1):g}", group, "solved"))
    header = ["confidence", "n", "azimuth °, median", "90 %", "focal %, median", "90 %", "elevation °", "on target"]
    ranks = ", ".join(f"{key} {float(found.statistic):+.2f}" for key, found in by_error.items())
    return f"{table(header, [line for line in lines if line])}\n\nSpearman's correlation with confidence: {ranks}."


def write_plot(document: dict[str, Any], path: Path) -> None:
    """Both errors over confidence, one point an orbit."""
    from matplotlib.figure import Figure  # the figure alone: pyplot would look for a display

    figure = Figure(figsize=(10, 4), layout="constrained")
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in document["orbits"].values():
        groups.setdefault("solids of revolution" if row["symmetric"] else row["case"], []).append(row)
    limits = {"azimuth": (AZIMUTH_TARGET, "azimuth error, degrees"), "focal": (3.0, "focal error, per cent")}
    for axis, (key, (target, label)) in zip(figure.subplots(1, 2), limits.items()):
        for name, rows in groups.items():
            errors = np.maximum(np.abs([row["solved"][key] for row in rows]), 0.02)
            axis.plot([row["confidence"] for row in rows], errors, "o", label=name, alpha=0.75)
        axis.axhline(target, color="0.5", linestyle="--", linewidth=1)
        axis.set(yscale="log", xlabel="confidence", ylabel=label, xlim=(-0.02, 1.02))
        axis.grid(alpha=0.3)
    figure.axes[0].legend(fontsize=7)
    figure.savefig(path, dpi=110, metadata={"Software": None})  # without a version the bytes repeat


def main(args: list[str] | None = None) -> int:
    """Parses `args` (the command line unless given); returns the exit code."""
    options = tyro.cli(OrbitBenchmarkOptions, args=args, prog="python -m benchmarks.orbit_solver")
    return run_command(lambda: run(options), again="give the same command again")


if __name__ == "__main__":
    sys.exit(main())
