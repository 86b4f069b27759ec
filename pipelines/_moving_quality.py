"""Quality figures of a moving run's own: how well its animated mesh repeats the pictures of every moment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from pipelines._quality import SIZE, square
from recon.capture import Frame, Source
from recon.metrics.topology import component_count, is_watertight
from recon.metrics.views import compare_views, resize_views
from recon.motion.fit import time_of
from recon.surface.render import prepare_mesh, render_prepared
from recon.surface.skinned import SkinnedMesh

_MOMENTS = 12
"""Moments that are compared, at most."""


def moving_figures(skinned: SkinnedMesh, groups: Sequence[Sequence[Frame]]) -> dict[str, Any]:
    """Size and soundness of the mesh, and its renders against the frames of each source, averaged over moments that
    are evenly spread."""
    mesh = skinned.mesh
    figures: dict[str, Any] = {
        "vertices": len(mesh.vertices),
        "faces": len(mesh.faces),
        "watertight": is_watertight(mesh),
        "components": component_count(mesh),
    }
    chosen = groups[:: max(1, -(-len(groups) // _MOMENTS))]
    pairs: dict[Source, list[tuple[torch.Tensor, torch.Tensor]]] = {}
    for group in chosen:
        prepared = prepare_mesh(skinned.posed(time_of(group)))
        for frame in group:
            drawn = render_prepared(prepared, square(frame.camera, SIZE)).rgba
            pairs.setdefault(frame.source, []).append((drawn, resize_views(frame.rgba()[None], SIZE)[0]))
    for source, found in pairs.items():
        scores = compare_views(*(torch.stack(side) for side in zip(*found)), with_flip=False)
        wanted = ("masked_psnr", "masked_ssim", "mask_iou")
        figures[f"against_{source.value}"] = {
            name: round(float(values.mean()), 3) for name, values in scores.items() if name in wanted
        }
    return figures
