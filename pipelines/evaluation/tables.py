"""The tables of an evaluation, as Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from pipelines.evaluation.markdown import show, table
from pipelines.evaluation.results import Results, Row


@dataclass(frozen=True)
class Column:
    """A measure in a table: its key, its title, its digits, and which way is better ("" where neither is)."""

    measure: str
    title: str
    digits: int
    better: str = ""

    def heading(self) -> str:
        return f"{self.title} {self.better}".strip()


VIEWS = (
    Column("psnr", "PSNR", 2, "↑"), Column("ssim", "SSIM", 3, "↑"), Column("masked_psnr", "masked PSNR", 2, "↑"),
    Column("masked_ssim", "masked SSIM", 3, "↑"), Column("mask_iou", "mask IoU", 3, "↑"),
    Column("flip", "FLIP", 3, "↓"), Column("lpips", "LPIPS", 3, "↓"), Column("sharpness", "sharpness (1 is right)", 3),
    Column("seed_spread", "spread", 1),
)  # fmt: skip
SHAPES = (
    Column("chamfer", "chamfer", 4, "↓"), Column("f_0.01", "F .01", 3, "↑"), Column("f_0.02", "F .02", 3, "↑"),
    Column("f_0.05", "F .05", 3, "↑"), Column("f_0.1", "F .1", 3, "↑"), Column("f_0.2", "F .2", 3, "↑"),
    Column("f_0.5", "F .5", 3, "↑"), Column("iou", "IoU", 3, "↑"), Column("normal_consistency", "normals", 3, "↑"),
)  # fmt: skip
ALIGNED = (
    Column("aligned_chamfer", "chamfer", 4, "↓"), Column("aligned_f_0.01", "F .01", 3, "↑"),
    Column("aligned_f_0.02", "F .02", 3, "↑"), Column("aligned_f_0.05", "F .05", 3, "↑"),
    Column("aligned_f_0.1", "F .1", 3, "↑"), Column("aligned_f_0.2", "F .2", 3, "↑"),
    Column("aligned_f_0.5", "F .5", 3, "↑"), Column("aligned_iou", "IoU", 3, "↑"),
    Column("aligned_normal_consistency", "normals", 3, "↑"), Column("aligned_turn", "turned by, °", 0),
    Column("aligned_size", "scaled by", 3),
)  # fmt: skip
LOOKS = (
    Column("look_psnr", "PSNR", 2, "↑"), Column("look_masked_psnr", "masked PSNR", 2, "↑"),
    Column("look_masked_ssim", "masked SSIM", 3, "↑"), Column("look_flip", "FLIP", 3, "↓"),
)  # fmt: skip
ALIGNED_LOOKS = tuple(replace(column, measure=f"aligned_{column.measure}") for column in LOOKS)
CLAIMED = ("masked_psnr", "masked_ssim", "mask_iou", "flip", "chamfer", "aligned_chamfer", "f_0.05", "look_masked_psnr")
"""Measures that methods are compared by object by object."""
_NOTES = 5
"""Notes of a row that are shown, the most frequent ones."""
SECTORS = ((0, 45), (45, 90), (90, 135), (135, 180))
"""Degrees away from the input view, of the columns of the azimuth table."""


def report(results: Results) -> str:
    """The whole report."""
    protocol = results.protocol
    what = (
        f"{len(protocol['objects'])} objects of `{protocol['set']}`, path `{protocol['path']}`, views of "
        f"{protocol['size']} px, one sample an object, its seed a hash of its id. Brackets are 95 % intervals over "
        "objects (bootstrap). Ceilings come first, then what was generated, then what understands nothing."
    )
    parts = ["# Evaluation", what]
    if results.with_measure("psnr"):
        parts += ["## Views", main_table(results, VIEWS), sector_table(results), group_table(results, "masked_psnr")]
    if results.with_measure("chamfer"):
        parts += ["## Meshes, where they were put", main_table(results, SHAPES), soundness_table(results)]
        parts += [group_table(results, "chamfer"), loss_table(results)]
        parts += ["## Meshes, aligned", main_table(results, ALIGNED)]
    if results.with_measure("look_psnr"):
        parts += ["## Textured meshes from views that nobody was given", main_table(results, LOOKS)]
    if results.with_measure("aligned_look_psnr"):
        parts += ["The same of meshes from elsewhere, aligned:", main_table(results, ALIGNED_LOOKS)]
    parts += [text for name in results.named("generated") if (text := claim_table(results, name))]
    parts += ["## Measured by", provenance_table(results)]
    if any(results.rows[name].notes for name in results.named("generated")):
        parts += ["## Notes", notes_table(results)]
    return "\n\n".join(part for part in parts if part) + "\n"


def main_table(results: Results, columns: Sequence[Column]) -> str:
    """Means with intervals of every method that any of the columns was measured of."""
    names = [name for name in results.rows if any(results.values(name, c.measure) for c in columns)]
    shown = [c for c in columns if any(results.values(name, c.measure) for name in names)]
    rows = [[_title(results, n), *(show(results.interval(n, c.measure), c.digits) for c in shown)] for n in names]
    return table(["method", *(c.heading() for c in shown)], rows)


def sector_table(results: Results) -> str:
    """Masked PSNR and mask IoU by degrees away from the input view."""
    rows = []
    for name in results.with_measure("masked_psnr"):
        row = results.rows[name]
        cells = []
        for low, high in SECTORS:
            quality, overlap = (_sector_mean(row, m, low, high) for m in ("masked_psnr", "mask_iou"))
            cells.append("–" if quality is None or overlap is None else f"{quality:.2f} / {overlap:.3f}")
        rows.append([_title(results, name), *cells])
    return table(["masked PSNR / mask IoU", *(f"{a}–{b}°" for a, b in SECTORS)], rows)


def _sector_mean(row: Row, measure: str, low: float, high: float) -> float | None:
    inside = [k for k, away in enumerate(row.azimuths) if low < away <= high]
    values = [scores[measure][k] for scores in row.objects.values() for k in inside]
    return fmean(values) if values else None


def group_table(results: Results, measure: str) -> str:
    """A measure's mean by tier, scans apart."""
    digits = next(c.digits for c in (*VIEWS, *SHAPES) if c.measure == measure)
    title = next(c.title for c in (*VIEWS, *SHAPES) if c.measure == measure)
    rows = []
    for name in results.with_measure(measure):
        intervals = [results.interval(name, measure, group) for group in results.groups]
        rows.append([_title(results, name), *(f"{i.mean:.{digits}f}" if i else "–" for i in intervals)])
    return table([title, *(f"{group} ({len(ids)})" for group, ids in results.groups.items())], rows)


def soundness_table(results: Results) -> str:
    """Whether meshes are closed, of how many pieces and faces, and for how many objects there is none."""
    rows = []
    for name in results.with_measure("chamfer"):
        closed, pieces, faces, failed = (
            fmean(results.values(name, m) or [0]) for m in ("watertight", "components", "faces", "failed")
        )
        rows.append([_title(results, name), f"{closed:.0%}", f"{pieces:.1f}", f"{faces:.0f}", f"{failed:.0%}"])
    return table(["method", "watertight", "components", "faces", "failed"], rows)


def loss_table(results: Results) -> str:
    """Where the chain loses: what the measure itself leaves, what the reconstructor adds to it, what the generator."""
    if not {"truth", "true views"} <= results.rows.keys():
        return ""
    rows = []
    for name in results.named("generated"):
        if results.values(name, "chamfer") is None:
            continue
        floor = results.interval("truth", "chamfer")
        steps = [results.advantage("true views", "truth", "chamfer"), results.advantage(name, "true views", "chamfer")]
        rows.append([_title(results, name), show(floor, 4), *(show(step, 4) for step in steps)])
    header = ["chamfer of", "floor: the truth against itself", "+ reconstructor, from true views", "+ generator"]
    return table(header, rows) if rows else ""


def claim_table(results: Results, name: str) -> str:
    """A generated row against every other, object by object, and how many objects it wins."""
    columns = [
        c for c in (*VIEWS, *SHAPES, *ALIGNED, *LOOKS) if c.measure in CLAIMED and results.values(name, c.measure)
    ]
    rows = []
    for other in results.rows:
        cells = [_claim(results, name, other, column) for column in columns]
        if other != name and any(cell != "–" for cell in cells):
            rows.append([_title(results, other), *cells])
    if not rows:
        return ""
    titles = [f"{'aligned ' if c in ALIGNED else ''}{'textured ' if c in LOOKS else ''}{c.heading()}" for c in columns]
    return f"Object by object ({name} minus the row's method; objects won):\n\n" + table([name, *titles], rows)


def _claim(results: Results, name: str, other: str, column: Column) -> str:
    pairs = results.pairs(name, other, column.measure)
    if pairs is None:
        return "–"
    sign = 1 if column.better == "↑" else -1
    won = sum(sign * (a - b) > 0 for a, b in pairs)
    return f"{show(results.advantage(name, other, column.measure), column.digits)}; {won} of {len(pairs)}"


def provenance_table(results: Results) -> str:
    """With which settings and which version of the program each row was measured."""
    rows = []
    for name, row in results.rows.items():
        settings = ", ".join(f"{key} {_short(value)}" for key, value in row.settings.items())
        rows.append([_title(results, name), row.kind, settings or "–", ", ".join(row.commits)])
    return table(["method", "kind", "settings", "commit"], rows)


def notes_table(results: Results) -> str:
    """What a reader of the figures should know: what was missing, what was assumed, and of how many objects."""
    rows = []
    for name in results.named("generated"):
        row = results.rows[name]
        texts = Counter(f"{what} {value}" for notes in row.notes.values() for what, value in notes.items())
        for text, count in texts.most_common(_NOTES):
            rows.append([_title(results, name), text, f"{count} of {len(row.objects)}"])
    return table(["method", "note", "objects"], rows)


def _short(value: object) -> str:
    return value[:8] if isinstance(value, str) and len(value) == 64 else str(value)


def timings_report(seconds: dict[str, dict[str, list[float]]], memory: Mapping[str, int | None]) -> str:
    """Wall time by stage and peak memory.

    Args:
        seconds: method -> stage -> seconds of every object.
        memory: method -> MiB at most.
    """
    stages = sorted({s for steps in seconds.values() for s in steps} - {"total"}, key=_stage_order)
    rows = []
    for name, steps in seconds.items():
        cells = [f"{fmean(steps[s]):.2f}" if steps.get(s) else "–" for s in (*stages, "total")]
        peak = memory.get(name)
        rows.append([name, *cells, "–" if peak is None else str(peak)])
    text = (
        "Mean seconds an object, of one thread; measuring is not counted. The peak is that of the whole process, with "
        "PyTorch and, in generated rows, the weights."
    )
    return f"# Time and memory\n\n{text}\n\n" + table(["method", *stages, "total", "peak, MiB"], rows) + "\n"


def _stage_order(stage: str) -> int:
    order = ("generate", "compare", "fit", "fuse", "draw", "decimating", "fitting outlines", "unwrapping", "texturing")
    return order.index(stage) if stage in order else len(order)


def _title(results: Results, name: str) -> str:
    return f"**{name}**" if results.rows[name].kind == "generated" else name
