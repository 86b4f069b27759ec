"""`python -m pipelines.train`: rendered datasets in, a pipeline folder out."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from gen.options import TrainOptions
from pipelines._command import run_command


@dataclass(frozen=True)
class TrainCommand:
    """Trains the orbit model. Run it again with the same options to go on where it was stopped. On several processes or
    GPUs: torchrun --nproc_per_node N -m pipelines.train ..."""

    dataset: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folder made by pipelines.render_dataset from objects that may be trained on; or several, of objects that stand
    still and that move."""
    output: Annotated[Path, tyro.conf.arg(name="output", aliases=["-o"])]
    """The run's folder: checkpoint, averaged weights, loss.csv and, when done, pipeline/ for --model."""
    shares: tuple[float, ...] = ()
    """How often a batch is drawn from each of several folders, as numbers in any unit; alike unless given."""
    train: Annotated[TrainOptions, tyro.conf.arg(name="")] = field(default_factory=TrainOptions)
    """How to train."""


def run(command: TrainCommand) -> None:
    """Trains, showing progress.

    Raises:
        ValueError, OSError: for what a user can mend.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from gen.data.dataset import OrbitDataset
    from gen.data.mixing import DatasetMix
    from gen.train import train

    mix = DatasetMix([OrbitDataset(folder) for folder in command.dataset], command.shares)
    leads = os.environ.get("RANK", "0") == "0"  # as torchrun numbers its processes
    if leads and any(part.exclusion == "none" for part in mix.parts):
        print("warning: this dataset was rendered without an exclusion list; no evaluation object may be in it")
    columns = (TextColumn("{task.fields[state]}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, disable=not leads) as bar:
        task = bar.add_task("train", total=command.train.steps, state="starting")
        train(
            mix,
            command.output,
            command.train,
            report=lambda step, loss: bar.update(task, completed=step + 1, state=f"loss {loss:.3f}"),
        )
    if not leads:
        return
    try:
        from gen.weights import save_pipeline

        save_pipeline(command.output, command.output / "pipeline")
    except ImportError:
        print(
            f"{command.output / 'ema.safetensors'}: trained; diffusers is not here, so no pipeline folder was written"
        )
    else:
        print(f"{command.output / 'pipeline'}: use it with --model")


def main(args: list[str] | None = None) -> int:
    """Parses `args` (the command line unless given); returns the exit code."""
    # The options check themselves, so parsing can fail with a message, too.
    return run_command(
        lambda: run(tyro.cli(TrainCommand, args=args, prog="train")), again="give the same command again"
    )


if __name__ == "__main__":
    sys.exit(main())
