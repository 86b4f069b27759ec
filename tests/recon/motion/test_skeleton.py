"""Which basis hangs on which, and where."""

from __future__ import annotations

import math

import pytest
import torch

from recon.motion.moving import MovingGaussians
from recon.motion.skeleton import Skeleton, find_skeleton
from recon.motion.trajectories import Trajectories
from recon.splat.gaussians import from_points


def chain(parts: int, count: int = 400, loose: float = 0.0) -> MovingGaussians:
    """A stick along y of equal parts, each hinged on the one before at y = 1, 2, ...; the first is twice as heavy. The
    last is `loose`: it flies away so far."""
    generator = torch.Generator().manual_seed(0)
    y = torch.rand(count, generator=generator) * (parts + 1) - 1
    points = torch.stack((0.1 * torch.randn(count, generator=generator), y, torch.zeros(count)), 1)
    place = y.clamp(0.0, parts - 1e-3)
    lower = (place - 0.1).floor().clamp(0, parts - 1).long()
    upper = (place + 0.1).floor().clamp(0, parts - 1).long()
    bases, weights = torch.stack((lower, upper), 1), torch.full((count, 2), 0.5)
    times = torch.linspace(0, 1, 7)
    matrices = torch.eye(4).repeat(len(times), parts, 1, 1)
    for k, time in enumerate(times.tolist()):
        for part in range(1, parts):
            angle = 0.7 * math.sin(2 * math.pi * time + part) - 0.7 * math.sin(part)
            about = torch.tensor([0.0, part, 0.0])
            hinge = torch.eye(4)
            c, s = math.cos(angle), math.sin(angle)
            hinge[:3, :3] = torch.tensor([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
            hinge[:3, 3] = about - hinge[:3, :3] @ about
            matrices[k, part] = matrices[k, part - 1] @ hinge
        matrices[k, -1, 2, 3] += loose * time
    from recon.capture.conversions import quat_from_rotation

    pivots = torch.zeros(parts, 3)
    motion = Trajectories(times, pivots, quat_from_rotation(matrices[..., :3, :3]), matrices[..., :3, 3])
    scene = from_points(points, torch.rand(count, 3), 0.05, opacity=0.8)
    return MovingGaussians(scene, motion, bases, weights, torch.zeros(count, 0, 3))


def test_a_chain_is_found_with_its_hinges():
    skeleton = find_skeleton(chain(4))
    assert skeleton.parents == (-1, 0, 1, 2)
    hinges = skeleton.joints[1:]
    torch.testing.assert_close(hinges[:, 1], torch.tensor([1.0, 2.0, 3.0]), rtol=0, atol=0.03)
    assert float(hinges[:, 0].abs().max()) < 0.05
    assert len(set(skeleton.names)) == 4


def test_what_flies_away_hangs_on_nothing():
    skeleton = find_skeleton(chain(3, loose=3.0))
    assert skeleton.parents == (-1, 0, -1)


def test_one_basis_is_a_root():
    assert find_skeleton(chain(1)).parents == (-1,)


def test_parents_come_first():
    skeleton = Skeleton((2, 0, -1, 2), torch.zeros(4, 3), ("a", "b", "c", "d"))
    order = skeleton.order()
    assert sorted(order) == [0, 1, 2, 3]
    assert all(order.index(parent) < order.index(bone) for bone, parent in enumerate(skeleton.parents) if parent >= 0)


@pytest.mark.parametrize("parents", [(1, 0), (0,), (5, -1)])
def test_bones_in_a_circle_are_refused(parents):
    with pytest.raises(ValueError, match="forest"):
        Skeleton(parents, torch.zeros(len(parents), 3), tuple("ab"[: len(parents)]))


def test_bones_of_one_name_are_refused():
    with pytest.raises(ValueError, match="names"):
        Skeleton((-1, 0), torch.zeros(2, 3), ("bone", "bone"))
