"""`OrbitConfig` and `TrainOptions`: plain numbers, importable at once, so that `--help` need not wait for PyTorch."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class OrbitConfig:
    """Size of the network.

    Attributes:
        sample_size: side in pixels of the pictures it was trained on; others work, less well.
        patch_size: side of a patch in pixels.
        width: features per token.
        depth: number of blocks, odd or even; the middle one of an odd number has no skip.
        heads: attention heads; `width / heads` must divide by 4.
    """

    sample_size: int = 64
    patch_size: int = 16
    width: int = 192
    depth: int = 8
    heads: int = 3


@dataclass(frozen=True)
class TrainOptions:
    """What to train and how."""

    model: OrbitConfig = field(default_factory=OrbitConfig)
    """Size of the network."""
    size: int = 64
    """Side of the training pictures in pixels; must divide the dataset's."""
    steps: int = 20_000
    """Optimiser steps in all."""
    frames_per_step: int = 96
    """Frames in a batch; the number of scenes follows from the number of frames a scene."""
    lr: float = 1.5e-3
    """Peak learning rate, in AdamW's scale."""
    warmup: int = 200
    """Steps of linear warm-up."""
    decay: float = 0.3
    """Last share of the steps over which the learning rate falls to zero."""
    ema: float = 0.999
    """Decay of the averaged weights, reached gradually."""
    init: str | None = None
    """Folder of another run whose averaged weights this one starts from: trained on smaller pictures, say."""
    seed: int = 0
    """Seed of everything random."""
    device: str = "auto"
    """auto, cpu or cuda."""
    precision: str = "auto"
    """auto (bf16 on GPUs, fp32 on CPUs), bf16 or fp32: the arithmetic of the network; weights stay fp32."""
    compile: bool = False
    """Compile the network with torch.compile (needs a C++ compiler on CPUs)."""
    save_every: int = 500
    """Steps between checkpoints."""
