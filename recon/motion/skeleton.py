"""`Skeleton`: which basis of a moving scene hangs on which, and where it is jointed."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


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
