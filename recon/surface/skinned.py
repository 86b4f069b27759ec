"""`SkinnedMesh`: a mesh whose vertices are carried by the bases of a moving scene."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from recon.motion.skeleton import Skeleton
from recon.motion.trajectories import Trajectories, blended_points
from recon.surface.mesh import Mesh, vertex_normals


@dataclass(frozen=True)
class SkinnedMesh:
    """A mesh in the canonical pose and what moves it.

    Attributes:
        mesh: in the canonical pose.
        motion: the B bases.
        skeleton: how they hang together.
        bones: (V, 4) int64, which bases carry a vertex; unused places are 0.
        weights: (V, 4) float32, how much each does: not negative, each row's sum 1, falling, unused places 0.

    Raises:
        ValueError: if the shapes do not fit together.
    """

    mesh: Mesh
    motion: Trajectories
    skeleton: Skeleton
    bones: Tensor
    weights: Tensor

    def __post_init__(self) -> None:
        shape = (len(self.mesh.vertices), 4)
        if tuple(self.bones.shape) != shape or tuple(self.weights.shape) != shape:
            raise ValueError(f"a skinned mesh of {shape[0]} vertices needs bones and weights {shape}")
        if len(self.skeleton.parents) != self.motion.bases:
            raise ValueError(f"{self.motion.bases} bases need as many bones, found {len(self.skeleton.parents)}")

    def vertices_at(self, time: float) -> Tensor:
        """(V, 3) in the world."""
        return blended_points(self.mesh.vertices, self.bones, self.weights, self.motion.matrices(time))

    def posed(self, time: float) -> Mesh:
        """The mesh as it is at a time, with normals of that pose."""
        vertices = self.vertices_at(time)
        return replace(self.mesh, vertices=vertices, normals=vertex_normals(vertices, self.mesh.faces))
