"""World motions as bones that hang on each other, and clips that repeat."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recon.asset.animation import bone_motion, looped
from recon.motion.skeleton import Skeleton
from recon.motion.trajectories import Trajectories, rigid_matrices
from tests.recon.asset.skins import snake


def scattered(parents: tuple[int, ...], times: int, seed: int) -> tuple[Trajectories, Skeleton]:
    """Motions that have nothing to do with each other, whatever hangs on what."""
    generator = torch.Generator().manual_seed(seed)
    bones = len(parents)
    skeleton = Skeleton(parents, torch.randn(bones, 3, generator=generator), tuple(map(str, range(bones))))
    quats = torch.randn(times, bones, 4, generator=generator)
    shifts = torch.randn(times, bones, 3, generator=generator)
    pivots = torch.randn(bones, 3, generator=generator)
    return Trajectories(torch.arange(times) * 0.1 + 3, pivots, quats, shifts), skeleton


@settings(deadline=None, max_examples=40)
@given(st.data(), st.integers(1, 6), st.integers(1, 5), st.integers(0, 1000))
def test_bones_that_hang_on_each_other_move_the_world_as_the_flat_motions_do(data, bones, times, seed):
    order = data.draw(st.permutations(range(bones)))
    parents = [-1] * bones
    for place in range(1, bones):
        parents[order[place]] = data.draw(st.sampled_from([-1, *order[:place]]))
    motion, skeleton = scattered(tuple(parents), times, seed)
    found = bone_motion(motion, skeleton).matrices()
    expected = rigid_matrices(motion.quats.double(), motion.pivots.double(), motion.shifts.double())
    torch.testing.assert_close(found, expected, atol=1e-10, rtol=0)


def test_times_begin_at_zero_and_turns_are_unit_and_never_change_their_sign():
    motion, skeleton = scattered((-1, 0), 50, 0)
    found = bone_motion(motion, skeleton)
    assert float(found.times[0]) == 0
    torch.testing.assert_close(found.turns.norm(dim=-1), torch.ones(50, 2, dtype=torch.float64))
    assert bool(((found.turns[1:] * found.turns[:-1]).sum(-1) >= 0).all())


def test_what_is_hinged_at_its_joint_stays_at_its_place():
    skinned = snake()
    found = bone_motion(skinned.motion, skinned.skeleton)
    torch.testing.assert_close(found.places[:, 1:], found.rest[1:].expand(17, 2, 3), atol=1e-6, rtol=0)


def test_a_loop_of_few_times_is_led_back_step_by_step():
    for count in (2, 4):
        skinned = snake(3, count)
        motion = bone_motion(skinned.motion, skinned.skeleton)
        closed = looped(motion, "close")
        matrices = closed.matrices()
        torch.testing.assert_close(matrices[-1], matrices[0])
        swing = (matrices - matrices[0]).abs().amax((1, 2, 3))
        assert float(swing.max()) > 0.5 * float((motion.matrices() - matrices[0]).abs().max())  # it still moves
        assert float((matrices[1:] - matrices[:-1]).abs()[-4:].max()) < 0.6 * float(swing.max())


def test_a_closed_loop_ends_as_it_begins_and_does_not_jump_on_its_way():
    skinned = snake(count=81)
    motion = bone_motion(skinned.motion, skinned.skeleton)
    closed = looped(motion, "close")
    matrices, before = closed.matrices(), motion.matrices()
    torch.testing.assert_close(matrices[-1], matrices[0])
    torch.testing.assert_close(matrices[:60], before[:60])
    assert float((matrices[-1] - before[-1]).abs().max()) > 0.1
    steps, steps_before = (m.diff(dim=0).abs().amax() for m in (matrices, before))
    assert float(steps) < 2 * float(steps_before)
    torch.testing.assert_close(closed.times, motion.times)


def test_a_ping_pong_goes_back_the_way_it_came():
    skinned = snake(count=9)
    motion = bone_motion(skinned.motion, skinned.skeleton)
    both = looped(motion, "pingpong")
    matrices = both.matrices()
    assert len(matrices) == 17
    torch.testing.assert_close(matrices, matrices.flip(0))
    torch.testing.assert_close(both.times, torch.arange(17).double() * 0.25)


@pytest.mark.parametrize("loop", ["none", "close", "pingpong"])
def test_a_single_time_stays_one(loop):
    motion, skeleton = scattered((-1, 0), 1, 0)
    assert len(looped(bone_motion(motion, skeleton), loop).times) == 1


def test_the_pivot_of_a_motion_makes_no_difference():
    motion, skeleton = scattered((-1, 0, 1), 4, 1)
    shifts = rigid_matrices(motion.quats, motion.pivots, motion.shifts)[..., 3]
    about_origin = dataclasses.replace(motion, pivots=torch.zeros(3, 3), shifts=shifts)
    first, second = (bone_motion(m, skeleton).places for m in (motion, about_origin))
    torch.testing.assert_close(first, second, atol=1e-5, rtol=0)
