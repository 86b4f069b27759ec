"""Bones and vertices of a skinned mesh moved a little, until its outlines lie on those of the pictures of all times.

The motion was fitted with splats, which are soft; what it is off by is a fraction of a pixel, another at each time. A
mesh that was fitted to the outlines of one time carries that time's error into all others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from recon.capture import Frame
from recon.motion.trajectories import blended_points
from recon.splat.rotations import multiply_quats
from recon.surface.mesh import Mesh, vertex_normals
from recon.surface.outlines import OutlineTarget, asked_shifts, outline_target, spread_shifts
from recon.surface.skinned import SkinnedMesh

_DAMPING = 0.02
"""Share of a bone's usual weight that holds it where it is: outlines say nothing of some motions."""


def fit_moving_outlines(
    skinned: SkinnedMesh, times: Sequence[float], groups: Sequence[Sequence[Frame]], rounds: int = 3
) -> SkinnedMesh:
    """The mesh with its bones turned and shifted at each time, and its vertices shifted along their normals; faces,
    weights and texture coordinates stay.

    Each time's bones are solved for by least squares from how far each vertex on an outline should go along its normal
    (Gauss-Newton on point-to-plane distances, Chen & Medioni 1992); what all times agree is left moves the vertices.

    Args:
        times: (T,) those of `skinned.motion`.
        groups: the frames of each time, undistorted; pixels of alpha 0 are background.
        rounds: renders, moves and renders again.
    """
    places, inverse = torch.unique(skinned.mesh.vertices, dim=0, return_inverse=True)
    first = torch.zeros(len(places), dtype=torch.long).scatter_(0, inverse, torch.arange(len(inverse)))
    bones, weights, faces = skinned.bones[first], skinned.weights[first], inverse[skinned.mesh.faces]
    extent = float((places.max(0).values - places.min(0).values).max())
    quats, shifts = skinned.motion.quats.clone(), skinned.motion.shifts.clone()
    targets = [[outline_target(frame) for frame in group] for group in groups]
    for _ in range(rounds):
        total, trust = torch.zeros(len(places)), torch.zeros(len(places))
        for key, time in enumerate(times):
            motion = replace(skinned.motion, quats=quats, shifts=shifts)
            posed = Mesh(blended_points(places, bones, weights, motion.matrices(time)), faces)
            left, weight, turn, shift = _step(posed, bones, weights, motion.pivots + shifts[key], targets[key])
            quats[key] = multiply_quats(turn, quats[key])
            shifts[key] += shift
            total += left * weight
            trust += weight
        if not bool(trust.any()):
            return skinned
        normals = vertex_normals(places, faces)
        step = spread_shifts(places, faces.numpy(), total / trust.clamp_min(1e-12), trust, extent)
        places = places + step[:, None] * normals
    motion = replace(skinned.motion, quats=quats, shifts=shifts)
    mesh = replace(skinned.mesh, vertices=places[inverse], normals=vertex_normals(places, faces)[inverse])
    return replace(skinned, mesh=mesh, motion=motion)


def _step(
    posed: Mesh, bones: Tensor, weights: Tensor, centres: Tensor, targets: Sequence[OutlineTarget]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What is left of the shifts (V,) that one time asks for after its bones have moved, how much each counts (V,), and
    the bones' turns (B, 4), wxyz, about `centres` (B, 3), and shifts (B, 3)."""
    count = len(centres)
    normals = vertex_normals(posed.vertices, posed.faces)
    wanted, weight = asked_shifts(posed, normals, targets)
    asked = weight.nonzero()[:, 0]
    rows = torch.zeros(len(asked), count, 6)
    for k in range(bones.shape[1]):
        bone, share, normal = bones[asked, k], weights[asked, k, None], normals[asked]
        arm = posed.vertices[asked] - centres[bone]
        # n . (w x r) = w . (r x n)
        row = torch.cat((torch.linalg.cross(arm, normal), normal), dim=1) * share
        rows.index_put_((torch.arange(len(asked)), bone), row, accumulate=True)
    matrix = rows.flatten(1).double()
    trusted = matrix * weight[asked, None]
    normal_matrix = trusted.T @ matrix
    diagonal = normal_matrix.diagonal()
    held = _DAMPING * diagonal[diagonal > 0].mean() if bool((diagonal > 0).any()) else torch.ones(())
    normal_matrix = normal_matrix + held * torch.eye(len(normal_matrix))
    found = torch.linalg.solve(normal_matrix, trusted.T @ wanted[asked].double())
    left = wanted.clone()
    left[asked] -= (matrix @ found).to(left)
    twist, shift = found.reshape(count, 6).to(wanted).split(3, dim=1)
    angle = twist.norm(dim=1, keepdim=True)
    axis = twist / angle.clamp_min(1e-12)
    turn = torch.cat(((angle / 2).cos(), axis * (angle / 2).sin()), dim=1)
    return left, weight, turn, shift
