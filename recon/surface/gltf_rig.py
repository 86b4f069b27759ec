"""Reads what moves from a `GltfFile`: the tree of its nodes, its animations, and its meshes on their skins."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from recon.capture.conversions import wxyz_from_xyzw
from recon.surface.animation import Clip, NodeTree, Track, tree_levels
from recon.surface.gltf_file import GltfFile
from recon.surface.gltf_materials import MaterialReader
from recon.surface.loading import MAX_ELEMENTS, MeshFileError, encode_srgb
from recon.surface.mesh import Mesh
from recon.surface.rig import Morph, Rig

_TRACKED = {"translation": 3, "rotation": 4, "scale": 3, "weights": 1}
"""Numbers an element of a track's values."""
_TRIANGLES, _STRIP, _FAN = 4, 5, 6


def read_tree(file: GltfFile) -> NodeTree:
    """All nodes of a file.

    Raises:
        MeshFileError: if they are no forest or stand nowhere.
    """
    nodes = file.entries("nodes")
    parents = np.full(len(nodes), -1, np.int64)
    for place, node in enumerate(nodes):
        for child in node.get("children", ()):
            if parents[file.index(child, len(nodes), "nodes")] >= 0:
                raise file.damaged(f"node {child} has two parents")
            parents[child] = place
    try:
        levels = tree_levels(parents)
    except ValueError as error:
        raise file.damaged(str(error)) from error

    def gather(name: str, default: tuple[float, ...]) -> NDArray[np.float64]:
        values = [_numbers(file, node.get(name, default), len(default), name) for node in nodes]
        return np.array(values, np.float64).reshape(-1, len(default))

    rotations = wxyz_from_xyzw(torch.from_numpy(gather("rotation", (0, 0, 0, 1)))).numpy()
    fixed = {
        place: _numbers(file, node["matrix"], 16, "matrix").reshape(4, 4).T  # column by column
        for place, node in enumerate(nodes)
        if "matrix" in node
    }
    return NodeTree(parents, levels, gather("translation", (0, 0, 0)), rotations, gather("scale", (1, 1, 1)), fixed)


def read_clips(file: GltfFile, tree: NodeTree) -> tuple[Clip, ...]:
    """All animations of a file. What they move besides nodes and morph targets is left out.

    Raises:
        MeshFileError: if one is damaged.
    """
    clips = []
    for place, entry in enumerate(file.entries("animations")):
        samplers = entry.get("samplers", ())
        tracks = []
        for channel in entry.get("channels", ()):
            target = channel.get("target", {})
            if "node" in target and target.get("path") in _TRACKED:
                sampler = samplers[file.index(channel.get("sampler"), len(samplers), "samplers")]
                tracks.append(_track(file, tree, target, sampler))
        last = max((float(track.times[-1]) for track in tracks), default=0.0)
        clips.append(Clip(str(entry.get("name") or place), max(last, 0.0), tuple(tracks)))
    return tuple(clips)


def read_rig(file: GltfFile, tree: NodeTree) -> tuple[Rig, Mesh]:
    """All triangles of the file's scene as one mesh, as bound, and the rig that carries its vertices.

    Raises:
        MeshFileError: if there are none, or they are damaged.
    """
    parts = _Parts(file)
    for node in _drawn_nodes(file, tree):
        parts.add(node)
    if not parts.faces:
        raise MeshFileError(f"{file.path}: holds no triangles")
    most = max(bones.shape[1] for bones in parts.bones)
    bones, weights = (
        np.concatenate([np.pad(a, ((0, 0), (0, most - a.shape[1]))) for a in arrays])
        for arrays in (parts.bones, parts.weights)
    )
    rig = Rig(
        tree,
        torch.from_numpy(np.concatenate(parts.vertices)),
        torch.from_numpy(np.concatenate(parts.normals)),
        np.array(parts.joints, np.int64),
        np.stack(parts.binds),
        torch.from_numpy(bones),
        torch.from_numpy(weights),
        tuple(parts.morphs),
    )
    colors = np.concatenate(parts.colors)
    mesh = Mesh(
        rig.vertices,
        torch.from_numpy(np.concatenate(parts.faces)),
        uvs=torch.from_numpy(np.concatenate(parts.uvs)),
        colors=None if (colors == 1).all() else torch.from_numpy(colors),
        materials=tuple(parts.materials.materials),
        face_material=torch.from_numpy(np.concatenate(parts.face_material)),
    )
    return rig, mesh


def _track(file: GltfFile, tree: NodeTree, target: Mapping[str, Any], sampler: Mapping[str, Any]) -> Track:
    path = target["path"]
    node = file.index(target["node"], len(tree.parents), "nodes")
    if node in tree.fixed and path != "weights":
        raise file.damaged(f"node {node} has a matrix and is animated")
    kind = sampler.get("interpolation", "LINEAR")
    if kind not in ("LINEAR", "STEP", "CUBICSPLINE"):
        raise file.damaged(f"{kind!r} is no interpolation")
    times = file.accessor(sampler.get("input"), 1)[:, 0].astype(np.float64)
    values = file.accessor(sampler.get("output"), _TRACKED[path]).astype(np.float64)
    each = 3 if kind == "CUBICSPLINE" else 1
    width = _target_count(file, node) if path == "weights" else _TRACKED[path]
    if not len(times) or values.size != len(times) * each * width or (np.diff(times) < 0).any():
        raise file.damaged(f"{values.size} numbers for {len(times)} keys of the {path} of node {node}")
    if path == "rotation":
        values = wxyz_from_xyzw(torch.from_numpy(values)).numpy()
    return Track(node, path, kind, times, values.reshape((-1, 3, width) if each == 3 else (-1, width)))


def _target_count(file: GltfFile, node: int) -> int:
    """Morph targets of a node's mesh."""
    mesh = file.entry("meshes", file.entry("nodes", node).get("mesh"))
    return len(mesh["primitives"][0].get("targets", ()))


def _drawn_nodes(file: GltfFile, tree: NodeTree) -> Iterator[int]:
    """The nodes of the file's scene, each after its parent; all nodes if it has no scenes."""
    drawn = np.ones(len(tree.parents), bool)
    if file.entries("scenes"):
        roots = file.entry("scenes", file.header.get("scene", 0)).get("nodes", ())
        drawn[:] = False
        drawn[[file.index(root, len(drawn), "nodes") for root in roots]] = True
        for level in tree.levels[1:]:
            drawn[level] |= drawn[tree.parents[level]]
    for level in tree.levels:
        yield from level[drawn[level]].tolist()


def _numbers(file: GltfFile, values: Any, count: int, what: str) -> NDArray[np.float64]:
    array = np.array(values, np.float64)
    if array.shape != (count,) or not np.isfinite(array).all():
        raise file.damaged(f"{values} is no {what}")
    return array


class _Parts:
    """Arrays of the primitives read so far, to be joined."""

    def __init__(self, file: GltfFile) -> None:
        self.file, self.materials = file, MaterialReader(file)
        self.vertices: list[NDArray[np.float32]] = []
        self.normals: list[NDArray[np.float32]] = []
        self.uvs: list[NDArray[np.float32]] = []
        self.colors: list[NDArray[np.float32]] = []
        self.faces: list[NDArray[np.int64]] = []
        self.face_material: list[NDArray[np.int64]] = []
        self.bones: list[NDArray[np.int64]] = []
        self.weights: list[NDArray[np.float32]] = []
        self.joints: list[int] = []
        self.binds: list[NDArray[np.float64]] = []
        self.morphs: list[Morph] = []
        self._skins: dict[int, tuple[int, int]] = {}
        self._count = 0

    def add(self, node: int) -> None:
        """The mesh of a node, if it has one."""
        entry = self.file.entry("nodes", node)
        if "mesh" not in entry:
            return
        mesh = self.file.entry("meshes", entry["mesh"])
        rest = entry.get("weights", mesh.get("weights"))
        for primitive in mesh["primitives"]:
            if primitive.get("mode", _TRIANGLES) in (_TRIANGLES, _STRIP, _FAN):
                self._add_primitive(primitive, node, entry.get("skin"), rest)

    def _add_primitive(self, primitive: Mapping[str, Any], node: int, skin: Any, rest: Any) -> None:
        file = self.file
        attributes, indices = file.primitive(primitive)
        vertices = self._attribute(attributes, "POSITION", (3,))
        count = len(vertices)
        order = np.arange(count) if indices is None else indices.astype(np.int64)
        if len(order) and order.max() >= count:
            raise file.damaged(f"a face points to vertex {order.max()} of {count}")
        faces = _triangles(order, primitive.get("mode", _TRIANGLES))
        if not len(faces):
            return
        if self._count + count > MAX_ELEMENTS:
            raise MeshFileError(f"{file.path}: more than {MAX_ELEMENTS} vertices; decimate it first")
        if skin is not None and "JOINTS_0" in attributes and "WEIGHTS_0" in attributes:
            bones, weights = self._skinned(attributes, skin)
        else:
            self.joints.append(node)
            self.binds.append(np.eye(4))
            bones, weights = np.full((count, 1), len(self.joints) - 1), np.ones((count, 1), np.float32)
        self.bones.append(bones)
        self.weights.append(weights)
        self.vertices.append(vertices)
        self.normals.append(self._attribute(attributes, "NORMAL", (3,), np.zeros((count, 3))))
        material = primitive.get("material")
        uvs = self.materials.texture_coordinates(material)
        self.uvs.append(self._attribute(attributes, uvs, (2,), np.zeros((count, 2))))
        colors = self._attribute(attributes, "COLOR_0", (3, 4), np.ones((count, 3)))[:, :3]
        self.colors.append(encode_srgb(colors.astype(np.float64)).astype(np.float32))
        self.faces.append(faces + self._count)
        self.face_material.append(np.full(len(faces), self.materials.place(material), np.int64))
        if primitive.get("targets"):
            self._add_morph(primitive["targets"], node, count, rest)
        self._count += count

    def _attribute(
        self,
        attributes: Mapping[str, NDArray[Any]],
        name: str,
        widths: tuple[int, ...],
        default: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float32]:
        """(V, width) of a primitive; the default if it has none."""
        values = attributes.get(name, default)
        count = len(attributes.get("POSITION", ()))
        if values is None or values.ndim != 2 or len(values) != count or values.shape[1] not in widths:
            raise self.file.damaged(f"{name} of a primitive is {'absent' if values is None else values.shape}")
        return values.astype(np.float32)

    def _skinned(
        self, attributes: Mapping[str, NDArray[Any]], skin: Any
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """(V, K) joints and weights of all sets of four that the primitive has."""
        first, count = self._skin(skin)
        sets = [k for k in range(len(attributes)) if f"JOINTS_{k}" in attributes and f"WEIGHTS_{k}" in attributes]
        bones = np.concatenate([self._attribute(attributes, f"JOINTS_{k}", (4,)) for k in sets], axis=1)
        weights = np.concatenate([self._attribute(attributes, f"WEIGHTS_{k}", (4,)) for k in sets], axis=1)
        weights = weights.clip(min=0)
        bones = np.where(weights > 0, bones, 0).astype(np.int64)  # some programs leave any number in unused places
        if len(bones) and not 0 <= bones.min() <= bones.max() < count:
            raise self.file.damaged(f"a vertex hangs on joint {bones.max()} of {count}")
        weights[weights.sum(axis=1) == 0, 0] = 1
        return bones + first, weights / weights.sum(axis=1, keepdims=True)

    def _skin(self, index: Any) -> tuple[int, int]:
        """Where the joints of a skin begin, and how many it has."""
        skin = self.file.entry("skins", index)
        if index not in self._skins:
            nodes = len(self.file.entries("nodes"))
            joints = [self.file.index(joint, nodes, "nodes") for joint in skin["joints"]]
            binds = np.broadcast_to(np.eye(4), (len(joints), 4, 4))
            if "inverseBindMatrices" in skin:
                stored = self.file.accessor(skin["inverseBindMatrices"], 16)
                if len(stored) < len(joints):
                    raise self.file.damaged(f"skin {index} has {len(stored)} matrices for {len(joints)} joints")
                binds = stored[: len(joints)].astype(np.float64).reshape(-1, 4, 4).transpose(0, 2, 1)
            self._skins[index] = len(self.joints), len(joints)
            self.joints += joints
            self.binds += list(binds)
        return self._skins[index]

    def _add_morph(self, targets: Any, node: int, count: int, rest: Any) -> None:
        deltas = []
        for name in ("POSITION", "NORMAL"):
            read = [self.file.accessor(t[name], 3) if name in t else np.zeros((count, 3)) for t in targets]
            if any(len(delta) != count for delta in read):
                raise self.file.damaged(f"a morph target does not have {count} vertices")
            deltas.append(torch.from_numpy(np.stack(read).astype(np.float32)))
        weights = np.zeros(len(targets)) if rest is None else _numbers(self.file, rest, len(targets), "weights")
        self.morphs.append(Morph(node, self._count, torch.from_numpy(weights).float(), *deltas))


def _triangles(order: NDArray[np.int64], mode: int) -> NDArray[np.int64]:
    """(F, 3) of the corners of triangles, a strip or a fan."""
    if mode == _TRIANGLES:
        return order[: len(order) // 3 * 3].reshape(-1, 3)
    count = max(len(order) - 2, 0)
    first = np.arange(count)
    if mode == _FAN:
        corners = np.stack((np.zeros_like(first), first + 1, first + 2), axis=-1)
    else:
        corners = np.stack((first, first + 1 + first % 2, first + 2 - first % 2), axis=-1)
    return order[corners]
