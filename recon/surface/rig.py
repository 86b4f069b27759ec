"""`Rig`: what carries the vertices of an animated file, and where it carries them: morph targets, then linear blend
skinning (glTF 2.0, sections 3.7.2.2 and 3.7.3.1). A part without a skin is carried by its node alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recon.surface.animation import Clip, NodeTree


@dataclass(frozen=True)
class Morph:
    """Morph targets of the vertices from `first` on.

    Attributes:
        node: whose `weights` tracks move them.
        rest: (T,) float32 weights where no track does.
        positions: (T, N, 3) what a weight of 1 adds.
        normals: (T, N, 3) the same, 0 where the file adds nothing.
    """

    node: int
    first: int
    rest: Tensor
    positions: Tensor
    normals: Tensor


@dataclass(frozen=True)
class Rig:
    """V vertices on J joints.

    Attributes:
        tree: the file's nodes.
        vertices: (V, 3) as bound, each part in its own frame.
        normals: (V, 3) as bound, 0 where the file has none.
        joints: (J,) int64 node of each joint.
        binds: (J, 4, 4) float64 from a part's frame to its joint's, in the pose in which it was bound.
        bones: (V, K) int64 the joints that carry a vertex; weights: (V, K) how much each does, each row's sum 1.
        morphs: of those parts that have any.
    """

    tree: NodeTree
    vertices: Tensor
    normals: Tensor
    joints: NDArray[np.int64]
    binds: NDArray[np.float64]
    bones: Tensor
    weights: Tensor
    morphs: tuple[Morph, ...]

    def pose(self, clip: Clip | None = None, time: float = 0.0) -> tuple[Tensor, Tensor]:
        """(V, 3) positions and (V, 3) unit normals in the world, normals 0 where the file has none; without a clip in
        the pose that the file stores."""
        points, normals = self._morphed(clip, time)
        carried = self.carriers(clip, time)
        matrices = carried[:, :, :3]
        moved = (matrices @ points[..., None])[..., 0] + carried[:, :, 3]
        # Normals go by the inverse transposed. That is the cofactors but for a factor, and those exist always.
        columns = [torch.linalg.cross(matrices[..., (i + 1) % 3], matrices[..., (i + 2) % 3]) for i in range(3)]
        cofactors = torch.stack(columns, dim=-1) * torch.linalg.det(matrices).sign()[:, None, None]
        turned = torch.nn.functional.normalize((cofactors @ normals[..., None])[..., 0], dim=-1, eps=1e-30)
        return moved, turned

    def carriers(self, clip: Clip | None = None, time: float = 0.0) -> Tensor:
        """(V, 3, 4) what takes each vertex from where it is bound to the world."""
        palette = torch.from_numpy((self.tree.world(clip, time)[self.joints] @ self.binds)[:, :3]).float()
        blended = torch.zeros(len(self.vertices), 3, 4)
        for bones, weights in zip(self.bones.T, self.weights.T):  # one after the other: all at once are many matrices
            blended += palette[bones] * weights[:, None, None]
        return blended

    def _morphed(self, clip: Clip | None, time: float) -> tuple[Tensor, Tensor]:
        if not self.morphs:
            return self.vertices, self.normals
        points, normals = self.vertices.clone(), self.normals.clone()
        tracks = () if clip is None else clip.tracks
        told = {t.node: torch.from_numpy(t.at(time)).float() for t in tracks if t.path == "weights"}
        for morph in self.morphs:
            weights = told.get(morph.node, morph.rest)
            part = slice(morph.first, morph.first + morph.positions.shape[1])
            points[part] += torch.einsum("t,tnc->nc", weights, morph.positions)
            normals[part] += torch.einsum("t,tnc->nc", weights, morph.normals)
        return points, normals
