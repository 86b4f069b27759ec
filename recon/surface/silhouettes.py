"""What observed pictures ask of a solid: where they show the object, something must be there.

Spokes, poles and handles thinner than the splats are lost in the fit, and views that disagree fade them away. A picture
that was not generated still shows them: here they are put back, where the other pictures leave room for them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from recon.capture import Camera, Frame
from recon.splat.initialise import grid_masks, observed_frames
from recon.splat.resizing import resized
from recon.splat.volume import SignedVolume, visual_hull

_RIM = 3.0
"""Pixels of the grid's size by which an outline may be missed: what is lost is farther than this from all that is not,
so that outlines do not grow fins."""
_CAUGHT = 0.75
"""Grid spacings by which the meeting place of the silhouettes is widened, lest a thin part slip between grid points."""
_NEWLY_COVERED = 6
"""Pixels of the grid's size that a separate solid must cover in observed pictures, alone, in order to stay."""
_ELONGATION = 3.0
"""How much deeper than wide a part may be that is placed by silhouettes alone."""


def restore_observed(volume: SignedVolume, frames: Sequence[Frame]) -> SignedVolume:
    """The volume with the parts that observed silhouettes show and that it lacks.

    A lost part is as thick as it is wide. It lies behind the frame's depth, taken from the nearest pixel that has one;
    in a frame without depth it lies where all observed silhouettes meet, if they leave it little room along the ray.

    Args:
        volume: a solid within the observed silhouettes.
        frames: of all sources; those that were generated are not asked.
    """
    seen = observed_frames(frames)
    if not seen:
        return volume
    size = volume.values.shape[0]
    hull = visual_hull(*grid_masks(seen, size), size)
    inside = volume.points(volume.values < 0)
    widened = hull.values - _CAUGHT * volume.spacing
    free = (widened < 0) & (volume.values >= 0)
    points, bound = volume.points(free), widened[free]
    values = volume.values[free]
    for frame in seen:
        camera = frame.camera.resized(size, size)
        mask = _mask(frame, size)
        lost = _lost(mask, _covered(camera, inside))
        if not bool(lost.any()):
            continue
        column, row, depth, on_picture = pixels_of(camera, points)
        asked = on_picture & lost[row, column]
        here = row[asked], column[asked]
        half = _half_thickness(mask, camera, volume.spacing)[here] * depth[asked]
        known = frame.depth()
        if known is not None and bool((known > 0).any()):
            shrunk = resized(known[..., None], (size, size), "nearest-exact")[..., 0]
            surface = _filled(shrunk, mask)[here]
            behind = (depth[asked] - surface - half).abs() - half
            placed = torch.maximum(bound[asked], behind)
        else:
            pixel = here[0] * size + here[1]
            room = torch.bincount(pixel, minlength=size * size)[pixel] * volume.spacing
            narrow = room < 2 * (_ELONGATION * half + volume.spacing)
            placed = torch.where(narrow, bound[asked], values[asked])
        values[asked] = torch.minimum(values[asked], placed)
    restored = volume.values.clone()
    restored[free] = values
    return volume.with_values(restored)


def shown_alone(frames: Sequence[Frame], size: int) -> Callable[[Tensor, Tensor], bool] | None:
    """Whether observed pictures need a separate solid: in at least half of them it covers pixels of the object that
    nothing else covers. To be asked with the solid's grid points and those of everything else; None without observed
    pictures.

    Args:
        frames: of all sources; those that were generated are not asked.
        size: grid points a side.
    """
    seen = observed_frames(frames)
    if not seen:
        return None
    cameras = [frame.camera.resized(size, size) for frame in seen]
    masks = [_mask(frame, size) for frame in seen]

    def needed(solid: Tensor, others: Tensor) -> bool:
        alone = [
            int((mask & _covered(camera, solid) & ~_covered(camera, others)).sum())
            for camera, mask in zip(cameras, masks, strict=True)
        ]
        return 2 * sum(count >= _NEWLY_COVERED for count in alone) >= len(alone)

    return needed


def _lost(mask: Tensor, covered: Tensor) -> Tensor:
    """(S, S) bool: connected regions of the mask, not covered, that reach farther than the rim from what is covered,
    and the pixels around, where they join the rest."""
    from scipy.ndimage import binary_dilation, distance_transform_edt, label

    missing = (mask & ~covered).numpy()
    regions, count = label(missing, np.ones((3, 3)))
    if count == 0:
        return torch.zeros_like(mask)
    away = distance_transform_edt(~covered.numpy()) if bool(covered.any()) else np.full(mask.shape, np.inf)
    far = np.unique(regions[missing & (away > _RIM)])
    found = binary_dilation(missing & np.isin(regions, far), np.ones((3, 3)), iterations=2)
    return mask & torch.from_numpy(found)


def _covered(camera: Camera, inside: Tensor) -> Tensor:
    """(H, W) bool: pixels that the solid's grid points fall on or beside; they are about a pixel apart."""
    hit = torch.zeros(camera.height, camera.width)
    column, row, _, on_picture = pixels_of(camera, inside)
    hit[row[on_picture], column[on_picture]] = 1
    return torch.nn.functional.max_pool2d(hit[None, None], 3, stride=1, padding=1)[0, 0] > 0


def pixels_of(camera: Camera, points: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Column, row and forward depth of points (N, 3), and whether they fall on the picture (else 0, 0)."""
    pixels, depth = camera.project(points)
    column, row = pixels.floor().long().unbind(-1)
    good = (depth > 0) & (column >= 0) & (column < camera.width) & (row >= 0) & (row < camera.height)
    return torch.where(good, column, 0), torch.where(good, row, 0), depth, good


def _half_thickness(mask: Tensor, camera: Camera, spacing: float) -> Tensor:
    """(H, W) half the thickness of a part as thick as it is wide, divided by its depth; never so thin that the grid
    would miss it."""
    from scipy.ndimage import distance_transform_edt

    radius = torch.from_numpy(distance_transform_edt(mask.numpy()).astype(np.float32))
    least = 0.75 * spacing / float(camera.centre.norm().clamp_min(1e-6))
    return (radius / camera.intrinsics[0, 0]).clamp_min(least)


def _filled(depth: Tensor, mask: Tensor) -> Tensor:
    """(S, S) depth of the nearest pixel that has one."""
    from scipy.ndimage import distance_transform_edt

    known = ((depth > 0) & mask).numpy()
    if not known.any():
        known = (depth > 0).numpy()
    row, column = distance_transform_edt(~known, return_distances=False, return_indices=True)
    return depth[torch.from_numpy(row).long(), torch.from_numpy(column).long()]


def _mask(frame: Frame, size: int) -> Tensor:
    """(S, S) bool: what the frame shows of the object."""
    return resized(frame.rgba()[..., 3:], (size, size), "area")[..., 0] > 0.5
