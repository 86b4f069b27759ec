"""How fast does training go, and how much memory does it take? `python -m benchmarks.train DATASET -o train.json`

The same network on the same batches: as one would write it first (float32, AdamW alone), and with the arithmetic and
optimisers of training with `--precision bf16`; clipping and averaging of the weights are left out everywhere.
Every contestant runs in a process of its own, in turns, and its arithmetic is set beside what a large matrix product
reaches on this machine in the same number format.
"""

from __future__ import annotations

import functools
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro

from benchmarks._clock import ROOT, thread_variables
from benchmarks._errors import BenchmarkError
from benchmarks._results import environment, write_json
from gen.options import OrbitConfig
from pipelines._command import run_command
from pipelines._run import kilobytes
from pipelines.evaluation.markdown import table

CONTESTANTS = {
    "naive": "float32, AdamW",
    "bf16": "bf16, AdamW",
    "ours": "bf16, Muon and AdamW",
    "recompute": "ours, activations recomputed",
}
_WARM = 2


@dataclass(frozen=True)
class TrainBenchmarkOptions:
    """Time optimiser steps of the orbit model."""

    dataset: Annotated[Path, tyro.conf.Positional]
    """Folder made by pipelines.render_dataset."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """JSON file."""
    model: OrbitConfig = field(default_factory=OrbitConfig)
    """Size of the network."""
    size: int = 32
    """Side of the pictures in pixels."""
    frames_per_step: int = 96
    """Frames of a batch, four a scene."""
    threads: int = 2
    """Threads of every contestant."""
    steps: int = 10
    """Steps that are timed in each round, after two that are not."""
    rounds: int = 3
    """Turns of every contestant."""


def run(options: TrainBenchmarkOptions) -> dict[str, Any]:
    """Time the contestants in turns and write the results.

    Raises:
        BenchmarkError: if a contestant ends early.
        DatasetError, OSError: if the dataset is none, or the output cannot be written.
    """
    from gen.data.dataset import OrbitDataset

    OrbitDataset(options.dataset)
    options.output.open("a").close()  # what cannot be written is known before the work, and nothing is lost
    rounds = [{name: _in_a_process(name, options) for name in CONTESTANTS} for _ in range(options.rounds)]
    document = {
        "benchmark": "train",
        "environment": environment(),
        "settings": {k: v for k, v in asdict(options).items() if k not in ("dataset", "output")},
        "contestants": {name: _summary([turn[name] for turn in rounds]) for name in CONTESTANTS},
    }
    write_json(options.output, document)
    return document


def markdown(document: dict[str, Any]) -> str:
    """The table of a document that `run` made."""
    naive = document["contestants"]["naive"]
    rows = [
        [
            CONTESTANTS[name],
            f"{found['scenes_per_second']:.1f}",
            f"{found['scenes_per_second'] / naive['scenes_per_second']:.2f}×",
            f"{found['peak_mib']:.0f}",
            f"{found['gflops']:.0f}",
            f"{100 * found['gflops'] / found['matmul_gflops']:.0f} % of {found['matmul_gflops']:.0f}",
        ]
        for name, found in document["contestants"].items()
    ]
    header = [
        "training",
        "scenes/s",
        "beside naive",
        "peak MiB above the import, pictures included",
        "Gflop/s",
        "of a matrix product's",
    ]
    return table(header, rows)


def _summary(turns: list[dict[str, float]]) -> dict[str, float]:
    return {key: statistics.median(turn[key] for turn in turns) for key in turns[0]}


def _in_a_process(name: str, options: TrainBenchmarkOptions) -> dict[str, float]:
    network = list(asdict(options.model).values())
    work = [name, network, str(options.dataset.resolve()), options.size, options.frames_per_step, options.steps]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.train", "--contestant", json.dumps(work)],
        cwd=ROOT,
        env=os.environ | thread_variables(options.threads),
        stdout=subprocess.PIPE,
        text=True,
    )
    if done.returncode != 0:
        raise BenchmarkError(f"the contestant {name!r} ended with code {done.returncode}; its message is above")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def contestant(
    name: str, network_size: list[int], folder: str, size: int, frames_per_step: int, steps: int
) -> dict[str, float]:
    """What one contestant does in its own process: scenes and Gflop a second of its steps, and its peak memory."""
    import numpy as np
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from gen.data.dataset import OrbitDataset
    from gen.model import OrbitTransformer
    from gen.objective import flow_loss
    from gen.tasks import draft_example
    from gen.train import make_optimisers

    dtype = torch.float32 if name == "naive" else torch.bfloat16
    status = Path("/proc/self/status")
    idle = kilobytes(status, "VmRSS")
    dataset = OrbitDataset(Path(folder))
    torch.manual_seed(0)
    network = OrbitTransformer(OrbitConfig(*network_size))
    if name in ("naive", "bf16"):
        optimisers: list[torch.optim.Optimizer] = [torch.optim.AdamW(network.parameters(), lr=1e-4)]
    else:
        optimisers = make_optimisers(network, 1e-4, dtype)

    def gradients(index: int) -> None:
        rng = np.random.default_rng(index)
        draft = draft_example(dataset, rng, 4, frames_per_step, size)
        flow_loss(network, draft.develop(), dtype).backward()

    def step(index: int) -> None:
        gradients(index)
        for optimiser in optimisers:
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)

    # Only what a step cannot do without counts: neither what is computed again nor the optimiser's work.
    network.recompute = False
    with FlopCounterMode(display=False) as counter:
        gradients(0)
    network.recompute = name == "recompute"
    for index in range(_WARM):
        step(index)
    times = [_seconds(functools.partial(step, index)) for index in range(steps)]
    peak = kilobytes(status, "VmHWM")
    a, b = (torch.randn(1024, 1024).to(dtype) for _ in range(2))
    product, seconds_left = _seconds(lambda: a @ b), 1.0
    while seconds_left > 0:  # emulated bf16 takes seconds for one
        seconds = _seconds(lambda: a @ b)
        product, seconds_left = min(product, seconds), seconds_left - seconds
    typical = statistics.median(times)
    return {
        "scenes_per_second": (frames_per_step // 4) / typical,
        "peak_mib": (peak - idle) / 1024,
        "gflops": counter.get_total_flops() / typical / 1e9,
        "matmul_gflops": 2 * 1024**3 / product / 1e9,
    }


def _seconds(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main(args: list[str] | None = None) -> int:
    """Parses `args` (the command line unless given); returns the exit code."""
    args = sys.argv[1:] if args is None else args
    if args[:1] == ["--contestant"]:
        print(json.dumps(contestant(*json.loads(args[1]))))
        return 0
    options = tyro.cli(TrainBenchmarkOptions, args=args, prog="python -m benchmarks.train")
    return run_command(lambda: print(markdown(run(options))), again="give the same command again")


if __name__ == "__main__":
    sys.exit(main())
