"""Closed solids: what a fused volume needs before its surface is extracted, and where to look at a scene from."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from recon.capture.camera import OBJECT_RADIUS, Camera, intrinsics_from_fov, look_at, orbit_distance
from recon.splat.volume import SignedVolume
from recon.surface.extract import NEIGHBOURS
from recon.surface.manifold import twin_edges
from recon.surface.mesh import Mesh

CLOSING_FOV = math.radians(30)
_CRUMB = 8
"""Grid points below which a separate solid is never asked about."""


def keep_main_solids(
    volume: SignedVolume, least: float = 1.0, needed: Callable[[Tensor, Tensor], bool] | None = None
) -> SignedVolume:
    """Keeps the largest connected solid and fills its cavities, so that one closed surface remains.

    Args:
        volume: any solid.
        least: other solids of at least this share of the largest one's volume stay too, each with a surface of its own:
            what holds the parts of an object together can be thinner than the grid.
        needed: asked of every smaller solid, large ones first, with its grid points (N, 3) and those of all that stay
            (M, 3): True keeps it.

    Raises:
        ValueError: if nothing is inside.
    """
    from scipy.ndimage import label

    values = volume.values.numpy().copy()
    solids, count = label(values < 0, NEIGHBOURS)
    if count == 0:
        raise ValueError("the volume is empty: no view shows a solid")
    sizes = np.bincount(solids.ravel())
    sizes[0] = 0
    kept = sizes >= least * sizes.max()
    if least >= 1:
        kept[:] = np.arange(len(sizes)) == sizes.argmax()
    if needed is not None:
        for index in np.argsort(-sizes, kind="stable"):
            if sizes[index] >= _CRUMB and not kept[index]:
                staying = volume.points(torch.from_numpy((solids > 0) & kept[solids]))
                kept[index] = needed(volume.points(torch.from_numpy(solids == index)), staying)
    crumbs = (solids > 0) & ~kept[solids]
    values[crumbs] = np.abs(values[crumbs]) + 1e-3 * volume.spacing
    holes, _ = label(values >= 0, NEIGHBOURS)
    border = holes[0, 0, 0]
    cavities = (holes > 0) & (holes != border)
    values[cavities] = -np.abs(values[cavities]) - 1e-3 * volume.spacing
    return volume.with_values(torch.from_numpy(values))


def view_directions(count: int) -> Tensor:
    """(count, 3) unit vectors spread evenly over the sphere (Fibonacci lattice)."""
    index = torch.arange(count, dtype=torch.float64) + 0.5
    height = 1 - 2 * index / count
    turn = math.pi * (3 - math.sqrt(5)) * index
    radius = (1 - height**2).sqrt()
    return torch.stack((radius * turn.sin(), height, radius * turn.cos()), dim=-1).float()


def surrounding_cameras(count: int, size: int, radius: float = OBJECT_RADIUS) -> tuple[Camera, ...]:
    """Cameras on a sphere that look at the origin and frame a ball of `radius` with the house's margin."""
    distance = orbit_distance(CLOSING_FOV, radius)
    intrinsics = intrinsics_from_fov(CLOSING_FOV, size, size)
    return tuple(Camera(look_at(distance * eye), intrinsics, size, size) for eye in view_directions(count))


def is_watertight(mesh: Mesh) -> bool:
    """Whether every edge joins exactly two faces that agree on what is outside, and no face names a vertex twice."""
    if len(mesh.faces) == 0:
        return False
    faces = mesh.faces.numpy()
    if ((faces == np.roll(faces, 1, axis=1)).any(axis=1)).any():
        return False
    return bool((twin_edges(faces) >= 0).all())
