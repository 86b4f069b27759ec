"""`Gaussians`: the scene a fit optimises, raw parameters only. Files are in `ply`, pictures in `rasterize`."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from recon.capture.types import Similarity
from recon.splat import harmonics
from recon.splat.rotations import multiply_quats, quat_from_rotation


@dataclass(frozen=True)
class Gaussians:
    """N anisotropic 3-D Gaussians with view-dependent colour (Kerbl et al. 2023).

    Attributes:
        means: (N, 3) centres in the world.
        quats: (N, 4) wxyz, any positive length; the columns of the rotation are the ellipsoid's axes.
        log_scales: (N, 3) natural logarithm of the standard deviation along each axis.
        logit_opacities: (N,) opacity before the sigmoid.
        sh: (N, K, 3) spherical harmonics of the colour minus 0.5, K = 1, 4, 9 or 16.

    Raises:
        ValueError: if the shapes do not fit together.
    """

    means: Tensor
    quats: Tensor
    log_scales: Tensor
    logit_opacities: Tensor
    sh: Tensor

    def __post_init__(self) -> None:
        count = self.means.shape[0] if self.means.ndim else -1
        expected = {"means": (count, 3), "quats": (count, 4), "log_scales": (count, 3), "logit_opacities": (count,)}
        for name, shape in expected.items():
            found = tuple(getattr(self, name).shape)
            if found != shape:
                raise ValueError(f"Gaussians.{name} needs shape {shape}, found {found}")
        if self.sh.ndim != 3 or self.sh.shape[0] != count or self.sh.shape[2] != 3:
            raise ValueError(f"Gaussians.sh needs shape ({count}, K, 3), found {tuple(self.sh.shape)}")
        harmonics.degree_of(self.sh.shape[1])

    def __len__(self) -> int:
        return self.means.shape[0]

    @property
    def sh_degree(self) -> int:
        return harmonics.degree_of(self.sh.shape[1])

    @property
    def scales(self) -> Tensor:
        """(N, 3) standard deviations."""
        return self.log_scales.exp()

    @property
    def opacities(self) -> Tensor:
        """(N,) in (0, 1)."""
        return self.logit_opacities.sigmoid()

    @property
    def base_colors(self) -> Tensor:
        """(N, 3) colour averaged over all directions, clamped to [0, 1]."""
        return (0.5 + harmonics.SH_DC * self.sh[:, 0]).clamp(0, 1)

    def map(self, function: Callable[[Tensor], Tensor]) -> Gaussians:
        """Applies `function` to each of the five tensors."""
        return Gaussians(*(function(tensor) for tensor in self.tensors()))

    def tensors(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """The five tensors in the order of the fields."""
        return self.means, self.quats, self.log_scales, self.logit_opacities, self.sh

    def detach(self) -> Gaussians:
        return self.map(Tensor.detach)

    def to(self, target: torch.device | torch.dtype | str) -> Gaussians:
        """Every tensor moved to a device or cast to a dtype."""
        return self.map(lambda tensor: tensor.to(target))

    def select(self, index: Tensor) -> Gaussians:
        """The subset under a boolean mask (N,) or an index (M,)."""
        return self.map(lambda tensor: tensor[index])

    def with_sh_degree(self, degree: int) -> Gaussians:
        """The same colours with harmonics cut off above `degree`, or padded with zeros up to it."""
        count = (degree + 1) ** 2
        harmonics.degree_of(count)
        padding = self.sh.new_zeros(len(self), max(0, count - self.sh.shape[1]), 3)
        return dataclasses.replace(self, sh=torch.cat((self.sh[:, :count], padding), dim=1))

    def transform(self, similarity: Similarity) -> Gaussians:
        """The same scene after the world is moved: positions, axes, sizes and view-dependent colour go along."""
        turn = quat_from_rotation(similarity.rotation).to(self.quats)
        return Gaussians(
            similarity.apply(self.means),
            multiply_quats(turn, self.quats),
            self.log_scales + math.log(similarity.scale),
            self.logit_opacities,
            harmonics.rotate(self.sh, similarity.rotation),
        )


def from_points(
    points: Tensor, colors: Tensor, scale: float | Tensor, *, opacity: float = 0.1, sh_degree: int = 0
) -> Gaussians:
    """Round Gaussians at `points` (N, 3) with `colors` (N, 3) in [0, 1], the start of most fits.

    Args:
        scale: standard deviation in world units, one number or (N,) numbers.
        opacity: of every Gaussian, in (0, 1).
        sh_degree: room for view-dependent colour; the coefficients above the constant are 0.
    """
    count = points.shape[0]
    log_scales = torch.as_tensor(scale, dtype=points.dtype, device=points.device).log().reshape(-1, 1)
    quats = torch.tensor([1.0, 0, 0, 0], dtype=points.dtype, device=points.device).repeat(count, 1)
    dc = ((colors - 0.5) / harmonics.SH_DC).to(points)[:, None]
    return Gaussians(
        points.clone(),
        quats,
        log_scales.expand(count, 3).clone(),
        points.new_full((count,), math.log(opacity / (1 - opacity))),
        dc,
    ).with_sh_degree(sh_degree)


def concatenate(parts: Sequence[Gaussians]) -> Gaussians:
    """One scene from several of the same harmonic degree."""
    return Gaussians(*(torch.cat(tensors) for tensors in zip(*(part.tensors() for part in parts), strict=True)))
