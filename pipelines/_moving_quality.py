"""Quality figures of a moving run's own: how well its animated mesh repeats the pictures of every moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from torch import Tensor

from pipelines._quality import against_frames, soundness
from recon.capture import Camera, Frame
from recon.motion.fit import time_of
from recon.surface.render import PreparedMesh, prepare_mesh, render_prepared
from recon.surface.skinned import SkinnedMesh

_MOMENTS = 12
"""Moments that are compared, at most."""


def moving_figures(skinned: SkinnedMesh, groups: Sequence[Sequence[Frame]]) -> dict[str, Any]:
    """Size and soundness of the mesh, and its renders against the frames of each source, averaged over moments that
    are evenly spread."""

    @cache
    def prepared(time: float) -> PreparedMesh:
        return prepare_mesh(skinned.posed(time))

    def draw(camera: Camera, time: float) -> Tensor:
        return render_prepared(prepared(time), camera).rgba

    chosen = groups[:: max(1, -(-len(groups) // _MOMENTS))]
    frames = (replace(frame, time=time_of(group)) for group in chosen for frame in group)
    return soundness(skinned.mesh) | against_frames(draw, frames)
