"""`Skeleton`: which basis of a moving scene hangs on which, and where it is jointed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order, connected_components, minimum_spanning_tree
from torch import Tensor

from recon.motion.moving import MovingGaussians
from recon.motion.trajectories import Trajectories

_LOOSE = 0.06
"""Root mean square distance, in world units, between where two bases put their joint, beyond which they have none."""
_LEAST_SHARED = 1e-3
"""Weight that two bases share, as a share of the lighter one's, below which they do not touch."""
_PULL = 1e-2
"""How strongly a joint is drawn to the middle of what its bases share, against what their motions say of it: a hinge's
axis, or bases that move alike, leave it open."""


@dataclass(frozen=True)
class Skeleton:
    """A forest over the B bases of `Trajectories`.

    Attributes:
        parents: one a basis: the index of the basis it hangs on, -1 for one that hangs on none. No circles.
        joints: (B, 3) in the canonical pose: the point that a basis turns about, as its parent sees it.
        names: one a basis, unique.
    """

    parents: tuple[int, ...]
    joints: Tensor
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        count = len(self.parents)
        if self.joints.shape != (count, 3) or len(set(self.names)) != count or len(self.names) != count:
            raise ValueError(f"a skeleton of {count} bones needs joints ({count}, 3) and {count} different names")
        self.order()

    def order(self) -> list[int]:
        """The bones, every one after its parent.

        Raises:
            ValueError: if a parent does not exist or bones hang on each other in a circle.
        """
        children: dict[int, list[int]] = {}
        for bone, parent in enumerate(self.parents):
            children.setdefault(parent, []).append(bone)
        order, open_ = [], list(children.get(-1, []))
        while open_:
            bone = open_.pop(0)
            order.append(bone)
            open_ += children.get(bone, [])
        if len(order) != len(self.parents):
            raise ValueError(f"expected a forest, found parents {self.parents}")
        return order


def find_skeleton(moving: MovingGaussians) -> Skeleton:
    """The tree along which neighbouring bases turn about a common point best; bases that touch no other, or part from
    all, hang on none. The root is the basis that carries most.

    A joint is where both motions agree, in the sense of least squares over time (centres of rotation: O'Brien et al.
    2000); the tree is the minimum spanning tree of what is left.
    """
    motion, count = moving.motion, moving.motion.bases
    weights = torch.zeros(len(moving), count).scatter_add(1, moving.bases, moving.weights)
    weights = weights * moving.canonical.opacities[:, None]
    mass, shared = weights.sum(0), weights.T @ weights
    rotations, translations = _all_matrices(motion)
    costs, joints = torch.zeros(count, count), torch.zeros(count, count, 3)
    for first in range(count):
        for second in range(first):
            if shared[first, second] < _LEAST_SHARED * min(mass[first], mass[second]):
                continue
            both = weights[:, first] * weights[:, second]
            middle = (both[:, None] * moving.canonical.means).sum(0) / both.sum()
            joint, left = _joint(
                rotations[:, first] - rotations[:, second], translations[:, first] - translations[:, second], middle
            )
            if left <= _LOOSE:
                # Among joints that are as good, those between bases that share more.
                costs[first, second] = 1e-6 + left + 1e-3 / (1 + float(shared[first, second]))
                joints[first, second] = joints[second, first] = joint
    tree = minimum_spanning_tree(csr_array(costs.numpy()))
    _, parts = connected_components(tree, directed=False)
    parents, places = [-1] * count, motion.pivots.clone()
    for part in set(parts.tolist()):
        members = [bone for bone in range(count) if parts[bone] == part]
        root = max(members, key=lambda bone: float(mass[bone]))
        order, before = breadth_first_order(tree, root, directed=False)
        for bone in order[1:].tolist():
            parents[bone] = int(before[bone])
            places[bone] = joints[bone, parents[bone]]
    return Skeleton(tuple(parents), places, tuple(f"bone_{bone:02d}" for bone in range(count)))


def _all_matrices(motion: Trajectories) -> tuple[Tensor, Tensor]:
    """Rotations (T, B, 3, 3) and translations (T, B, 3)."""
    matrices = torch.stack([motion.matrices(float(time)) for time in motion.times])
    return matrices[..., :3], matrices[..., 3]


def _joint(turned: Tensor, shifted: Tensor, middle: Tensor) -> tuple[Tensor, float]:
    """The point that two motions agree best about, and the root mean square distance between where they put it.

    Args:
        turned: (T, 3, 3) difference of the rotations.
        shifted: (T, 3) difference of the translations.
        middle: (3,) what the point is drawn to.
    """
    pull = _PULL * float(turned.square().sum((1, 2)).mean()) + 1e-9
    normal = torch.einsum("tij,tik->jk", turned, turned) / len(turned) + pull * torch.eye(3)
    right = -torch.einsum("tij,ti->j", turned, shifted) / len(turned) + pull * middle
    joint = torch.linalg.solve(normal, right)
    return joint, float((turned @ joint + shifted).square().sum(-1).mean().sqrt())
