"""Captures that are split into pictures to fit and pictures to be judged by, for `benchmarks.fit`.

Three kinds: turned photographs (dinoSparseRing, judged on 23 other views of the same dinosaur), the NeRF-synthetic
lego (every tenth view is kept back), and rendered test objects (level views to fit, other elevations to be judged by).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks._errors import BenchmarkError
from pipelines.evaluation.protocol import draw_views, path_cameras, stratified
from pipelines.evaluation.sets import open_set
from recon.capture import Camera, Capture, Frame, Similarity, Source, frame_from_tensors
from recon.capture.io_projection import read_middlebury
from recon.capture.io_synthetic import read_nerf_synthetic
from recon.capture.normalise import normalise
from recon.capture.orbit import orbit_cameras
from recon.metrics.images import psnr, ssim
from recon.splat.gaussians import Gaussians
from recon.splat.rasterize import rasterize
from recon.splat.resizing import resized, shrunk

BACKGROUND = torch.tensor([0.6130, 0.0101, 0.3984])
"""What everything is composed over: the colour that the OpenSplat program always draws, and no choice of ours."""
DINO = "middlebury_dinoSparseRing"
DINO_HELD_OUT = "middlebury_dino_heldout"
LEGO = "nerf_synthetic_lego"
LEGO_STRIDE = 10
DINO_SHIFT = torch.tensor([0.02, 0.02, 0.02])
"""How far the copy of the full set's cameras is moved against the sparse ring's: the 16 poses that both list have equal
rotations and centres that differ by exactly this."""
_DINO_DARK = 0.12  # of 1; the object is cut out before black
_DINO_GROW, _DINO_SHRINK = 10, 7  # pixels; the recipe of the data set's own notes
_ELEVATIONS = (-20.0, 35.0, 60.0)  # degrees; the level views look from 10
_TURNS = 4


@dataclass(frozen=True)
class Split:
    """A capture to fit, and the frames that say how good the fit is.

    Attributes:
        name: of the subject.
        capture: normalised, at the size of the benchmark.
        held_out: frames in the same world that no fit sees.
    """

    name: str
    capture: Capture
    held_out: tuple[Frame, ...]

    def score(self, gaussians: Gaussians) -> float:
        """Mean PSNR in dB over the held-out frames, whole pictures over `BACKGROUND`."""
        return _mean([float(psnr(*pair)) for pair in self._pairs(gaussians)])

    def scores(self, gaussians: Gaussians) -> tuple[float, float]:
        """`score`, and the mean SSIM of the same pictures."""
        both = [(float(psnr(*pair)), float(ssim(*pair))) for pair in self._pairs(gaussians)]
        return _mean([value for value, _ in both]), _mean([value for _, value in both])

    @torch.no_grad()
    def _pairs(self, gaussians: Gaussians) -> Iterator[tuple[Tensor, Tensor]]:
        """What is drawn of each held-out frame, and the frame."""
        for frame in self.held_out:
            drawn = rasterize(gaussians, [frame.camera], background=BACKGROUND, geometry=False).rgb[0]
            yield drawn.clamp(0, 1), composed(frame)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def composed(frame: Frame) -> Tensor:
    """(H, W, 3) picture over `BACKGROUND`, rounded to bytes, as a program that reads files gets it."""
    picture = frame.premultiplied()
    return ((picture[..., :3] + (1 - picture[..., 3:]) * BACKGROUND) * 255).round() / 255


def open_splits(captures: Path | None, objects: Path | None, count: int, size: int) -> Iterator[Split]:
    """Those whose folders are given: dino and lego, then `count` rendered test objects.

    Raises:
        BenchmarkError: if a folder lacks what it should hold.
    """
    if captures is not None:
        yield dino(captures, size)
        yield lego(captures, size)
    if objects is not None:
        yield from rendered_objects(objects, count, size)


def dino(folder: Path, size: int) -> Split:
    """16 photographs on a ring, judged by views of the full set that are not among them; all are cut out of the
    black before which the dinosaur stands."""
    for name in (DINO, DINO_HELD_OUT):
        require(folder / name)
    given = read_middlebury(folder / DINO)
    others = read_middlebury(folder / DINO_HELD_OUT).moved(Similarity(translation=-DINO_SHIFT))
    # One of the others is a view of the ring itself.
    new = [f for f in others if not any(torch.allclose(f.camera.c2w, g.camera.c2w, atol=1e-4) for g in given)]
    return split_of(
        "dino", *([in_memory(cut_out_before_black(frame), size) for frame in frames] for frames in (given, new))
    )


def lego(folder: Path, size: int) -> Split:
    """100 rendered views from above, every tenth kept back."""
    require(folder / LEGO)
    frames = [in_memory(frame, size) for frame in read_nerf_synthetic(folder / LEGO)]
    given = [frame for i, frame in enumerate(frames) if i % LEGO_STRIDE]
    return split_of("lego", given, frames[::LEGO_STRIDE])


def rendered_objects(folder: Path, count: int, size: int) -> Iterator[Split]:
    """21 level views of each object to fit; 12 from below and from higher up to be judged by."""
    test_set = open_set(folder)
    cameras = path_cameras("level", size)
    # Between two of the level views' azimuths, so that no held-out view is just one of them raised.
    others = [
        camera
        for i, elevation in enumerate(_ELEVATIONS)
        for camera in orbit_cameras(_TURNS, math.radians(elevation), size=size, start=0.15 + i * 0.5)
    ]
    for item in stratified(test_set.objects, count):
        views = draw_views(test_set.mesh(item.id), [*cameras, *others])
        frames = _frames([*cameras, *others], views)
        yield Split(item.id, Capture(frames[: len(cameras)]), frames[len(cameras) :])


def _frames(cameras: Sequence[Camera], views: Tensor) -> tuple[Frame, ...]:
    return tuple(
        frame_from_tensors(camera, view, source=Source.RENDERED, name=f"view_{i:03d}")
        for i, (camera, view) in enumerate(zip(cameras, views, strict=True))
    )


def split_of(name: str, given: Sequence[Frame], held_out: Sequence[Frame]) -> Split:
    """Both in the world that the given frames' silhouettes are normalised to."""
    capture = normalise(Capture(tuple(given)))
    moved = Capture(tuple(held_out)).moved(capture.to_source.inverse())
    centred = tuple(_centred(frame) for frame in capture)
    return Split(name, replace(capture, frames=centred), tuple(_centred(frame) for frame in moved))


def in_memory(frame: Frame, size: int) -> Frame:
    """The frame at no more than `size` pixels on its longer side, decoded once."""
    camera = shrunk(frame.camera, size)
    picture = resized(frame.premultiplied(), (camera.height, camera.width), "area")
    alpha = picture[..., 3:]
    straight = torch.cat((picture[..., :3] / torch.where(alpha > 0, alpha, 1), alpha), dim=-1)
    weight = resized(frame.weight()[..., None], (camera.height, camera.width), "area")[..., 0]
    load_weight = None if frame.load_weight is None else constant(weight)
    return replace(frame, camera=camera, load_rgba=constant(straight), load_weight=load_weight)


def _centred(frame: Frame) -> Frame:
    """The part of the picture that has the principal point in its middle, to a pixel: OpenSplat's kernels for the
    processor take it to be there, whatever they are told."""
    camera = frame.camera
    across, width = _middle(float(camera.intrinsics[0, 2]), camera.width)
    down, height = _middle(float(camera.intrinsics[1, 2]), camera.height)
    intrinsics = camera.intrinsics.clone()
    intrinsics[:2, 2] -= torch.tensor([float(across), float(down)])
    part = frame.rgba()[down : down + height, across : across + width].clone()
    return replace(
        frame,
        camera=replace(camera, intrinsics=intrinsics, width=width, height=height),
        load_rgba=constant(part),
        load_weight=None
        if frame.load_weight is None
        else constant(frame.weight()[down : down + height, across : across + width].clone()),
    )


def _middle(centre: float, size: int) -> tuple[int, int]:
    """First pixel and number of those that lie evenly about `centre`."""
    spare = round(size - 2 * centre)
    return max(0, -spare), size - abs(spare)


def constant(picture: Tensor) -> Callable[[], Tensor]:
    """What loads a picture that is already there."""
    return lambda: picture


def cut_out_before_black(frame: Frame) -> Frame:
    """The dinosaur's picture with its background transparent."""
    return replace(frame, load_rgba=partial(_before_black, frame))


def _before_black(frame: Frame) -> Tensor:
    """The picture with what is bright, and small dark places in it, opaque: thresholded, grown, filled, shrunk."""
    from scipy import ndimage

    rgb = frame.rgba()[..., :3]
    bright = (rgb.amax(-1) > _DINO_DARK).numpy()
    parts, count = ndimage.label(bright)
    largest = parts == 1 + int(np.argmax(np.bincount(parts.ravel())[1:])) if count else bright
    grown = ndimage.distance_transform_edt(~largest) <= _DINO_GROW
    solid = ndimage.binary_fill_holes(grown)
    # Outside of the picture counts as object, or what the border cuts off would be shrunk there too.
    padded = np.pad(solid, _DINO_SHRINK + 1, mode="edge")
    inner = ndimage.distance_transform_edt(padded)[
        _DINO_SHRINK + 1 : -_DINO_SHRINK - 1, _DINO_SHRINK + 1 : -_DINO_SHRINK - 1
    ]
    return torch.cat((rgb, torch.from_numpy(inner > _DINO_SHRINK)[..., None].float()), dim=-1)


def require(folder: Path) -> None:
    if not folder.is_dir():
        raise BenchmarkError(f"{folder}: expected the capture {folder.name!r} there, found no such folder")
