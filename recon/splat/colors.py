"""Colours of Gaussians whose places are known, solved from pictures without a learning rate."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

from recon.capture import Camera
from recon.splat.gaussians import Gaussians
from recon.splat.harmonics import SH_DC
from recon.splat.rasterize import rasterize


def solve_colors(
    gaussians: Gaussians, cameras: Sequence[Camera], pictures: Sequence[Tensor], *, passes: int = 3
) -> Gaussians:
    """The Gaussians with the constant part of their colours fitted to pictures by least squares.

    With everything else held still, drawn colours are linear in the Gaussians' colours. Each pass adds to a colour the
    mean of the residuals of the pixels that show it, weighted by how much they do (a SIRT step: Gilbert 1972). It
    converges from any start, because no pixel's weights sum to more than 1.

    Args:
        gaussians: what is drawn; its colours are the start.
        cameras: C pinhole views.
        pictures: C pictures (H, W, 3) of their sizes, premultiplied by alpha.
        passes: over all pictures.
    """
    for _ in range(passes):
        total, weight = torch.zeros_like(gaussians.means), torch.full_like(gaussians.means, 1e-6)
        for camera, picture in zip(cameras, pictures, strict=True):
            colors = gaussians.base_colors.requires_grad_()
            image = rasterize(with_colors(gaussians, colors), [camera], geometry=False).rgb[0]
            residual = (picture - image).detach()
            total += torch.autograd.grad(image, colors, residual, retain_graph=True)[0]
            weight += torch.autograd.grad(image, colors, torch.ones_like(image))[0]
        # Not quite black: a colour at its lower bound has no gradient.
        gaussians = with_colors(gaussians, (gaussians.base_colors + total / weight).clamp(1e-3, 1))
    return gaussians


def with_colors(gaussians: Gaussians, colors: Tensor) -> Gaussians:
    """The Gaussians with the constant harmonics of colours (N, 3)."""
    constant = ((colors - 0.5) / SH_DC)[:, None]
    return dataclasses.replace(gaussians, sh=torch.cat((constant, gaussians.sh[:, 1:]), dim=1))
