"""How far pixels are from a mask."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def silhouette_distance(alpha: Tensor) -> Tensor:
    """(H, W) signed distance in pixels to the mask's outline, negative inside; the outline is where alpha is 1/2, and
    soft edges place it between pixels."""
    values = alpha.detach().numpy()
    inside = values > 0.5
    signed = np.where(inside, 0.5 - distance_to(~inside), distance_to(inside) - 0.5)
    edge = np.abs(signed) <= 0.5
    signed[edge] = np.clip(0.5 - values[edge], -0.5, 0.5)
    return torch.from_numpy(signed.astype(np.float32))


def distance_to(mask: np.ndarray) -> np.ndarray:
    """(H, W) distance in pixels to the nearest True pixel; the picture's diagonal where there is none."""
    from scipy.ndimage import distance_transform_edt

    if not mask.any():
        return np.full(mask.shape, np.hypot(*mask.shape), np.float32)
    return distance_transform_edt(~mask).astype(np.float32)
