"""Fewer keys, and nothing strays further than it may."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recon.asset.animation import BoneMotion, bone_motion
from recon.asset.keys import lerps, nlerps, reduced, simplified, slerps
from recon.motion.trajectories import slerp
from recon.surface.skinned import SkinnedMesh
from tests.recon.asset.skins import snake


def carried(skinned: SkinnedMesh) -> tuple[torch.Tensor, ...]:
    return tuple(skinned.mesh.vertices for _ in skinned.skeleton.parents)


def moved(skinned: SkinnedMesh, motion: BoneMotion) -> torch.Tensor:
    """(T, B, V, 3) what each bone alone makes of all vertices."""
    matrices = motion.matrices()
    vertices = skinned.mesh.vertices.double()
    return (matrices[:, :, None, :, :3] @ vertices[..., None])[..., 0] + matrices[:, :, None, :, 3]


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 4), st.integers(1, 30), st.sampled_from([0.03, 0.003, 0.0003]), st.integers(0, 1000))
def test_no_vertex_strays_further_than_it_may(bones, count, tolerance, seed):
    skinned = snake(bones, count, seed=seed)
    motion = bone_motion(skinned.motion, skinned.skeleton)
    keys = reduced(motion, carried(skinned), tolerance)
    for spherical in (True, False):
        played = moved(skinned, keys.played(spherical=spherical))
        assert float((played - moved(skinned, motion)).norm(dim=-1).max()) <= tolerance


def test_more_tolerance_leaves_fewer_keys():
    skinned = snake(3, 100)
    motion = bone_motion(skinned.motion, skinned.skeleton)

    def count(tolerance: float) -> int:
        keys = reduced(motion, carried(skinned), tolerance)
        return sum(map(len, keys.turns + keys.places))

    assert count(0) > count(1e-4) > count(1e-3) > count(1e-2)


def test_what_never_changes_keeps_one_key():
    skinned = snake(3, 20)
    keys = reduced(bone_motion(skinned.motion, skinned.skeleton), carried(skinned), 1e-4)
    assert [len(kept) for kept in keys.places[1:]] == [1, 1]


def test_a_bone_without_vertices_is_kept_for_what_hangs_on_it():
    skinned = snake(2, 20)
    motion = bone_motion(skinned.motion, skinned.skeleton)
    keys = reduced(motion, (torch.zeros(0, 3), skinned.mesh.vertices), 1e-3)
    difference = moved(skinned, keys.played())[:, 1] - moved(skinned, motion)[:, 1]
    assert float(difference.norm(dim=-1).max()) <= 1e-3


def test_corners_of_a_path_are_what_is_kept():
    times = np.linspace(0, 1, 11)
    values = np.abs(times - 0.4)[:, None] * np.ones(3)
    kept = simplified(times, values, 1e-9, lerps, lambda a, b: np.linalg.norm(a - b, axis=-1))
    assert kept.tolist() == [0, 4, 10]


@pytest.mark.parametrize("degrees", [0, 1e-6, 20, 120, 250])
def test_turns_between_two_are_those_of_the_trajectories(degrees):
    half = np.deg2rad(degrees) / 2
    first, last = np.array([[1.0, 0, 0, 0]]), np.array([[np.cos(half), np.sin(half), 0, 0]])
    shares = np.linspace(0, 1, 5)
    found = torch.from_numpy(slerps(first, last, shares))
    expected = torch.stack([slerp(torch.from_numpy(first[0]), torch.from_numpy(last[0]), s) for s in shares])
    torch.testing.assert_close((found * expected).sum(-1).abs(), torch.ones(5, dtype=torch.float64))
    torch.testing.assert_close(torch.from_numpy(nlerps(first, last, shares)).norm(dim=1), torch.ones(5).double())
