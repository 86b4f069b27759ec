"""A mesh of a moving scene at one time -> `SkinnedMesh`: each vertex goes with the Gaussians around it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from recon.motion.moving import INFLUENCES, MovingGaussians
from recon.motion.skeleton import Skeleton, find_skeleton
from recon.motion.trajectories import unblended_points
from recon.surface.mesh import Mesh, vertex_normals
from recon.surface.skinned import SkinnedMesh
from recon.surface.smooth import neighbours

_GAUSSIANS = 6
"""Gaussians around a vertex that are asked."""
_SMOOTHING = 1
"""Rounds of averaging over the surface, so that neighbouring vertices do not tear."""
_LEAST_WEIGHT = 0.02
"""Lighter influences are left out."""


def skin_mesh(mesh: Mesh, moving: MovingGaussians, time: float, skeleton: Skeleton | None = None) -> SkinnedMesh:
    """Binds a mesh to the bases of a moving scene, and brings it into the canonical pose.

    Args:
        mesh: of the scene as it is at `time`, where the result is this mesh again. Vertices at one place, as on both
            sides of a seam, move alike.
        time: seconds, one at which the scene is near its canonical pose.
        skeleton: found in the scene if None.

    Raises:
        ValueError: if the scene is so far from its canonical pose that there is no way back.
    """
    skeleton = find_skeleton(moving) if skeleton is None else skeleton
    places, inverse = torch.unique(mesh.vertices, dim=0, return_inverse=True)
    weights = _asked(places, moving, time)
    adjacency, valence = neighbours(Mesh(places, inverse[mesh.faces]))
    for _ in range(_SMOOTHING):
        weights = (weights + torch.from_numpy(adjacency @ weights.numpy())) / torch.from_numpy(1 + valence)
    weights = weights.float()
    count = min(INFLUENCES, weights.shape[1])
    strongest, bones = weights.topk(count, dim=1)
    strongest = strongest / strongest.sum(1, keepdim=True)
    strongest = torch.where(strongest < _LEAST_WEIGHT, 0, strongest)
    strongest = strongest / strongest.sum(1, keepdim=True)
    padding = (0, INFLUENCES - count)
    bones = torch.nn.functional.pad(torch.where(strongest > 0, bones, 0), padding)
    strongest = torch.nn.functional.pad(strongest, padding)
    canonical = unblended_points(places, bones, strongest, moving.motion.matrices(time))
    normals = None if mesh.normals is None else vertex_normals(canonical, inverse[mesh.faces])[inverse]
    posed = replace(mesh, vertices=canonical[inverse], normals=normals)
    return SkinnedMesh(posed, moving.motion, skeleton, bones[inverse], strongest[inverse])


def _asked(places: Tensor, moving: MovingGaussians, time: float) -> Tensor:
    """(V, B) mean weights of the Gaussians around each place, nearer and more solid ones counting more."""
    scene = moving.at(time)
    count = min(_GAUSSIANS, len(moving))
    distance, index = cKDTree(scene.means.double().numpy()).query(places.double().numpy(), count)
    near, chosen = (torch.from_numpy(np.asarray(x).reshape(len(places), -1)) for x in (distance, index))
    spread = near.mean(1, keepdim=True).clamp_min(1e-9)
    share = (-((near / spread) ** 2)).exp().float() * scene.opacities[chosen]
    share = share / share.sum(1, keepdim=True)
    dense = torch.zeros(len(moving), moving.motion.bases).scatter_add(1, moving.bases, moving.weights)
    return (share[..., None] * dense[chosen]).sum(1)
