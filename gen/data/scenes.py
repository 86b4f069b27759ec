"""Random cameras and lights of training scenes. Every number follows from the seed and the scene's name alone."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from recon.capture import FRAME_MARGIN, OBJECT_RADIUS
from recon.surface.loading import box_in_sphere, normalised
from recon.surface.mesh import Mesh
from recon.surface.render import Lights
from recon.surface.rigged import RiggedMesh


@dataclass(frozen=True)
class SceneOptions:
    """What varies between scenes and between the views of one. Angles in degrees.

    Attributes:
        size: side of the pictures in pixels.
        views: pictures per object; their azimuths are spread evenly, then jittered.
        elevation: lowest and highest.
        fov: narrowest and widest field of view.
        distance: nearest and farthest, as a multiple of the distance that frames the object with the house margin.
        roll: standard deviation of the camera's roll.
        roll_share: share of views that are rolled.
        recolour_share: share of objects, real scans apart, whose hue is turned.
        variants: how often each object is drawn, each time with other cameras and light.
        stretch: standard deviation of the logarithm by which every variant but the first is stretched along each axis:
            the same few objects then show more shapes.
        times: moments of an animated object that its views show; 1 for objects that stand still.
        window: shortest and longest time in seconds from the first moment to the last; a shorter clip is shown whole.
        seed: of everything random.
    """

    size: int = 64
    views: int = 24
    elevation: tuple[float, float] = (-10.0, 60.0)
    fov: tuple[float, float] = (20.0, 60.0)
    distance: tuple[float, float] = (0.95, 1.15)
    roll: float = 5.0
    roll_share: float = 0.2
    recolour_share: float = 0.25
    variants: int = 1
    stretch: float = 0.2
    times: int = 1
    window: tuple[float, float] = (0.5, 2.0)
    seed: int = 0

    def __post_init__(self) -> None:
        if self.size < 8 or self.size > 2048 or not 1 <= self.views <= 4096:
            raise ValueError(f"size must be 8..2048 and views 1..4096, got {self.size} and {self.views}")
        if not 1 <= self.variants <= 256 or not 0 <= self.stretch <= 1:
            raise ValueError(f"variants must be 1..256 and stretch 0..1, got {self.variants} and {self.stretch:g}")
        if not 1 <= self.times <= 256 or (self.times > 1 and (self.views % self.times or self.views < 2 * self.times)):
            raise ValueError(
                f"views must be a multiple of times, two a time or more, got {self.views} views and {self.times} times"
            )
        if not 0 < self.window[0] <= self.window[1] <= 60:
            raise ValueError(
                "window must be a rising range of seconds within 0..60, got {:g} {:g}".format(*self.window)
            )
        for name, low, high in (("elevation", -89.0, 89.0), ("fov", 1.0, 120.0), ("distance", 0.5, 10.0)):
            first, last = getattr(self, name)
            if not low <= first <= last <= high:
                raise ValueError(f"{name} must be a rising range within {low:g}..{high:g}, got {first:g} {last:g}")


def scene_rng(seed: int, scene: str, subject: str) -> np.random.Generator:
    """The random stream of one scene, independent of the order in which scenes are drawn."""
    digest = hashlib.sha256(f"{seed}\0{subject}\0{scene}".encode()).digest()
    return np.random.default_rng(np.frombuffer(digest, np.uint32))


@dataclass(frozen=True)
class SceneCameras:
    """The cameras of one object's views, all looking at the world's origin.

    Attributes:
        c2w: (V, 4, 4) float64 camera-to-world, as `recon.capture.orbit_camera` makes them.
        focal: (V,) float64 in pixels; the principal point is the picture's middle.
        distance: (V,) float64 from the origin.
    """

    c2w: NDArray[np.float64]
    focal: NDArray[np.float64]
    distance: NDArray[np.float64]

    def only(self, which: slice | NDArray[np.int64]) -> SceneCameras:
        """Some of them."""
        return SceneCameras(self.c2w[which], self.focal[which], self.distance[which])


def random_cameras(options: SceneOptions, scene: str) -> SceneCameras:
    """Cameras of one object: azimuths spread evenly and jittered, elevations even over their band of the sphere. The
    first stays for a view of every time."""
    rng = scene_rng(options.seed, scene, "cameras")
    count = options.views - options.times + 1
    azimuth = 2 * math.pi * (rng.permutation(count) + rng.random(count)) / count
    low, high = (math.sin(math.radians(e)) for e in options.elevation)
    elevation = np.arcsin(rng.uniform(low, high, count))
    fov = np.radians(rng.uniform(*options.fov, count))
    distance = FRAME_MARGIN * OBJECT_RADIUS / np.sin(fov / 2) * rng.uniform(*options.distance, count)
    rolled = rng.random(count) < options.roll_share
    roll = np.where(rolled, np.radians(options.roll) * rng.standard_normal(count), 0.0)
    cameras = SceneCameras(
        orbit_poses(azimuth, elevation, distance, roll), options.size / (2 * np.tan(fov / 2)), distance
    )
    return cameras.only(np.maximum(np.arange(options.views) - options.times + 1, 0))


def orbit_poses(
    azimuth: NDArray[np.float64],
    elevation: NDArray[np.float64],
    distance: NDArray[np.float64],
    roll: NDArray[np.float64],
) -> NDArray[np.float64]:
    """(V, 4, 4) c2w of many `recon.capture.orbit_camera`s at once; radians, elevations short of the poles."""
    sin_a, cos_a, sin_e, cos_e = np.sin(azimuth), np.cos(azimuth), np.sin(elevation), np.cos(elevation)
    forward = -np.stack((cos_e * sin_a, sin_e, cos_e * cos_a), axis=-1)
    right = np.stack((cos_a, np.zeros_like(cos_a), -sin_a), axis=-1)
    down = np.cross(forward, right)
    c, s = np.cos(roll)[:, None], np.sin(roll)[:, None]
    c2w = np.zeros((len(azimuth), 4, 4))
    c2w[:, :3, 0] = c * right + s * down
    c2w[:, :3, 1] = c * down - s * right
    c2w[:, :3, 2] = forward
    c2w[:, :3, 3] = -distance[:, None] * forward
    c2w[:, 3, 3] = 1
    return c2w


def stretched(options: SceneOptions, scene: str, mesh: Mesh) -> Mesh:
    """The object longer along some axes and shorter along others, brought back into its sphere."""
    return normalised(_stretch(mesh, _stretch_factors(options, scene)))


def moving(options: SceneOptions, scene: str, rigged: RiggedMesh, *, stretch: bool) -> tuple[list[float], list[Mesh]]:
    """Evenly spread moments of a random part of a random clip, brought into the sphere of diameter 1 all alike.

    Returns:
        Seconds from the first moment, and the object at each.

    Raises:
        ValueError: if no clip has a duration, or a pose no extent.
    """
    rng = scene_rng(options.seed, scene, "motion")
    clips = [place for place, clip in enumerate(rigged.clips) if clip.duration > 0]
    if not clips:
        raise ValueError("has no animation that lasts")
    clip = int(rng.choice(clips))
    length = min(rigged.clips[clip].duration, rng.uniform(*options.window))
    start = rng.uniform(0, rigged.clips[clip].duration - length)
    times = np.linspace(0, length, options.times)
    poses = [rigged.posed(clip, start + time) for time in times.tolist()]
    if stretch:
        factors = _stretch_factors(options, scene)
        poses = [_stretch(pose, factors) for pose in poses]
    fitted = box_in_sphere(torch.cat([pose.vertices for pose in poses]), f"its clip {rigged.clips[clip].name!r}")
    return times.tolist(), [pose.moved(fitted.scale, fitted.translation) for pose in poses]


def _stretch_factors(options: SceneOptions, scene: str) -> torch.Tensor:
    rng = scene_rng(options.seed, scene, "stretch")
    return _tensor(np.exp(options.stretch * rng.standard_normal(3).clip(-2, 2)))


def _stretch(mesh: Mesh, factors: torch.Tensor) -> Mesh:
    normals = None if mesh.normals is None else torch.nn.functional.normalize(mesh.normals / factors, dim=-1)
    return replace(mesh, vertices=mesh.vertices * factors, normals=normals)


def random_lights(options: SceneOptions, scene: str, *, keep_colours: bool) -> Lights:
    """One object's light: soft light from the sky and ground, one to three lamps, all slightly tinted, bright as
    photographs are (a white surface facing the key light ends near white); sometimes flat light alone.

    Args:
        keep_colours: never turn the object's hue (real scans).
    """
    rng = scene_rng(options.seed, scene, "lights")
    exposure = rng.uniform(0.75, 1.1)
    softness = 1.0 if rng.random() < 0.1 else rng.uniform(0.3, 0.75)
    sky = softness * _tint(rng, 0.06)
    ground = sky * rng.uniform(0.45, 1.0) * _tint(rng, 0.04)
    count = 0 if softness == 1.0 else int(rng.integers(1, 4))
    shares = np.sort(rng.dirichlet(np.ones(count)))[::-1] if count else np.zeros(0)
    heights = rng.uniform(-0.2, 1.0, count)
    around = rng.uniform(0, 2 * math.pi, count)
    flat = np.sqrt(1 - heights**2)
    directions = np.stack((flat * np.sin(around), heights, flat * np.cos(around)), axis=-1)
    strength = 1.3 * (1 - softness)
    colors = np.stack([strength * share * _tint(rng, 0.08) for share in shares]) if count else np.zeros((0, 3))
    turn = rng.uniform(0, 2 * math.pi)
    turned = rng.random() < options.recolour_share and not keep_colours
    return Lights(
        ambient=_tensor(np.stack((ground, sky)) * exposure),
        directions=_tensor(directions.reshape(-1, 3)),
        colors=_tensor(colors * exposure),
        albedo_matrix=_tensor(_hue_turn(turn) if turned else np.eye(3)),
    )


def _tint(rng: np.random.Generator, spread: float) -> NDArray[np.float64]:
    """(3,) colour around white, mean 1."""
    color = 1 + spread * rng.standard_normal(3).clip(-2, 2)
    return color / color.mean()


def _hue_turn(angle: float) -> NDArray[np.float64]:
    """(3, 3) rotation of linear RGB about its grey axis (Rodrigues)."""
    axis = np.full(3, 1 / math.sqrt(3))
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    return np.eye(3) * math.cos(angle) + math.sin(angle) * cross + (1 - math.cos(angle)) * np.outer(axis, axis)


def _tensor(array: NDArray[np.float64]) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, np.float32))
