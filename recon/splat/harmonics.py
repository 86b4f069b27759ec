"""Real spherical harmonics up to degree 3: view-dependent colour, and how it turns with the world.

Order and signs are those of 3-D Gaussian splatting files (Kerbl et al. 2023): (l, m) with m = -l..l, and the
Condon-Shortley phase kept.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

MAX_DEGREE = 3
SH_DC = math.sqrt(1 / (4 * math.pi))
"""Value of the constant harmonic: colour = 0.5 + SH_DC * sh[0]."""


def degree_of(count: int) -> int:
    """The degree whose harmonics up to and including it number `count`.

    Raises:
        ValueError: if `count` is not 1, 4, 9 or 16.
    """
    degree = math.isqrt(max(count, 0)) - 1
    if not 0 <= degree <= MAX_DEGREE or (degree + 1) ** 2 != count:
        raise ValueError(f"spherical harmonics need 1, 4, 9 or 16 coefficients, found {count}")
    return degree


def evaluate_basis(directions: Tensor, degree: int) -> Tensor:
    """Unit directions (..., 3) to the values (..., (degree + 1)²) of the harmonics."""
    x, y, z = directions.unbind(-1)
    values = [torch.full_like(x, SH_DC)]
    if degree > 0:
        a = math.sqrt(3 / (4 * math.pi))
        values += [-a * y, a * z, -a * x]
    if degree > 1:
        b = math.sqrt(15 / (4 * math.pi))
        xx, yy, zz = x * x, y * y, z * z
        values += [
            b * x * y,
            -b * y * z,
            b / math.sqrt(12) * (2 * zz - xx - yy),
            -b * x * z,
            b / 2 * (xx - yy),
        ]
    if degree > 2:
        c = math.sqrt(35 / (32 * math.pi))
        d = math.sqrt(105 / (4 * math.pi))
        e = math.sqrt(21 / (32 * math.pi))
        values += [
            -c * y * (3 * xx - yy),
            d * x * y * z,
            -e * y * (4 * zz - xx - yy),
            math.sqrt(7 / (16 * math.pi)) * z * (2 * zz - 3 * xx - 3 * yy),
            -e * x * (4 * zz - xx - yy),
            d / 2 * z * (xx - yy),
            -c * x * (xx - 3 * yy),
        ]
    return torch.stack(values, dim=-1)


def rotate(sh: Tensor, rotation: Tensor) -> Tensor:
    """Coefficients (N, K, 3) after the world is turned by `rotation` (3, 3): f'(R d) = f(d).

    Every degree is closed under rotation, so sampling the turned harmonics in enough directions and solving for the
    coefficients is exact; no Wigner recursion is needed.
    """
    degree = degree_of(sh.shape[-2])
    generator = torch.Generator().manual_seed(0)
    directions = torch.randn(64, 3, generator=generator, dtype=torch.float64)
    directions = torch.nn.functional.normalize(directions, dim=-1)
    turned = evaluate_basis(directions @ rotation.detach().cpu().double(), degree)  # rows are Rᵀ d
    matrix = torch.linalg.lstsq(evaluate_basis(directions, degree), turned).solution
    return torch.einsum("kj,njc->nkc", matrix.to(sh), sh)
