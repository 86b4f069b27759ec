"""Conversions between the house's conventions and everybody else's, each in exactly one place.

The house: OpenCV camera axes, pixel centres at +0.5, +Y up, quaternions wxyz (`docs/conventions.md`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from recon.capture.camera import Camera
from recon.capture.types import Similarity

if TYPE_CHECKING:
    from kornia.geometry.camera import PinholeCamera

Z_UP_TO_Y_UP = Similarity(torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]]))
"""(x, y, z) -> (x, z, -y): a world with Z up and front -Y (Blender, NeRF-synthetic, nerfstudio) to ours."""


def opencv_from_opengl(c2w: Tensor) -> Tensor:
    """Camera-to-world (..., 4, 4) with axes right, up, backward (OpenGL, Blender, nerfstudio) to right, down, forward.

    The conversion is its own inverse and exact: two columns change sign.
    """
    return c2w * torch.tensor([1.0, -1.0, -1.0, 1.0]).to(c2w)


def opengl_from_opencv(c2w: Tensor) -> Tensor:
    """The inverse of `opencv_from_opengl`."""
    return opencv_from_opengl(c2w)


def xyzw_from_wxyz(quats: Tensor) -> Tensor:
    """Quaternions (..., 4), scalar first (ours) to scalar last (glTF, scipy)."""
    return torch.roll(quats, -1, dims=-1)


def wxyz_from_xyzw(quats: Tensor) -> Tensor:
    """Quaternions (..., 4), scalar last (glTF, scipy) to scalar first (ours)."""
    return torch.roll(quats, 1, dims=-1)


def rotation_from_quat(quats: Tensor) -> Tensor:
    """Rotation matrices (..., 3, 3) of quaternions wxyz (..., 4), which need not be unit."""
    from kornia.geometry.conversions import quaternion_to_rotation_matrix

    return quaternion_to_rotation_matrix(torch.nn.functional.normalize(quats, dim=-1))


def quat_from_rotation(rotations: Tensor) -> Tensor:
    """Unit quaternions wxyz (..., 4), w >= 0, of rotation matrices (..., 3, 3)."""
    from kornia.geometry.conversions import rotation_matrix_to_quaternion

    quats = torch.nn.functional.normalize(rotation_matrix_to_quaternion(rotations.contiguous()), dim=-1)
    return torch.where(quats[..., :1] < 0, -quats, quats)


def centres_at_integers(intrinsics: Tensor) -> Tensor:
    """`K` (..., 3, 3) for libraries that put the centre of the top-left pixel at (0, 0): Open3D, kornia, OpenCV."""
    return intrinsics - _half_pixel(intrinsics)


def centres_at_halves(intrinsics: Tensor) -> Tensor:
    """The inverse of `centres_at_integers`: `K` as the house has it, the first pixel's centre at (0.5, 0.5)."""
    return intrinsics + _half_pixel(intrinsics)


def to_kornia(camera: Camera) -> PinholeCamera:
    """The camera as a kornia `PinholeCamera` of batch 1; its `project` returns pixels 0.5 less than ours."""
    from kornia.geometry.camera import PinholeCamera

    intrinsics = torch.eye(4)
    intrinsics[:3, :3] = centres_at_integers(camera.intrinsics)
    height, width = torch.tensor([camera.height]), torch.tensor([camera.width])
    return PinholeCamera(intrinsics[None], camera.w2c[None], height, width)


def camera_from_projection(projection: Tensor, width: int, height: int) -> Camera:
    """The camera of a 3x4 projection matrix `K [R | t]`, known up to scale (pixels as the house counts them).

    Hartley and Zisserman, Multiple View Geometry, 2nd edition, section 6.2.4; the skew is dropped.

    Raises:
        ValueError: if the matrix is singular or not finite.
    """
    p = torch.as_tensor(projection, dtype=torch.float64)
    if p.shape != (3, 4) or not torch.isfinite(p).all() or torch.linalg.det(p[:, :3]).abs() < 1e-12:
        raise ValueError("a projection matrix must be finite, 3x4, with an invertible left part")
    p = p * torch.sign(torch.linalg.det(p[:, :3]))  # K and R both have positive determinants
    q, r = torch.linalg.qr(torch.flip(p[:, :3], (0,)).T)
    k, rotation = torch.flip(r.T, (0, 1)), torch.flip(q.T, (0,))
    signs = torch.sign(torch.diagonal(k))
    k, rotation = k * signs, signs[:, None] * rotation
    c2w = torch.eye(4, dtype=torch.float64)
    c2w[:3, :3] = rotation.T
    c2w[:3, 3] = -torch.linalg.solve(p[:, :3], p[:, 3])
    k = k / k[2, 2]
    k[0, 1] = 0.0
    return Camera(c2w.float(), k.float(), width, height)


def without_distortion(camera: Camera) -> Camera:
    """The pinhole camera that the undistorted picture belongs to: the same pose, `K` and size."""
    return replace(camera, distortion=None, fisheye=False)


def distorted_pixels(pixels: Tensor, camera: Camera) -> Tensor:
    """(N, 2) where the lens of `camera` shows what `without_distortion(camera)` would show at `pixels` (N, 2)."""
    from kornia.geometry import distort_points
    from kornia.geometry.camera.distortion_kannala_brandt import distort_points_kannala_brandt

    if camera.distortion is None:
        return pixels
    k, coefficients = camera.intrinsics.to(pixels), camera.distortion.to(pixels)
    if not camera.fisheye:
        return distort_points(pixels[None], k[None], coefficients[None])[0]
    plane = torch.cat((pixels, torch.ones_like(pixels[:, :1])), dim=1) @ torch.linalg.inv(k).T
    parameters = torch.cat((torch.stack((k[0, 0], k[1, 1], k[0, 2], k[1, 2])), coefficients))
    return distort_points_kannala_brandt(plane[:, :2], parameters)


def undistort(image: Tensor, camera: Camera) -> tuple[Tensor, Tensor]:
    """Resample a distorted picture as the pinhole `without_distortion(camera)` would have taken it.

    Args:
        image: (H, W, C) of the camera's size; colours should be premultiplied where there is alpha.

    Returns:
        (H, W, C) picture, bilinear; (H, W) bool, False where the distorted picture did not reach, or where the
        coefficients, far from what they were fitted to, fold it back on itself.
    """
    inside = torch.ones(camera.height, camera.width, dtype=torch.bool)
    if camera.distortion is None:
        return image, inside
    y, x = torch.meshgrid(torch.arange(camera.height) + 0.5, torch.arange(camera.width) + 0.5, indexing="ij")
    distorted = distorted_pixels(torch.stack((x, y), dim=-1).reshape(-1, 2), camera)
    size = torch.tensor([camera.width, camera.height])
    distorted = distorted.reshape(camera.height, camera.width, 2)
    inside = ((distorted >= 0) & (distorted <= size)).all(-1) & _before_folds(distorted, camera)
    # align_corners=False maps [-1, 1] to the picture's outer edges, which is the house's half-pixel convention
    grid = (2 * distorted / size - 1)[None]
    sampled = torch.nn.functional.grid_sample(
        image.permute(2, 0, 1)[None], grid, mode="bilinear", padding_mode="border", align_corners=False
    )
    return sampled[0].permute(1, 2, 0), inside


def _before_folds(places: Tensor, camera: Camera) -> Tensor:
    """(H, W) bool: where a lens's map of pixels (H, W, 2) has not turned over on the way from the principal point.

    Beyond a fold it shows a mirrored picture, and beyond a second one what looks like a sound one.
    """
    from scipy.ndimage import label

    if min(places.shape[:2]) < 2:
        return torch.ones(places.shape[:2], dtype=torch.bool)
    down, across = torch.gradient(places, dim=(0, 1))
    upright = across[..., 0] * down[..., 1] - across[..., 1] * down[..., 0] > 0
    parts, _ = label(upright.numpy())
    column, row = (int(x) for x in camera.intrinsics[:2, 2])
    middle = parts[min(max(row, 0), camera.height - 1), min(max(column, 0), camera.width - 1)]
    return torch.from_numpy(parts == middle) & upright


def _half_pixel(intrinsics: Tensor) -> Tensor:
    shift = torch.zeros(3, 3)
    shift[:2, 2] = 0.5
    return shift.to(intrinsics)
