"""`RiggedMesh`: an animated glTF file of any origin, as a mesh that can be put into every pose of its clips."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recon.capture import Similarity
from recon.surface.animation import Clip
from recon.surface.gltf_file import GltfFile
from recon.surface.gltf_rig import read_clips, read_rig, read_tree
from recon.surface.loading import MeshFileError, box_in_sphere
from recon.surface.mesh import Mesh, vertex_normals
from recon.surface.rig import Rig


class RiggedFileError(ValueError):
    """An animated file is damaged, too large, or uses what cannot be read."""


@dataclass(frozen=True)
class RiggedMesh:
    """A mesh and the clips that move it, in glTF's world frame, which is ours.

    Attributes:
        mesh: all triangles of the file's scene, in the pose that the file stores.
        clips: its animations; none in a file that does not move.
        rig: what carries the vertices.
        extras: what the file's author put beside the format's own data, of any kind.
    """

    mesh: Mesh
    clips: tuple[Clip, ...]
    rig: Rig = field(repr=False)
    extras: dict[str, Any] = field(default_factory=dict, repr=False)

    def vertices_at(self, clip: int, time: float) -> Tensor:
        """(V, 3) in the world at a time in seconds; before and after its keys a clip stands still.

        Raises:
            IndexError: if there is no such clip.
        """
        return self.rig.pose(self.clips[clip], time)[0]

    def posed(self, clip: int, time: float) -> Mesh:
        """The mesh at a time in seconds, with normals of that pose: the file's where it has any, else computed.

        Raises:
            IndexError: if there is no such clip.
        """
        return _posed(self.mesh, self.rig, self.clips[clip], time)


def load_rigged(path: Path) -> RiggedMesh:
    """Reads a GLB or glTF file with its skins, morph targets and animations of nodes.

    Raises:
        RiggedFileError: if the file is not readable GLB or glTF, or holds no triangles.
        OSError: if it cannot be opened.
    """
    try:
        file = GltfFile(Path(path))
        tree = read_tree(file)
        rig, bound = read_rig(file, tree)
        clips = read_clips(file, tree)
        mesh = _posed(_turned_outward(bound, rig), rig, None, 0.0)
    except OSError:
        raise
    except MeshFileError as error:
        raise RiggedFileError(str(error)) from error
    except Exception as error:  # a parser fed with garbage raises anything from KeyError to RecursionError
        raise RiggedFileError(f"{path}: cannot be read as glTF ({type(error).__name__}: {error})") from error
    if not torch.isfinite(mesh.vertices).all():
        raise RiggedFileError(f"{path}: its nodes scale it beyond all numbers")
    extras = file.header.get("asset", {}).get("extras", {})
    return RiggedMesh(mesh, clips, rig, extras if isinstance(extras, dict) else {})


def normalised_over(rigged: RiggedMesh, clip: int, samples: int = 12) -> Similarity:
    """What brings a whole clip into the sphere of diameter 1: the box around all its poses is centred, and the farthest
    vertex of any touches the sphere.

    Args:
        samples: poses, evenly from the clip's begin to its end, that stand for all.

    Raises:
        ValueError: if all vertices lie in one place, or one at no finite distance.
    """
    times = np.linspace(0, rigged.clips[clip].duration, samples).tolist()
    poses = torch.cat([rigged.vertices_at(clip, time) for time in times])
    return box_in_sphere(poses, f"clip {rigged.clips[clip].name!r}")


def _posed(mesh: Mesh, rig: Rig, clip: Clip | None, time: float) -> Mesh:
    vertices, normals = rig.pose(clip, time)
    known = (normals != 0).any(dim=1, keepdim=True)
    if not known.all():
        normals = torch.where(known, normals, vertex_normals(vertices, mesh.faces))
    return replace(mesh, vertices=vertices, normals=normals)


def _turned_outward(mesh: Mesh, rig: Rig) -> Mesh:
    """The mesh with those faces turned round that what carries them mirrors."""
    mirrored = torch.linalg.det(rig.carriers()[:, :, :3]) < 0
    turn = mirrored[mesh.faces[:, 0]]
    return replace(mesh, faces=torch.where(turn[:, None], mesh.faces.flip(1), mesh.faces))
