"""Pictures about a moving run: `motion.mp4` and `preview.png`, drawn from the files that the run leaves."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines._run import Stage, StageLog

if TYPE_CHECKING:
    from torch import Tensor

    from recon.capture import Camera, Frame
    from recon.surface.mesh import Mesh
    from recon.surface.rigged import RiggedMesh

_RATE = 24
_LEAST_SECONDS = 3.0
_ROW = 8
_TURN = math.radians(60)
"""How far the film's camera goes to each side."""


def film_stage() -> Stage:
    """`mesh.glb`, replayed, to `motion.mp4`."""
    return Stage("film", ("capture", "mesh.glb"), ("motion.mp4",), {}, _film)


def moving_preview_stage(finished: Sequence[str]) -> Stage:
    """`preview.png` of what the finished stages left."""
    made = {"motion": "moving.safetensors", "mesh": "mesh.glb"}
    inputs = ("capture", *(made[name] for name in finished if name in made))
    return Stage("preview", inputs, ("preview.png",), {}, functools.partial(_preview, inputs=inputs))


def _film(run: Path, out: Path, log: StageLog) -> None:
    from pipelines._films import write_mp4
    from pipelines._pictures import VIDEO_SIZE, fit_tile
    from recon.capture import orbit_camera
    from recon.capture.io_nerfstudio import read_transforms
    from recon.surface.render import render_mesh
    from recon.surface.rigged import load_rigged

    first = read_transforms(run / "capture")[0].camera
    rigged = load_rigged(run / "mesh.glb")
    seconds = rigged.clips[0].duration if rigged.clips else 0.0
    rounds = max(1, math.ceil(_LEAST_SECONDS / max(seconds, 1 / _RATE)))
    count = max(2, round(rounds * seconds * _RATE))
    start = math.atan2(float(first.centre[0]), float(first.centre[2]))
    back = _to_capture(rigged)

    def pictures() -> Any:
        for index in range(count):
            swing = start + _TURN * math.sin(2 * math.pi * index / count)
            camera = orbit_camera(swing, math.radians(10), first.fov_y, VIDEO_SIZE, VIDEO_SIZE)
            mesh = _posed(rigged, (index / _RATE) % max(seconds, 1e-9), back)
            log.watcher.advanced(index + 1, count)
            yield fit_tile(render_mesh(mesh, camera).rgba, VIDEO_SIZE)

    with log.step("drawing"):
        write_mp4(pictures(), out / "motion.mp4", Fraction(_RATE))


def _preview(run: Path, out: Path, log: StageLog, *, inputs: Sequence[str]) -> None:
    from pipelines._pictures import evenly, write_sheet
    from pipelines._quality import draw_splats
    from recon.capture import Source
    from recon.capture.io_nerfstudio import read_transforms
    from recon.motion.fit import by_time, time_of
    from recon.motion.moving_file import read_moving

    groups = evenly(by_time(read_transforms(run / "capture").frames), _ROW)
    seen = [[frame for frame in group if frame.source is not Source.GENERATED] for group in groups]
    made = [[frame for frame in group if frame.source is Source.GENERATED] for group in groups]
    rows: list[tuple[str, Sequence[Tensor]]] = []
    if all(seen):
        rows.append(("seen, moment by moment", [frames[0].rgba() for frames in seen]))
    if all(made):
        beside = len(made[0]) // 4
        rows.append(("generated, from the side", [frames[min(beside, len(frames) - 1)].rgba() for frames in made]))
    cameras = _sides((seen if all(seen) else made)[0][0])
    times = [time_of(group) for group in groups]
    if "moving.safetensors" in inputs:
        moving = read_moving(run / "moving.safetensors")
        for side, camera in cameras:
            rows.append((f"splats, {side}", [draw_splats(moving.at(time), camera) for time in times]))
    if "mesh.glb" in inputs:
        rows += _mesh_rows(run, [time - times[0] for time in times], cameras)
    write_sheet(rows, out / "preview.png")


def _mesh_rows(
    run: Path, times: Sequence[float], cameras: Sequence[tuple[str, Camera]]
) -> list[tuple[str, Sequence[Tensor]]]:
    """What the file shows, replayed by our reader of animated files; textured, and its shape alone."""
    from recon.surface.render import Lights, prepare_mesh, render_prepared
    from recon.surface.rigged import load_rigged
    from recon.surface.studio import grey

    rigged = load_rigged(run / "mesh.glb")
    back = _to_capture(rigged)
    poses = [_posed(rigged, time, back) for time in times]
    rows: list[tuple[str, Sequence[Tensor]]] = []
    for side, camera in cameras:
        rows.append((f"mesh, {side}", [render_prepared(prepare_mesh(pose), camera).rgba for pose in poses]))
    lights, (side, camera) = Lights.studio(), cameras[-1]
    clay = [render_prepared(prepare_mesh(grey(pose)), camera, lights=lights).rgba for pose in poses]
    rows.append((f"mesh, shape only, {side}", clay))
    return rows


def _sides(frame: Frame) -> list[tuple[str, Camera]]:
    """From where a frame was taken, and a quarter turn on."""
    from pipelines._pictures import TILE
    from recon.capture import orbit_camera

    camera = frame.camera
    x, _, z = camera.centre.tolist()
    azimuth, elevation = math.atan2(x, z), camera.elevation
    return [
        (name, orbit_camera(azimuth + turn, elevation, camera.fov_y, TILE, TILE))
        for name, turn in (("from the front", 0.0), ("from the side", math.pi / 2))
    ]


def _to_capture(rigged: RiggedMesh) -> tuple[float, Tensor]:
    import torch

    back = rigged.extras["to_capture"]
    return float(back["scale"]), torch.tensor(back["translation"])


def _posed(rigged: RiggedMesh, time: float, back: tuple[float, Tensor]) -> Mesh:
    """The file's mesh at a time, in the capture's world."""
    mesh = rigged.posed(0, time) if rigged.clips else rigged.mesh
    return mesh.moved(*back)
