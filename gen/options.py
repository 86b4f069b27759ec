"""`OrbitConfig` and `TrainOptions`: plain numbers, importable at once, so that `--help` need not wait for PyTorch."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class OrbitConfig:
    """Size of the network.

    Attributes:
        sample_size: side in pixels of the pictures that it draws unless told otherwise: those that it was trained on
            (saving a trained network sets it to `TrainOptions.size`). Others work, less well.
        patch_size: side of a patch in pixels.
        width: features per token.
        depth: number of blocks, odd or even; the middle one of an odd number has no skip.
        heads: attention heads; `width / heads` must divide by 4.

    Raises:
        ValueError: if one of them is not positive.
    """

    sample_size: int = 64
    patch_size: int = 8
    width: int = 256
    depth: int = 8
    heads: int = 4

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 1:
                raise ValueError(f"the network's {name.replace('_', '-')} must be at least 1, found {value}")


@dataclass(frozen=True)
class TrainOptions:
    """What to train and how.

    Raises:
        ValueError: if a number is out of its range, or pictures do not divide into patches.
    """

    model: OrbitConfig = field(default_factory=OrbitConfig)
    """Size of the network."""
    size: int = 64
    """Side of the training pictures in pixels; must divide the dataset's."""
    steps: int = 20_000
    """Optimiser steps in all."""
    frames_per_step: int = 96
    """Frames in a batch of each process; the number of scenes follows from the number of frames a scene."""
    accumulate: int = 1
    """Batches whose gradients are added up before each step."""
    lr: float = 1.5e-3
    """Peak learning rate, in AdamW's scale."""
    warmup: int = 200
    """Steps of linear warm-up."""
    decay: float = 0.3
    """Last share of the steps over which the learning rate falls to zero."""
    ema: float = 0.999
    """Decay of the averaged weights, reached gradually."""
    init: str | None = None
    """Folder of a generator, or of another run, on smaller pictures, say, whose weights this one starts from."""
    seed: int = 0
    """Seed of everything random."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute; auto takes a GPU if there is one."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """Arithmetic of the network; auto is bf16 on GPUs and fp32 on CPUs. Weights stay fp32."""
    compile: bool = False
    """Compile the network's blocks with torch.compile (needs a C++ compiler on CPUs)."""
    workers: int = 0
    """Processes beside each training process that read its batches ahead; 0 reads them between the steps."""
    recompute: bool = False
    """Recompute the blocks' activations on the way back instead of keeping them: less memory, a third more work."""
    tensorboard: bool = False
    """Also log the loss for TensorBoard, below the run's folder."""
    save_every: int = 500
    """Steps between checkpoints."""

    def __post_init__(self) -> None:
        ranges = {
            "size": (1, math.inf),
            "steps": (1, math.inf),
            "frames_per_step": (1, math.inf),
            "accumulate": (1, math.inf),
            "lr": (1e-9, 1.0),
            "warmup": (0, math.inf),
            "decay": (0.0, 1.0),
            "ema": (0.0, 1.0),
            "seed": (0, 2**63 - 1),
            "save_every": (1, math.inf),
            "workers": (0, math.inf),
        }
        for name, (low, high) in ranges.items():
            if not low <= getattr(self, name) <= high:
                expected = f"at least {low:g}" if high == math.inf else f"between {low:g} and {high:g}"
                raise ValueError(f"--{name.replace('_', '-')} must be {expected}, found {getattr(self, name):g}")
        if self.size % self.model.patch_size:
            raise ValueError(
                f"--size {self.size} is not a multiple of --model.patch-size {self.model.patch_size}; change either"
            )
