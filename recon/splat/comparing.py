"""What one step of a fit is taken from: views are drawn, compared with their frames, and differentiated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from recon.capture import Camera, Frame
from recon.splat.corrections import FrameCorrections
from recon.splat.fit_options import FitOptions
from recon.splat.gaussians import Gaussians
from recon.splat.losses import depth_loss, normal_loss, normals_from_depth, picture_loss
from recon.splat.optimise import SceneOptimiser
from recon.splat.rasterize import Rendering, rasterize
from recon.splat.resizing import resized, shrunk
from recon.splat.threads import one_torch_thread


@dataclass(frozen=True)
class Target:
    """A frame, decoded once, at the size of the fit."""

    camera: Camera
    color: Tensor  # (H, W, 3) premultiplied
    alpha: Tensor  # (H, W)
    weight: Tensor  # (H, W)
    depth: Tensor | None  # (H, W), 0 = unknown
    normal: Tensor | None  # (H, W, 3) in the camera's frame, 0 = unknown
    directions: Tensor  # (H, W, 3) of unit depth, in the camera's frame

    def to(self, device: str) -> Target:
        """The pictures on a device; the camera stays."""
        color, alpha, weight = (picture.to(device) for picture in (self.color, self.alpha, self.weight))
        depth, normal = (None if picture is None else picture.to(device) for picture in (self.depth, self.normal))
        return Target(self.camera, color, alpha, weight, depth, normal, self.directions.to(device))


def target_of(frame: Frame, max_size: int) -> Target:
    camera = shrunk(frame.camera, max_size)
    size = (camera.height, camera.width)
    # Plane by plane, as the kernels of the loss want it.
    picture = resized(frame.premultiplied(), size, "area").permute(2, 0, 1).contiguous().permute(1, 2, 0)
    depth, normal = frame.depth(), frame.normal()
    return Target(
        camera,
        picture[..., :3],
        picture[..., 3],
        resized(frame.weight()[..., None], size, "area")[..., 0],
        None if depth is None else resized(depth[..., None], size, "nearest-exact")[..., 0],
        None if normal is None else resized(normal, size, "nearest-exact") @ camera.c2w[:3, :3],
        camera.rays()[1] @ camera.c2w[:3, :3],
    )


@dataclass(frozen=True)
class Compared:
    """What one view was like, for the record."""

    index: int
    residual: Tensor  # (H, W)
    alpha: Tensor  # (H, W) of the drawing
    figures: dict[str, float]


@dataclass(frozen=True)
class Gradients:
    """What one step is taken from."""

    scene: Sequence[Tensor]
    corrections: Sequence[Tensor]  # empty where no frame of the step is corrected
    views: list[Compared]


def differentiated(
    groups: Sequence[Sequence[tuple[int, Tensor]]],
    optimiser: SceneOptimiser,
    targets: Sequence[Target],
    corrections: FrameCorrections,
    options: FitOptions,
) -> list[Gradients]:
    """The gradients of steps that look at groups of (frame, background), side by side and all of the scene as it is.
    The frames of a group are of one time."""
    from recon.splat.backend_cpu.jit import for_each_apart

    found: dict[int, Gradients] = {}
    on_gpu = optimiser.device.type != "cpu"

    @one_torch_thread()
    def differentiate(step: int) -> None:
        looks = groups[step]
        colors_only = not any(_needs_geometry(targets[i], options) or corrections.corrects(i) for i, _ in looks)
        by = by_kernels if colors_only and not on_gpu else by_autograd
        found[step] = by(looks, optimiser, targets, corrections, options)

    if on_gpu:  # one step fills it, or waits for the processor
        for step in range(len(groups)):
            differentiate(step)
    else:
        for_each_apart(len(groups), differentiate)
    return [found[step] for step in range(len(groups))]


def by_autograd(
    looks: Sequence[tuple[int, Tensor]],
    optimiser: SceneOptimiser,
    targets: Sequence[Target],
    corrections: FrameCorrections,
    options: FitOptions,
) -> Gradients:
    """The gradients of one step, whatever is compared and estimated."""
    frame = looks[0][0]
    gaussians, unknowns = optimiser.shown_by(frame).map(lambda t: t.detach().requires_grad_()), corrections.leaves()
    drawings = _draw(gaussians, [index for index, _ in looks], targets, corrections, options)
    losses, views = [], []
    for (index, background), drawing in zip(looks, drawings, strict=True):
        terms, view = _compare(drawing, index, targets[index], background, corrections, options)
        losses.append(torch.stack(list(terms.values())).sum())
        views.append(view)
    loss = torch.stack(losses).mean() + options.opacity_weight_of(len(targets)) * gaussians.opacities.mean()
    leaves = [*gaussians.tensors(), *unknowns]
    gradients = torch.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=True)
    in_scene = optimiser.pulled_back(frame, gradients[: -len(unknowns)])
    return Gradients(in_scene, gradients[-len(unknowns) :], views)


@torch.no_grad()
def by_kernels(
    looks: Sequence[tuple[int, Tensor]],
    optimiser: SceneOptimiser,
    targets: Sequence[Target],
    corrections: FrameCorrections,
    options: FitOptions,
) -> Gradients:
    """The same, sooner, where only colours and masks are compared and no frame is corrected."""
    from recon.splat.backend_cpu import differentiate_colors
    from recon.splat.fused_loss import fused_loss

    frame = looks[0][0]
    gaussians, views = optimiser.shown_by(frame), []

    def slopes(place: int, rgb: Tensor, alpha: Tensor) -> tuple[Tensor, Tensor]:
        index, background = looks[place]
        target = targets[index]
        weight = _trust(index, target, corrections)
        loss = fused_loss(
            rgb, alpha, target.color, target.alpha, background, weight, options.ssim_share, options.alpha_weight
        )
        figures = {"color": loss.color, "alpha": loss.mask, "corrections": 0.0}
        views.append(Compared(index, loss.residual, alpha, figures))
        return loss.in_rgb, loss.in_alpha + loss.mask_in_alpha

    cameras = [(index, targets[index].camera) for index, _ in looks]
    seen = [(corrections.viewmat(i), camera.intrinsics, camera.width, camera.height) for i, camera in cameras]
    gradients = differentiate_colors(gaussians.tensors(), seen, slopes)
    if len(looks) > 1:
        for gradient in gradients:
            gradient.div_(len(looks))
    opacities = gaussians.opacities
    in_logits = opacities.addcmul_(opacities, opacities, value=-1)
    gradients[3].add_(in_logits, alpha=options.opacity_weight_of(len(targets)) / max(1, len(gaussians)))
    return Gradients(optimiser.pulled_back(frame, gradients), (), views)


def _trust(index: int, target: Target, corrections: FrameCorrections) -> Tensor:
    """(H, W) what a frame's pixels count: their given weights, less where they are doubted."""
    confidence = corrections.confidence(index, (target.camera.height, target.camera.width))
    return target.weight if confidence is None else target.weight * confidence.to(target.weight)


def _needs_geometry(target: Target, options: FitOptions) -> bool:
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
    targets: Sequence[Target],
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
        intrinsics = torch.stack(
            [corrections.intrinsics(targets[indices[place]].camera.intrinsics) for place in places]
        )
        drawing = rasterize(gaussians, (viewmats, intrinsics, width, height), geometry=geometry)
        for i, place in enumerate(places):
            depth, normal = None, None
            if isinstance(drawing, Rendering):
                depth, normal = drawing.depth[i], drawing.normal[i]
            views[place] = _View(viewmats[i], drawing.rgb[i], drawing.alpha[i], depth, normal)
    return [views[place] for place in range(len(indices))]


def _compare(
    view: _View,
    index: int,
    target: Target,
    background: Tensor,
    corrections: FrameCorrections,
    options: FitOptions,
) -> tuple[dict[str, Tensor], Compared]:
    """The weighted losses of one view, by name, and what is told about it."""
    alpha = view.alpha
    rgb = corrections.exposed(index, view.rgb, alpha)
    weight = _trust(index, target, corrections)
    loss = picture_loss(
        rgb, alpha, target.color, target.alpha, background, weight, options.ssim_share, options.alpha_weight
    )
    terms = {"color": loss.color, "alpha": loss.mask, "corrections": corrections.penalty(index).to(alpha)}
    terms |= _geometry_terms(view, index, target, weight, corrections, options)
    figures = {name: float(term.detach()) for name, term in terms.items()}
    return terms, Compared(index, loss.residual, alpha.detach(), figures)


def _geometry_terms(
    view: _View, index: int, target: Target, weight: Tensor, corrections: FrameCorrections, options: FitOptions
) -> dict[str, Tensor]:
    """The weighted losses of depth and normals, where they were drawn."""
    if view.depth is None or view.normal is None:
        return {}
    terms, alpha = {}, view.alpha
    depth, normal = view.depth, view.normal @ view.viewmat[:3, :3].T.to(view.normal)
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
