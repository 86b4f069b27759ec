"""How far cameras that were found are from the true ones, wherever the world is that they were found in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from recon.capture import Camera
from recon.capture.ray_cameras import fit_rotation


def turns_and_focal(found: Sequence[Camera], true: Sequence[Camera]) -> tuple[Tensor, float]:
    """(N,) degrees by which cameras are turned, after the best common turn, and the median error of the focal length in
    percent; pictures may be of other sizes."""
    mine, own = (torch.stack([camera.c2w[:3, :3] for camera in cameras]).double() for cameras in (found, true))
    common = fit_rotation(mine.mT.reshape(-1, 3), own.mT.reshape(-1, 3))
    cosine = (torch.einsum("nij,nij->n", common.to(mine) @ mine, own) - 1) / 2
    ratios = [float(f.intrinsics[0, 0] / f.width * t.width / t.intrinsics[0, 0]) for f, t in zip(found, true)]
    return cosine.clamp(-1, 1).acos().rad2deg(), 100 * abs(float(np.median(ratios)) - 1)
