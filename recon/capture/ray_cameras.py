"""A pinhole camera from the rays of its picture: the inverse of `Camera.rays`, by least squares.

Rays may be wrong by some degrees, as those that a network tells (Cameras as Rays, Zhang et al., arXiv:2402.14817):
many rays together fix the few numbers that a camera has.
"""

from __future__ import annotations

import math

import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from recon.capture.camera import OBJECT_RADIUS, Camera, intrinsics_from_fov, orbit_distance

NARROWEST, WIDEST = math.radians(5.0), math.radians(120.0)
"""Fields of view between which the focal length is looked for."""


def fit_rotation(seen: Tensor, directions: Tensor) -> Tensor:
    """(3, 3) rotation that best turns unit vectors `seen` (N, 3) into `directions` (N, 3) (Kabsch 1976)."""
    u, _, v = torch.linalg.svd(directions.T.double() @ seen.double())
    sign = torch.diag(torch.tensor([1.0, 1.0, float(torch.det(u @ v).sign())], dtype=torch.float64))
    return (u @ sign @ v).float()


def camera_from_rays(
    pixels: Tensor,
    directions: Tensor,
    moments: Tensor,
    width: int,
    height: int,
    *,
    rotation: Tensor | None = None,
    pull: float = 0.0,
    radius: float = OBJECT_RADIUS,
) -> Camera:
    """The camera with square pixels and a centred principal point whose rays are nearest to the given ones.

    Args:
        pixels: (N, 2) places in the picture, in pixels, N >= 3.
        directions: (N, 3) of the rays through them, in the world; any positive length.
        moments: (N, 3) Plücker moments, `centre x direction` for unit directions.
        width, height: of the picture.
        rotation: (3, 3) the camera-to-world rotation where it is known.
        pull: how much, beside the rays' own evidence, the centre is drawn to where the camera would frame the object,
            the sphere around the world's origin, with the house margin. How far off the centre is can hardly be told
            from rays that are nearly parallel.
        radius: of the object's sphere.

    Raises:
        ValueError: if a value is not finite, or there are fewer than three rays.
    """
    if len(pixels) < 3 or not all(bool(torch.isfinite(x).all()) for x in (pixels, directions, moments)):
        raise ValueError(f"a camera needs at least three finite rays, found {len(pixels)}")
    directions = torch.nn.functional.normalize(directions.float(), dim=-1)
    offsets = pixels - torch.tensor([width / 2, height / 2])
    side = min(width, height)

    def seen(fov: float) -> Tensor:
        focal = side / (2 * math.tan(fov / 2))
        return torch.nn.functional.normalize(torch.nn.functional.pad(offsets / focal, (0, 1), value=1.0), dim=-1)

    def disagreement(fov: float) -> float:
        turn = rotation if rotation is not None else fit_rotation(seen(fov), directions)
        return float((seen(fov) @ turn.T - directions).square().sum())

    fov = float(minimize_scalar(disagreement, bounds=(NARROWEST, WIDEST), method="bounded").x)
    turn = rotation if rotation is not None else fit_rotation(seen(fov), directions)
    expected = -orbit_distance(fov, radius) * turn[:, 2].double()
    d = directions.double()
    # Each ray says where the centre is across itself: (1 - d d^T) centre = d x moment.
    normal = torch.eye(3, dtype=torch.float64) - d[:, :, None] * d[:, None, :]
    matrix = normal.mean(dim=0) + pull * torch.eye(3, dtype=torch.float64)
    right = torch.linalg.cross(d, moments.double()).mean(dim=0) + pull * expected
    c2w = torch.eye(4)
    c2w[:3, :3] = turn
    c2w[:3, 3] = torch.linalg.solve(matrix, right).float()
    return Camera(c2w, intrinsics_from_fov(fov, width, height), width, height)
