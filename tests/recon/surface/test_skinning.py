"""Meshes that go with moving Gaussians."""

from __future__ import annotations

import dataclasses

import torch

from recon.motion.moving import MovingGaussians
from recon.motion.trajectories import Trajectories
from recon.splat.gaussians import from_points
from recon.surface.skinning import skin_mesh
from recon.surface.uv import unwrap
from tests.recon.metrics.shapes import sphere

TIMES = torch.linspace(0, 1, 3)


def halves(turn: float = 0.6) -> MovingGaussians:
    """A ball whose right half swings out about the y axis while the left one stands; half-way both blend. At time 0 the
    right half is turned already, a little."""
    ball = sphere(0.4, 3).vertices
    share = (ball[:, 0] / 0.2 + 0.5).clamp(0, 1)
    quats = torch.zeros(3, 2, 4)
    quats[..., 0] = 1
    for k, angle in enumerate((0.1, 0.1 + turn / 2, 0.1 + turn)):
        half = torch.tensor(angle / 2)
        quats[k, 1] = torch.stack((half.cos(), torch.tensor(0.0), half.sin(), torch.tensor(0.0)))
    motion = Trajectories(TIMES, torch.zeros(2, 3), quats, torch.zeros(3, 2, 3))
    scene = from_points(ball, torch.rand(len(ball), 3), 0.03, opacity=0.9)
    weights = torch.stack((1 - share, share), 1)
    index = torch.tensor([[0, 1]]).expand(len(ball), 2)
    return MovingGaussians(scene, motion, index, weights, torch.zeros(len(ball), 0, 3))


def at_first(moving):
    """The ball's own triangles, as the scene is at its first time."""
    return dataclasses.replace(sphere(0.4, 3), vertices=moving.at(0.0).means)


def test_at_the_time_it_was_taken_the_mesh_is_itself():
    moving = halves()
    mesh = at_first(moving)
    skinned = skin_mesh(mesh, moving, 0.0)
    torch.testing.assert_close(skinned.vertices_at(0.0), mesh.vertices, rtol=0, atol=1e-5)
    assert float((skinned.mesh.vertices - mesh.vertices).norm(dim=1).max()) > 0.01  # the canonical pose is another


def test_the_mesh_goes_with_the_gaussians():
    moving = halves()
    skinned = skin_mesh(at_first(moving), moving, 0.0)
    for time in (0.0, 0.3, 1.0):
        apart = (skinned.vertices_at(time) - moving.at(time).means).norm(dim=1)
        assert float(apart.max()) < 0.03
        assert float(apart.mean()) < 0.006


def test_weights_are_few_sorted_and_whole():
    skinned = skin_mesh(at_first(halves()), halves(), 0.0)
    assert skinned.weights.shape[1] == 4
    torch.testing.assert_close(skinned.weights.sum(1), torch.ones(len(skinned.weights)))
    assert bool((skinned.weights.diff(dim=1) <= 0).all())
    assert bool((skinned.bones[skinned.weights == 0] == 0).all())


def test_seams_do_not_open():
    moving = halves()
    mesh = unwrap(at_first(moving), 256)
    skinned = skin_mesh(mesh, moving, 0.0)
    _, inverse = torch.unique(mesh.vertices, dim=0, return_inverse=True)
    assert int(inverse.max()) + 1 < len(mesh.vertices)  # there are seams
    moved = skinned.vertices_at(1.0)
    first = torch.zeros(int(inverse.max()) + 1, 3)
    first[inverse] = moved
    assert torch.equal(first[inverse], moved)


def test_a_scene_of_one_basis_is_rigid():
    moving = halves()
    alone = dataclasses.replace(
        moving,
        motion=dataclasses.replace(
            moving.motion,
            pivots=moving.motion.pivots[1:],
            quats=moving.motion.quats[:, 1:],
            shifts=moving.motion.shifts[:, 1:],
        ),
        bases=torch.zeros(len(moving), 1, dtype=torch.long),
        weights=torch.ones(len(moving), 1),
    )
    mesh = dataclasses.replace(sphere(0.4, 3), vertices=alone.at(0.0).means)
    skinned = skin_mesh(mesh, alone, 0.0)
    torch.testing.assert_close(skinned.vertices_at(1.0), alone.at(1.0).means, rtol=0, atol=1e-5)
    assert skinned.skeleton.parents == (-1,)
