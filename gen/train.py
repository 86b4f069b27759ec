"""Training of the orbit transformer: flow matching with clean frames as context.

Everything random at step k is drawn from (seed, k), so a run that was killed and resumed takes the same steps as one
that was not. Needs PyTorch, NumPy and safetensors only, so that it runs on a bare machine with a GPU.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from gen.data.batch import Batch, draw_batch
from gen.data.dataset import OrbitDataset
from gen.gauge import APPEARANCE, GEOMETRY, encode, make_gauge
from gen.model import OrbitTransformer
from gen.muon import Muon
from gen.options import TrainOptions

CONTEXT_COUNTS = {1: 0.75, 2: 0.15, 3: 0.1}
"""How often a scene shows one, two or three clean frames."""
FRAME_COUNTS = {4: 0.6, 6: 0.25, 12: 0.15}
"""How often a batch has that many frames a scene."""
CLEAN_WEIGHT = 4.0
"""Cap of the 1 / t^2 weight that turns the error of the clean frame into that of the velocity."""


def train(
    dataset: OrbitDataset,
    folder: Path,
    options: TrainOptions,
    report: Callable[[int, float], None] | None = None,
) -> None:
    """Trains until `options.steps`, from the checkpoint in `folder` when there is one.

    Args:
        dataset: rendered objects.
        folder: receives `checkpoint.safetensors` (everything needed to go on), `ema.safetensors` (the averaged
            weights), `config.json` and `loss.csv`.
        options: must equal those of the checkpoint, except `steps`, `decay`, `device`, `compile` and `save_every`; so
            must the dataset.
        report: called with (step, loss) after every step.

    Raises:
        ValueError: if the dataset was rendered against a list of exclusions or has too few views, the folder holds a
            run with other options or another dataset, or something that is no run, the device is not there, or
            `options.init` holds no such network.
    """
    if dataset.exclusion == "ignored":
        raise ValueError(
            f"{dataset.folder}: was rendered with --exclude none although a list of objects that no training may see "
            "lay beside them, so it is for measuring only; render it again without --exclude none"
        )
    if dataset.views < max(FRAME_COUNTS):
        raise ValueError(
            f"{dataset.folder}: has {dataset.views} views of each object, training draws up to {max(FRAME_COUNTS)}; "
            f"render it again with --views {max(FRAME_COUNTS)} or more"
        )
    device, dtype = _pick_device(options)
    folder.mkdir(parents=True, exist_ok=True)
    _refuse_other_run(folder, options, dataset)
    torch.manual_seed(options.seed)
    network = OrbitTransformer(options.model).to(device)
    if options.init is not None:
        _initialise(network, Path(options.init))
    average = OrbitTransformer(options.model).to(device).requires_grad_(False)
    average.load_state_dict(network.state_dict())
    optimisers = make_optimisers(network, options.lr, dtype)
    first = _resume(folder, network, average, optimisers)
    _cut_log(folder / "loss.csv", first)
    forward = torch.compile(network, dynamic=False) if options.compile else network

    losses: list[tuple[int, float]] = []
    for step in range(first, options.steps):
        rng = np.random.default_rng([options.seed, step])
        batch = draw_batch(dataset, rng, _pick(rng, FRAME_COUNTS), options.frames_per_step, options.size).to(device)
        factor = learning_rate_factor(step, options)
        for optimiser in optimisers:
            for group in optimiser.param_groups:
                group["lr"] = options.lr * factor
        loss = flow_loss(forward, batch, rng, dtype)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        for optimiser in optimisers:
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        decay = min(options.ema, (step + 1) / (step + 10))
        with torch.no_grad():
            for mean, value in zip(average.parameters(), network.parameters(), strict=True):
                mean.lerp_(value, 1 - decay)
        losses.append((step, float(loss.detach())))
        if report is not None:
            report(step, losses[-1][1])
        if (step + 1) % options.save_every == 0 or step + 1 == options.steps:
            _save(folder, _identity(options, dataset), step + 1, network, average, optimisers, losses)
            losses = []


def flow_loss(
    network: Callable[..., Tensor], batch: Batch, rng: np.random.Generator, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Weighted error of the predicted clean frames, over targets and over the geometry of the context.

    Flow matching (arXiv:2210.02747): `x_t = (1 - t) x + t noise`. The weight 1 / t^2, capped, turns the error of `x`
    into that of the velocity. Only the network computes in `dtype`: rays rounded to bfloat16 would miss their pixels.
    """
    scenes, count, height, width, _ = batch.premultiplied.shape
    gauge = make_gauge(batch.c2w, batch.intrinsics, height, width)
    clean = encode(batch.premultiplied, batch.depth, batch.normal, gauge)
    levels, known = draw_noise_levels(rng, scenes, count)
    levels, known = levels.to(clean), known.to(clean.device)
    noise = torch.from_numpy(rng.standard_normal(clean.shape, dtype=np.float32)).to(clean)
    per_channel = levels.repeat_interleave(GEOMETRY.start, dim=-1)[:, :, None, None]  # (B, F, 1, 1, 8)
    noised = torch.lerp(clean, noise, per_channel)
    with torch.autocast(clean.device.type, dtype=dtype, enabled=dtype != torch.float32):
        predicted = network(noised, levels, gauge.rays, batch.times, known)
    weight = torch.where(per_channel > 0, (1 / per_channel.clamp_min(1e-3) ** 2).clamp_max(CLEAN_WEIGHT), 0)
    error = (predicted.float() - clean).square() * weight
    return error[..., APPEARANCE].mean() + error[..., GEOMETRY].mean()


def draw_noise_levels(rng: np.random.Generator, scenes: int, count: int) -> tuple[Tensor, Tensor]:
    """Noise levels (B, F, 2) and which cameras the network may see (B, F).

    Frame 0 is always a context and fixes the gauge. Most scenes look as sampling does: clean contexts, every other
    level the same; the rest have levels of their own for each frame and modality, or no context at all (which
    classifier-free guidance needs).
    """
    shared = _draw_level(rng, (scenes, 1, 1))
    own = _draw_level(rng, (scenes, count, 2))
    levels = np.where(rng.random((scenes, 1, 1)) < 0.75, np.broadcast_to(shared, own.shape), own)
    contexts = np.array([_pick(rng, CONTEXT_COUNTS) for _ in range(scenes)])
    is_context = np.arange(count)[None] < np.minimum(contexts, count - 1)[:, None]
    is_context &= rng.random((scenes, 1)) > 0.08
    levels = levels.copy()
    levels[..., 0][is_context] = 0
    hidden = is_context & (np.arange(count)[None] > 0) & (rng.random((scenes, 1)) < 0.3)
    return torch.from_numpy(levels.astype(np.float32)), torch.from_numpy(~hidden)


def _draw_level(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Logit-normal toward noise, where an orbit's shape is decided; a third is pure noise."""
    level = 1 / (1 + np.exp(-(0.5 + 1.2 * rng.standard_normal(shape))))
    return np.where(rng.random(shape) < 0.33, 1.0, level)


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


def _pick(rng: np.random.Generator, shares: dict[int, float]) -> int:
    return int(rng.choice(list(shares), p=list(shares.values())))


def _pick_device(options: TrainOptions) -> tuple[torch.device, torch.dtype]:
    name = options.device if options.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            "--device cuda: this PyTorch sees no CUDA device; check the driver and PyTorch's build, or use --device cpu"
        )
    bf16 = options.precision == "bf16" or (options.precision == "auto" and name == "cuda")
    return torch.device(name), torch.bfloat16 if bf16 else torch.float32


_MAY_DIFFER = ("steps", "decay", "device", "compile", "save_every")


def _identity(options: TrainOptions, dataset: OrbitDataset) -> dict[str, Any]:
    """What `config.json` says: everything that the steps depend on."""
    fixed = {k: v for k, v in asdict(options).items() if k not in _MAY_DIFFER}
    return {"options": fixed, "dataset": dataset.sha256}


def _refuse_other_run(folder: Path, options: TrainOptions, dataset: OrbitDataset) -> None:
    """Raises unless `folder` is empty or holds a run of the same options and the same dataset."""
    path = folder / "config.json"
    if not path.exists():
        if foreign := sorted(p.name for p in folder.iterdir() if p.suffix != ".partial"):
            raise ValueError(
                f"{folder}: holds {foreign[0]!r}, but no config.json of a training run; choose another folder"
            )
        return
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        before = dict(found["options"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: is not that of a training run; choose another folder") from error
    asked = _identity(options, dataset)
    if changes := [
        f"{key}: the run has {before.get(key)!r}, asked for {value!r}"
        for key, value in asked["options"].items()
        if before.get(key) != value
    ]:
        raise ValueError(f"{folder} holds a run with other options ({'; '.join(changes)}); choose another folder")
    if found.get("dataset", asked["dataset"]) != asked["dataset"]:  # runs of the first version do not say
        raise ValueError(f"{folder} holds a run on another dataset than {dataset.folder}; choose another folder")


def _resume(
    folder: Path,
    network: OrbitTransformer,
    average: OrbitTransformer,
    optimisers: list[torch.optim.Optimizer],
) -> int:
    path = folder / "checkpoint.safetensors"
    if not path.exists():
        return 0
    tensors = load_file(path)
    network.load_state_dict(_below(tensors, "network."))
    average.load_state_dict(_below(tensors, "average."))
    for i, optimiser in enumerate(optimisers):
        known: dict[int, dict[str, Tensor]] = {}
        for key, value in _below(tensors, f"optimiser{i}.").items():
            index, name = key.split(".")
            known.setdefault(int(index), {})[name] = value
        optimiser.load_state_dict({"state": known, "param_groups": optimiser.state_dict()["param_groups"]})
    return int(tensors["step"])


def _initialise(network: OrbitTransformer, run: Path) -> None:
    """Weights of another run, the averaged ones."""
    path = run / "ema.safetensors"
    if not path.is_file():
        raise ValueError(f"{run}: expected a training run with ema.safetensors in it to start from")
    try:
        network.load_state_dict(load_file(path))
    except RuntimeError as error:
        raise ValueError(f"{path}: its network has another shape than the one to train ({error})") from error


def _cut_log(path: Path, step: int) -> None:
    """Drops the lines of steps that will be taken again, and what a kill left of a line."""
    if not path.exists():
        return
    lines = re.findall(r"^(\d+)(,[^,\n]+\n)", path.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
    _replace_text(path, "".join(number + rest for number, rest in lines if int(number) < step))


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _save(
    folder: Path,
    identity: dict[str, Any],
    step: int,
    network: OrbitTransformer,
    average: OrbitTransformer,
    optimisers: list[torch.optim.Optimizer],
    losses: list[tuple[int, float]],
) -> None:
    tensors: dict[str, Tensor] = {"step": torch.tensor(step)}
    tensors |= {f"network.{k}": v for k, v in network.state_dict().items()}
    tensors |= {f"average.{k}": v for k, v in average.state_dict().items()}
    for i, optimiser in enumerate(optimisers):
        for index, state in optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser{i}.{index}.{k}": torch.as_tensor(v) for k, v in state.items()}
    if not math.isfinite(losses[-1][1]):
        raise ValueError(f"the loss is {losses[-1][1]} at step {step}; the last checkpoint in {folder} is kept")
    if not (folder / "config.json").exists():
        _replace_text(folder / "config.json", json.dumps(identity, indent=1))
    with open(folder / "loss.csv", "a") as log:
        log.writelines(f"{k},{value:.6f}\n" for k, value in losses)
    _replace(folder / "ema.safetensors", {k: v.contiguous().cpu() for k, v in average.state_dict().items()})
    _replace(folder / "checkpoint.safetensors", {k: v.contiguous().cpu() for k, v in tensors.items()})


def _replace_text(path: Path, text: str) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


def _replace(path: Path, tensors: dict[str, Tensor]) -> None:
    partial = path.with_suffix(".partial")
    save_file(tensors, partial)
    os.replace(partial, path)
