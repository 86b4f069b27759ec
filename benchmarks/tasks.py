"""Does one set of weights do all its tasks? `python -m benchmarks.tasks OBJECTS -o tasks.json --model DIR`

Each row is a task that the network is told by nothing but what is shown, beside the best answer without
understanding that we know of. All on the test objects, from their true renders.
"""

from __future__ import annotations

import hashlib
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import torch
import tyro
from rich.console import Console
from rich.progress import track
from torch import Tensor

from benchmarks._errors import BenchmarkError
from benchmarks._results import environment, write_json
from gen.baselines import premultiplied
from gen.gauge import APPEARANCE, DEPTH_GAIN, encode, make_gauge, stack_cameras
from gen.predict import Belief, ask, believe
from gen.splats import draw
from gen.unposed import tell_cameras
from gen.weights import weights_digest
from pipelines._command import run_command
from pipelines.evaluation.markdown import show, table
from pipelines.evaluation.protocol import draw_views, object_seed, stratified
from pipelines.evaluation.sets import open_set
from recon.capture import Camera, Source, frame_from_tensors, orbit_camera
from recon.metrics.bootstrap import bootstrap_interval
from recon.metrics.views import compare_views
from recon.surface.mesh import Mesh
from recon.surface.render import Lights, render_mesh

if TYPE_CHECKING:
    from gen.pipeline import OrbitPipeline

FOV = math.radians(33.8)
PHOTO = (0.0, math.radians(10))
"""Azimuth and elevation of the first picture."""
FREE = 8
"""Views from anywhere that are compared."""
ELEVATIONS = (math.radians(-10), math.radians(60))
MIDDLE_ELEVATION = math.asin(sum(math.sin(e) for e in ELEVATIONS) / 2)
"""Half of the directions are higher."""
FOVS = (math.radians(20), math.radians(60))
UNPOSED = 3
"""Photos without cameras."""
RING = 8
"""Views of the ring whose depth and normals are told, and whose colours are told of their geometry."""
ORBIT = 48


@dataclass(frozen=True)
class TaskBenchmarkOptions:
    """Compare what the network tells in each of its tasks with the truth."""

    objects: Annotated[Path, tyro.conf.Positional]
    """Folder of the object pack with its lists of test objects and of objects never trained on."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """JSON file."""
    model: Path
    """Weights of the generator."""
    size: int = 128
    """Side of the pictures in pixels."""
    count: int | None = None
    """Number of test objects, chosen by hash, tiers in proportion; all unless given."""


@dataclass(frozen=True)
class Task:
    """A row of the table.

    Attributes:
        measure: what is compared; "masked PSNR" wants to be high, everything else low.
        trivial: what the answer without understanding is.
    """

    name: str
    measure: str
    trivial: str


PSNR = "masked PSNR, dB"
DEGREES = "mean error, degrees"
TASKS = (
    Task("1 photo → views at any elevation", PSNR, "copy of the photo"),
    Task("2 posed photos → the same views", PSNR, "copy of the nearer photo"),
    Task("4 posed photos → the same views", PSNR, "copy of the nearest photo"),
    Task("2 photos 60° apart → the view between", PSNR, "mean of both"),
    Task("1 photo → wide frames (3 : 2)", PSNR, "copy of the photo"),
    Task("8 views → their depth", "mean error, % of the diameter", "plane through the centre"),
    Task("8 views → their normals", DEGREES, "facing the camera"),
    Task("1 photo and the geometry of 8 views → their colours", PSNR, "the photo's mean colour in the true masks"),
    Task("1 photo → its camera's elevation", DEGREES, "the middle of the range"),
    Task("1 photo → its camera's field of view", DEGREES, "the middle of the range"),
    Task("3 photos without cameras → how the others are turned", DEGREES, "not at all"),
    Task("48 frames: seam from last to first", "change, in mean changes between frames", "each frame by itself"),
)

DEPTH, NORMALS, COLORS, ELEVATION, FIELD, TURNS, SEAM = (task.name for task in TASKS[5:])


class Bench:
    """One object and the network: everything that the tasks share."""

    def __init__(self, pipe: OrbitPipeline, mesh: Mesh, object_id: str, size: int) -> None:
        self.pipe, self.mesh, self.size, self.seed = pipe, mesh, size, object_seed(object_id)
        digest = hashlib.sha256(f"tasks/{object_id}".encode()).digest()
        rng = np.random.default_rng(np.frombuffer(digest, np.uint32))
        low, high = (math.sin(e) for e in ELEVATIONS)
        around, up = rng.uniform(0, 2 * math.pi, FREE), np.arcsin(rng.uniform(low, high, FREE))
        self.directions = list(zip(around.tolist(), up.tolist()))
        self.free = [self.camera(*direction) for direction in self.directions]
        self.fovs = rng.uniform(*FOVS, UNPOSED).tolist()

    def camera(self, azimuth: float, elevation: float = PHOTO[1]) -> Camera:
        return orbit_camera(azimuth, elevation, FOV, self.size, self.size)

    def generate(
        self, seen: Sequence[Camera], pictures: Tensor, targets: Sequence[Camera], size: int | tuple[int, int]
    ) -> Tensor:
        """(T, H, W, 4) straight alpha."""
        frames = [
            frame_from_tensors(camera, picture, source=Source.RENDERED, name=f"photo_{i}")
            for i, (camera, picture) in enumerate(zip(seen, pictures))
        ]
        generator = torch.Generator().manual_seed(self.seed)
        capture = self.pipe(frames, targets, size=size, generator=generator)
        return torch.stack([frame.rgba() for frame in capture.frames[len(frames) :]])

    def photos_to_views(self, count: int) -> tuple[float, float]:
        """From `count` photos on a ring to the free views, and the nearest photo instead."""
        seen = [self.camera(2 * math.pi * i / count) for i in range(count)]
        pictures, truth = draw_views(self.mesh, seen), draw_views(self.mesh, self.free)
        places = torch.stack([camera.c2w[:3, 3] for camera in (*seen, *self.free)])
        nearest = torch.cdist(places[count:], places[:count]).argmin(dim=1)
        return _psnr(self.generate(seen, pictures, self.free, self.size), truth), _psnr(pictures[nearest], truth)

    def between(self) -> tuple[float, float]:
        seen, target = [self.camera(0.0), self.camera(math.radians(60))], [self.camera(math.radians(30))]
        pictures, truth = draw_views(self.mesh, seen), draw_views(self.mesh, target)
        return _psnr(self.generate(seen, pictures, target, self.size), truth), _psnr(_blend(pictures), truth)

    def wide(self) -> tuple[float, float]:
        def widened(camera: Camera) -> Camera:
            intrinsics = camera.intrinsics.clone()
            intrinsics[0, 2] = self.size * 0.75
            return Camera(camera.c2w, intrinsics, self.size * 3 // 2, self.size)

        seen, targets = [widened(self.camera(*PHOTO))], [widened(camera) for camera in self.free]
        pictures, truth = draw_views(self.mesh, seen), draw_views(self.mesh, targets)
        told = self.generate(seen, pictures, targets, (self.size, self.size * 3 // 2))
        return _psnr(told, truth), _psnr(pictures.expand_as(truth), truth)

    def geometry(self) -> dict[str, tuple[float, float]]:
        """Tasks of the ring in which geometry is asked for or shown."""
        cameras = [self.camera(2 * math.pi * i / RING) for i in range(RING)]
        drawn = [render_mesh(self.mesh, camera, lights=Lights.studio(), supersample=3) for camera in cameras]
        rgba = torch.stack([view.rgba for view in drawn])[None]
        depth, normal = (torch.stack([getattr(view, k) for view in drawn])[None] for k in ("depth", "normal"))
        c2w, intrinsics = stack_cameras(cameras)
        gauge = make_gauge(c2w[None], intrinsics[None], self.size, self.size)
        clean = encode(premultiplied(rgba), depth, normal, gauge)
        noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(self.seed))
        known, times = torch.ones(1, RING, dtype=torch.bool), torch.zeros(1, RING)

        def believed(levels: Tensor) -> Belief:
            frames = torch.lerp(clean, noise, levels.repeat_interleave(4, dim=-1)[:, :, None, None])
            told = ask(self.pipe.transformer, frames, levels, gauge.rays, times, known)
            return believe(told, frames, levels, gauge, known)

        shown = torch.ones(1, RING, 2)
        shown[..., 0] = 0
        belief = believed(shown)
        solid = (rgba[..., 3] > 0.5) & (depth > 0)
        # One gauge unit is the radius of the object's sphere, whose diameter is 1.
        true_offset = (depth - gauge.distance[..., None, None]) / gauge.unit[:, None, None, None]
        off = (belief.offsets / DEPTH_GAIN - true_offset)[solid].abs().mean() / 2
        told_normals = torch.nn.functional.normalize(belief.normals, dim=-1) @ gauge.rotation[0]
        toward = -c2w[:, :3, 2][None, :, None, None].expand_as(normal)
        found = {
            DEPTH: (100 * float(off), 100 * float(true_offset[solid].abs().mean() / 2)),
            NORMALS: (_angle(told_normals[solid], normal[solid]), _angle(toward[solid], normal[solid])),
        }
        colors = torch.zeros(1, RING, 2)
        colors[:, 1:, 0] = 1
        picture = draw(believed(colors).gaussians, gauge, self.size, self.size) * 0.5 + 0.5
        alpha = picture[0, 1:, ..., 3:].clamp(0, 1)
        straight = torch.cat(((picture[0, 1:, ..., :3] / alpha.clamp_min(1e-3)).clamp(0, 1), alpha), dim=-1)
        photo = clean[0, 0, ..., APPEARANCE] * 0.5 + 0.5
        mean = photo[..., :3].sum((0, 1)) / photo[..., 3].sum()
        flat = torch.cat((mean.expand_as(rgba[0, 1:, ..., :3]), rgba[0, 1:, ..., 3:]), dim=-1)
        found[COLORS] = (_psnr(straight, rgba[0, 1:]), _psnr(flat, rgba[0, 1:]))
        return found

    def cameras(self) -> dict[str, tuple[float, float]]:
        """What is told of cameras that nothing is said of: of a single photo, and of three together."""
        true = [
            orbit_camera(*direction, fov, self.size, self.size) for direction, fov in zip(self.directions, self.fovs)
        ]
        pictures = premultiplied(draw_views(self.mesh, true))

        def told(some: Tensor) -> list[Camera]:
            return tell_cameras(self.pipe.transformer, some, generator=torch.Generator().manual_seed(self.seed))

        alone, together = told(pictures[:1])[0], told(pictures)
        turns = [_turn(true[0], camera) for camera in true[1:]]
        found = [_turn(together[0], camera) for camera in together[1:]]
        return {
            ELEVATION: _both(alone.elevation, MIDDLE_ELEVATION, true[0].elevation),
            FIELD: _both(alone.fov_y, sum(FOVS) / 2, true[0].fov_y),
            TURNS: (_mean_angle(found, turns), _mean_angle([torch.eye(3)] * len(turns), turns)),
        }

    def seam(self) -> tuple[float, float]:
        """How much the picture changes from the last frame of an orbit to its first, in mean changes from frame to
        frame; and the mean change between frames that are each generated alone."""
        photo, pictures = [self.camera(*PHOTO)], draw_views(self.mesh, [self.camera(*PHOTO)])
        targets = [self.camera(2 * math.pi * (i + 0.5) / ORBIT) for i in range(ORBIT)]
        views = self.generate(photo, pictures, targets, self.size)
        changes = _changes(views)
        alone = []
        for index in range(4):  # four neighbours, each with noise of its own
            generator = torch.Generator().manual_seed(self.seed + 1 + index)
            frame = frame_from_tensors(photo[0], pictures[0], source=Source.RENDERED, name="photo")
            place = targets[ORBIT // 2 + index]
            alone.append(self.pipe([frame], [place], size=self.size, generator=generator).frames[1].rgba())
        usual = changes[:-1].mean().clamp_min(1e-6)
        return float(changes[-1] / usual), float(_changes(torch.stack(alone))[:-1].mean() / usual)


def run(options: TaskBenchmarkOptions) -> dict[str, Any]:
    """Measure all tasks and write the results.

    Raises:
        BenchmarkError, WeightsError: if the objects or the weights are missing.
        OSError: if the output cannot be written.
    """
    from gen.weights import load_pipeline

    test_set = open_set(options.objects)
    pipe = load_pipeline(options.model)
    options.output.open("a").close()  # what cannot be written is known before the work
    objects = test_set.objects if options.count is None else stratified(test_set.objects, options.count)
    scores: dict[str, dict[str, tuple[float, float]]] = {task.name: {} for task in TASKS}
    for item in track(objects, "objects", console=Console(stderr=True)):
        bench = Bench(pipe, test_set.mesh(item.id), item.id, options.size)
        methods: list[Callable[[], tuple[float, float]]] = [
            *(partial(bench.photos_to_views, count) for count in (1, 2, 4)),
            bench.between,
            bench.wide,
        ]
        with torch.no_grad():
            found = {task.name: method() for task, method in zip(TASKS, methods)} | bench.geometry()
            found |= bench.cameras()
            found[SEAM] = bench.seam()
        for name, pair in found.items():
            if not all(map(math.isfinite, pair)):
                raise BenchmarkError(f"{item.id}: {name} gave {pair}")
            scores[name][item.id] = pair
    document = {
        "benchmark": "tasks",
        "environment": environment(),
        "settings": {"size": options.size, "weights": weights_digest(options.model)},
        "tasks": scores,
    }
    write_json(options.output, document)
    return document


def markdown(document: dict[str, Any]) -> str:
    """The table of a document that `run` made."""
    rows = []
    for task in TASKS:
        ours, theirs = (
            bootstrap_interval([pair[k] for pair in document["tasks"][task.name].values()]) for k in range(2)
        )
        better = ours.low > theirs.high if task.measure == PSNR else ours.high < theirs.low
        rows.append(
            [task.name, task.measure, show(ours, 2), f"{show(theirs, 2)}: {task.trivial}", "yes" if better else "no"]
        )
    header = ["task", "measure", "told", "without understanding", "better, intervals disjoint"]
    return f"Weights {document['settings']['weights'][:8]}…\n\n" + table(header, rows)


def _psnr(told: Tensor, truth: Tensor) -> float:
    return float(compare_views(told, truth, with_flip=False).masked_psnr.mean())


def _blend(pictures: Tensor) -> Tensor:
    """(1, H, W, 4) the mean of straight-alpha pictures."""
    alpha = pictures[..., 3:].mean(dim=0)
    rgb = (pictures[..., :3] * pictures[..., 3:]).mean(dim=0) / alpha.clamp_min(1e-6)
    return torch.cat((rgb.clamp(0, 1), alpha), dim=-1)[None]


def _changes(views: Tensor) -> Tensor:
    """(V,) mean absolute change of premultiplied pictures from each view to the next, round to the first."""
    flat = premultiplied(views)
    return (flat.roll(-1, 0) - flat).abs().mean(dim=(1, 2, 3))


def _turn(first: Camera, other: Camera) -> Tensor:
    """(3, 3) the other camera's axes in the first one's."""
    return first.c2w[:3, :3].T @ other.c2w[:3, :3]


def _mean_angle(turns: Sequence[Tensor], truth: Sequence[Tensor]) -> float:
    """Mean angle in degrees between rotations."""
    cosines = torch.stack([((a.T @ b).trace() - 1) / 2 for a, b in zip(turns, truth)])
    return float(torch.rad2deg(torch.acos(cosines.clamp(-1, 1))).mean())


def _both(told: float, guess: float, truth: float) -> tuple[float, float]:
    """Errors of an angle that was told and of one that was guessed, in degrees."""
    return math.degrees(abs(told - truth)), math.degrees(abs(guess - truth))


def _angle(a: Tensor, b: Tensor) -> float:
    """Mean angle in degrees between unit vectors (N, 3)."""
    return float(torch.rad2deg(torch.acos((a * b).sum(-1).clamp(-1, 1))).mean())


def main(args: list[str] | None = None) -> int:
    """Parses `args` (the command line unless given); returns the exit code."""
    options = tyro.cli(TaskBenchmarkOptions, args=args, prog="python -m benchmarks.tasks")
    return run_command(lambda: print(markdown(run(options))), again="give the same command again")


if __name__ == "__main__":
    sys.exit(main())
