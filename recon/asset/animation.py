"""What the bones of a skin do over time, as glTF players want it: each bone's turn and place in its parent's frame.

A bone rests at its joint, without a turn. Where its motion takes the canonical pose by T(t), it stands in the world at
T(t) ∘ (shift to the joint); a node's own transform is that as seen from its parent.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from recon.motion.skeleton import Skeleton
from recon.motion.trajectories import Trajectories, rigid_matrices, slerp
from recon.splat.rotations import conjugate_quats, multiply_quats, rotations_from_quats

Loop = Literal["none", "close", "pingpong"]

ANIMATION = "motion"
"""Name of the one clip in a file."""

_LEAD = 0.25
"""Share of the clip in which a closed loop is led back to its beginning."""
_LEAD_KEYS = 9
"""In that part at least, however few the motion has."""


@dataclass(frozen=True)
class AnimationReport:
    """What a written animation is.

    Attributes:
        duration: seconds.
        keys: in the file, over all channels; of shapes that follow each other, these.
        keys_before: what an untouched animation of as many channels and times has.
        largest_error: the furthest that a vertex is from where the motion has it, at any of its times, in players that
            turn along arcs and in those that do not; as a share of the longest side of the mesh's box.
        bytes: of the file.
    """

    duration: float
    keys: int
    keys_before: int
    largest_error: float
    bytes: int


@dataclass(frozen=True)
class BoneMotion:
    """B bones at T times, float64.

    Attributes:
        skeleton: how they hang together; its joints are float64, too.
        times: (T,) seconds, rising from 0.
        turns: (T, B, 4) unit quaternions wxyz, of two signs always the one nearer to the time before.
        places: (T, B, 3) where a bone's joint is in its parent's frame.
    """

    skeleton: Skeleton
    times: Tensor
    turns: Tensor
    places: Tensor

    @property
    def rest(self) -> Tensor:
        """(B, 3) places in the canonical pose."""
        joints = self.skeleton.joints
        parents = torch.tensor(self.skeleton.parents)
        return torch.where(parents[:, None] < 0, joints, joints - joints[parents])

    def matrices(self) -> Tensor:
        """(T, B, 3, 4) motions [R | t] of the canonical pose, multiplied down from the roots as players do."""
        turns, places = rotations_from_quats(self.turns), self.places
        joints = self.skeleton.joints
        rotations: dict[int, Tensor] = {}
        origins: dict[int, Tensor] = {}
        for bone in self.skeleton.order():
            parent = self.skeleton.parents[bone]
            if parent < 0:
                rotations[bone], origins[bone] = turns[:, bone], places[:, bone]
            else:
                rotations[bone] = rotations[parent] @ turns[:, bone]
                origins[bone] = origins[parent] + (rotations[parent] @ places[:, bone, :, None])[..., 0]
        rotation = torch.stack([rotations[bone] for bone in range(len(rotations))], dim=1)
        origin = torch.stack([origins[bone] for bone in range(len(origins))], dim=1)
        return torch.cat((rotation, origin[..., None] - rotation @ joints[:, :, None]), dim=-1)


def bone_motion(motion: Trajectories, skeleton: Skeleton) -> BoneMotion:
    """World motions as turns and places that hang on each other; nothing is lost at the motions' own times. Players
    move between these as each bone's parent sees it, which parts from `Trajectories.at` by the square of the step."""
    times, pivots, quats, shifts, joints = (
        part.detach().cpu().double()
        for part in (motion.times, motion.pivots, motion.quats, motion.shifts, skeleton.joints)
    )
    turns = torch.nn.functional.normalize(quats, dim=-1)
    matrices = rigid_matrices(turns, pivots, shifts)
    origins = (matrices[..., :3] @ joints[:, :, None])[..., 0] + matrices[..., 3]
    local_turns, local_places = turns.clone(), origins.clone()
    for bone, parent in enumerate(skeleton.parents):
        if parent >= 0:
            back = conjugate_quats(turns[:, parent])
            local_turns[:, bone] = multiply_quats(back, turns[:, bone])
            offset = origins[:, bone] - origins[:, parent]
            local_places[:, bone] = (rotations_from_quats(back) @ offset[..., None])[..., 0]
    there = replace(skeleton, joints=joints)
    return BoneMotion(there, times - times[0], _continuous(local_turns), local_places)


def looped(motion: BoneMotion, loop: Loop) -> BoneMotion:
    """A motion that can be played again and again.

    Args:
        loop: "none" leaves it as it is. "close" leads its last quarter back into its beginning, so that the last time
            shows what the first does: right for motions that nearly repeat, as steps do. "pingpong" plays it forwards,
            then backwards, in twice the time: right for all others.
    """
    if loop == "none" or len(motion.times) < 2:
        return motion
    if loop == "pingpong":
        times = torch.cat((motion.times, 2 * motion.times[-1] - motion.times[:-1].flip(0)))
        turns, places = (torch.cat((keys, keys[:-1].flip(0))) for keys in (motion.turns, motion.places))
        return replace(motion, times=times, turns=turns, places=places)
    end = float(motion.times[-1])
    if int((motion.times >= (1 - _LEAD) * end).sum()) < _LEAD_KEYS:
        motion = _resampled(motion, torch.linspace((1 - _LEAD) * end, end, _LEAD_KEYS).to(motion.times))
    led = ((motion.times / motion.times[-1] - (1 - _LEAD)) / _LEAD).clamp(0, 1)
    share = led * led * (3 - 2 * led)  # starts and ends without a jerk
    # What leads from the end to the beginning is added little by little, so that the motion itself goes on meanwhile.
    missing = multiply_quats(motion.turns[0], conjugate_quats(motion.turns[-1]))
    still = missing.new_tensor([1, 0, 0, 0]).expand_as(missing)
    turns = torch.stack(
        [multiply_quats(slerp(still, missing, float(s)), turn) for s, turn in zip(share, motion.turns, strict=True)]
    )
    places = motion.places + share[:, None, None] * (motion.places[0] - motion.places[-1])
    return replace(motion, turns=_continuous(turns), places=places)


def _resampled(motion: BoneMotion, further: Tensor) -> BoneMotion:
    """The same motion with keys at `further` times, too, as players interpolate them."""
    times = torch.cat((motion.times, further)).unique()
    places = torch.searchsorted(motion.times, times, right=True).clamp(1, len(motion.times) - 1)
    before, after = motion.times[places - 1], motion.times[places]
    shares = ((times - before) / (after - before)).tolist()
    turns = torch.stack(
        [slerp(motion.turns[i - 1], motion.turns[i], share) for i, share in zip(places.tolist(), shares, strict=True)]
    )
    shifts = torch.stack(
        [
            torch.lerp(motion.places[i - 1], motion.places[i], share)
            for i, share in zip(places.tolist(), shares, strict=True)
        ]
    )
    return replace(motion, times=times, turns=turns, places=shifts)


def _continuous(quats: Tensor) -> Tensor:
    """(T, ..., 4) the same turns; of the two signs of each, the one nearer to the quaternion before."""
    flips = torch.where((quats[1:] * quats[:-1]).sum(-1, keepdim=True) < 0, -1.0, 1.0).to(quats)
    first = torch.where(quats[:1, ..., :1] < 0, -1.0, 1.0).to(quats)
    return quats * torch.cat((first, flips)).cumprod(0)
