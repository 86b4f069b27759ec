"""The stages of an evaluation's run folder: inputs for methods from elsewhere, the rows, the reports."""

from __future__ import annotations

import functools
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gen.data.names import stem
from pipelines._report import versions
from pipelines._run import TIMINGS, RunFolder, Stage, StageLog, write_json
from pipelines.evaluation.gallery import write_worst_meshes, write_worst_views
from pipelines.evaluation.plan import Plan
from pipelines.evaluation.plots import write_meshes_plot, write_views_plot
from pipelines.evaluation.protocol import draw_views, path_cameras
from pipelines.evaluation.results import Results
from pipelines.evaluation.tables import report, timings_report
from pipelines.evaluation.worker import Found, slug
from recon.capture import Camera


def inputs_stage(plan: Plan) -> Stage:
    """`inputs/`: what a method from elsewhere is given, the first view of each object and the cameras to draw."""
    work = functools.partial(_write_inputs, plan=plan)
    return Stage("inputs", (), ("inputs",), plan.protocol, work)


def _write_inputs(run: Path, out: Path, log: StageLog, *, plan: Plan) -> None:
    from recon.capture.images import write_rgba

    cameras = path_cameras(plan.bench.path, plan.bench.size)
    folder = out / "inputs"
    folder.mkdir()
    for item in plan.chosen:
        picture = draw_views(plan.objects.mesh(item.id), cameras[:1])[0]
        write_rgba(folder / f"{stem(item.id)}.png", picture)
    write_json(folder / "cameras.json", [_camera_json(camera) for camera in cameras])


def _camera_json(camera: Camera) -> dict[str, float]:
    """As `recon.capture.orbit.read_camera_path` reads it."""
    x, _, z = camera.centre.tolist()
    angles = {"azimuth": math.atan2(x, z) % (2 * math.pi), "elevation": camera.elevation, "fov": camera.fov_y}
    distance = float(camera.centre.norm())
    return {name: round(math.degrees(angle), 4) for name, angle in angles.items()} | {"distance": round(distance, 6)}


def row_place(name: str, object_id: str) -> str:
    """Where in the run folder a row keeps what it left of an object."""
    return f"rows/{slug(name)}/{stem(object_id)}"


def row_stage(plan: Plan, name: str, object_id: str, found: Found | None = None) -> Stage:
    """The stage that takes what a worker left of an object into the run folder."""
    settings: dict[str, Any] = {**plan.methods[name], "protocol": plan.protocol}
    if name in plan.bench.outside:
        settings["files"] = plan.bench.outside[name].digest(object_id)
    place = row_place(name, object_id)
    return Stage(_stage_name(name, object_id), (), (place,), settings, functools.partial(_take, found=found))


def _stage_name(name: str, object_id: str) -> str:
    return f"{slug(name)}@{stem(object_id)}"


def _take(run: Path, out: Path, log: StageLog, *, found: Found | None) -> None:
    assert found is not None
    place = out / row_place(found.method, found.object_id)
    place.parent.mkdir(parents=True)
    os.replace(found.folder, place)
    log.steps.update(found.steps)
    log.figures["peak_memory_mib"] = found.peak_memory_mib
    for text in found.warnings:
        log.warn(text)


def report_stage(plan: Plan, results: Results) -> Stage:
    """`report.md`, `report.json`, the plots, and the worst objects of every generated row."""
    document = results.as_json() | {"versions": versions()}
    outputs = ["report.md", "report.json"]
    outputs += ["views.png"] * bool(results.with_measure("masked_psnr"))
    outputs += ["meshes.png"] * bool(results.with_measure("chamfer"))
    for name in results.named("generated"):
        outputs += [f"worst_views_{slug(name)}.png"] * bool(results.values(name, "masked_psnr"))
        outputs += [f"worst_meshes_{slug(name)}.png"] * bool(results.values(name, "chamfer"))
    work = functools.partial(_write_report, plan=plan, results=results, document=document, outputs=outputs)
    return Stage("report", ("rows",), tuple(outputs), document, work)


def _write_report(
    run: Path, out: Path, log: StageLog, *, plan: Plan, results: Results, document: Any, outputs: Sequence[str]
) -> None:
    pictures = [f"![{name}]({name})" for name in outputs if name.endswith(".png")]
    text = report(results) + "\n## Pictures\n\n" + "\n\n".join(pictures) + "\n"
    (out / "report.md").write_text(text, encoding="utf-8")
    write_json(out / "report.json", document)
    if "views.png" in outputs:
        write_views_plot(results, out / "views.png")
    if "meshes.png" in outputs:
        write_meshes_plot(results, out / "meshes.png")
    for name in results.named("generated"):
        left, views, meshes = (run / "rows" / slug(name), *(f"worst_{k}_{slug(name)}.png" for k in ("views", "meshes")))
        if views in outputs:
            write_worst_views(results, name, plan.objects, plan.bench.path, left, out / views)
        if meshes in outputs:
            write_worst_meshes(results, name, plan.objects, left, out / meshes, boxed=name in plan.bench.outside)


def timings_stage(plan: Plan, run: RunFolder, memory: Mapping[str, int | None]) -> Stage:
    """`timings.md`: wall time by stage. Apart from the report, whose bytes repeat."""
    stages = json.loads((run.path / TIMINGS).read_text(encoding="utf-8"))["stages"]
    seconds: dict[str, dict[str, list[float]]] = {}
    for name in plan.methods:
        for item in plan.chosen:
            for step, value in stages.get(_stage_name(name, item.id), {"steps": {}})["steps"].items():
                seconds.setdefault(name, {}).setdefault(step, []).append(value)
    return text_stage("timings", timings_report(seconds, memory))


def text_stage(name: str, text: str) -> Stage:
    """`NAME.md`."""

    def work(run: Path, out: Path, log: StageLog) -> None:
        (out / f"{name}.md").write_text(text, encoding="utf-8")

    return Stage(name, (), (f"{name}.md",), {"text": text}, work)
