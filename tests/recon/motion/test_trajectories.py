"""Rigid motions over time, and what they carry."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation, Slerp

from recon.motion.trajectories import (
    Trajectories,
    blended_points,
    blended_quats,
    rigid_matrices,
    slerp,
    unblended_points,
)
from recon.splat.rotations import rotations_from_quats
from tests.recon.motion.scenes import still_motion

seeds = st.integers(0, 1000)


def random_quats(*shape, seed):
    quats = torch.randn(*shape, 4, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(quats, dim=-1)


def moving(seed=0, times=4, bases=3):
    generator = torch.Generator().manual_seed(seed)
    return Trajectories(
        torch.tensor([0.5, 1.0, 2.0, 2.25])[:times],
        torch.randn(bases, 3, generator=generator),
        random_quats(times, bases, seed=seed),
        torch.randn(times, bases, 3, generator=generator),
    )


def test_pivots_only_shift():
    motion = moving()
    for place, time in enumerate(motion.times.tolist()):
        matrices = motion.matrices(time)
        moved = (matrices[..., :3] @ motion.pivots[..., None])[..., 0] + matrices[..., 3]
        torch.testing.assert_close(moved, motion.pivots + motion.shifts[place], rtol=1e-5, atol=1e-5)


def test_between_its_times_a_motion_is_what_gltf_players_show():
    motion = moving(seed=3)
    quats, shifts = motion.at(1.25)
    for base in range(motion.bases):
        keys = Rotation.from_quat(motion.quats[1:3, base].roll(-1, -1).numpy())
        expected = Slerp([1.0, 2.0], keys)(1.25).as_matrix()
        torch.testing.assert_close(rotations_from_quats(quats[base]).double().numpy(), expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(shifts, torch.lerp(motion.shifts[1], motion.shifts[2], 0.25))


def test_before_and_after_the_clip_nothing_moves():
    motion = moving()
    torch.testing.assert_close(motion.matrices(-1.0), motion.matrices(0.5))
    torch.testing.assert_close(motion.matrices(99.0), motion.matrices(2.25))


@given(seeds, st.floats(0, 1))
@settings(max_examples=40, deadline=None)
def test_slerp_takes_the_shorter_arc_whatever_the_signs(seed, share):
    first, second = random_quats(5, seed=seed), random_quats(5, seed=seed + 5000)
    turned = slerp(first, second, share)
    for other in (slerp(first, -second, share), slerp(-first, second, share)):
        torch.testing.assert_close((turned * other).sum(-1).abs(), torch.ones(5), rtol=1e-4, atol=1e-4)
    whole = 2 * (first * second).sum(-1).abs().clamp(max=1).acos()
    part = 2 * (first * turned).sum(-1).abs().clamp(max=1).acos()
    torch.testing.assert_close(part, share * whole, rtol=1e-3, atol=2e-3)


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_points_come_back_from_where_they_were_taken(seed):
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(30, 3, generator=generator)
    quats = torch.nn.functional.normalize(
        torch.tensor([1.0, 0, 0, 0]) + 0.15 * torch.randn(4, 4, generator=generator), dim=-1
    )
    matrices = rigid_matrices(quats, torch.randn(4, 3, generator=generator), torch.randn(4, 3, generator=generator))
    bases = torch.randint(0, 4, (30, 3), generator=generator)
    weights = torch.rand(30, 3, generator=generator).softmax(-1)
    there = blended_points(points, bases, weights, matrices)
    torch.testing.assert_close(unblended_points(there, bases, weights, matrices), points, rtol=1e-3, atol=1e-3)


def test_a_pose_that_is_flattened_has_no_way_back():
    half_turn = torch.tensor([[1.0, 0, 0, 0], [0, 1.0, 0, 0]])
    matrices = rigid_matrices(half_turn, torch.zeros(2, 3), torch.zeros(2, 3))
    with pytest.raises(ValueError, match="flatten"):
        unblended_points(torch.randn(3, 3), torch.tensor([[0, 1]] * 3), torch.full((3, 2), 0.5), matrices)


def test_orientations_turn_with_the_basis_that_carries_them():
    turns, quats = random_quats(3, seed=1), random_quats(7, seed=2)
    bases = torch.tensor([[0], [1], [2], [0], [1], [2], [1]])
    found = rotations_from_quats(blended_quats(quats, bases, torch.ones(7, 1), turns))
    expected = rotations_from_quats(turns)[bases[:, 0]] @ rotations_from_quats(quats)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_quaternions_of_opposite_sign_do_not_cancel_each_other_out():
    turn = random_quats(1, seed=4)
    turns = torch.cat((turn, -turn))
    found = blended_quats(torch.tensor([[1.0, 0, 0, 0]]), torch.tensor([[0, 1]]), torch.tensor([[0.5, 0.5]]), turns)
    torch.testing.assert_close((found * turn).sum().abs(), torch.tensor(1.0))


def test_the_time_of_rest_is_that_of_the_canonical_pose():
    motion = moving()
    motion.quats[2], motion.shifts[2] = torch.tensor([-1.0, 0, 0, 0]), 0.0
    assert motion.rest_time() == 2.0
    assert still_motion(3, 2).rest_time() == 0.0


@pytest.mark.parametrize(
    ("times", "bases", "message"), [((1.0, 1.0), 2, "rise"), ((), 2, "trajectories need"), ((0.0, 1.0), 0, "need")]
)
def test_shapes_that_are_no_motion_are_refused(times, bases, message):
    count = len(times)
    with pytest.raises(ValueError, match=message):
        Trajectories(
            torch.tensor(times), torch.zeros(bases, 3), torch.ones(count, bases, 4), torch.zeros(count, bases, 3)
        )
