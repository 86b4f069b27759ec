"""What `benchmarks.motion` compares: ways from pictures of something that moves to a .glb, and what bounds them."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from benchmarks._moving_run import MovingRun, run_command, to_capture
from benchmarks._moving_truth import MovingTruth, capture_of, given_cameras
from pipelines._moving_options import MOVING_PRESETS as ASSETS
from pipelines._options import PresetName
from recon.asset import write_glb, write_mesh_sequence_glb, write_morph_glb, write_skinned_glb
from recon.capture import Capture, Frame, Similarity, Source
from recon.motion.fit import by_time, fit_moving
from recon.motion.fit_options import MOVING_PRESETS, MovingFitOptions, for_generated
from recon.splat.corrections import NO_CORRECTIONS
from recon.splat.fit import fit_gaussians
from recon.splat.gaussians import Gaussians
from recon.surface.finishing import FinishOptions, finish
from recon.surface.fusion import FUSION_PRESETS, fuse_depth, unseen_frames
from recon.surface.mesh import Mesh
from recon.surface.moving_outlines import fit_moving_outlines
from recon.surface.skinning import skin_mesh
from recon.surface.texture import BakeOptions, bake_texture
from recon.surface.uv import unwrap

OURS, ONE_BASIS, STATIC, APART = "ours", "one basis", "static", "apart"
CEILING, HARNESS = "ceiling", "harness"
_CEILING_SIZE, _CEILING_VIEWS, _CEILING_TEXTURE = 256, 40, 1024
_INTO_STEP = 1e-3
"""Seconds after a mesh has replaced another at which it is looked at: times are rounded in files."""


@dataclass(frozen=True)
class Task:
    """What a method is given.

    Attributes:
        truth: what bounds the methods may look at it.
        folder: for what all methods share.
        views, size: cameras, and the side of their pictures.
        preset: of the command.
        apart_every: how many times there are to each two that are rebuilt alone.
    """

    truth: MovingTruth
    folder: Path
    views: int
    size: int
    preset: PresetName
    apart_every: int

    @functools.cached_property
    def run(self) -> MovingRun:
        """The command's, whose capture the other methods start from."""
        return run_command(self.truth, self.folder, views=self.views, size=self.size, preset=self.preset)

    @property
    def fit(self) -> MovingFitOptions:
        """The options of the command's own fit."""
        options = MOVING_PRESETS[self.preset]
        if any(frame.source is Source.GENERATED for frame in self.run.capture):
            return for_generated(options)
        return replace(options, corrections=NO_CORRECTIONS)

    def place(self, method: str) -> Path:
        """Where a method's file goes."""
        folder = self.folder / method.replace(" ", "_")
        folder.mkdir(parents=True, exist_ok=True)
        return folder / "mesh.glb"


@dataclass(frozen=True)
class Made:
    """A file and how to look at it.

    Attributes:
        glb: the file.
        world: from it to the truth's world.
        keys: which of the truth's times it shows.
        seconds: when it does.
        follows: whether its vertices live throughout.
        lit: whether it is compared with the truth in its light, or with bare colours.
        figures: what it is, and what it took.
    """

    glb: Path
    world: Similarity
    keys: Sequence[int]
    seconds: Sequence[float]
    follows: bool = True
    lit: bool = True
    figures: Mapping[str, float] = field(default_factory=dict)


Method = Callable[[Task], Made]


def ours(task: Task) -> Made:
    """What `video2scene4d --export skin` leaves."""
    quality = task.run.report["quality"]
    figures = {
        "cpu_seconds": task.run.cpu_seconds,
        "bases": quality["motion"]["bases"],
        **{name: quality["mesh"][name] for name in ("faces", "keys")},
    }
    world = task.run.world.compose(to_capture(task.run.glb))
    return _all_times(task, task.run.glb, task.truth.times.tolist(), world, figures)


def one_basis(task: Task) -> Made:
    """The same with one rigid motion for all."""
    run, spent = task.run, time.process_time()
    options = replace(task.fit, bases=replace(task.fit.bases, most=1))
    moving = fit_moving(run.capture, options, seed=task.truth.seed).moving
    rest, glb = moving.motion.rest_time(), task.place(ONE_BASIS)
    skinned = skin_mesh(_mesh_of(moving.at(rest), run.frames_at(rest), task.preset), moving, rest)
    skinned = fit_moving_outlines(skinned, moving.motion.times.tolist(), by_time(run.capture.frames))
    report = write_skinned_glb(skinned, glb, size=None, origin="keep")
    spent = time.process_time() - spent
    figures = {"cpu_seconds": spent, "bases": 1, "keys": report.keys, "faces": len(skinned.mesh.faces)}
    return _all_times(task, glb, task.truth.times.tolist(), run.world, figures)


def static(task: Task) -> Made:
    """The reference time's pictures alone, made a mesh that stands still."""
    run, spent, glb = task.run, time.process_time(), task.place(STATIC)
    mesh = _still(task, task.truth.reference)
    write_glb(mesh, glb, size=None, origin="keep")
    figures = {"cpu_seconds": time.process_time() - spent, "faces": len(mesh.faces)}
    return _all_times(task, glb, [0.0] * len(task.truth.times), run.world, figures)


def apart(task: Task) -> Made:
    """Each time reconstructed from its own pictures: two neighbours of every `apart_every` times, so that flicker can
    be seen; what it takes and weighs is scaled to all."""
    run, truth, spent, glb = task.run, task.truth, time.process_time(), task.place(APART)
    keys = [key for key in range(len(truth.times)) if key % task.apart_every in (0, 1)]
    meshes = [_still(task, key) for key in keys]
    write_mesh_sequence_glb(meshes, truth.times[keys], glb, size=None, origin="keep")
    scale = len(truth.times) / len(keys)
    figures = {
        "cpu_seconds": scale * (time.process_time() - spent),
        "bytes": scale * glb.stat().st_size,
        "faces": sum(len(mesh.faces) for mesh in meshes) / len(meshes),
    }
    seconds = [float(truth.times[key] - truth.times[keys[0]]) + _INTO_STEP for key in keys]
    return Made(glb, run.world, keys, seconds, follows=False, figures=figures)


def ceiling(task: Task) -> Made:
    """The true mesh and motion, textured once, from pictures of the reference time: the best that an unlit file with
    one texture can be."""
    truth = task.truth
    pose = truth.poses[truth.reference]
    moment = replace(truth, times=truth.times[:1], poses=(pose,))
    frames = capture_of(moment, given_cameras(_CEILING_VIEWS, _CEILING_SIZE)).frames
    mesh = bake_texture(unwrap(replace(pose, colors=None), _CEILING_TEXTURE), frames)
    own = torch.zeros(len(mesh.vertices), dtype=torch.int64)
    own[mesh.faces.flatten()] = pose.faces.flatten()  # unwrapping keeps the faces' order
    return _morphing(task, CEILING, mesh, truth.vertices[:, own], lit=True)


def harness(task: Task) -> Made:
    """The true mesh as it is: what writing, drawing and measuring lose."""
    return _morphing(task, HARNESS, task.truth.poses[0], task.truth.vertices, lit=False)


METHODS: dict[str, Method] = {
    OURS: ours,
    ONE_BASIS: one_basis,
    STATIC: static,
    APART: apart,
    CEILING: ceiling,
    HARNESS: harness,
}


def _still(task: Task, key: int) -> Mesh:
    """A textured mesh from one time's pictures."""
    frames = task.run.frames_at(float(task.truth.times[key]))
    still = replace(task.fit.still, corrections=task.fit.corrections)
    return _mesh_of(fit_gaussians(Capture(tuple(frames)), still, seed=task.truth.seed), frames, task.preset)


def _mesh_of(scene: Gaussians, frames: Sequence[Frame], preset: PresetName) -> Mesh:
    """As the command makes it."""
    cameras, fusion, asset = [frame.camera for frame in frames], FUSION_PRESETS[preset], ASSETS[preset].asset
    surface = fuse_depth(scene, cameras, fusion, observed=frames)
    rest = unseen_frames(scene, frames, fusion)
    finishing = FinishOptions(asset.target_faces, bake=BakeOptions(asset.texture_size))
    return finish(surface, (*frames, *rest), finishing).mesh


def _morphing(task: Task, method: str, mesh: Mesh, vertices: Tensor, *, lit: bool) -> Made:
    glb, times = task.place(method), task.truth.times
    write_morph_glb(mesh, vertices, times, glb, size=None, origin="keep", double_sided=True, tolerance=0)
    return _all_times(task, glb, times.tolist(), Similarity(), {"faces": len(mesh.faces)}, lit=lit)


def _all_times(
    task: Task,
    glb: Path,
    seconds: Sequence[float],
    world: Similarity,
    figures: Mapping[str, float],
    *,
    lit: bool = True,
) -> Made:
    size = {"bytes": float(glb.stat().st_size)}
    return Made(glb, world, range(len(task.truth.times)), seconds, lit=lit, figures={**size, **figures})
