"""How well cameras around a turning object fit its pictures, without a model of the object.

A ray through the object, taken from one picture, must have a point that the silhouettes of all other pictures contain
(silhouette coherence: Hernandez, Schmitt and Cipolla, "Silhouette coherence for camera calibration under circular
motion", 2007), and one that has the ray's colour in the pictures nearby. Every ray finds its best point anew for every
guess of the cameras, so guesses are compared without fitting a shape to each.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recon.capture.camera import Camera
from recon.capture.distances import silhouette_distance

Floats = NDArray[np.float64]
WOBBLES = 5
"""Ways in which a camera leaves its place on an orbit, besides its azimuth."""
_FEW = 1000
"""Rays that are not worth a second thread."""
_NEIGHBOURS = 6
"""Pictures, nearest in azimuth, that a ray's colour is compared with."""
_TOLERANCE = 1.0
"""Pixels by which a compared point may lie outside of a silhouette."""
_CEILING = 0.15
"""Largest difference of a colour that counts: beyond it lies another surface, or a highlight."""
_BLUR = 1.5
"""Standard deviation, in pixels, of the blur of the colours."""
_MARGIN = 1.05
"""Of the sphere that rays are followed in."""
_FARTHEST = 4.0
"""Pixels outside beyond which a ray is simply wrong."""
COLOR_WEIGHT = 10.0
"""Pixels that a difference of colour of 1 is worth."""
_DEPTH_WEIGHT = 0.1
"""Pixels that it costs to find the colours at the far end of the solid and not at its near end: objects are opaque, and
pictures from afar fit the mirrored depth as well as the true one."""


@dataclass(frozen=True)
class Orbit:
    """Cameras around an object that turns about +Y, at distance 1 from the axis.

    Attributes:
        azimuths: (N,) radians.
        elevation: radians by which the optical axis looks down.
        focal: in widths of the picture.
        shift: how far the axis is to the right of the picture's middle, over the distance.
        roll: radians by which the cameras are rolled against the axis.
        wobbles: (N, 5) by how much each camera is not there: radians by which it is turned to its right, down and
            clockwise, and distances by which it is moved down and forward, all in its own frame; None where all are
            there.
    """

    azimuths: Floats
    elevation: float
    focal: float
    shift: float = 0.0
    roll: float = 0.0
    wobbles: Floats | None = None

    def poses(self) -> Floats:
        """(N, 3, 4) world to camera."""
        a, (c, s) = self.azimuths, (math.cos(self.elevation), math.sin(self.elevation))
        zero = np.zeros_like(a)
        right = np.stack((np.cos(a), zero, -np.sin(a)), 1)
        forward = -np.stack((c * np.sin(a), zero + s, c * np.cos(a)), 1)
        down = np.cross(forward, right)
        cr, sr = math.cos(self.roll), math.sin(self.roll)
        rotation = np.stack((cr * right - sr * down, sr * right + cr * down, forward), 1)
        offset = np.broadcast_to([self.shift, 0.0, 1.0], (len(a), 3))
        poses = np.concatenate((rotation, offset[..., None]), 2)
        return poses if self.wobbles is None else _wobbled(poses, self.wobbles)

    def loosened(self) -> Orbit:
        """The steady cameras, free to wobble: their wobbles are there, and 0."""
        return replace(self, wobbles=np.zeros((len(self.azimuths), WOBBLES)))

    def vector(self) -> Floats:
        """(N + 4,) all unknowns, or (6 N + 4,) with the wobbles; the focal length as its logarithm."""
        shared = [self.elevation, math.log(self.focal), self.shift, self.roll]
        return np.concatenate((self.azimuths, shared, () if self.wobbles is None else self.wobbles.ravel()))

    @staticmethod
    def of_vector(values: Floats, count: int) -> Orbit:
        """The inverse of `vector`, for `count` cameras."""
        elevation, log_focal, shift, roll = (float(v) for v in values[count : count + 4])
        wobbles = values[count + 4 :].reshape(count, WOBBLES).copy() if len(values) > count + 4 else None
        return Orbit(values[:count].copy(), elevation, math.exp(log_focal), shift, roll, wobbles)

    def fov(self, width: int, height: int) -> float:
        """Radians of the shorter side of such pictures."""
        return 2 * math.atan(min(width, height) / (2 * self.focal * width))

    def cameras(self, width: int, height: int, scale: float = 1.0, height_above: float = 0.0) -> tuple[Camera, ...]:
        """The cameras for pictures of a size, in a world that is `scale` times larger, after it is moved so that what
        was `height_above` (of the larger world) is the origin."""
        focal = self.focal * width
        intrinsics = torch.tensor([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]], dtype=torch.float32)
        cameras = []
        for pose in self.poses():
            c2w = np.eye(4)
            c2w[:3, :3] = pose[:, :3].T
            c2w[:3, 3] = -scale * pose[:, :3].T @ pose[:, 3] - [0, height_above, 0]
            cameras.append(Camera(torch.from_numpy(c2w).float(), intrinsics, width, height))
        return tuple(cameras)


@dataclass(frozen=True)
class Verdict:
    """What rays say about an orbit; M rays.

    Attributes:
        deficits: (M,) pixels by which the best point is outside of a silhouette.
        costs: (M,) least difference of colour; 0 where colours are not compared.
        places: (M,) where the colour was found, 0 the near and 1 the far end of the solid.
        compared: (M,) bool, which rays' colours are compared.
        limiting: (M, 2) the frames that keep the best point from being further inside.
    """

    deficits: Floats
    costs: Floats
    places: Floats
    compared: NDArray[np.bool_]
    limiting: NDArray[np.int64]

    def score(self) -> float:
        """Pixels; the smaller the better."""
        if len(self.deficits) == 0:
            return 0.0
        total = float(np.minimum(self.deficits, _FARTHEST).mean())
        if self.compared.any():
            total += float((COLOR_WEIGHT * self.costs + _DEPTH_WEIGHT * self.places)[self.compared].mean())
        return total

    def residuals(self) -> Floats:
        """(M, 2) for least squares: outlines and colours. What is simply wrong saturates."""
        deficits = self.deficits / np.sqrt(1 + (self.deficits / _FARTHEST) ** 2)
        return np.stack((deficits, COLOR_WEIGHT * self.costs), 1)


class Rays:
    """Rays of pictures of one object, ready to be asked about any orbit.

    Args:
        pictures: N of (H, W, 4), straight alpha, all of one size.
        outline, inside: rays of each picture through the outline, and of those through the object.
        samples: points a ray; the best one is then sought more finely.
        seed: of the choice of rays.
    """

    def __init__(self, pictures: Sequence[Tensor], outline: int, inside: int, samples: int, seed: int) -> None:
        self._samples = samples
        arrays = [picture.numpy() for picture in pictures]
        self.height, self.width = arrays[0].shape[:2]
        self.count = len(arrays)
        self._signed = np.stack([-silhouette_distance(picture[..., 3]).numpy() for picture in pictures])
        self._colors = np.stack([_blurred(array) for array in arrays])
        frames, pixels, colors = [], [], []
        for index in range(self.count):
            # A picture's rays follow its pixels, not its place among the others.
            random = np.random.default_rng(seed)
            edge = _outline_points(self._signed[index], outline, random)
            inner = _inner_points(self._signed[index], inside, random)
            row, column = inner[:, 1].astype(int), inner[:, 0].astype(int)
            frames.append(np.full(len(edge) + len(inner), index))
            pixels += [edge, inner]
            colors += [np.full((len(edge), 3), -1.0), self._colors[index][:, row, column].T]
        self._frames = np.concatenate(frames)
        self._pixels = np.concatenate(pixels)
        self._ray_colors = np.ascontiguousarray(np.concatenate(colors), np.float32)
        self._starts = np.searchsorted(self._frames, np.arange(self.count + 1))
        self._extremes = _extremes(np.any([array[..., 3] > 0.5 for array in arrays], axis=0))

    def of_frame(self, frame: int) -> NDArray[np.int64]:
        """Indices of a frame's rays."""
        return np.arange(*self._starts[frame : frame + 2])

    def judge(self, orbit: Orbit, rays: NDArray[np.int64] | None = None) -> Verdict:
        """The rays of such indices, all unless given, held against all other frames."""
        from recon.capture._turntable_kernels import judge_rays

        chosen = np.arange(len(self._frames)) if rays is None else rays
        poses, (near, order) = orbit.poses(), self._tables(orbit)
        starts, steps = self._along(orbit, poses, chosen)
        size, colors = len(chosen), self._ray_colors[chosen]
        deficits, costs, places = (np.empty(size, np.float32) for _ in range(3))
        limiting = np.empty((size, 2), np.int64)
        lens = np.array([orbit.focal * self.width, self.width / 2, self.height / 2], np.float32)
        arguments = (
            self._frames[chosen], starts, steps, colors, self._samples, self._signed, self._colors,
            poses.astype(np.float32), lens, order, near, np.float32(_TOLERANCE), np.float32(_CEILING),
            deficits, costs, places, limiting,
        )  # fmt: skip
        _over_threads(size, lambda a, b: judge_rays(a, b, *arguments))
        return Verdict(deficits.astype(float), costs.astype(float), places.astype(float), colors[:, 0] >= 0, limiting)

    def touched(self, orbit: Orbit, verdict: Verdict) -> list[NDArray[np.int64]]:
        """By frame, the rays whose residuals a small turn of the frame can change, given what all rays said."""
        near, _ = self._tables(orbit)
        beside = np.zeros((self.count, self.count), bool)
        beside[np.arange(self.count)[:, None], near] = True
        found = []
        for frame in range(self.count):
            asked = (self._frames == frame) | (verdict.limiting == frame).any(1)
            asked |= verdict.compared & beside[self._frames, frame]
            found.append(np.flatnonzero(asked))
        return found

    def _tables(self, orbit: Orbit) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """For every frame, those nearest to it, and all others in the order in which they are asked."""
        apart = np.abs((orbit.azimuths[:, None] - orbit.azimuths + math.pi) % (2 * math.pi) - math.pi)
        np.fill_diagonal(apart, 100.0)
        near = np.argsort(apart, 1, kind="stable")[:, : min(_NEIGHBOURS, self.count - 1)]
        # Frames from the side rule a point out soonest.
        order = np.argsort(np.abs(apart - math.pi / 2), 1, kind="stable")[:, : self.count - 1]
        return np.ascontiguousarray(near), np.ascontiguousarray(order)

    def radius(self, orbit: Orbit) -> float:
        """Of the sphere around the origin that holds whatever the pictures show, at distance 1."""
        focal = orbit.focal * self.width
        x = (self._extremes[:, 0] - self.width / 2) / focal - orbit.shift
        y = (self._extremes[:, 1] - self.height / 2) / focal
        return min(0.9, math.sin(math.atan(math.sqrt(float((x * x + y * y).max(initial=1e-4))))))

    def _along(
        self, orbit: Orbit, poses: Floats, chosen: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Where the rays enter the sphere, and the step between their points."""
        focal = orbit.focal * self.width
        pixels, frames = self._pixels[chosen], self._frames[chosen]
        rotations = poses[:, :, :3]
        centres = -np.einsum("nij,ni->nj", rotations, poses[:, :, 3])[frames]
        local = np.stack(
            (
                (pixels[:, 0] - self.width / 2) / focal,
                (pixels[:, 1] - self.height / 2) / focal,
                np.ones(len(pixels)),
            ),
            1,
        )
        directions = np.einsum("mi,mij->mj", local, rotations[frames])
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        middle = -(directions * centres).sum(1)
        off_centre = (centres * centres).sum(1) - middle**2
        # Rays that pass the sphere by are followed a little all the same.
        radius = _MARGIN * self.radius(orbit)
        half = np.sqrt(np.maximum(radius**2 - off_centre, (0.1 * radius) ** 2))
        starts = centres + (middle - half)[:, None] * directions
        steps = directions * (2 * half / (self._samples - 1))[:, None]
        return starts.astype(np.float32), steps.astype(np.float32)


def _wobbled(poses: Floats, wobbles: Floats) -> Floats:
    """(N, 3, 4) world to camera, of cameras beside their places."""
    from scipy.spatial.transform import Rotation

    right, down, clockwise, sunk, advanced = wobbles.T
    moved = poses.copy()
    moved[:, 1, 3] -= sunk
    moved[:, 2, 3] -= advanced
    return np.asarray(Rotation.from_rotvec(np.stack((down, -right, -clockwise), 1)).as_matrix() @ moved)


def turned_to(orbit: Orbit, frame: int, azimuth: float) -> Orbit:
    """The orbit with another azimuth of one frame."""
    azimuths = orbit.azimuths.copy()
    azimuths[frame] = azimuth
    return replace(orbit, azimuths=azimuths)


def _blurred(picture: NDArray[np.float32]) -> NDArray[np.float32]:
    """(3, H, W) colours of the object, blurred within its mask and carried beyond it."""
    from scipy.ndimage import gaussian_filter

    alpha = gaussian_filter(picture[..., 3], _BLUR) + 1e-4
    planes = [gaussian_filter(picture[..., c] * picture[..., 3], _BLUR) / alpha for c in range(3)]
    return np.stack(planes).astype(np.float32)


def _outline_points(signed: NDArray[np.float32], count: int, random: np.random.Generator) -> Floats:
    """(P, 2) points on the outline, moved there from the pixels around it."""
    rows, columns = np.nonzero(np.abs(signed) <= 0.5)
    chosen = random.permutation(len(rows))[:count]
    rows, columns = rows[chosen], columns[chosen]
    down, right = np.asarray(np.gradient(signed))
    slope = np.stack((right[rows, columns], down[rows, columns]), 1)
    slope /= np.maximum(np.linalg.norm(slope, axis=1, keepdims=True), 0.03)
    off = np.asarray(signed[rows, columns]).reshape(-1, 1)
    return np.stack((columns + 0.5, rows + 0.5), 1) - slope * off


def _inner_points(signed: NDArray[np.float32], count: int, random: np.random.Generator) -> Floats:
    """(P, 2) pixel centres well inside."""
    rows, columns = np.nonzero(signed > 1.5)
    chosen = random.permutation(len(rows))[:count]
    return np.stack((columns[chosen] + 0.5, rows[chosen] + 0.5), 1)


def _extremes(covered: NDArray[np.bool_]) -> Floats:
    """(P, 2) pixels of which no two enclose another in its row: whatever is farthest from somewhere is among them."""
    rows = np.flatnonzero(covered.any(1))
    left, right = covered[rows].argmax(1), covered.shape[1] - 1 - covered[rows, ::-1].argmax(1)
    return np.concatenate((np.stack((left, rows), 1), np.stack((right, rows), 1))) + 0.5


def _over_threads(count: int, work: Callable[[int, int], None]) -> None:
    workers = min(os.cpu_count() or 1, 8) if count > _FEW else 1
    if workers == 1:
        work(0, count)
        return
    edges = np.linspace(0, count, workers + 1).astype(int).tolist()
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(work, edges[:-1], edges[1:]))
