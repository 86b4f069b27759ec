"""The rows that every table has: the ceiling, the generator, and what either has to beat."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gen.baselines import TrainingViews, copy_input
from pipelines._options import PRESETS, PresetName
from pipelines.evaluation.protocol import PathName, context_views, counted_views, draw_views
from pipelines.evaluation.sets import EvaluationSet
from pipelines.evaluation.subject import Answer, Method, Subject, Timer
from pipelines.evaluation.training_views import training_views
from recon.capture import Capture
from recon.metrics.views import resize_views
from recon.surface.baselines import bounding_sphere, hull_mesh, inflated_silhouette
from recon.surface.mesh import Mesh

if TYPE_CHECKING:
    from gen.pipeline import OrbitPipeline

CEILING = ("truth", "true views")
TRIVIAL = ("copy", "mean", "nearest", "sphere", "visual hull", "inflated")
OF_TRAINING = ("mean", "nearest")
"""Rows that need objects to learn from."""
GENERATORS: Mapping[str, int] = {"generator": 1, "generator-2": 2, "generator-4": 4}
"""Rows of the generator, and how many views each is given."""
RETRIEVAL_SIZE = 64
_TARGET_FACES = 10_000
_VIEWS, _MESHES = frozenset({"views"}), frozenset({"meshes"})
MAKES: Mapping[str, frozenset[str]] = {
    **dict.fromkeys(("truth", "true views", "sphere", "visual hull", "inflated"), _MESHES),
    **dict.fromkeys(("copy", "mean"), _VIEWS),
    **dict.fromkeys(("nearest", *GENERATORS), _VIEWS | _MESHES),
}
"""Which of "views" and "meshes" each row makes."""


@dataclass(frozen=True)
class Chain:
    """How pictures become meshes in an evaluation: everything that the generator's and the ceiling's rows depend on.

    Attributes:
        model: folder of the generator's weights, or None where no row asks for it.
        preset: of the fit, the fusion and the texture.
        num_inference_steps: of the generator.
    """

    model: Path | None
    preset: PresetName
    num_inference_steps: int


class Rows:
    """Makes the methods of one process; weights and memories are loaded once."""

    def __init__(
        self,
        objects: EvaluationSet,
        training: EvaluationSet,
        training_digest: str,
        path: PathName,
        size: int,
        chain: Chain,
        wanted: frozenset[str],
    ) -> None:
        self._objects, self._training, self._wanted = objects, training, wanted
        self._training_digest = training_digest
        self._path, self._size, self._chain = path, size, chain
        self._pipe: OrbitPipeline | None = None
        self._remembered: TrainingViews | None = None
        self._warm = False

    def method(self, name: str) -> Method:
        """The built-in row `name`, one of `CEILING`, `TRIVIAL` and `GENERATORS`, made ready."""
        self._prepare(name)
        if name in GENERATORS:
            context = tuple(context_views(GENERATORS[name]))
            return Method(name, kind_of(name), lambda s, t: self._generated(s, t, context), self._wanted, context)
        trivial: dict[str, Callable[[Subject, Timer], Answer]] = {
            "copy": self._copy,
            "mean": self._mean,
            "nearest": self._nearest,
            "sphere": lambda s, t: Answer(mesh=bounding_sphere()),
            "visual hull": lambda s, t: Answer(mesh=hull_mesh(s.cameras, list(s.views[..., 3]))),
            "inflated": lambda s, t: Answer(mesh=inflated_silhouette(s.cameras[0], s.views[0, ..., 3])),
        }
        if name in trivial:
            return Method(name, kind_of(name), trivial[name], MAKES[name] & self._wanted)
        answers = {"truth": self._truth, "true views": self._true_views}[name]
        return Method(name, kind_of(name), answers, MAKES[name] & self._wanted)

    def _prepare(self, name: str) -> None:
        """Load what a row needs, so that its answers' times are of work."""
        if name in GENERATORS and self._pipe is None:
            from gen.weights import load_pipeline

            self._pipe = load_pipeline(self._chain.model)
        if name in (*GENERATORS, "true views") and "meshes" in self._wanted and not self._warm:
            from recon.splat.warm_up import warm_up

            warm_up()
            self._warm = True
        if name in OF_TRAINING and self._remembered is None:
            self._remembered = training_views(self._training, self._training_digest, self._path, RETRIEVAL_SIZE)

    def _truth(self, subject: Subject, timer: Timer) -> Answer:
        return Answer(mesh=self._objects.mesh(subject.id), lit=True)

    def _true_views(self, subject: Subject, timer: Timer) -> Answer:
        return Answer(mesh=self._reconstruct(Capture(subject.frames()), subject.seed, timer))

    def _generated(self, subject: Subject, timer: Timer, context: Sequence[int]) -> Answer:
        targets = counted_views(len(subject.cameras), context)
        with timer.step("generate"):
            capture = self._orbit(subject, context, targets, subject.seed)
        mesh = self._reconstruct(capture, subject.seed, timer) if "meshes" in self._wanted else None
        if "views" not in self._wanted:
            return Answer(mesh=mesh)

        def another() -> Tensor:
            return self._pictures(self._orbit(subject, context, targets, subject.seed + 1), len(context))

        return Answer(self._pictures(capture, len(context)), mesh, another=another)

    def _orbit(self, subject: Subject, context: Sequence[int], targets: Sequence[int], seed: int) -> Capture:
        assert self._pipe is not None
        return self._pipe(
            subject.frames(context),
            [subject.cameras[i] for i in targets],
            num_inference_steps=self._chain.num_inference_steps,
            generator=torch.Generator().manual_seed(seed),
        )

    def _pictures(self, capture: Capture, given: int) -> Tensor:
        return resize_views(torch.stack([frame.rgba() for frame in capture.frames[given:]]), self._size)

    def _copy(self, subject: Subject, timer: Timer) -> Answer:
        return Answer(copy_input(subject.views[0], len(subject.views) - 1))

    def _mean(self, subject: Subject, timer: Timer) -> Answer:
        assert self._remembered is not None
        return Answer(resize_views(self._remembered.mean_views, self._size))

    def _nearest(self, subject: Subject, timer: Timer) -> Answer:
        assert self._remembered is not None
        match = self._remembered.nearest(resize_views(subject.views[:1], RETRIEVAL_SIZE)[0])
        mesh = self._training.mesh(match)
        return Answer(draw_views(mesh, subject.cameras[1:]), mesh, lit=True, notes={"training object": match})

    def _reconstruct(self, capture: Capture, seed: int, timer: Timer) -> Mesh:
        """Capture -> Gaussians -> closed, decimated, textured mesh, as the commands make it."""
        from recon.splat.fit import fit_gaussians
        from recon.splat.fit_options import FIT_PRESETS
        from recon.surface.finishing import FinishOptions, finish
        from recon.surface.fusion import FUSION_PRESETS, fuse_depth, unseen_frames
        from recon.surface.stereo import comparable, stereo_volume
        from recon.surface.texture import BakeOptions

        preset = self._chain.preset
        fusion, fit = FUSION_PRESETS[preset], FIT_PRESETS[preset]
        solid = None
        if comparable(capture.frames):
            with timer.step("compare"):
                solid = stereo_volume(capture.frames, fit.grid)
        with timer.step("fit"):
            gaussians = fit_gaussians(capture, fit, seed=seed, solid=solid)
        with timer.step("fuse"):
            surface = fuse_depth(gaussians, capture.cameras, fusion, observed=capture.frames)
        with timer.step("draw"):
            rest = unseen_frames(gaussians, capture.frames, fusion)
        options = FinishOptions(_TARGET_FACES, bake=BakeOptions(PRESETS[preset].texture_size))
        return finish(surface, (*capture.frames, *rest), options, timer.step).mesh


def kind_of(name: str) -> str:
    """The kind of a row; names that are not built in are of methods from elsewhere, which generate."""
    return "ceiling" if name in CEILING else "trivial" if name in TRIVIAL else "generated"


def settings_of(name: str, chain: Chain, weights: str, training: str) -> dict[str, Any]:
    """What a built-in row's scores depend on besides the protocol, as JSON values.

    Args:
        weights: hash of the generator's weights.
        training: digest of the set that the rows of `OF_TRAINING` remember.
    """
    if name in GENERATORS:
        return {
            "preset": chain.preset,
            "num_inference_steps": chain.num_inference_steps,
            "weights": weights,
            "target_faces": _TARGET_FACES,
        }
    if name == "true views":
        return {"preset": chain.preset, "target_faces": _TARGET_FACES}
    return {"training": training} if name in OF_TRAINING else {}
