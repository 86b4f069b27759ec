"""Capture -> `Gaussians`: draw a view, compare it with its frame, step; over and over."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from recon.capture import Camera, Capture, Frame, Source
from recon.splat.corrections import CorrectionOptions, FrameCorrection, FrameCorrections, corrected_capture, decided
from recon.splat.gaussians import Gaussians
from recon.splat.initialise import initial_gaussians, initial_volume
from recon.splat.losses import (
    depth_loss,
    normal_loss,
    normals_from_depth,
    picture_loss,
)
from recon.splat.optimise import LearningRates, SplatOptimiser
from recon.splat.rasterize import Rendering, rasterize
from recon.splat.resizing import resized, shrunk
from recon.splat.threads import one_torch_thread

_FEWEST = 500
Progress = Callable[[int, int, dict[str, float]], None]
"""Called with (steps done, steps in all, current figures)."""
Watch = Callable[[int, Gaussians], None]
"""Called with (steps done, the scene as it is then, detached); whoever keeps the scene copies it."""


@dataclass(frozen=True)
class FitOptions:
    """How a scene is fitted. Weights are relative to the photometric loss."""

    iterations: int = 400
    """Views drawn and compared."""
    views_per_step: int = 1
    """Views, of any sizes, whose gradients are averaged in one step."""
    steps_at_once: int = 2
    """Steps whose gradients are found side by side, from one and the same scene, and then taken one after the other
    (delayed gradients: Langford et al. 2009). It keeps as many threads busy with nothing to wait for."""
    initial_gaussians: int = 8000
    """Gaussians at the start."""
    max_gaussians: int = 12000
    """Gaussians at the end, at most."""
    pixels_per_gaussian: float = 4.0
    """Fewer Gaussians are used where the frames show fewer pixels of the object than this for each: with more, every
    frame would get its own and the surface would be noise."""
    max_size: int = 128
    """Longer pictures are shrunk to this many pixels on their longer side."""
    sh_degree: int = 0
    """Degree of view-dependent colour; 0 forces views that disagree to share one colour."""
    grid: int = 96
    """Points a side of the volume that the fit starts from."""
    ssim_share: float = 0.2
    """Part of the photometric loss that is structural dissimilarity."""
    alpha_weight: float = 0.5
    """Absolute difference of the drawn and the given mask."""
    depth_weight: float = 0.5
    """Difference of depths, where frames have them."""
    depth_reach: float = 0.03
    """Depth errors beyond this, in world units, count less and less."""
    normal_weight: float = 0.05
    """Angle between drawn normals and the frames' own, where they have them."""
    consistency_weight: float = 0.05
    """Angle between drawn normals and those of the drawn depth."""
    opacity_weight: float = 0.005
    """Mean opacity: lets superfluous Gaussians fade, so that they can be moved."""
    renew_every: int = 50
    """Views between moving dead Gaussians and growing the scene."""
    max_scale: float = 0.15
    """Wider Gaussians, in world units, are moved."""
    rates: LearningRates = field(default_factory=LearningRates)
    """Adam's step sizes."""
    corrections: CorrectionOptions = field(default_factory=CorrectionOptions)
    """What is estimated of each frame beside the scene."""

    def __post_init__(self) -> None:
        if self.views_per_step < 1 or self.steps_at_once < 1:
            raise ValueError(
                f"a fit takes at least one step at once and one view a step, got steps_at_once={self.steps_at_once} "
                f"and views_per_step={self.views_per_step}"
            )
        if self.iterations < 1 or self.initial_gaussians < 1 or self.max_gaussians < self.initial_gaussians:
            raise ValueError(
                f"a fit needs at least one iteration and 1 <= initial_gaussians <= max_gaussians, got "
                f"{self.iterations}, {self.initial_gaussians} and {self.max_gaussians}"
            )

    def limited(self, max_gaussians: int) -> FitOptions:
        """The same fit under another limit; it starts with fewer Gaussians where the limit asks for that."""
        return replace(self, max_gaussians=max_gaussians, initial_gaussians=min(self.initial_gaussians, max_gaussians))


FIT_PRESETS: dict[str, FitOptions] = {
    "fast": FitOptions(),
    "balanced": FitOptions(iterations=1200, initial_gaussians=12000, max_gaussians=24000, max_size=192, grid=128),
    "quality": FitOptions(
        iterations=4000, initial_gaussians=30000, max_gaussians=80000, max_size=384, grid=160, sh_degree=2
    ),
    "views": FitOptions(
        iterations=3000,
        initial_gaussians=20000,
        max_gaussians=40000,
        pixels_per_gaussian=16.0,
        max_size=256,
        rates=LearningRates(means=3e-3),
        sh_degree=1,
        grid=128,
        alpha_weight=0.1,
        depth_weight=0.0,
        normal_weight=0.0,
        consistency_weight=0.0,
        opacity_weight=0.002,
    ),
}
"""The first three are for surfaces. "views" is for pictures from places where no camera stood: colour depends on the
direction, and nothing holds Gaussians to a surface, which is also what makes its steps quick."""


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
    watch: Watch | None = None,
) -> Gaussians:
    """The scene of `fit_scene` alone."""
    return fit_scene(capture, options, seed=seed, progress=progress, start=start, watch=watch).gaussians


@one_torch_thread()
def fit_scene(
    capture: Capture,
    options: FitOptions = FIT_PRESETS["fast"],
    *,
    seed: int = 0,
    progress: Progress | None = None,
    start: Gaussians | None = None,
    watch: Watch | None = None,
) -> Fit:
    """Fits Gaussians to a capture's colours, masks and, where frames have them, depths and normals.

    Frames are compared over random backgrounds, so that colour cannot pass for coverage. Order, backgrounds and
    relocation follow `seed`. Fits run on the processor, with the `cpu` backend, and the result is the same every time.

    Args:
        capture: frames of one object around the world's origin, in the unit-diameter sphere.
        options: length, size and weights of the fit.
        seed: of everything random.
        progress: told about every view that was compared.
        start: what to begin with instead of the solid that silhouettes and depth maps allow, e.g. the points of
            structure from motion (`initial_from_points`). Its harmonics are kept; its count is not limited.
        watch: shown the scene after every step.

    Raises:
        ValueError: if there is no start and the silhouettes do not meet anywhere.
    """
    generator = torch.Generator().manual_seed(seed)
    frames = [decided(frame) for frame in capture] if options.corrections.decided_masks else list(capture)
    targets = [_target(frame, options.max_size) for frame in frames]
    covered = sum(float((target.alpha > 0.5).sum()) for target in targets)
    limit = max(_FEWEST, round(covered / options.pixels_per_gaussian))
    if start is None:
        volume = initial_volume(frames, options.grid)
        count = min(options.initial_gaussians, limit)
        start = initial_gaussians(volume, frames, count, generator, sh_degree=options.sh_degree)
    steps = -(-options.iterations // options.views_per_step)
    optimiser = SplatOptimiser(start, options.rates, steps, generator)
    corrections = FrameCorrections(frames, options.corrections, steps)
    order = _shuffled(_visits(frames), generator)
    views, renewals, step = 0, 0, 0
    while views < options.iterations:
        count = min(options.views_per_step * options.steps_at_once, options.iterations - views)
        looks = [(next(order), torch.rand(3, generator=generator)) for _ in range(count)]
        groups = [looks[i : i + options.views_per_step] for i in range(0, count, options.views_per_step)]
        for result in _differentiated(groups, optimiser, targets, corrections, options):
            step += 1
            optimiser.step(result.scene)
            corrections.step(step, result.corrections)
            for view in result.views:
                views += 1
                corrections.observe(view.index, view.residual, view.shown)
                if progress is not None:
                    progress(views, options.iterations, view.figures | {"gaussians": float(len(result.scene[0]))})
            if watch is not None:
                watch(views, optimiser.gaussians)
        # The last fifth only polishes: what moves then would have no time to settle.
        if views // options.renew_every > renewals and views < 0.8 * options.iterations:
            renewals += 1
            optimiser.renew(min(options.max_gaussians, limit), max_scale=options.max_scale)
    found = corrections.result()
    return Fit(optimiser.gaussians, found, corrected_capture(capture, found))


@dataclass(frozen=True)
class _Target:
    """A frame, decoded once, at the size of the fit."""

    camera: Camera
    color: Tensor  # (H, W, 3) premultiplied
    alpha: Tensor  # (H, W)
    weight: Tensor  # (H, W)
    depth: Tensor | None  # (H, W), 0 = unknown
    normal: Tensor | None  # (H, W, 3) in the camera's frame, 0 = unknown
    directions: Tensor  # (H, W, 3) of unit depth, in the camera's frame


def _target(frame: Frame, max_size: int) -> _Target:
    camera = shrunk(frame.camera, max_size)
    size = (camera.height, camera.width)
    # Plane by plane, as the kernels of the loss want it.
    picture = resized(frame.premultiplied(), size, "area").permute(2, 0, 1).contiguous().permute(1, 2, 0)
    depth, normal = frame.depth(), frame.normal()
    return _Target(
        camera,
        picture[..., :3],
        picture[..., 3],
        resized(frame.weight()[..., None], size, "area")[..., 0],
        None if depth is None else resized(depth[..., None], size, "nearest-exact")[..., 0],
        None if normal is None else resized(normal, size, "nearest-exact") @ camera.c2w[:3, :3],
        camera.rays()[1] @ camera.c2w[:3, :3],
    )


def _visits(frames: Sequence[Frame]) -> list[int]:
    """Which frames one pass compares: beside generated ones, the others often enough to make a third of it."""
    generated = [i for i, frame in enumerate(frames) if frame.source is Source.GENERATED]
    others = [i for i, frame in enumerate(frames) if frame.source is not Source.GENERATED]
    if not generated or not others:
        return generated + others
    return generated + others * max(1, round(len(generated) / (2 * len(others))))


def _shuffled(visits: list[int], generator: torch.Generator) -> Iterator[int]:
    """Endless passes over `visits`, each in a new order: neighbours on an orbit teach little in a row."""
    while True:
        yield from (visits[i] for i in torch.randperm(len(visits), generator=generator).tolist())


def _needs_geometry(target: _Target, options: FitOptions) -> bool:
    """Whether any loss of this view looks at depth or normals; drawing them takes half as long again."""
    depth = target.depth is not None and options.depth_weight > 0
    normal = target.normal is not None and options.normal_weight > 0
    return depth or normal or options.consistency_weight > 0


@dataclass(frozen=True)
class _View:
    """One camera's part of a drawing; depth and normals where they were asked for."""

    viewmat: Tensor
    rgb: Tensor  # (H, W, 3) over black
    alpha: Tensor  # (H, W)
    depth: Tensor | None  # (H, W)
    normal: Tensor | None  # (H, W, 3) in the world


def _draw(
    gaussians: Gaussians,
    indices: Sequence[int],
    targets: Sequence[_Target],
    corrections: FrameCorrections,
    options: FitOptions,
) -> list[_View]:
    """The views of one step; together where they are alike, because then each thread draws its own."""
    groups: dict[tuple[int, int, bool], list[int]] = {}
    for place, index in enumerate(indices):
        camera = targets[index].camera
        alike = camera.width, camera.height, _needs_geometry(targets[index], options)
        groups.setdefault(alike, []).append(place)
    views: dict[int, _View] = {}
    for (width, height, geometry), places in groups.items():
        viewmats = torch.stack([corrections.viewmat(indices[place]) for place in places])
        intrinsics = torch.stack([targets[indices[place]].camera.intrinsics for place in places])
        drawing = rasterize(gaussians, (viewmats, intrinsics, width, height), geometry=geometry)
        for i, place in enumerate(places):
            depth, normal = None, None
            if isinstance(drawing, Rendering):
                depth, normal = drawing.depth[i], drawing.normal[i]
            views[place] = _View(viewmats[i], drawing.rgb[i], drawing.alpha[i], depth, normal)
    return [views[place] for place in range(len(indices))]


@dataclass(frozen=True)
class _Compared:
    """What one view was like, for the record."""

    index: int
    residual: Tensor  # (H, W)
    shown: Tensor  # (H, W) coverage by the object, in the frame or in the drawing
    figures: dict[str, float]


@dataclass(frozen=True)
class _Gradients:
    """What one step is taken from."""

    scene: Sequence[Tensor]
    corrections: Sequence[Tensor]
    views: list[_Compared]


def _differentiated(
    groups: Sequence[Sequence[tuple[int, Tensor]]],
    optimiser: SplatOptimiser,
    targets: Sequence[_Target],
    corrections: FrameCorrections,
    options: FitOptions,
) -> list[_Gradients]:
    """The gradients of steps that look at groups of (frame, background), side by side and all of the scene as it is."""
    from recon.splat.backend_cpu.jit import for_each_apart

    found: dict[int, _Gradients] = {}

    @one_torch_thread()
    def differentiate(step: int) -> None:
        gaussians, unknowns = optimiser.leaves(), corrections.leaves()
        drawings = _draw(gaussians, [index for index, _ in groups[step]], targets, corrections, options)
        losses, views = [], []
        for (index, background), drawing in zip(groups[step], drawings, strict=True):
            terms, view = _compare(drawing, index, targets[index], background, corrections, options)
            losses.append(torch.stack(list(terms.values())).sum())
            views.append(view)
        loss = torch.stack(losses).mean() + options.opacity_weight * gaussians.opacities.mean()
        leaves = [*gaussians.tensors(), *unknowns]
        gradients = torch.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=True)
        found[step] = _Gradients(gradients[: -len(unknowns)], gradients[-len(unknowns) :], views)

    for_each_apart(len(groups), differentiate)
    return [found[step] for step in range(len(groups))]


def _compare(
    view: _View,
    index: int,
    target: _Target,
    background: Tensor,
    corrections: FrameCorrections,
    options: FitOptions,
) -> tuple[dict[str, Tensor], _Compared]:
    """The weighted losses of one view, by name, and what is told about it."""
    camera, alpha = target.camera, view.alpha
    rgb = corrections.exposed(index, view.rgb, alpha)
    weight = target.weight * corrections.confidence(index, (camera.height, camera.width))
    loss = picture_loss(
        rgb, alpha, target.color, target.alpha, background, weight, options.ssim_share, options.alpha_weight
    )
    terms = {"color": loss.color, "alpha": loss.mask, "corrections": corrections.penalty(index)}
    terms |= _geometry_terms(view, index, target, weight, corrections, options)
    figures = {name: float(term.detach()) for name, term in terms.items()}
    return terms, _Compared(index, loss.residual, torch.maximum(alpha.detach(), target.alpha), figures)


def _geometry_terms(
    view: _View, index: int, target: _Target, weight: Tensor, corrections: FrameCorrections, options: FitOptions
) -> dict[str, Tensor]:
    """The weighted losses of depth and normals, where they were drawn."""
    if view.depth is None or view.normal is None:
        return {}
    terms, alpha = {}, view.alpha
    depth, normal = view.depth, view.normal @ view.viewmat[:3, :3].T
    # Where the mask is mixed, depth and normal belong to nothing in particular.
    solid = weight * (target.alpha > 0.9) * (alpha.detach() > 0.5)
    depth_weight, normal_weight = (
        corrections.geometry(index) * w for w in (options.depth_weight, options.normal_weight)
    )
    if target.depth is not None and depth_weight > 0:
        terms["depth"] = depth_weight * depth_loss(depth, target.depth, solid, options.depth_reach)
    if target.normal is not None and normal_weight > 0:
        terms["normal"] = normal_weight * normal_loss(normal, target.normal, solid)
    if options.consistency_weight > 0:
        surface = normals_from_depth(depth, target.directions)
        terms["consistency"] = options.consistency_weight * normal_loss(normal, surface, solid)
    return terms
