"""Training of the orbit transformer, on one processor, one GPU, or many through `torchrun` or `accelerate launch`.

Everything random of the i-th batch of step k is drawn from (seed, k, i), whichever process has it, so a run that was
killed and resumed takes the same steps as one that was not, and two processes the same as one that adds up two batches.
Needs PyTorch, NumPy, kornia, safetensors and accelerate, to render Numba on processors or gsplat on GPUs, and nothing
else, so that it runs on a bare machine.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from gen.checkpoint import RunState, cut_log, describe, identity, read_checkpoint, refuse_other_run, write_checkpoint
from gen.data.dataset import OrbitDataset
from gen.data.mixing import DatasetMix
from gen.model import OrbitTransformer
from gen.muon import Muon
from gen.objective import flow_loss
from gen.options import TrainOptions
from gen.tasks import Draft, draft_example, draw_frame_count, views_needed

if TYPE_CHECKING:
    from accelerate import Accelerator


def train(
    dataset: OrbitDataset | DatasetMix,
    folder: Path,
    options: TrainOptions,
    report: Callable[[int, float], None] | None = None,
) -> None:
    """Trains until `options.steps`, from the checkpoint in `folder` when there is one.

    Args:
        dataset: rendered objects that stand still, that move, or both.
        folder: receives `checkpoint.safetensors` (everything needed to go on), `ema.safetensors` (the averaged
            weights), `config.json` and `loss.csv`; with `options.tensorboard` also `tensorboard/`.
        options: must equal those of the checkpoint, except `gen.checkpoint.MAY_DIFFER`; so must the dataset and the
            number of batches a step.
        report: called with (step, loss) after every step; on the main process only.

    Raises:
        ValueError: if the dataset was rendered against a list of exclusions or has too few views, the folder holds a
            run with other options or another dataset, or something that is no run, the device is not there,
            `options.init` holds no such network, the loss is no number, or accelerate is missing.
    """
    mix = dataset if isinstance(dataset, DatasetMix) else DatasetMix([dataset])
    for drawn_from in mix.parts:
        _check(drawn_from)
    accelerator = _accelerator(_pick_device(options.device), options, folder)
    bf16 = options.precision == "bf16" or (options.precision == "auto" and accelerator.device.type == "cuda")
    dtype = torch.bfloat16 if bf16 else torch.float32
    described = identity(options, mix.sha256, accelerator.num_processes * options.accumulate)
    folder.mkdir(parents=True, exist_ok=True)
    refuse_other_run(folder, described, str(mix))
    torch.manual_seed(options.seed)
    bare = OrbitTransformer(options.model)
    bare.recompute = options.recompute
    network, *optimisers = accelerator.prepare(bare, *make_optimisers(bare, options.lr, dtype))
    state = RunState(network, [o.optimizer for o in optimisers])
    first = 0
    if (found := read_checkpoint(folder)) is not None:
        first, tensors = found
        state.restore(tensors)
    elif options.init is not None:
        state.initialise(Path(options.init))
    if accelerator.is_main_process:
        describe(folder, described)
        cut_log(folder / "loss.csv", first)
    if options.tensorboard:
        accelerator.init_trackers("tensorboard", init_kwargs={"tensorboard": {"purge_step": first}})
    if options.compile:
        for block in bare.blocks:  # they are alike, so one compilation serves all
            block.compile(dynamic=True)  # of pictures and frames of all sizes and counts
    drafts = _drafts(mix, options, first, accelerator.num_processes, accelerator.process_index)

    losses: list[tuple[int, float]] = []
    late: list[tuple[int, Tensor]] = []  # losses of steps that a GPU may still be taking

    def read_losses(keep: int) -> None:
        while len(late) > keep:
            step, total = late.pop(0)
            losses.append((step, float(total)))
            if options.tensorboard:
                accelerator.log({"loss": losses[-1][1]}, step=step)
            if report is not None and accelerator.is_main_process:
                report(*losses[-1])

    for step in range(first, options.steps):
        for optimiser in optimisers:
            for group in optimiser.param_groups:
                group["lr"] = options.lr * learning_rate_factor(step, options)
        total = torch.zeros((), device=accelerator.device)
        for part in range(options.accumulate):
            example = next(drafts).to(accelerator.device).develop()
            with _last_part_only(accelerator, network, part + 1 == options.accumulate):
                loss = flow_loss(network, example, dtype) / options.accumulate
                loss.backward()
            total += loss.detach()
        norm = accelerator.clip_grad_norm_(network.parameters(), 1.0)
        _drop_gradients(network, ~torch.isfinite(norm))
        for optimiser in optimisers:
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        state.update_average(min(options.ema, (step + 1) / (step + 10)))
        late.append((step, accelerator.reduce(total, "mean")))
        read_losses(keep=1)
        if (step + 1) % options.save_every == 0 or step + 1 == options.steps:
            read_losses(keep=0)
            if not any(math.isfinite(loss) for _, loss in losses):
                raise ValueError(f"the loss is {losses[-1][1]} at step {step}; the last checkpoint in {folder} is kept")
            average, whole = state.gather()
            if accelerator.is_main_process:
                write_checkpoint(folder, step + 1, average, whole, losses)
            losses.clear()
    for tracker in accelerator.trackers:
        tracker.finish()
    accelerator.wait_for_everyone()


class _Drafts(torch.utils.data.Dataset[Draft]):
    """The batches that one process takes, from a step on, in their order."""

    def __init__(self, mix: DatasetMix, options: TrainOptions, first: int, processes: int, process: int) -> None:
        self.mix, self.options, self.first = mix, options, first
        self.processes, self.process = processes, process

    def __len__(self) -> int:
        return max(0, self.options.steps - self.first) * self.options.accumulate

    def __getitem__(self, place: int) -> Draft:
        step, part = divmod(place, self.options.accumulate)
        step += self.first
        # All processes take scenes of equally many frames, so that none waits for another.
        count = draw_frame_count(np.random.default_rng(stream(self.options.seed, step, None)))
        rng = np.random.default_rng(stream(self.options.seed, step, part * self.processes + self.process))
        dataset = self.mix.pick(rng)
        return draft_example(dataset, rng, count, self.options.frames_per_step, self.options.size)


def _drafts(mix: DatasetMix, options: TrainOptions, first: int, processes: int, process: int) -> Iterator[Draft]:
    drafts = _Drafts(mix, options, first, processes, process)
    ahead: dict[str, Any] = {}
    if options.workers:
        ahead = {"prefetch_factor": 2, "pin_memory": torch.cuda.is_available()}
    return iter(torch.utils.data.DataLoader(drafts, batch_size=None, num_workers=options.workers, **ahead))


def stream(seed: int, step: int, batch: int | None) -> list[int]:
    """Key of the random numbers of a step's `batch`, or (None) of what all its batches share. Keys end in a 1, as NumPy
    takes those that differ by zeros at the end for one."""
    return [seed, step, 0 if batch is None else batch + 1, 1]


def learning_rate_factor(step: int, options: TrainOptions) -> float:
    """Warm-up, plateau, linear decay."""
    tail = options.decay * options.steps
    return min(1.0, (step + 1) / max(options.warmup, 1), (options.steps - step) / max(tail, 1))


def make_optimisers(network: OrbitTransformer, lr: float, dtype: torch.dtype) -> list[torch.optim.Optimizer]:
    """Muon for the blocks' matrices, AdamW for everything else."""
    matrices = [p for p in network.blocks.parameters() if p.ndim == 2]
    chosen = {id(p) for p in matrices}
    others = [p for p in network.parameters() if id(p) not in chosen]
    return [Muon(matrices, lr=lr, dtype=dtype), torch.optim.AdamW(others, lr=lr, betas=(0.9, 0.98), weight_decay=0.0)]


def _check(dataset: OrbitDataset) -> None:
    """Raises ValueError if a dataset must not or cannot be trained on."""
    if dataset.exclusion == "ignored":
        raise ValueError(
            f"{dataset.folder}: was rendered with --exclude none although a list of objects that no training may see "
            "lay beside them, so it is for measuring only; render it again without --exclude none"
        )
    if dataset.views < (needed := views_needed(dataset.times)):
        raise ValueError(
            f"{dataset.folder}: has {dataset.views} views of each object, training draws up to {needed}; "
            f"render it again with --views {needed} or more"
        )


def _pick_device(asked: str) -> str:
    if asked == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            "--device cuda: this PyTorch sees no CUDA device; check the driver and PyTorch's build, or use --device cpu"
        )
    if asked != "auto":
        return asked
    return "cuda" if torch.cuda.is_available() else "cpu"


def _accelerator(device: str, options: TrainOptions, folder: Path) -> Accelerator:
    try:
        from accelerate import Accelerator
        from accelerate.state import AcceleratorState
    except ImportError as error:
        raise ValueError(f"training needs accelerate: pip install 'turnabout[train]' ({error})") from error
    if options.tensorboard and find_spec("tensorboard") is None:  # accelerate would log nowhere without a word
        raise ValueError("--tensorboard needs TensorBoard: pip install 'turnabout[train]'")
    if not torch.distributed.is_initialized():
        AcceleratorState._reset_state(True)  # else the device of an earlier call in this process would stay
    # The loss casts by itself, as only the network may compute in less than float32.
    accelerator = Accelerator(
        cpu=device == "cpu",
        mixed_precision="no",
        log_with="tensorboard" if options.tensorboard else None,
        project_dir=folder,
    )
    if accelerator.device.type != device and options.device != "auto":
        raise ValueError(
            f"--device {device}: accelerate was started for {accelerator.device.type}; start it for {device}"
        )
    kind = accelerator.distributed_type
    if kind not in ("NO", "MULTI_CPU", "MULTI_GPU") and not accelerator.is_fsdp2:
        raise ValueError(f"accelerate was started for {kind}; training knows processes, GPUs and --fsdp_version 2")
    return accelerator


def _drop_gradients(network: nn.Module, spoiled: Tensor) -> None:
    """Zeroes all gradients where `spoiled` () says so: one number that is none would spoil every weight for good. The
    step then follows the optimisers' momentum alone."""
    spoiled = spoiled.full_tensor() if isinstance(spoiled, DTensor) else spoiled
    for parameter in network.parameters():
        if parameter.grad is not None:
            own = parameter.grad.to_local() if isinstance(parameter.grad, DTensor) else parameter.grad
            own.masked_fill_(spoiled, 0)


def _last_part_only(accelerator: Accelerator, network: nn.Module, last: bool) -> AbstractContextManager[None]:
    """Gradients travel between processes once a step."""
    return nullcontext() if last else accelerator.no_sync(network)
