"""What a reconstruction must beat: the bounding sphere, the visual hull of the true masks, an inflated silhouette, and
what the usual tool makes of the same depth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from recon._open3d import import_open3d
from recon.capture import OBJECT_RADIUS, Camera
from recon.splat.gaussians import Gaussians
from recon.splat.rasterize import rasterize
from recon.splat.volume import HALF_EXTENT, SignedVolume, visual_hull
from recon.surface.extract import extract_surface
from recon.surface.mesh import Mesh


def bounding_sphere(radius: float = OBJECT_RADIUS, resolution: int = 40) -> Mesh:
    """The sphere around the origin that every object is framed by: what is known without looking."""
    grid = _grid(resolution)
    return extract_surface(_volume(grid.norm(dim=-1) - radius, resolution))


def hull_mesh(cameras: Sequence[Camera], masks: Sequence[Tensor], resolution: int = 128) -> Mesh:
    """The largest solid within all silhouettes (Laurentini 1994): what masks alone can tell.

    Args:
        masks: alpha (H, W) in [0, 1] for each camera.

    Raises:
        ValueError: if there is no view, or the masks leave nothing.
    """
    return _solid(extract_surface(visual_hull(cameras, masks, resolution)), "the masks leave no solid")


def poisson_mesh(gaussians: Gaussians, cameras: Sequence[Camera], depth: int = 8) -> Mesh:
    """Open3D's screened Poisson surface (Kazhdan & Hoppe 2013) of the points that the cameras see of a fitted scene.

    Points and normals are those of every pixel's median depth; nothing is trimmed, so the surface is closed.

    Args:
        depth: of the octree.

    Raises:
        ValueError: if the cameras see no point.
    """
    o3d = import_open3d()
    points, normals = [], []
    for camera in cameras:
        with torch.no_grad():
            drawn = rasterize(gaussians, [camera])
        known = drawn.median_depth[0] > 0
        origin, directions = camera.rays()
        points.append((origin + directions * drawn.median_depth[0][..., None])[known])
        normals.append(drawn.normal[0][known])
    cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(torch.cat(points).double().numpy()))
    if len(cloud.points) == 0:
        raise ValueError("the cameras see nothing of the scene")
    cloud.normals = o3d.utility.Vector3dVector(torch.cat(normals).double().numpy())
    found, _ = o3d.geometry.TriangleMesh.create_from_point_cloud_poisson(cloud, depth=depth)
    faces = torch.from_numpy(np.asarray(found.triangles).astype(np.int64))
    return Mesh(torch.from_numpy(np.asarray(found.vertices).astype(np.float32)), faces)


def inflated_silhouette(camera: Camera, mask: Tensor, resolution: int = 128) -> Mesh:
    """A solid blown up behind and before the silhouette of one view, as thick as it is wide: a disc becomes a ball.

    The half thickness is the square root of the solution of Poisson's equation inside the mask, zero on its outline
    (as in sketch inflation; for a disc of radius R it is sqrt(R^2 - r^2)). It is laid around the plane through the
    world's origin that faces the camera, along the view's rays.

    Args:
        mask: alpha (H, W) in [0, 1] of the view.

    Raises:
        ValueError: if the mask is empty.
    """
    thickness = torch.from_numpy(_inflate(mask.numpy() > 0.5))
    plane = float(camera.c2w[:3, 2] @ -camera.centre)
    grid = _grid(resolution)
    local = (grid - camera.centre) @ camera.c2w[:3, :3]
    depth = local[..., 2]
    # Points keep their pixel along a ray, so that the silhouette of the solid is the mask itself.
    pixels = local / depth.clamp_min(1e-6)[..., None] @ camera.intrinsics.T
    scale = torch.tensor([2 / camera.width, 2 / camera.height])
    looked_up = torch.nn.functional.grid_sample(
        thickness[None, None].float(),
        (pixels[..., :2] * scale - 1).reshape(1, -1, 1, 2),
        mode="bilinear",
        padding_mode="border",
        align_corners=False,
    ).reshape(depth.shape)
    world_per_pixel = plane / float(camera.intrinsics[0, 0])
    distance = (depth - plane).abs() - looked_up * world_per_pixel
    return _solid(extract_surface(_volume(_cut(distance), resolution)), "the mask is empty")


def _inflate(inside: np.ndarray) -> np.ndarray:
    """(H, W) half thickness in pixels inside a mask; outside, minus the distance to it.

    Solves laplace(u) = -4 with u = 0 on the ring of pixels around the mask. For a disc, sqrt(u) is a half ball.
    """
    from scipy.ndimage import distance_transform_edt
    from scipy.sparse import csr_matrix, identity
    from scipy.sparse.linalg import spsolve

    if not inside.any():
        raise ValueError("the mask is empty: nothing to inflate")
    padded = np.pad(inside, 1)
    count = int(padded.sum())
    number = np.full(padded.shape, -1)
    number[padded] = np.arange(count)
    links = []
    for axis, step in ((0, 1), (0, -1), (1, 1), (1, -1)):
        neighbour = np.roll(number, step, axis)
        both = padded & (neighbour >= 0)
        links.append(np.stack((number[both], neighbour[both])))
    rows, columns = np.concatenate(links, axis=1)
    matrix = 4 * identity(count, format="csr") - csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(count, count))
    height = -distance_transform_edt(~padded).astype(np.float64)
    height[padded] = np.sqrt(np.maximum(np.atleast_1d(spsolve(matrix.tocsc(), np.full(count, 4.0))), 0))
    return height[1:-1, 1:-1]


def _grid(resolution: int) -> Tensor:
    """(R, R, R, 3) world positions of the house's default grid."""
    axis = torch.linspace(-HALF_EXTENT, HALF_EXTENT, resolution)
    return torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1)


def _volume(values: Tensor, resolution: int) -> SignedVolume:
    return SignedVolume(values.contiguous(), torch.full((3,), -HALF_EXTENT), 2 * HALF_EXTENT / (resolution - 1))


def _cut(values: Tensor) -> Tensor:
    """The solid without what leaves the sphere that pictures frame, so that it closes inside of the grid."""
    radius = _grid(len(values)).norm(dim=-1)
    return torch.maximum(values, radius - 0.99 * HALF_EXTENT)


def _solid(mesh: Mesh, reason: str) -> Mesh:
    if len(mesh.faces) == 0:
        raise ValueError(f"{reason}: there is no surface")
    return mesh
