"""A training run's folder: what it is a run of, its log, and checkpoints from which it goes on to the bit.

Everything is safetensors and JSON; nothing is unpickled. Sharded parameters (FSDP) are gathered on writing and cut
again on reading, so that a run may go on with the work split otherwise.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from gen.gauge import CHANNELS
from gen.model import CAMERA_CHANNELS, HIDDEN_CAMERA_TOKENS, PIXEL_CHANNELS
from gen.options import TrainOptions

MAY_DIFFER = ("steps", "decay", "accumulate", "device", "compile", "save_every", "recompute", "tensorboard", "workers")


def identity(options: TrainOptions, dataset: str, batches: int) -> dict[str, Any]:
    """What `config.json` says: everything that the steps depend on, the dataset by its hash. `batches` of all processes
    go into each step."""
    fixed = {k: v for k, v in asdict(options).items() if k not in MAY_DIFFER}
    channels = [CHANNELS, PIXEL_CHANNELS, CAMERA_CHANNELS, HIDDEN_CAMERA_TOKENS]
    return {"options": fixed, "dataset": dataset, "batches": batches, "channels": channels}


def refuse_other_run(folder: Path, asked: Mapping[str, Any], dataset: str) -> None:
    """Raises ValueError unless `folder` is empty or holds a run of the same identity."""
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
    if "batches" not in found or found.get("channels") != asked["channels"]:
        raise ValueError(f"{folder} holds a run of an earlier version, which cannot go on; start from it with --init")
    if changes := [
        f"{key}: the run has {before.get(key)!r}, asked for {value!r}"
        for key, value in asked["options"].items()
        if before.get(key) != value
    ]:
        raise ValueError(f"{folder} holds a run with other options ({'; '.join(changes)}); choose another folder")
    if found.get("dataset") != asked["dataset"]:
        raise ValueError(f"{folder} holds a run on another dataset than {dataset}; choose another folder")
    if found.get("batches") != asked["batches"]:
        raise ValueError(
            f"{folder} holds a run of {found.get('batches')} batches a step and this one has {asked['batches']} "
            "(processes times --accumulate); choose another folder, or start from that run with --init"
        )


class RunState:
    """The tensors of a run: parameters, their running average, the optimisers' memory.

    Attributes:
        parameters: by name, as the optimisers hold them: whole, or this process's shards.
        average: by name, cut alike.
    """

    def __init__(self, network: nn.Module, optimisers: Sequence[torch.optim.Optimizer]) -> None:
        self.parameters = {_plain_name(name): p for name, p in network.named_parameters()}
        self.average = {name: p.detach().clone() for name, p in self.parameters.items()}
        self._optimisers = optimisers
        self._names = {id(p): name for name, p in self.parameters.items()}

    @torch.no_grad()
    def update_average(self, decay: float) -> None:
        """Moves the average towards the parameters by `1 - decay`."""
        torch._foreach_lerp_(list(self.average.values()), list(self.parameters.values()), 1 - decay)

    def gather(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The averaged weights and the whole state, on the CPU. All processes must call it."""
        average = {name: _whole(p) for name, p in self.average.items()}
        tensors = {f"network.{name}": _whole(p) for name, p in self.parameters.items()}
        tensors |= {f"average.{name}": p for name, p in average.items()}
        for optimiser in self._optimisers:
            for parameter, memory in optimiser.state.items():
                name = self._names[id(parameter)]
                tensors |= {f"optimiser.{name}.{k}": _whole(torch.as_tensor(v)) for k, v in memory.items()}
        return average, tensors

    @torch.no_grad()
    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Inverse of `gather`; `tensors` as the whole state."""
        for name, parameter in self.parameters.items():
            parameter.copy_(_cut(tensors[f"network.{name}"], parameter))
            self.average[name].copy_(_cut(tensors[f"average.{name}"], parameter))
        for optimiser in self._optimisers:
            for group in optimiser.param_groups:
                for parameter in group["params"]:
                    prefix = f"optimiser.{self._names[id(parameter)]}."
                    memory = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
                    optimiser.state[parameter] = {
                        k: _cut(v, parameter) if v.shape == parameter.shape else v.clone() for k, v in memory.items()
                    }

    @torch.no_grad()
    def initialise(self, folder: Path) -> None:
        """Takes the averaged weights of another run, or those of a saved pipeline.

        Raises:
            ValueError: if there are none, or of another shape.
        """
        path, found = _weights_in(folder)
        wrong = [
            name
            for name in sorted(found.keys() | self.parameters.keys())
            if name not in found or name not in self.parameters or found[name].shape != self.parameters[name].shape
        ]
        if wrong:
            raise ValueError(f"{path}: its network has another shape than the one to train (first at {wrong[0]})")
        for name, parameter in self.parameters.items():
            parameter.copy_(_cut(found[name].float(), parameter))
            self.average[name].copy_(parameter)


def _weights_in(folder: Path) -> tuple[Path, dict[str, Tensor]]:
    """File and tensors, named as in the bare network, of a run's folder or a pipeline's."""
    for path, prefix in (
        (folder / "ema.safetensors", ""),
        (folder / "transformer" / "diffusion_pytorch_model.safetensors", "net."),
    ):
        if path.is_file():
            found = {name.removeprefix(prefix): tensor for name, tensor in load_file(path).items()}
            if "unknown_camera" in found:  # once one token stood for all hidden cameras
                found.setdefault("unknown_first_camera", found["unknown_camera"])
            return path, found
    raise ValueError(
        f"{folder}: expected a training run with ema.safetensors in it, or a generator's folder with "
        "transformer/diffusion_pytorch_model.safetensors, to start from"
    )


def read_checkpoint(folder: Path) -> tuple[int, dict[str, Tensor]] | None:
    """Step and state of a folder's checkpoint, None where there is none yet."""
    path = folder / "checkpoint.safetensors"
    if not path.exists():
        return None
    tensors = load_file(path)
    return int(tensors.pop("step")), tensors


def describe(folder: Path, described: Mapping[str, Any]) -> None:
    """Claims the folder: writes `config.json` unless it is there."""
    if not (folder / "config.json").exists():
        _replace_text(folder / "config.json", json.dumps(described, indent=1))


def write_checkpoint(
    folder: Path,
    step: int,
    average: dict[str, Tensor],
    state: dict[str, Tensor],
    losses: Sequence[tuple[int, float]],
) -> None:
    """Writes log, averaged weights and state, the last two whole or not at all."""
    with open(folder / "loss.csv", "a", encoding="utf-8") as log:
        log.writelines(f"{k},{value:.6f}\n" for k, value in losses)
    _replace(folder / "ema.safetensors", average)
    _replace(folder / "checkpoint.safetensors", {"step": torch.tensor(step), **state})


def cut_log(path: Path, step: int) -> None:
    """Drops the lines of steps that will be taken again, and what a kill left of a line."""
    if not path.exists():
        return
    lines = re.findall(r"^(\d+)(,[^,\n]+\n)", path.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
    _replace_text(path, "".join(number + rest for number, rest in lines if int(number) < step))


_WRAPPERS = frozenset(("module", "_orig_mod", "_checkpoint_wrapped_module"))


def _plain_name(name: str) -> str:
    """A parameter's name in the bare network, whatever wrapped it or parts of it."""
    return ".".join(part for part in name.split(".") if part not in _WRAPPERS)


def _whole(tensor: Tensor) -> Tensor:
    tensor = tensor.detach()
    return (tensor.full_tensor() if isinstance(tensor, DTensor) else tensor).contiguous().cpu()


def _cut(tensor: Tensor, like: Tensor) -> Tensor:
    tensor = tensor.to(like.device)
    return distribute_tensor(tensor, like.device_mesh, like.placements) if isinstance(like, DTensor) else tensor


def _replace_text(path: Path, text: str) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


def _replace(path: Path, tensors: dict[str, Tensor]) -> None:
    partial = path.with_suffix(".partial")
    save_file(tensors, partial)
    os.replace(partial, path)
