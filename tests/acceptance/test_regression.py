"""The chain is as good as its released table says, and a worse one is found out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.pipelines.small import save_generator
from tests.shared_data import ROOT

MINUTES = 20


def regress(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipelines.evaluate", "--regress", *map(str, arguments)]
    return subprocess.run(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60 * MINUTES
    )


def test_six_objects_are_as_good_as_released(tmp_path: Path):
    done = regress("-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "**drop**" not in (tmp_path / "out" / "changes.md").read_text()
    assert len(list((tmp_path / "out" / "rows" / "generator").iterdir())) == 6


def test_a_generator_that_knows_nothing_is_a_drop(tmp_path: Path):
    weights = save_generator(tmp_path / "weights")
    done = regress("-o", tmp_path / "out", "--model", weights, "--count", "2")
    assert done.returncode == 1, done.stderr
    dropped = [line for line in (tmp_path / "out" / "changes.md").read_text().splitlines() if "**drop**" in line]
    assert dropped
    assert all(line.startswith("| generator |") for line in dropped)
