"""Every pixel of every frame is a Gaussian: what the network says of the frames becomes one scene, and its pictures.

The network draws no picture by itself. Of each pixel it tells colour, opacity, depth along the pixel's ray, normal and
size; the Gaussians of all frames together are rendered from all cameras, and that is the prediction. So the frames of
one prediction agree in space by construction, and the input's colours reach other views by geometry instead of through
the network's weights. In the line of Splatter Image (arXiv:2312.13150), GS-LRM (arXiv:2404.19702) and DMV3D
(arXiv:2311.09217), whose denoisers render, too. Of what moves, the frames of each time are a scene of their own; what
other times show reaches it through the network.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor
from torch.nn.functional import normalize

from gen.gauge import APPEARANCE, DEPTH_GAIN, Gauge, encode_appearance
from recon.splat.backend_cuda import draw_scenes, gsplat_is_here
from recon.splat.gaussians import Gaussians
from recon.splat.harmonics import SH_DC
from recon.splat.rasterize import rasterize

REACH = 1.05
"""How far from the ray's nearest point to the object's centre a pixel's Gaussian can be, in object radii."""
_OPACITY_GAIN, _FIRST_OPACITY = 2.0, -1.5
_COLOR_GAIN, _COLOR_MARGIN = 2.0, 0.02
_FOOTPRINT, _SMALLEST, _LARGEST = 0.6, -2.0, 2.5
"""Standard deviation in pixels where the network says nothing; bounds of the logarithm by which it may change it."""


def pixel_points(raw: Tensor, gauge: Gauge) -> Tensor:
    """(B, F, H, W, 3) where each pixel's Gaussian is: on its ray, measured from the point nearest to the object's
    centre, which spreads the network's numbers evenly whatever the camera's distance."""
    directions, moments = gauge.rays[..., :3], gauge.rays[..., 3:]
    along = torch.tanh(raw[..., 4:5]) * REACH
    return torch.linalg.cross(directions, moments) + along * directions


def depth_offsets(points: Tensor, gauge: Gauge) -> Tensor:
    """(B, F, H, W) forward depth of points (B, F, H, W, 3) behind the object's centre, as the depth channel codes it
    where alpha is 1."""
    forward, shift = gauge.viewmats[..., 2, :3], gauge.viewmats[..., 2, 3]
    depth = torch.einsum("bfhwi,bfi->bfhw", points, forward) + shift[..., None, None]
    return DEPTH_GAIN * (depth - (gauge.distance / gauge.unit[:, None])[..., None, None])


@dataclass(frozen=True)
class PixelGaussians:
    """The Gaussians of B scenes, one round one for each pixel of F frames, in the gauge's coordinates.

    Attributes:
        means: (B, F, H, W, 3).
        log_sizes, logit_opacities: (B, F, H, W).
        colors: (B, F, H, W, 3) in [0, 1].
        kept: (B, F) frames whose cameras are known, so that their pixels have places; the others' Gaussians are void.
    """

    means: Tensor
    log_sizes: Tensor
    logit_opacities: Tensor
    colors: Tensor
    kept: Tensor

    def to(self, device: torch.device) -> PixelGaussians:
        return PixelGaussians(*(getattr(self, field.name).to(device) for field in fields(self)))

    def grouped(self, scenes: Tensor, frames: Tensor) -> PixelGaussians:
        """B * T scenes of some frames each: (B, 1, 1) which scene, (B, T, K) which frames; void where there is no such
        frame."""
        there = (frames >= 0) & (frames < self.kept.shape[1])
        chosen = torch.where(there, frames, 0)
        parts = {field.name: getattr(self, field.name)[scenes, chosen].flatten(0, 1) for field in fields(self)}
        return PixelGaussians(**parts | {"kept": parts["kept"] & there.flatten(0, 1)})

    def scene(self, index: int) -> Gaussians:
        """One scene by itself, void Gaussians left out."""
        chosen = self.kept[index]
        sizes = self.log_sizes[index, chosen].reshape(-1, 1)
        return Gaussians(
            self.means[index, chosen].reshape(-1, 3),
            _upright(sizes).expand(len(sizes), 4),
            sizes.expand(-1, 3),
            self.logit_opacities[index, chosen].reshape(-1),
            ((self.colors[index, chosen] - 0.5) / SH_DC).reshape(-1, 1, 3),
        )


def pixel_gaussians(
    raw: Tensor, points: Tensor, frames: Tensor, levels: Tensor, gauge: Gauge, kept: Tensor
) -> PixelGaussians:
    """The Gaussians that the network tells.

    Args:
        raw: (B, F, H, W, 9) from the network: colour (3), opacity, depth along the ray, normal (3), size.
        points: (B, F, H, W, 3) from `pixel_points`.
        frames: (B, F, H, W, 8) noised channels that it saw; clean ones (level 0) lend their colours.
        levels: (B, F, 2) noise levels of appearance and geometry.
        gauge: of the F cameras.
        kept: (B, F) frames whose cameras are known.
    """
    focal = (gauge.intrinsics[..., 0, 0] * gauge.intrinsics[..., 1, 1]).sqrt()[:, :, None, None]
    away = (points - gauge.eyes[:, :, None, None]).norm(dim=-1)
    sizes = torch.log(away / focal * _FOOTPRINT) + raw[..., 8].clamp(_SMALLEST, _LARGEST)
    clean = (levels[..., 0] == 0)[:, :, None, None, None]
    shown = frames[..., APPEARANCE] * 0.5 + 0.5
    straight = (shown[..., :3] / shown[..., 3:].clamp_min(0.05)).clamp(0, 1)
    base = torch.logit(torch.where(clean, straight, 0.5), eps=_COLOR_MARGIN)
    colors = torch.sigmoid(base + _COLOR_GAIN * raw[..., :3])
    return PixelGaussians(points, sizes, _OPACITY_GAIN * raw[..., 3] + _FIRST_OPACITY, colors, kept)


def draw(gaussians: PixelGaussians, gauge: Gauge, height: int, width: int, moments: Tensor | None = None) -> Tensor:
    """Appearance channels (B, F, H, W, 4) of the scenes from the gauge's cameras, in [-1, 1]. The processor draws where
    there is a GPU but no gsplat.

    Args:
        gaussians: of the first f of the F frames.
        moments: (B, T, K) int64 frames that show the same time, -1 for none; every frame then is drawn from those of
            its own time alone. None where nothing moves.
    """
    if moments is None:
        return encode_appearance(_draw(gaussians, gauge.viewmats, gauge.intrinsics, height, width))
    scenes, count = gauge.viewmats.shape[:2]
    own = torch.arange(scenes, device=moments.device)[:, None, None]
    frames = moments.clamp_min(0)
    grouped = gaussians.grouped(own, moments)
    pictures = _draw(
        grouped, gauge.viewmats[own, frames].flatten(0, 1), gauge.intrinsics[own, frames].flatten(0, 1), height, width
    )
    spare = torch.where(moments < 0, count, moments)  # what fills up the groups goes behind the frames, and away
    drawn = pictures.new_zeros(scenes, count + 1, *pictures.shape[2:])
    drawn = drawn.index_put((own.expand_as(moments), spare), pictures.unflatten(0, moments.shape[:2]))
    return encode_appearance(drawn[:, :count])


def _draw(gaussians: PixelGaussians, viewmats: Tensor, intrinsics: Tensor, height: int, width: int) -> Tensor:
    """Premultiplied RGBA (B, F, H, W, 4)."""
    device = gaussians.means.device
    where = _drawing_device(device)
    if where.type == "cuda":
        return _draw_together(gaussians, viewmats, intrinsics, height, width)
    gaussians = gaussians.to(where)
    pictures = []
    for index, (poses, lenses) in enumerate(zip(viewmats.to(where), intrinsics.to(where))):
        scene = gaussians.scene(index)
        if len(scene) == 0:
            pictures.append(poses.new_zeros(len(poses), height, width, 4))
            continue
        picture = rasterize(scene, (poses, lenses, width, height), geometry=False)
        pictures.append(torch.cat((picture.rgb, picture.alpha[..., None]), dim=-1))
    return torch.stack(pictures).to(device)


def draw_frames(
    gaussians: PixelGaussians, normals: Tensor, gauge: Gauge, height: int, width: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The first scene with its geometry, as finished frames from the gauge's F cameras.

    Args:
        gaussians: the scene.
        normals: (1, f, h, w, 3) of the Gaussians, in gauge axes, of any length.

    Returns:
        Premultiplied RGBA (F, H, W, 4); forward depth (F, H, W) in world units and unit world normals (F, H, W, 3),
        both 0 where less than half of the light is stopped.
    """
    where = _drawing_device(gaussians.means.device)
    gaussians, normals = gaussians.to(where), normals.to(where)
    views = (gauge.viewmats[0].to(where), gauge.intrinsics[0].to(where), width, height)
    scene = gaussians.scene(0)
    picture = rasterize(scene, views)
    colored = replace(scene, sh=(normals[0, gaussians.kept[0]].reshape(-1, 1, 3) * 0.5).clamp(-0.5, 0.5) / SH_DC)
    coded = rasterize(colored, views, geometry=False).rgb
    rotation = gauge.rotation[0].to(where)
    turned = (coded * 2 - picture.alpha[..., None]) @ rotation  # from the right: a product with the inverse
    depth = picture.median_depth * gauge.unit[0].to(where)
    normal = torch.where(depth[..., None] > 0, normalize(turned, dim=-1), 0)
    alpha = picture.alpha[..., None].clamp(0, 1)
    return torch.cat((torch.minimum(picture.rgb, alpha), alpha), dim=-1), depth, normal


def _drawing_device(device: torch.device) -> torch.device:
    """Where scenes that lie on `device` can be drawn."""
    return torch.device("cpu") if device.type == "cuda" and not gsplat_is_here() else device


def _draw_together(gaussians: PixelGaussians, viewmats: Tensor, intrinsics: Tensor, height: int, width: int) -> Tensor:
    """Premultiplied RGBA of all scenes in one call, as a GPU wants it; void Gaussians have no opacity."""
    sizes = gaussians.log_sizes.flatten(1)[..., None]
    opacities = gaussians.logit_opacities.sigmoid() * gaussians.kept[:, :, None, None]
    rgb, alpha = draw_scenes(
        gaussians.means.flatten(1, 3),
        _upright(sizes).expand(*sizes.shape[:2], 4),
        sizes.exp().expand(-1, -1, 3),
        opacities.flatten(1),
        gaussians.colors.flatten(1, 3),
        viewmats,
        intrinsics,
        width,
        height,
    )
    return torch.cat((rgb, alpha), dim=-1)


def _upright(like: Tensor) -> Tensor:
    """The quaternion of no rotation."""
    return (torch.arange(4, device=like.device) == 0).float()
