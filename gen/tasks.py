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
from gen.data.format import TIME_COLUMN
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
VIDEO_SHARE = 0.7
"""Share of moving scenes that show a view of every time, of one camera or of several: a video. The others show as many
frames as scenes that stand still."""
ONE_CAMERA_SHARE = 0.7
"""Share of moving scenes whose frames begin with one camera's; the others' are in any order."""
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
        moments: (B, T, K) the frames that show the same time, -1 for none; None where nothing moves.
        photos: (N, H, W, 4) premultiplied RGBA of the shown frames, as a camera would have left them.
        noise_seed: of the noise that hides the rest.
    """

    batch: Batch
    tasks: Tasks
    shown: Tensor
    moments: Tensor | None
    photos: Tensor
    noise_seed: int


@dataclass(frozen=True)
class Draft:
    """An example before any work on its pixels: what other processes hand over, and what goes to a GPU.

    Attributes:
        codes: the views, as the dataset's files code them.
        tasks, shown, moments: as in `Example`.
        size: side of the pictures that are to come out.
        seed: of everything that the pixels' part draws.
    """

    codes: ViewCodes
    tasks: Tasks
    shown: Tensor
    moments: Tensor | None
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
        return Example(batch, self.tasks, self.shown, self.moments, photos, int(rng.integers(2**62)))


def draft_example(
    dataset: OrbitDataset, rng: np.random.Generator, frames: int, frames_per_step: int, size: int
) -> Draft:
    """A batch of about `frames_per_step` frames to tell, `frames` a scene, with a task for each scene."""
    scenes = max(1, frames_per_step // frames)
    moments = moments_shown(dataset.times, frames)
    if moments == 1:
        codes, grouped = dataset.sample(rng, frames + EXTRA_VIEWS, scenes), None
    else:
        codes = _in_any_order(dataset.sample_videos(rng, moments, frames + EXTRA_VIEWS, scenes), rng)
        grouped = torch.from_numpy(group_times(codes.cameras[..., TIME_COLUMN].numpy()))
    tasks = draw_tasks(rng, scenes, frames, size, moments)
    shown = (tasks.levels[..., 0] == 0).nonzero().T.contiguous()
    return Draft(codes, tasks, shown, grouped, size, int(rng.integers(2**62)))


def moments_shown(times: int, frames: int) -> int:
    """How many of a dataset's times a scene of so many frames shows: each by two frames, if it can."""
    return max(1, min(times, frames // 2))


def views_needed(times: int) -> int:
    """Views of each object that training draws from at most, in a dataset of so many times."""
    needed = 0
    for frames in FRAME_COUNTS:
        each = math.ceil((frames + EXTRA_VIEWS) / moments_shown(times, frames))
        needed = max(needed, each * times)
    return needed


def group_times(times: NDArray[np.float32]) -> NDArray[np.int64]:
    """(B, T, K) the frames that show the same time, -1 where there are fewer; of (B, F) times."""
    groups = [[np.flatnonzero(row == time) for time in np.unique(row)] for row in times]
    most, largest = max(map(len, groups)), max(len(group) for scene in groups for group in scene)
    grouped = np.full((len(times), most, largest), -1, np.int64)
    for scene, row in enumerate(groups):
        for place, group in enumerate(row):
            grouped[scene, place, : len(group)] = group
    return grouped


def _in_any_order(codes: ViewCodes, rng: np.random.Generator) -> ViewCodes:
    """The views of some scenes in random order, so that those shown come from several cameras."""
    scenes, frames = codes.cameras.shape[:2]
    mixed = rng.random((scenes, 1)) >= ONE_CAMERA_SHARE
    order = torch.from_numpy(np.where(mixed, rng.random((scenes, frames)).argsort(axis=1), np.arange(frames)))
    row = torch.arange(scenes)[:, None]
    return ViewCodes(
        codes.rgba[row, order], codes.depth[row, order], codes.normal[row, order], codes.cameras[row, order],
        codes.objects,
    )  # fmt: skip


def draw_tasks(rng: np.random.Generator, scenes: int, count: int, size: int, moments: int = 1) -> Tasks:
    """A task for each scene, of pictures of `size` pixels that show so many times. Frame 0 is the first to be shown and
    fixes the gauge; one frame at least is never shown, except where cameras are asked for."""
    task = rng.choice(list(TASKS), scenes, p=list(TASKS.values()))[:, None]
    shared, own = _draw_level(rng, (scenes, 1, 1), size), _draw_level(rng, (scenes, count, 2), size)
    levels = np.where((task == "levels")[..., None], own, np.broadcast_to(shared, own.shape)).copy()
    contexts = np.array([_pick(rng, CONTEXT_COUNTS) for _ in range(scenes)])
    contexts = np.minimum(contexts, count - 1)
    if moments > 1:
        contexts[rng.random(scenes) < VIDEO_SHARE] = moments
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
