"""What a training batch asks: random scenes, which of their frames are shown, and how noisy the others are.

The noise levels and the hidden cameras alone are the task. Level 0 is shown, level 1 is to be told from nothing.
A batch comes in two parts: `draft_example` chooses and reads, which other processes can do ahead of time, and what it
hands over is small; `Draft.develop` does the work on pixels, on a GPU where there is one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gen.data.batch import Batch, make_batch
from gen.data.dataset import OrbitDataset, ViewCodes
from gen.data.photo import photographed
from gen.data.sending import pin_all, send_all

TASKS = {"views": 0.64, "levels": 0.1, "cameras": 0.12, "texture": 0.06, "blind": 0.08}
"""Shares of scenes. Views: shown frames, every other frame at one level. Levels: each frame and modality at a level of
its own. Cameras: shown frames whose cameras are hidden, the rest tells nothing. Texture: the geometry of all frames is
shown. Blind: nothing is shown, which classifier-free guidance needs."""
CONTEXT_COUNTS = {1: 0.7, 2: 0.15, 3: 0.1, 4: 0.05}
"""How often a scene shows that many frames."""
FRAME_COUNTS = {4: 0.5, 6: 0.3, 8: 0.2}
"""How often a batch has that many frames a scene."""
PURE_NOISE = 0.5
"""Share of noise levels that are 1: where shape is decided, and where the pipeline's one step starts."""
NOISE_SIZE = 64
"""Side of pictures in pixels up to which noise levels are drawn alike."""
EXTRA_VIEWS = 2
"""Views of each scene that the network knows nothing of, but against which its scene is compared."""


@dataclass(frozen=True)
class Tasks:
    """What B scenes of F frames show.

    Attributes:
        levels: (B, F, 2) noise level of each frame's appearance and geometry, 0 = shown.
        camera_known: (B, F) whether the network sees the frame's rays.
    """

    levels: Tensor
    camera_known: Tensor


@dataclass(frozen=True)
class Example:
    """A batch and its tasks.

    Attributes:
        batch: the truth of the frames that the network tells, and behind them of `EXTRA_VIEWS` more.
        tasks: what is shown of the former.
        shown: (2, N) scene and frame of each frame whose appearance is shown.
        photos: (N, H, W, 4) premultiplied RGBA of the shown frames, as a camera would have left them.
        noise_seed: of the noise that hides the rest.
    """

    batch: Batch
    tasks: Tasks
    shown: Tensor
    photos: Tensor
    noise_seed: int


@dataclass(frozen=True)
class Draft:
    """An example before any work on its pixels: what other processes hand over, and what goes to a GPU.

    Attributes:
        codes: the views, as the dataset's files code them.
        tasks, shown: as in `Example`.
        size: side of the pictures that are to come out.
        seed: of everything that the pixels' part draws.
    """

    codes: ViewCodes
    tasks: Tasks
    shown: Tensor
    size: int
    seed: int

    def to(self, device: torch.device) -> Draft:
        return send_all(self, device)

    def pin_memory(self) -> Draft:
        """PyTorch's loader asks for it."""
        return pin_all(self)

    def develop(self) -> Example:
        """The example, made on the device that the draft lies on.

        Raises:
            ValueError: if `size` does not divide the dataset's.
        """
        rng = np.random.default_rng(self.seed)
        batch = make_batch(self.codes.decode(), self.size, rng)
        photos = photographed(batch.premultiplied[self.shown[0], self.shown[1]], rng)
        return Example(batch, self.tasks, self.shown, photos, int(rng.integers(2**62)))


def draft_example(
    dataset: OrbitDataset, rng: np.random.Generator, frames: int, frames_per_step: int, size: int
) -> Draft:
    """A batch of about `frames_per_step` frames to tell, `frames` a scene, with a task for each scene."""
    scenes = max(1, frames_per_step // frames)
    codes = dataset.sample(rng, frames + EXTRA_VIEWS, scenes)
    tasks = draw_tasks(rng, scenes, frames, size)
    shown = (tasks.levels[..., 0] == 0).nonzero().T.contiguous()
    return Draft(codes, tasks, shown, size, int(rng.integers(2**62)))


def draw_tasks(rng: np.random.Generator, scenes: int, count: int, size: int) -> Tasks:
    """A task for each scene, of pictures of `size` pixels. Frame 0 is the first to be shown and fixes the gauge; one
    frame at least is never shown, except where cameras are asked for."""
    task = rng.choice(list(TASKS), scenes, p=list(TASKS.values()))[:, None]
    shared, own = _draw_level(rng, (scenes, 1, 1), size), _draw_level(rng, (scenes, count, 2), size)
    levels = np.where((task == "levels")[..., None], own, np.broadcast_to(shared, own.shape)).copy()
    contexts = np.array([_pick(rng, CONTEXT_COUNTS) for _ in range(scenes)])
    contexts = np.minimum(contexts, count - 1)
    asked = task[:, 0] == "cameras"
    contexts[asked] = rng.integers(1, count + 1, scenes)[asked]
    shown = (np.arange(count)[None] < contexts[:, None]) & (task != "blind")
    levels[..., 0][shown] = 0
    levels[..., 1][np.broadcast_to(task == "texture", shown.shape)] = 0
    levels[asked[:, None] & ~shown] = 1
    hidden = shown & (np.arange(count)[None] > 0) & (rng.random((scenes, 1)) < 0.2)
    return Tasks(torch.from_numpy(levels.astype(np.float32)), torch.from_numpy(~(hidden | asked[:, None])))


def draw_frame_count(rng: np.random.Generator) -> int:
    """Frames a scene, for a whole batch."""
    return _pick(rng, FRAME_COUNTS)


def _draw_level(rng: np.random.Generator, shape: tuple[int, ...], size: int) -> NDArray[np.float64]:
    """Logit-normal toward noise, or pure noise. The larger the pictures, the more pixels tell of the same thing and the
    more noise it takes to hide it (Esser et al., arXiv:2403.03206)."""
    normal = 0.5 + math.log(max(size / NOISE_SIZE, 1)) + 1.2 * rng.standard_normal(shape)
    return np.where(rng.random(shape) < PURE_NOISE, 1.0, 1 / (1 + np.exp(-normal)))


def _pick(rng: np.random.Generator, shares: dict[int, float]) -> int:
    return int(rng.choice(list(shares), p=list(shares.values())))
