"""`Camera`: one pinhole (optionally distorted) camera, and the few ways to make one.

The single place where the house's camera conventions are code; `docs/conventions.md` states them in words.
World: right-handed, +Y up, front +Z. Camera: OpenCV axes (x right, y down, z forward).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

FRAME_MARGIN = 1.1
"""Pictures frame the bounding sphere times this."""
_LONGEST_FOCAL = 10_000
"""Over the picture's longer side; a telescope's."""
OBJECT_RADIUS = 0.5
"""Scenes are normalised to a bounding sphere of diameter 1 around the world's origin."""


@dataclass(frozen=True)
class Camera:
    """A calibrated view.

    Attributes:
        c2w: (4, 4) float32, camera-to-world; columns are the camera's right, down, forward axes and its centre.
        intrinsics: (3, 3) float32 `K` in pixels; the centre of the top-left pixel is (0.5, 0.5).
        width, height: size of the picture in pixels.
        distortion: OpenCV coefficients (k1, k2, p1, p2[, k3[, k4, k5, k6]]), or None for a pinhole.
        fisheye: the lens is equidistant instead, and the distortion the four coefficients of OpenCV's fisheye model
            (Kannala and Brandt 2006), zeros included.

    Raises:
        ValueError: if shapes are wrong, a value is not finite, a focal length or a size is not positive, a focal length
            is more than 10,000 times the picture's side, the rotation is not a rotation, or a fisheye lens has not four
            coefficients.
    """

    c2w: Tensor
    intrinsics: Tensor
    width: int
    height: int
    distortion: Tensor | None = None
    fisheye: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "c2w", torch.as_tensor(self.c2w, dtype=torch.float32))
        object.__setattr__(self, "intrinsics", torch.as_tensor(self.intrinsics, dtype=torch.float32))
        if self.c2w.shape != (4, 4) or self.intrinsics.shape != (3, 3):
            raise ValueError(
                f"camera needs a (4, 4) c2w and a (3, 3) K, "
                f"got {tuple(self.c2w.shape)} and {tuple(self.intrinsics.shape)}"
            )
        if not (torch.isfinite(self.c2w).all() and torch.isfinite(self.intrinsics).all()):
            raise ValueError("camera matrices contain NaN or infinity")
        if self.width <= 0 or self.height <= 0 or self.intrinsics[0, 0] <= 0 or self.intrinsics[1, 1] <= 0:
            raise ValueError("camera needs a positive size and positive focal lengths")
        longest = float(self.intrinsics[:2, :2].diagonal().max())
        if longest > _LONGEST_FOCAL * max(self.width, self.height):
            raise ValueError(
                f"camera has a focal length of {longest:g} pixels, found in a picture of {self.width}x{self.height}; "
                f"expected at most {_LONGEST_FOCAL:,} times its side"
            )
        rotation = self.c2w[:3, :3].double()
        if (rotation @ rotation.T - torch.eye(3, dtype=torch.float64)).abs().max() > 1e-3 or torch.det(rotation) < 0:
            raise ValueError("the 3x3 part of c2w is not a rotation (scale, shear or mirror in the pose)")
        if self.distortion is not None:
            distortion = torch.as_tensor(self.distortion, dtype=torch.float32)
            if not torch.isfinite(distortion).all():
                raise ValueError("distortion contains NaN or infinity")
            bends = self.fisheye or bool(distortion.abs().sum() > 0)
            object.__setattr__(self, "distortion", distortion if bends else None)
        if self.fisheye and (self.distortion is None or self.distortion.shape != (4,)):
            raise ValueError("a fisheye lens needs its four coefficients k1 to k4")

    @property
    def w2c(self) -> Tensor:
        """(4, 4) world-to-camera."""
        rotation = self.c2w[:3, :3].T
        out = torch.eye(4, dtype=self.c2w.dtype)
        out[:3, :3] = rotation
        out[:3, 3] = -rotation @ self.c2w[:3, 3]
        return out

    @property
    def centre(self) -> Tensor:
        """(3,) position in the world."""
        return self.c2w[:3, 3]

    @property
    def elevation(self) -> float:
        """Radians by which it is higher than the world's origin, as seen from there."""
        return math.asin(max(-1.0, min(1.0, float(self.centre[1] / self.centre.norm()))))

    @property
    def forward(self) -> Tensor:
        """(3,) unit viewing direction in the world."""
        return self.c2w[:3, 2]

    @property
    def fov_x(self) -> float:
        """Horizontal field of view in radians."""
        return 2 * math.atan(self.width / (2 * float(self.intrinsics[0, 0])))

    @property
    def fov_y(self) -> float:
        """Vertical field of view in radians."""
        return 2 * math.atan(self.height / (2 * float(self.intrinsics[1, 1])))

    def project(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """World points (..., 3) to pixels (..., 2) and depths (...), ignoring distortion.

        Points with depth <= 0 lie behind the camera; their pixels mean nothing.
        """
        w2c = self.w2c.to(points)
        local = points @ w2c[:3, :3].T + w2c[:3, 3]
        homogeneous = local @ self.intrinsics.to(points).T
        return homogeneous[..., :2] / homogeneous[..., 2:], local[..., 2]

    def rays(self) -> tuple[Tensor, Tensor]:
        """Rays through every pixel centre: the origin (3,) and world directions (H, W, 3) with unit *depth*
        (their forward component is 1), so that `origin + depth * direction` is the surface point."""
        y, x = torch.meshgrid(torch.arange(self.height) + 0.5, torch.arange(self.width) + 0.5, indexing="ij")
        pixels = torch.stack((x, y, torch.ones_like(x)), dim=-1)
        return self.centre, pixels @ torch.linalg.inv(self.intrinsics).T @ self.c2w[:3, :3].T

    def unproject(self, depth: Tensor) -> Tensor:
        """Depth map (H, W) along the forward axis to world points (H, W, 3)."""
        origin, directions = self.rays()
        return origin + depth[..., None] * directions

    def resized(self, width: int, height: int) -> Camera:
        """The same view sampled on another pixel grid."""
        scale = torch.tensor([width / self.width, height / self.height, 1.0])
        return replace(self, intrinsics=self.intrinsics * scale[:, None], width=width, height=height)

    def cropped(self, left: int, top: int, width: int, height: int) -> Camera:
        """The view through a window of the picture; the window may reach outside of it."""
        intrinsics = self.intrinsics.clone()
        intrinsics[0, 2] -= left
        intrinsics[1, 2] -= top
        return replace(self, intrinsics=intrinsics, width=width, height=height)

    def moved(self, rotation: Tensor, translation: Tensor, scale: float = 1.0) -> Camera:
        """The camera after the world is moved by x -> scale * rotation @ x + translation."""
        c2w = self.c2w.clone()
        c2w[:3, :3] = rotation @ self.c2w[:3, :3]
        c2w[:3, 3] = scale * rotation @ self.c2w[:3, 3] + translation
        return replace(self, c2w=c2w)


def intrinsics_from_fov(fov: float, width: int, height: int) -> Tensor:
    """(3, 3) `K` of square pixels whose *shorter* side spans `fov` radians, principal point in the middle.

    Raises:
        ValueError: if `fov` is not strictly between 0 and pi.
    """
    if not 0 < fov < math.pi:
        raise ValueError(f"field of view must lie between 0 and 180 degrees, got {math.degrees(fov):g}")
    focal = min(width, height) / (2 * math.tan(fov / 2))
    return torch.tensor([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]], dtype=torch.float32)


def look_at(eye: Tensor, target: Tensor | None = None, roll: float = 0.0) -> Tensor:
    """(4, 4) c2w of a camera at `eye` (3,) that looks at `target` (the origin unless given), world +Y upward
    in the picture, then rolled by `roll` radians clockwise about its forward axis."""
    eye = torch.as_tensor(eye, dtype=torch.float64)
    target = torch.zeros(3, dtype=torch.float64) if target is None else torch.as_tensor(target, dtype=torch.float64)
    forward = torch.nn.functional.normalize(target - eye, dim=0)
    up = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)
    if abs(float(forward @ up)) > 1 - 1e-9:  # straight down or up: the limit of an orbit at azimuth 0
        up = torch.tensor([0.0, 0.0, math.copysign(1.0, float(forward[1]))], dtype=torch.float64)
    right = torch.nn.functional.normalize(torch.linalg.cross(forward, up), dim=0)
    down = torch.linalg.cross(forward, right)
    c, s = math.cos(roll), math.sin(roll)
    out = torch.eye(4, dtype=torch.float64)
    out[:3, 0] = c * right + s * down
    out[:3, 1] = c * down - s * right
    out[:3, 2] = forward
    out[:3, 3] = eye
    return out.float()


def orbit_distance(fov: float, radius: float = OBJECT_RADIUS) -> float:
    """Distance at which a view of `fov` radians frames a sphere of `radius` with the house margin."""
    return FRAME_MARGIN * radius / math.sin(fov / 2)


def orbit_camera(
    azimuth: float,
    elevation: float,
    fov: float,
    width: int,
    height: int,
    distance: float | None = None,
    roll: float = 0.0,
) -> Camera:
    """A camera on an orbit about the origin. All angles in radians.

    `eye = distance * (cos e sin a, sin e, cos e cos a)`: azimuth 0 looks from +Z and grows toward +X.
    `distance` defaults to the one that frames the unit-diameter sphere.

    Raises:
        ValueError: if `fov` is not strictly between 0 and pi.
    """
    intrinsics = intrinsics_from_fov(fov, width, height)
    distance = orbit_distance(fov) if distance is None else distance
    eye = distance * torch.tensor(
        [
            math.cos(elevation) * math.sin(azimuth),
            math.sin(elevation),
            math.cos(elevation) * math.cos(azimuth),
        ],
        dtype=torch.float64,
    )
    return Camera(look_at(eye, roll=roll), intrinsics, width, height)
