"""`SkinnedMesh` to a .glb whose bones move it, as Blender, three.js, Unity and Godot play it.

The bones are the bases of the motion (≤ 4 a vertex), named and hung on each other as the skeleton says. Only the keys
that matter are written (`keys`), at times from 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recon.asset._glb_document import Buffer, GlbDocument
from recon.asset.animation import ANIMATION, AnimationReport, BoneMotion, Loop, bone_motion, looped
from recon.asset.keys import Keys, reduced
from recon.asset.placing import AssetError, Origin, placement
from recon.asset.textures import ImageFormat
from recon.capture import Similarity
from recon.capture.conversions import xyzw_from_wxyz
from recon.motion.trajectories import blended_points
from recon.surface.skinned import SkinnedMesh

_UNIT = 0xFFFF
"""The weight 1 in the file."""


def write_skinned_glb(
    skinned: SkinnedMesh,
    path: Path,
    *,
    size: float | None = 1.0,
    origin: Origin = "centre",
    name: str = "object",
    extras: Mapping[str, Any] | None = None,
    unlit: bool = True,
    double_sided: bool = False,
    image_format: ImageFormat = "png",
    tolerance: float = 1e-3,
    loop: Loop = "none",
) -> AnimationReport:
    """Writes a mesh, its bones and one animation, `ANIMATION`; the file appears whole or not at all.

    Arguments that are not named here are those of `write_glb`. A mesh whose bones never move gets no animation.

    Args:
        size: longest side of the canonical pose in metres; the motion is scaled with it.
        origin: of the canonical pose.
        tolerance: how far the left-out keys may move a vertex, as a share of the longest side of the mesh's box.
        loop: how the clip goes on when it is over; see `looped`.

    Raises:
        AssetError: as `write_glb`, or if weights are negative or not of sum 1, a vertex names a bone twice or one that
            is not there, the motion is not finite, its times are the same in float32, or the tolerance is negative.
        OSError: if the file cannot be written.
    """
    if not 0 <= tolerance < float("inf"):
        raise AssetError(f"expected a tolerance of 0 or more, got {tolerance}")
    _check(skinned)
    skinned = placed(skinned, placement(skinned.mesh, size=size, origin=origin))
    bones, weights = skin_attributes(skinned.bones, skinned.weights)
    motion = looped(bone_motion(skinned.motion, skinned.skeleton), loop)
    if not bool((motion.times.float().diff() > 0).all()):
        raise AssetError("the times of the motion are too close to each other for a file")
    low, high = skinned.mesh.bounds()
    side = float((high - low).max())
    keys = reduced(motion, _carried(skinned), tolerance * side)

    document = GlbDocument(unlit=unlit, double_sided=double_sided, image_format=image_format)
    attributes = {
        "JOINTS_0": document.buffer.add_skin_attribute(bones),
        "WEIGHTS_0": document.buffer.add_skin_attribute(weights, normalized=True),
    }
    document.nodes.append({"mesh": document.add_mesh(skinned.mesh, name, attributes=attributes), "skin": 0})
    document.nodes[0]["name"] = name
    document.nodes += _bone_nodes(motion, f"{name}_bones")
    further: dict[str, Any] = {"skins": [_skin(motion, document.buffer, name)]}
    animation = _animation(keys, document.buffer)
    if animation["channels"]:
        further["animations"] = [animation]
    written = document.write(path, [0, 1], dict(extras or {}), further)
    return AnimationReport(
        duration=float(motion.times[-1]),
        keys=sum(len(kept) for _, _, kept, _ in _moving(keys)),
        keys_before=2 * len(motion.times) * len(skinned.skeleton.parents),
        largest_error=_largest_error(skinned, torch.from_numpy(weights / np.float64(_UNIT)), motion, keys) / side,
        bytes=written,
    )


def placed(skinned: SkinnedMesh, similarity: Similarity) -> SkinnedMesh:
    """A skinned mesh that is scaled and shifted (not turned) in the world, at every time alike."""
    motion = skinned.motion
    return replace(
        skinned,
        mesh=skinned.mesh.moved(similarity.scale, similarity.translation),
        motion=replace(motion, pivots=similarity.apply(motion.pivots), shifts=motion.shifts * similarity.scale),
        skeleton=replace(skinned.skeleton, joints=similarity.apply(skinned.skeleton.joints)),
    )


def skin_attributes(bones: Tensor, weights: Tensor) -> tuple[NDArray[Any], NDArray[np.uint16]]:
    """(V, 4) bones as bytes where they fit, and weights in 65535ths that sum to 65535; bones without weight are 0."""
    scaled = (weights.double() / weights.double().sum(1, keepdim=True)).cpu().numpy() * _UNIT
    whole = np.floor(scaled)
    # What rounding down leaves over goes to those that it took most from.
    rank = (whole - scaled).argsort(axis=1, kind="stable").argsort(axis=1)
    whole += rank < _UNIT - whole.sum(1, keepdims=True)
    used = np.where(whole > 0, bones.cpu().numpy(), 0)
    return used.astype("<u1" if used.max() <= 0xFF else "<u2"), whole.astype("<u2")


def _check(skinned: SkinnedMesh) -> None:
    bones, weights = skinned.bones, skinned.weights
    if not bool((weights >= 0).all()) or not bool(((weights.sum(1) - 1).abs() < 1e-3).all()):
        raise AssetError("the weights of every vertex must not be negative, and sum to 1")
    if bool((bones < 0).any()) or bool((bones >= skinned.motion.bases).any()):
        raise AssetError(f"a vertex names a bone that is not one of the {skinned.motion.bases}")
    twice = (bones[:, :, None] == bones[:, None, :]) & (weights[:, :, None] * weights[:, None, :] > 0)
    if bool((twice.sum((1, 2)) > (weights > 0).sum(1)).any()):
        raise AssetError("a vertex names the same bone twice; add up its weights first")
    motion = skinned.motion
    parts = motion.times, motion.pivots, motion.quats, motion.shifts, skinned.skeleton.joints
    if not all(bool(torch.isfinite(part).all()) for part in parts) or bool((motion.quats == 0).all(-1).any()):
        raise AssetError("the motion has NaN, infinity or a turn of no length in it")


def _carried(skinned: SkinnedMesh) -> tuple[Tensor, ...]:
    """The vertices that each bone has a share in."""
    vertices, used = skinned.mesh.vertices, skinned.weights > 0
    count = len(skinned.skeleton.parents)
    return tuple(vertices[((skinned.bones == bone) & used).any(1)] for bone in range(count))


def _bone_nodes(motion: BoneMotion, name: str) -> list[dict[str, Any]]:
    """Node 1, on which all bones hang (a skin needs one such), then the bones."""
    parents = motion.skeleton.parents

    def children(parent: int) -> dict[str, list[int]]:
        found = [2 + bone for bone, above in enumerate(parents) if above == parent]
        return {"children": found} if found else {}

    rest = motion.rest.float().tolist()
    names = motion.skeleton.names
    bones = [{"name": names[bone], "translation": rest[bone]} | children(bone) for bone in range(len(parents))]
    return [{"name": name} | children(-1), *bones]


def _skin(motion: BoneMotion, buffer: Buffer, name: str) -> dict[str, Any]:
    count = len(motion.skeleton.parents)
    inverse = np.tile(np.eye(4, dtype=np.float32), (count, 1, 1))
    inverse[:, 3, :3] = -motion.skeleton.joints.numpy()  # columns first
    return {
        "name": name,
        "inverseBindMatrices": buffer.add_values(inverse, "MAT4"),
        "skeleton": 1,
        "joints": list(range(2, 2 + count)),
    }


def _animation(keys: Keys, buffer: Buffer) -> dict[str, Any]:
    """Channels of what leaves its rest; bones that are kept at the same times share them in the file."""
    motion = keys.motion
    channels: list[dict[str, Any]] = []
    samplers: list[dict[str, Any]] = []
    inputs: dict[bytes, int] = {}
    for bone, path, kept, values in _moving(keys):
        times = motion.times.numpy()[kept].astype("<f4")
        if times.tobytes() not in inputs:
            inputs[times.tobytes()] = buffer.add_values(times, "SCALAR", bounds=True)
        output = buffer.add_values(values, "VEC4" if path == "rotation" else "VEC3")
        samplers.append({"input": inputs[times.tobytes()], "output": output, "interpolation": "LINEAR"})
        channels.append({"sampler": len(samplers) - 1, "target": {"node": 2 + bone, "path": path}})
    return {"name": ANIMATION, "channels": channels, "samplers": samplers}


def _moving(keys: Keys) -> list[tuple[int, str, NDArray[np.int64], NDArray[Any]]]:
    """Bone, channel, kept times and their values, of all channels that are not what the bone does at rest."""
    motion, found = keys.motion, []
    rest = motion.rest.float().double()
    for bone, (turn_keys, place_keys) in enumerate(zip(keys.turns, keys.places, strict=True)):
        turns, places = motion.turns[turn_keys, bone], motion.places[place_keys, bone]
        if len(turns) > 1 or bool((turns[0, 1:] != 0).any()):
            found.append((bone, "rotation", turn_keys, xyzw_from_wxyz(turns).numpy()))
        if len(places) > 1 or bool((places[0] != rest[bone]).any()):
            found.append((bone, "translation", place_keys, places.numpy()))
    return found


def _largest_error(skinned: SkinnedMesh, weights: Tensor, motion: BoneMotion, keys: Keys) -> float:
    """Metres between the motion's vertices and the file's, weights as they are there included."""
    vertices, bones, largest = skinned.mesh.vertices.double(), skinned.bones, 0.0
    exact = motion.matrices()
    players = [keys.played(spherical=spherical).matrices() for spherical in (True, False)]
    for time in range(len(motion.times)):
        should = blended_points(vertices, bones, skinned.weights.double(), exact[time])
        for matrices in players:
            found = blended_points(vertices, bones, weights, matrices[time])
            largest = max(largest, float((found - should).norm(dim=1).max()))
    return largest
