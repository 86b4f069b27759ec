"""Capture -> `Gaussians`: what a fit starts from, and what it returns. The loop itself is `loop`'s."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from recon.capture import Capture, Frame, Source
from recon.splat.backend_cuda import CudaBackendError, find_gsplat
from recon.splat.comparing import Target, target_of
from recon.splat.corrections import FrameCorrection, FrameCorrections, corrected_capture, decided
from recon.splat.fit_options import FIT_PRESETS, FitOptions
from recon.splat.gaussians import Gaussians
from recon.splat.initialise import initial_gaussians, initial_volume
from recon.splat.loop import Progress, Watch, optimise_scene
from recon.splat.optimise import SplatOptimiser
from recon.splat.threads import one_torch_thread
from recon.splat.volume import SignedVolume

_FEWEST = 500
"""Gaussians that a scene may have in any case, however few pixels show the object."""


@dataclass(frozen=True)
class Fit:
    """A scene, and what was found to be off in the frames it was fitted to.

    Attributes:
        gaussians: the scene.
        corrections: one a frame, in the capture's order.
        capture: the given one with the corrections applied.
    """

    gaussians: Gaussians
    corrections: tuple[FrameCorrection, ...]
    capture: Capture


def fit_gaussians(
    capture: Capture,
    options: FitOptions = FIT_PRESETS["fast"],
    *,
    seed: int = 0,
    progress: Progress | None = None,
    start: Gaussians | None = None,
    solid: SignedVolume | None = None,
    watch: Watch | None = None,
    device: Literal["cpu", "cuda"] = "cpu",
) -> Gaussians:
    """The scene of `fit_scene` alone."""
    return fit_scene(
        capture, options, seed=seed, progress=progress, start=start, solid=solid, watch=watch, device=device
    ).gaussians


@one_torch_thread()
def fit_scene(
    capture: Capture,
    options: FitOptions = FIT_PRESETS["fast"],
    *,
    seed: int = 0,
    progress: Progress | None = None,
    start: Gaussians | None = None,
    solid: SignedVolume | None = None,
    watch: Watch | None = None,
    device: Literal["cpu", "cuda"] = "cpu",
) -> Fit:
    """Fits Gaussians to a capture's colours, masks and, where frames have them, depths and normals.

    Frames are compared over random backgrounds, so that colour cannot pass for coverage. Order, backgrounds and
    relocation follow `seed`. On the processor the result is the same every time; on a GPU sums are taken in any order.

    Args:
        capture: frames of one object around the world's origin, in the unit-diameter sphere.
        options: length, size and weights of the fit.
        seed: of everything random.
        progress: told about every view that was compared.
        start: what to begin with instead of the solid that silhouettes and depth maps allow, e.g. the points of
            structure from motion (`initial_from_points`). Its harmonics are kept; its count is not limited.
        solid: the solid to cover with the first Gaussians instead of that one, e.g. what the pictures agree on
            (`recon.surface.stereo`). Not asked where there is a start.
        watch: shown the scene after every step, on the device.
        device: where it is drawn, compared and stepped: "cpu", or "cuda" with gsplat. What is returned is on the
            processor.

    Raises:
        ValueError: if there is no start and the silhouettes do not meet anywhere, if the solid has no surface, or if
            the start is empty or holds numbers that are not finite.
        CudaBackendError: if there is no GPU or no gsplat for it, or the focal length is to be corrected there.
    """
    if device != "cpu":
        _check_gpu(options)
    if start is not None and (len(start) == 0 or not all(bool(torch.isfinite(t).all()) for t in start.tensors())):
        raise ValueError("a fit starts from at least one Gaussian, and from finite numbers only")
    generator = torch.Generator().manual_seed(seed)
    frames = [decided(frame) for frame in capture] if options.corrections.decided_masks else list(capture)
    targets = [target_of(frame, options.max_size).to(device) for frame in frames]
    limit = most_gaussians(targets, options)
    if start is None:
        start = start_on_solid(frames, options, limit, generator, solid)
    steps = -(-options.iterations // options.views_per_step)
    optimiser = SplatOptimiser(start.to(device), options.rates, steps, generator)
    corrections = FrameCorrections(frames, options.corrections, steps)
    optimise_scene(
        optimiser,
        shuffled(visits(frames), generator),
        targets,
        corrections,
        options,
        generator,
        most=limit,
        progress=progress,
        watch=watch,
    )
    found = corrections.result()
    return Fit(optimiser.gaussians.to("cpu"), found, corrected_capture(capture, found))


def most_gaussians(targets: Iterable[Target], options: FitOptions) -> int:
    """How many Gaussians a fit ends with at most: fewer than is asked for where the frames show few pixels."""
    covered = sum(float((target.alpha > 0.5).sum()) for target in targets)
    return min(options.max_gaussians, max(_FEWEST, round(covered / options.pixels_per_gaussian)))


def start_on_solid(
    frames: Sequence[Frame],
    options: FitOptions,
    most: int,
    generator: torch.Generator,
    solid: SignedVolume | None = None,
) -> Gaussians:
    """At most `most` Gaussians on a solid, by default the one that silhouettes and depth maps allow.

    Raises:
        ValueError: if the silhouettes do not meet anywhere, or the solid has no surface.
    """
    return initial_gaussians(
        initial_volume(frames, options.grid) if solid is None else solid,
        frames,
        min(options.initial_gaussians, most),
        generator,
        sh_degree=options.sh_degree,
        thickness=options.initial_thickness,
        thickness_edge_on=options.initial_thickness_edge_on,
        brightness_edge_on=options.initial_brightness_edge_on,
    )


def _check_gpu(options: FitOptions) -> None:
    if not torch.cuda.is_available():
        raise CudaBackendError(
            "this PyTorch sees no CUDA device; fit on the cpu, or check the driver and PyTorch's build"
        )
    find_gsplat()
    if options.corrections.focal:
        raise CudaBackendError("gsplat has no gradient of the intrinsics; refine focal lengths on the cpu")


def visits(frames: Sequence[Frame]) -> list[int]:
    """Which frames one pass compares: beside generated ones, the others often enough to make a third of it."""
    generated = [i for i, frame in enumerate(frames) if frame.source is Source.GENERATED]
    others = [i for i, frame in enumerate(frames) if frame.source is not Source.GENERATED]
    if not generated or not others:
        return generated + others
    return generated + others * max(1, round(len(generated) / (2 * len(others))))


def shuffled(visits: list[int], generator: torch.Generator) -> Iterator[int]:
    """Endless passes over `visits`, each in a new order: neighbours on an orbit teach little in a row."""
    while True:
        yield from (visits[i] for i in torch.randperm(len(visits), generator=generator).tolist())
