"""nerfstudio's pipeline, which gives the model a scene to begin with before it is trained."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from nerfstudio.pipelines.base_pipeline import VanillaPipeline, VanillaPipelineConfig
from torch import Tensor

from pipelines.nerfstudio.frames import training_capture
from pipelines.nerfstudio.model import SplatsModel
from recon.capture import Capture, Similarity
from recon.capture.normalise import NormaliseError, normalise
from recon.splat.comparing import target_of
from recon.splat.crop import SCENE_FIT, scene_start
from recon.splat.fit import most_gaussians, start_on_solid
from recon.splat.fit_options import FitOptions
from recon.splat.gaussians import Gaussians


@dataclass
class SplatsPipelineConfig(VanillaPipelineConfig):
    """nerfstudio's pipeline with our start."""

    _target: type = field(default_factory=lambda: SplatsPipeline)


class SplatsPipeline(VanillaPipeline):
    """Covers the silhouettes' hull, or the capture's points, with the first Gaussians. Checkpoints bring their own."""

    def __init__(
        self,
        config: SplatsPipelineConfig,
        device: str,
        test_mode: Literal["test", "val", "inference"] = "val",
        **rest: Any,
    ) -> None:
        super().__init__(config, device, test_mode, **rest)
        if test_mode != "val":
            return
        model = self.model
        assert isinstance(model, SplatsModel)
        capture = training_capture(self.datamanager)
        options = model.config.fit_options()
        most = most_gaussians((target_of(frame, options.max_size) for frame in capture), options)
        scene, to_unit, max_scale = started(capture, model.seed_points, model.config.start, options, most)
        model.begin(scene, to_unit, most, max_scale)


def started(
    capture: Capture, seed_points: tuple[Tensor, Tensor] | None, kind: str, options: FitOptions, most: int
) -> tuple[Gaussians, Similarity, float]:
    """The first Gaussians in the capture's world, what moves the subject to the unit-diameter sphere, and how wide
    Gaussians may be there.

    Args:
        seed_points: (N, 3) places and (N, 3) colours of a byte each.
        kind: auto, hull or points.
        most: Gaussians, where a hull is covered.

    Raises:
        NormaliseError: if a hull is asked for and there are no silhouettes.
        ValueError: if there are neither silhouettes nor points, and the cameras do not look at one place.
    """
    if kind != "points":
        try:
            placed = normalise(Capture(capture.frames))  # what leads back then leads to the capture's own world
        except NormaliseError:
            if kind == "hull":
                raise
        else:
            to_unit = placed.to_source.inverse()
            scene = start_on_solid(placed.frames, options, most, torch.Generator().manual_seed(0))
            return scene.transform(placed.to_source), to_unit, options.max_scale
    points = None if seed_points is None else (seed_points[0].cpu().float(), seed_points[1].cpu().float() / 255)
    scene, to_unit = scene_start(capture, points)
    scene = scene.with_sh_degree(options.sh_degree)
    return scene.transform(to_unit.inverse()), to_unit, SCENE_FIT.max_scale
