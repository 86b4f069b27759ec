"""The `train` command: two runs, the second from the first's weights, and mistakes that end with a message."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gen.data.render import plan_dataset, render_dataset
from gen.weights import load_pipeline
from pipelines.train import main
from tests.gen.moving import OPTIONS as MOVING
from tests.gen.moving import write_solids
from tests.gen.small import render_solids

SMALL = [
    "--model.patch-size",
    "4",
    "--model.width",
    "24",
    "--model.depth",
    "2",
    "--model.heads",
    "2",
    "--device",
    "cpu",
]
BRIEF = ["--steps", "2", "--frames-per-step", "24"]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return render_solids(tmp_path_factory.mktemp("solids"), size=16, views=12).folder


def test_a_run_on_small_pictures_starts_one_on_larger_ones(dataset, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich then shows every state of its progress bar
    coarse, fine = tmp_path / "coarse", tmp_path / "fine"
    command = [str(dataset), *SMALL, *BRIEF]
    assert main([*command, "-o", str(coarse), "--size", "8"]) == 0
    assert main([*command, "-o", str(fine), "--size", "16", "--init", str(coarse)]) == 0
    printed = capsys.readouterr().out
    assert "warning: this dataset was rendered without an exclusion list" in printed
    assert "loss nan" not in printed
    sizes = [load_pipeline(run / "pipeline").transformer.config.sample_size for run in (coarse, fine)]
    assert sizes == [8, 16]


def test_still_and_moving_things_train_in_one_run(dataset, tmp_path, capsys):
    solids, moving = write_solids(tmp_path / "solids"), tmp_path / "moving"
    render_dataset(plan_dataset(solids, replace(MOVING, views=24)), moving)
    command = [str(dataset), str(moving), *SMALL, *BRIEF, "--size", "16", "-o", str(tmp_path / "run")]
    assert main([*command, "--shares", "2", "1"]) == 0
    assert (tmp_path / "run" / "pipeline").is_dir()
    assert main([*command, "--shares", "2", "1"]) == 0  # nothing is left to do
    assert main(command) == 2
    assert "another dataset" in capsys.readouterr().err
    assert main([*command, "--shares", "1"]) == 2
    assert "a positive share for each of 2 datasets" in capsys.readouterr().err


@pytest.mark.parametrize(
    "wrong", [["--model.heads", "0"], ["--save-every", "0"], ["--device", "gpu"], ["--precision", "fp16"]]
)
def test_options_that_mean_nothing_end_with_a_message_and_exit_code_two(dataset, tmp_path, capsys, wrong):
    try:
        code: int | str | None = main(
            [str(dataset), "-o", str(tmp_path / "run"), "--size", "16", *SMALL, *BRIEF, *wrong]
        )
    except SystemExit as stopped:  # tyro's way with values that it can tell are wrong
        code = stopped.code
    assert code == 2
    assert wrong[0].removeprefix("--model.").removeprefix("--") in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
