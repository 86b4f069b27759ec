"""The orbit transformer: frames in, frames out.

One transformer over the patches of every frame of a scene. Each frame carries its own noise level for each modality
(appearance, geometry): clean frames are context, noised frames are targets, so the task is chosen by the levels alone.
The network tells of every pixel a Gaussian of the scene (`gen.splats`) whose pictures are the clean frames
(x-prediction, in the line of JiT, arXiv:2511.13720), from which the sampler takes its velocity; and of every patch the
ray through its middle, from which hidden cameras are found (Cameras as Rays, arXiv:2402.14817).

Blocks of the later half receive those of the earlier half through U-ViT's long skips (arXiv:2209.12152); noise level
and time enter through adaLN-single (PixArt-alpha, arXiv:2310.00426); positions inside a frame are continuous 2-D rotary
embeddings, so any size and aspect ratio that divides into patches is accepted.

Only PyTorch is needed here: the diffusers wrapper lives in `gen.pipeline`.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from gen.gauge import CHANNELS, MODALITIES, RAY_CHANNELS
from gen.options import OrbitConfig

PIXEL_CHANNELS = 9
"""What is told of each pixel: see `gen.splats`."""
CAMERA_CHANNELS = 9
"""What is told of each patch: the ray through its middle (6) and the world's +Y (3), in gauge axes."""


HIDDEN_CAMERA_TOKENS = 2
"""One for a hidden first camera, one for the others."""


class OrbitTransformer(nn.Module):
    """See the module's text. Shapes: B scenes, F frames, H x W pixels, 8 channels as in `gen.gauge.encode`.

    Attributes:
        recompute: keep only what enters each block, and compute the rest again on the way back (Chen et al. 2016).
    """

    _no_split_modules = ("Block",)  # where accelerate's TRANSFORMER_BASED_WRAP cuts

    def __init__(self, config: OrbitConfig) -> None:
        super().__init__()
        if config.width % config.heads or (config.width // config.heads) % 4:
            raise ValueError(f"width {config.width} must be a multiple of 4 x heads {config.heads}")
        self.patch_size = config.patch_size
        self.recompute = False
        pixels = config.patch_size**2
        self.embed = nn.Linear(pixels * CHANNELS, config.width)
        self.embed_rays = nn.Linear(pixels * RAY_CHANNELS, config.width, bias=False)
        self.unknown_camera = nn.Parameter(torch.zeros(config.width))
        self.unknown_first_camera = nn.Parameter(torch.zeros(config.width))
        self.frame_mlp = nn.Sequential(
            nn.Linear(FourierFeatures.SIZE * (len(MODALITIES) + 1), config.width),
            nn.SiLU(),
            nn.Linear(config.width, config.width),
            nn.SiLU(),
        )
        self.fourier = FourierFeatures()
        self.modulation = nn.Linear(config.width, 6 * config.width)
        half = config.depth // 2
        self.blocks = nn.ModuleList(
            Block(config.width, config.heads, skip=i >= config.depth - half) for i in range(config.depth)
        )
        self.head_modulation = nn.Linear(config.width, 2 * config.width)
        self.head = nn.Linear(config.width, pixels * PIXEL_CHANNELS)
        self.camera_head = nn.Linear(config.width, CAMERA_CHANNELS)
        for layer in (self.modulation, self.head_modulation, self.head, self.camera_head):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(
        self,
        frames: Tensor,
        noise_levels: Tensor,
        rays: Tensor,
        times: Tensor,
        camera_known: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """What can be told of every pixel and every patch.

        Args:
            frames: (B, F, H, W, 8) noised channels, `(1 - t) clean + t noise`.
            noise_levels: (B, F, 2) `t` in [0, 1] of each frame's appearance and geometry.
            rays: (B, F, H, W, 6) from `gen.gauge.make_gauge`.
            times: (B, F) seconds, 0 in static scenes.
            camera_known: (B, F) bool; False hides a frame's rays. None = all known.

        Returns:
            pixels (B, F, H, W, 9), cameras (B, F, N, 9): see `PIXEL_CHANNELS` and `CAMERA_CHANNELS`.

        Raises:
            ValueError: if the picture size does not divide into patches.
        """
        batch, count, height, width, _ = frames.shape
        p = self.patch_size
        if height % p or width % p:
            raise ValueError(f"picture size {width}x{height} is not a multiple of the patch size {p}")
        ray_tokens = self.embed_rays(patchify(rays, p))
        if camera_known is not None:
            # Frame 0 fixes the gauge: where no ray tells which one it is, its token does.
            hidden = torch.stack((self.unknown_first_camera, *[self.unknown_camera] * (count - 1))).to(ray_tokens)
            ray_tokens = torch.where(camera_known[:, :, None, None], ray_tokens, hidden[:, None])
        x = self.embed(patchify(frames, p)) + ray_tokens  # (B, F, N, D)

        levels = torch.cat((noise_levels, times[..., None]), dim=-1)  # (B, F, 3)
        per_frame = self.frame_mlp(self.fourier(levels).flatten(-2))[:, :, None]  # (B, F, 1, D)
        modulation = self.modulation(per_frame)
        rotary = rotary_angles(height // p, width // p, count, x.shape[-1] // self.blocks[0].heads, x.device)

        skips: list[Tensor] = []
        for block in self.blocks:
            skip = skips.pop() if block.skip is not None else None
            if self.recompute and torch.is_grad_enabled():
                x = checkpoint(block, x, modulation, rotary, skip, use_reentrant=False)
            else:
                x = block(x, modulation, rotary, skip)
            if len(skips) < len(self.blocks) // 2 and block.skip is None:
                skips.append(x)

        shift, scale = self.head_modulation(per_frame).chunk(2, dim=-1)
        x = modulate(normalise(x), shift, scale)
        return unpatchify(self.head(x), p, height, width), self.camera_head(x)


class Block(nn.Module):
    """Pre-norm attention and MLP, both modulated; optionally fed by a long skip."""

    def __init__(self, width: int, heads: int, skip: bool) -> None:
        super().__init__()
        self.heads = heads
        self.skip = nn.Linear(2 * width, width) if skip else None
        self.table = nn.Parameter(torch.zeros(6 * width))
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)
        with torch.no_grad():
            if self.skip is not None:  # start as the identity on the stream, deaf to the skip
                self.skip.weight.copy_(torch.cat((torch.eye(width), torch.zeros(width, width)), dim=1))
                self.skip.bias.zero_()
            self.table[2 * width : 3 * width] = 1.0  # gates open
            self.table[5 * width :] = 1.0
            self.proj.weight.mul_(0.1)
            self.down.weight.mul_(0.1)

    def forward(self, x: Tensor, modulation: Tensor, rotary: tuple[Tensor, Tensor], skip: Tensor | None) -> Tensor:
        """x and skip: (B, F, N, D); modulation: (B, F, 1, 6 D); rotary: two (F * N, D / heads / 2)."""
        if self.skip is not None and skip is not None:
            x = self.skip(torch.cat((x, skip), dim=-1))
        shift1, scale1, gate1, shift2, scale2, gate2 = (modulation + self.table).chunk(6, dim=-1)
        x = x + gate1 * self._attend(modulate(normalise(x), shift1, scale1), rotary)
        hidden = F.gelu(self.up(modulate(normalise(x), shift2, scale2)), approximate="tanh")
        return x + gate2 * self.down(hidden)

    def _attend(self, x: Tensor, rotary: tuple[Tensor, Tensor]) -> Tensor:
        qkv = self.qkv(x.flatten(1, 2)).unflatten(-1, (3, self.heads, -1))  # (B, F * N, 3, heads, D / heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        q, k = rotate(F.rms_norm(q, q.shape[-1:]), rotary), rotate(F.rms_norm(k, k.shape[-1:]), rotary)
        attended = attention(q.to(v), k.to(v), v)
        return self.proj(attended.transpose(1, 2).flatten(-2)).view_as(x)


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Softmax attention over (B, heads, T, D).

    On CPUs the backward pass of PyTorch's fused kernel is slower than plain products for the few tokens of a training
    scene: they make a step in bfloat16 a quarter faster (64 tokens, two cores).
    """
    if q.device.type == "cpu" and q.requires_grad:
        return (q * q.shape[-1] ** -0.5 @ k.transpose(-1, -2)).softmax(dim=-1).to(v) @ v
    return F.scaled_dot_product_attention(q, k, v)


class FourierFeatures(nn.Module):
    """Sines and cosines of a scalar at octave-spaced frequencies."""

    SIZE = 32
    frequencies: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("frequencies", 2.0 ** torch.linspace(0, 6, self.SIZE // 2), persistent=False)

    def forward(self, value: Tensor) -> Tensor:
        """(...) to (..., 32)."""
        angle = value[..., None].float() * self.frequencies
        return torch.cat((angle.sin(), angle.cos()), dim=-1)


def patchify(frames: Tensor, p: int) -> Tensor:
    """(B, F, H, W, C) to (B, F, H/p * W/p, p * p * C)."""
    return frames.unflatten(3, (-1, p)).unflatten(2, (-1, p)).transpose(3, 4).flatten(4).flatten(2, 3)


def unpatchify(tokens: Tensor, p: int, height: int, width: int) -> Tensor:
    """Inverse of `patchify`."""
    grid = tokens.unflatten(2, (height // p, width // p)).unflatten(4, (p, p, -1))
    return grid.transpose(3, 4).flatten(4, 5).flatten(2, 3)


def rotary_angles(rows: int, cols: int, count: int, head: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosines and sines, each (F * rows * cols, head / 2), of a patch's place in its picture.

    Places are measured from the picture's middle with the shorter side as [-1, 1], so they do not depend on the
    picture's size (RoFormer, arXiv:2104.09864, on two axes).
    """
    short = min(rows, cols)
    y = (torch.arange(rows, device=device) * 2 + 1 - rows) / short
    x = (torch.arange(cols, device=device) * 2 + 1 - cols) / short
    frequencies = math.pi * 2.0 ** torch.linspace(-1, 3, head // 4, device=device)
    grid = torch.stack(torch.meshgrid(y, x, indexing="ij"), dim=-1).flatten(0, 1)  # (N, 2)
    angle = (grid[:, :, None] * frequencies).flatten(1).repeat(count, 1)
    return angle.cos(), angle.sin()


def rotate(x: Tensor, rotary: tuple[Tensor, Tensor]) -> Tensor:
    """Turns feature pairs of (B, heads, T, D) by the given angles."""
    cos, sin = rotary
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, a * sin + b * cos), dim=-1)


def normalise(x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:])


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    return x * (1 + scale) + shift
