"""What training asks of the network: which frames are shown, how noisy the others are, and what an error costs.

The noise levels and the hidden cameras alone are the task. Level 0 is shown, level 1 is to be told from nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gen.data.batch import Batch
from gen.data.photo import photographed
from gen.gauge import APPEARANCE, GEOMETRY, encode, encode_appearance, make_gauge

CONTEXT_COUNTS = {1: 0.75, 2: 0.15, 3: 0.1}
"""How often a scene shows one, two or three clean frames."""
FRAME_COUNTS = {4: 0.6, 6: 0.25, 12: 0.15}
"""How often a batch has that many frames a scene."""
CLEAN_WEIGHT = 4.0
"""Cap of the 1 / t^2 weight that turns the error of the clean frame into that of the velocity."""


def draw_frame_count(rng: np.random.Generator) -> int:
    """Frames a scene, for a whole batch."""
    return _pick(rng, FRAME_COUNTS)


def flow_loss(
    network: Callable[..., Tensor], batch: Batch, rng: np.random.Generator, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Weighted error of the predicted clean frames, over targets and over the geometry of the context.

    Flow matching (arXiv:2210.02747): `x_t = (1 - t) x + t noise`. The weight 1 / t^2, capped, turns the error of `x`
    into that of the velocity. Frames that are shown look like photographs. Only the network computes in `dtype`: rays
    rounded to bfloat16 would miss their pixels.
    """
    scenes, count, height, width, _ = batch.premultiplied.shape
    gauge = make_gauge(batch.c2w, batch.intrinsics, height, width)
    clean = encode(batch.premultiplied, batch.depth, batch.normal, gauge)
    levels, known = draw_noise_levels(rng, scenes, count)
    levels, known = levels.to(clean), known.to(clean.device)
    noise = torch.from_numpy(rng.standard_normal(clean.shape, dtype=np.float32)).to(clean)
    per_channel = levels.repeat_interleave(GEOMETRY.start, dim=-1)[:, :, None, None]  # (B, F, 1, 1, 8)
    noised = torch.lerp(clean, noise, per_channel)
    shown = levels[..., 0] == 0
    photos = photographed(batch.premultiplied[shown].cpu(), rng)
    noised[..., APPEARANCE][shown] = encode_appearance(photos.to(clean))
    with torch.autocast(clean.device.type, dtype=dtype, enabled=dtype != torch.float32):
        predicted = network(noised, levels, gauge.rays, batch.times, known)
    weight = torch.where(per_channel > 0, (1 / per_channel.clamp_min(1e-3) ** 2).clamp_max(CLEAN_WEIGHT), 0)
    error = (predicted.float() - clean).square() * weight
    return error[..., APPEARANCE].mean() + error[..., GEOMETRY].mean()


def draw_noise_levels(rng: np.random.Generator, scenes: int, count: int) -> tuple[Tensor, Tensor]:
    """Noise levels (B, F, 2) and which cameras the network may see (B, F).

    Frame 0 is always a context and fixes the gauge. Most scenes look as sampling does: clean contexts, every other
    level the same; the rest have levels of their own for each frame and modality, or no context at all (which
    classifier-free guidance needs).
    """
    shared = _draw_level(rng, (scenes, 1, 1))
    own = _draw_level(rng, (scenes, count, 2))
    levels = np.where(rng.random((scenes, 1, 1)) < 0.75, np.broadcast_to(shared, own.shape), own)
    contexts = np.array([_pick(rng, CONTEXT_COUNTS) for _ in range(scenes)])
    is_context = np.arange(count)[None] < np.minimum(contexts, count - 1)[:, None]
    is_context &= rng.random((scenes, 1)) > 0.08
    levels = levels.copy()
    levels[..., 0][is_context] = 0
    hidden = is_context & (np.arange(count)[None] > 0) & (rng.random((scenes, 1)) < 0.3)
    return torch.from_numpy(levels.astype(np.float32)), torch.from_numpy(~hidden)


def _draw_level(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Logit-normal toward noise, where an orbit's shape is decided; a third is pure noise."""
    level = 1 / (1 + np.exp(-(0.5 + 1.2 * rng.standard_normal(shape))))
    return np.where(rng.random(shape) < 0.33, 1.0, level)


def _pick(rng: np.random.Generator, shares: dict[int, float]) -> int:
    return int(rng.choice(list(shares), p=list(shares.values())))
