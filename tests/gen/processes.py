"""What the training tests start in several processes: `torchrun -m tests.gen.processes train|shard FOLDER`."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import torch

from gen.checkpoint import RunState
from gen.data.dataset import OrbitDataset
from gen.options import TrainOptions
from gen.train import make_optimisers, train
from tests.gen.small import CONFIG, random_network

OPTIONS = TrainOptions(model=CONFIG, size=16, steps=4, frames_per_step=24, warmup=2, save_every=2, device="cpu")


def train_together(folder: Path) -> None:
    """Two batches a step, on as many processes as there are; once stopped after two steps."""
    dataset = OrbitDataset(folder / "data")
    train(dataset, folder / "together", replace(OPTIONS, steps=2, decay=0.0))
    train(dataset, folder / "together", replace(OPTIONS, decay=0.0))


def shard(folder: Path) -> None:
    """One step on parameters cut over the processes, gathered, spoiled, restored, and gathered again."""
    from safetensors.torch import save_file
    from torch.distributed import destroy_process_group, get_rank, init_process_group
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor import DTensor, distribute_tensor

    init_process_group("gloo")
    torch.manual_seed(0)
    network = random_network().train()
    mesh = init_device_mesh("cpu", (2,))
    for block in network.blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(network, mesh=mesh)
    optimisers = make_optimisers(network, 1e-2, torch.float32)
    state = RunState(network, optimisers)
    for name, parameter in network.named_parameters():
        generator = torch.Generator().manual_seed(len(name))
        gradient = torch.randn(parameter.shape, generator=generator)
        assert isinstance(parameter, DTensor)
        parameter.grad = distribute_tensor(gradient, mesh, parameter.placements)
    for optimiser in optimisers:
        optimiser.step()
    state.update_average(0.9)
    _, before = state.gather()
    with torch.no_grad():
        for tensor in (*network.parameters(), *state.average.values()):
            tensor.mul_(0)
    for optimiser in optimisers:
        optimiser.state.clear()
    state.restore(before)
    _, after = state.gather()
    if get_rank() == 0:
        save_file(before, folder / "before.safetensors")
        save_file(after, folder / "after.safetensors")
    destroy_process_group()


if __name__ == "__main__":
    torch.set_num_threads(1)
    {"train": train_together, "shard": shard}[sys.argv[1]](Path(sys.argv[2]))
    # At once: gloo's threads now and then abort a process that is taken down around them ("terminate called without an
    # active exception"), when all that is tested is done.
    os._exit(0)
