"""`recon.field.march` written out in torch, sample by sample: slow, of any dtype, and what the kernels are tested
against for values and gradients."""

from __future__ import annotations

import torch
from torch import Tensor

from recon.field.band import Band
from recon.field.march import Rays


def plain_march(band: Band, distances: Tensor, colors: Tensor, rays: Rays, *, step: float, sharpness: float) -> Tensor:
    """(B, 5) as `march` draws it.

    Samples lie `step` apart from the first on; two neighbours in whole cells make an interval that stops the light
    1 - s(b f1) / s(b f0), if that is positive. Its colour is read in its middle, or at its far end where the middle is
    in no whole cell.
    """
    near, far = rays.reach.to(distances).unbind(-1)
    count = int(((far - near).max() / step).clamp_min(0)) + 1
    t = near[:, None] + step * torch.arange(count).to(distances)
    here, known = _read(band, distances[:, None], rays, t)
    known = known & (t < far[:, None])
    before, after = here[:, :-1, 0], here[:, 1:, 0]
    whole = known[:, :-1] & known[:, 1:]
    passing = torch.sigmoid(sharpness * after) / torch.sigmoid(sharpness * before)
    alpha = torch.where(whole & (after < before), 1 - passing, 0)
    middle = t[:, 1:] - step / 2
    inner, at_middle = _read(band, colors, rays, middle)
    outer, _ = _read(band, colors, rays, t[:, 1:])
    harmonics = torch.where(at_middle[..., None], inner, outer)
    basis = rays.basis.to(distances)
    painted = 0.5 + torch.einsum("bk,bskc->bsc", basis, harmonics.reshape(*middle.shape, -1, 3))
    light = torch.cat((torch.ones_like(alpha[:, :1]), (1 - alpha).cumprod(dim=1)[:, :-1]), dim=1)
    weight = light * alpha
    drawn = (weight[..., None] * painted).sum(1)
    return torch.cat((drawn, weight.sum(1, keepdim=True), (weight * middle).sum(1, keepdim=True)), dim=1)


def _read(band: Band, table: Tensor, rays: Rays, t: Tensor) -> tuple[Tensor, Tensor]:
    """Values (B, S, C) of a table (N, C) at places along rays, trilinear, and whether they lie in whole cells."""
    points = rays.origins.to(t)[:, None] + t[..., None] * rays.directions.to(t)[:, None]
    numbers, corners, _ = band.cells
    low = points.floor().long()
    inside = ((points >= 0) & (low < band.resolution)).all(-1)
    low = torch.where(inside[..., None], low, 0)
    cell = torch.from_numpy(numbers).long()[low[..., 0], low[..., 1], low[..., 2]]
    known = inside & (cell >= 0)
    rows = torch.from_numpy(corners).long()[cell.clamp_min(0)]
    share = torch.where(known[..., None], points - low, 0)
    values = torch.zeros(*t.shape, table.shape[1]).to(table)
    for corner in range(8):
        bits = torch.tensor([corner >> 2 & 1, corner >> 1 & 1, corner & 1], dtype=torch.bool)
        weight = torch.where(bits, share, 1 - share).prod(-1)
        values = values + weight[..., None] * table[rows[..., corner]]
    return values, known
