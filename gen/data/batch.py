"""Batches for training: scenes of a dataset, mirrored, recoloured and brought to the training size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gen.data.dataset import OrbitViews
from gen.data.sending import send


@dataclass(frozen=True)
class Batch:
    """B scenes of F frames, H = W = size.

    Attributes:
        premultiplied: (B, F, H, W, 4) RGBA in [0, 1].
        depth: (B, F, H, W) world forward depth, 0 = invalid.
        normal: (B, F, H, W, 3) unit world normals, 0 = invalid.
        c2w: (B, F, 4, 4).
        intrinsics: (B, F, 3, 3) in pixels.
        times: (B, F) seconds from the first frame of each scene.
    """

    premultiplied: Tensor
    depth: Tensor
    normal: Tensor
    c2w: Tensor
    intrinsics: Tensor
    times: Tensor


def make_batch(views: OrbitViews, size: int, rng: np.random.Generator | None = None) -> Batch:
    """The views at the training size, on the device that they lie on; mirrored and recoloured at random if `rng`.

    Raises:
        ValueError: if `size` does not divide the pictures'.
    """
    found = views.depth.shape[-1]
    if found % size:
        raise ValueError(f"training size {size} does not divide the dataset's {found}")
    batch = _shrink(views, found // size)
    return batch if rng is None else _recolour(_mirror(batch, rng), rng)


def _shrink(views: OrbitViews, factor: int) -> Batch:
    alpha = views.rgba[..., 3:]
    premultiplied = torch.cat((views.rgba[..., :3] * alpha, alpha), dim=-1)
    depth, normal = views.depth[..., None], views.normal
    intrinsics = views.intrinsics
    if factor > 1:
        solid = (depth > 0).float()
        covered = _block_mean(solid, factor)
        depth = torch.where(covered >= 0.5, _block_mean(depth, factor) / covered.clamp_min(0.5), 0)
        normal = torch.nn.functional.normalize(_block_mean(normal, factor), dim=-1) * (covered >= 0.5)
        premultiplied = _block_mean(premultiplied, factor)
        intrinsics = torch.cat((intrinsics[..., :2, :] / factor, intrinsics[..., 2:, :]), dim=-2)
    times = views.times - views.times[:, :1]
    return Batch(premultiplied, depth[..., 0], normal, views.c2w, intrinsics, times)


def _block_mean(x: Tensor, factor: int) -> Tensor:
    """(B, F, H, W, C) averaged over factor x factor blocks."""
    return x.unflatten(3, (-1, factor)).unflatten(2, (-1, factor)).mean(dim=(3, 5))


def _mirror(batch: Batch, rng: np.random.Generator) -> Batch:
    """Half of the scenes seen in a mirror across the plane x = 0; cameras and normals follow."""
    flip = send(rng.random(len(batch.c2w)) < 0.5, batch.c2w.device)

    def choose(mirrored: Tensor, plain: Tensor) -> Tensor:
        return torch.where(flip.view(-1, *[1] * (plain.ndim - 1)), mirrored, plain)

    across = send(np.array([-1, 1, 1], np.float32), batch.c2w.device)
    c2w = batch.c2w.clone()
    c2w[..., :3, :] *= across[:, None]  # the world in the mirror
    c2w[..., :, 0] *= -1  # the picture's x axis turns with it, so the pose stays a rotation
    intrinsics = batch.intrinsics.clone()
    intrinsics[..., 0, 2] = batch.depth.shape[-1] - intrinsics[..., 0, 2]
    return Batch(
        choose(batch.premultiplied.flip(3), batch.premultiplied),
        choose(batch.depth.flip(3), batch.depth),
        choose(batch.normal.flip(3) * across, batch.normal),
        choose(c2w, batch.c2w),
        choose(intrinsics, batch.intrinsics),
        batch.times,
    )


def _recolour(batch: Batch, rng: np.random.Generator) -> Batch:
    """Channels shuffled in a third of the scenes, and a gain and gamma for every scene, equal in all its frames."""
    scenes, device = len(batch.c2w), batch.c2w.device
    order = np.where(rng.random((scenes, 1)) < 0.33, rng.random((scenes, 3)).argsort(axis=1), np.arange(3))
    gain = send(rng.uniform(0.8, 1.2, (scenes, 1, 1, 1, 3)).astype(np.float32), device)
    gamma = send(np.exp(rng.normal(0, 0.15, (scenes, 1, 1, 1, 1))).astype(np.float32), device)
    rgb, alpha = batch.premultiplied[..., :3], batch.premultiplied[..., 3:]
    index = send(order, device).view(scenes, 1, 1, 1, 3).expand_as(rgb)
    straight = (rgb / alpha.clamp_min(1e-3)).clamp(0, 1).gather(-1, index)
    straight = (straight.pow(gamma) * gain).clamp(0, 1)
    premultiplied = torch.cat((straight * alpha, alpha), dim=-1)
    return Batch(premultiplied, batch.depth, batch.normal, batch.c2w, batch.intrinsics, batch.times)
