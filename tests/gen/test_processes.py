"""Training in several processes: the same steps as in one."""

import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from gen.checkpoint import RunState
from gen.train import make_optimisers, train
from tests.gen.processes import OPTIONS
from tests.gen.small import random_network, render_solids
from tests.shared_data import ROOT


def start(job: str, folder) -> None:
    """Runs `tests/gen/processes.py` in two processes."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone"]
    done = subprocess.run(
        [*torchrun, "-m", "tests.gen.processes", job, str(folder)],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    render_solids(folder, size=16, views=12)
    return folder


def test_two_processes_take_the_steps_of_one_that_adds_up_two_batches(folder):
    from gen.data.dataset import OrbitDataset

    start("train", folder)
    alone = replace(OPTIONS, accumulate=2, decay=0.0)
    train(OrbitDataset(folder / "data"), folder / "alone", alone)
    expected, found = (load_file(folder / name / "checkpoint.safetensors") for name in ("alone", "together"))
    assert expected.keys() == found.keys()
    for name, tensor in expected.items():
        assert torch.allclose(found[name], tensor, atol=1e-4), name
    losses = [(folder / name / "loss.csv").read_text().splitlines() for name in ("alone", "together")]
    for a, b in zip(*losses, strict=True):
        assert float(a.split(",")[1]) == pytest.approx(float(b.split(",")[1]), rel=1e-3)
    with pytest.raises(ValueError, match="2 batches a step"):
        train(OrbitDataset(folder / "data"), folder / "together", replace(alone, accumulate=1))
    train(OrbitDataset(folder / "data"), folder / "together", replace(alone, steps=5))  # one process goes on


def test_parameters_cut_over_processes_step_and_are_gathered_and_restored(folder):
    start("shard", folder)
    before, after = (load_file(folder / f"{name}.safetensors") for name in ("before", "after"))
    torch.manual_seed(0)
    network = random_network().train()
    optimisers = make_optimisers(network, 1e-2, torch.float32)
    state = RunState(network, optimisers)
    for name, parameter in network.named_parameters():
        parameter.grad = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(len(name)))
    for optimiser in optimisers:
        optimiser.step()
    state.update_average(0.9)
    _, whole = state.gather()
    assert before.keys() == after.keys() == whole.keys()
    for name, tensor in whole.items():
        assert torch.equal(before[name], after[name]), name
        assert torch.allclose(before[name], tensor, atol=1e-5), name
