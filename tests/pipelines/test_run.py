"""Run folders: stages are atomic, kept when finished, done again when not, and never mixed up."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from pipelines._run import STATE, RunFolderError, Stage, open_run
from tests.pipelines.small import content


class Silent:
    """Remembers what was done and what was kept."""

    def __init__(self):
        self.done, self.kept, self.warnings = [], [], []

    def stage_started(self, name):
        pass

    def stage_finished(self, name, seconds):
        self.done.append(name)

    def stage_kept(self, name):
        self.kept.append(name)

    def step_started(self, name):
        pass

    def advanced(self, done, total):
        pass

    def warned(self, message):
        self.warnings.append(message)

    def scene_changed(self, gaussians):
        pass


def write_numbers(run, out, log):
    (out / "numbers").mkdir()
    for i in range(3):
        (out / "numbers" / f"{i}.txt").write_text(str(i))
    log.figures["count"] = 3


def add_numbers(run, out, log):
    (out / "sum.txt").write_text(str(sum(int(f.read_text()) for f in (run / "numbers").iterdir())))
    log.warn("sums may be large")


NUMBERS = Stage("numbers", (), ("numbers",), {}, write_numbers)
SUM = Stage("sum", ("numbers",), ("sum.txt",), {}, add_numbers)


def run_all(path: Path, stages=(NUMBERS, SUM), identity=None, **options) -> Silent:
    watcher = Silent()
    with open_run(path, identity or {"seed": 0}, **options) as run:
        for stage in stages:
            run.run(stage, watcher)
    return watcher


def run_and_die(path, renames):
    """Runs all stages in a child that is killed at its rename number `renames`; whether it came to that."""
    child = os.fork()
    if child == 0:
        _die_after(renames)
        run_all(path)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def test_a_finished_run_recomputes_nothing(tmp_path):
    assert run_all(tmp_path / "run").done == ["numbers", "sum"]
    before = content(tmp_path / "run")
    again = run_all(tmp_path / "run", resume=True)
    assert (again.done, again.kept) == ([], ["numbers", "sum"])
    assert content(tmp_path / "run") == before


def test_a_damaged_output_is_made_again(tmp_path):
    run_all(tmp_path)
    before = content(tmp_path)
    (tmp_path / "numbers" / "1.txt").write_text("half a nu")
    again = run_all(tmp_path, resume=True)
    assert again.done == ["numbers"]
    assert content(tmp_path) == before


def test_a_stage_with_other_settings_is_done_again_and_so_is_what_reads_it(tmp_path):
    def other_numbers(run, out, log):
        (out / "numbers").mkdir()
        (out / "numbers" / "7.txt").write_text("7")

    run_all(tmp_path)
    again = run_all(tmp_path, (Stage("numbers", (), ("numbers",), {"start": 7}, other_numbers), SUM), resume=True)
    assert again.done == ["numbers", "sum"]
    assert [f.name for f in (tmp_path / "numbers").iterdir()] == ["7.txt"]
    assert (tmp_path / "sum.txt").read_text() == "7"


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork and SIGKILL")
def test_a_run_killed_at_any_rename_and_resumed_has_the_same_bytes(tmp_path):
    run_all(tmp_path / "whole")
    for renames in range(20):
        path = tmp_path / f"killed_{renames}"
        was_killed = run_and_die(path, renames)
        run_all(path, resume=True)
        assert content(path) == content(tmp_path / "whole"), f"killed at rename {renames}"
        if not was_killed:
            break
    assert renames >= 6


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork and SIGKILL")
@pytest.mark.parametrize("options", [{"overwrite": True}, {"resume": True}])
def test_what_a_killed_stage_published_does_not_stay_when_the_next_run_is_shorter(options, tmp_path):
    run_all(tmp_path / "short", (NUMBERS,))
    for renames in range(20):
        path = tmp_path / f"killed_{renames}"
        if not run_and_die(path, renames):
            break
        is_finished = (path / STATE / "sum.json").exists()
        run_all(path, (NUMBERS,), **options)
        if options == {"overwrite": True} or not is_finished:
            assert content(path) == content(tmp_path / "short"), f"killed at rename {renames}"
        else:
            assert (path / "sum.txt").exists(), "what is finished is kept"
    assert renames >= 8


def _die_after(renames: int) -> None:
    rename, left = os.replace, [renames]

    def rename_or_die(source, target):
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1
        rename(source, target)

    os.replace = rename_or_die  # type: ignore[assignment]


def test_a_folder_of_strangers_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("do not delete")
    for options in ({}, {"resume": True}, {"overwrite": True}):
        with pytest.raises(RunFolderError, match="no run of ours"):
            run_all(tmp_path, **options)
    assert [f.name for f in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_second_run_needs_resume_or_overwrite(tmp_path):
    run_all(tmp_path)
    with pytest.raises(RunFolderError, match=r"--resume.*--overwrite"):
        run_all(tmp_path)
    (tmp_path / "mine.txt").write_text("added by hand")
    assert run_all(tmp_path, identity={"seed": 1}, overwrite=True).done == ["numbers", "sum"]
    assert (tmp_path / "mine.txt").exists()


def test_resuming_another_run_is_refused_and_says_what_differs(tmp_path):
    run_all(tmp_path, identity={"options": {"seed": 0}, "inputs": [{"name": "cup.jpg"}]})
    with pytest.raises(RunFolderError, match=r"options\.seed: the run has 0, asked for 5"):
        run_all(tmp_path, identity={"options": {"seed": 5}, "inputs": [{"name": "cup.jpg"}]}, resume=True)
    with pytest.raises(RunFolderError, match=r"inputs\.0\.name"):
        run_all(tmp_path, identity={"options": {"seed": 0}, "inputs": [{"name": "mug.jpg"}]}, resume=True)


def test_two_runs_cannot_share_a_folder(tmp_path):
    with (
        open_run(tmp_path, {}),
        pytest.raises(RunFolderError, match="another run"),
        open_run(tmp_path, {}, resume=True),
    ):
        pass


def test_a_stage_that_fails_leaves_nothing_and_the_next_run_goes_on(tmp_path):
    def fail(run, out, log):
        (out / "sum.txt").write_text("half")
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        run_all(tmp_path, (NUMBERS, Stage("sum", ("numbers",), ("sum.txt",), {}, fail)))
    assert not (tmp_path / "sum.txt").exists()
    assert not list((tmp_path / STATE).glob("work-*"))
    assert run_all(tmp_path, resume=True).done == ["sum"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_leaves_finished_stages_and_no_half_ones(tmp_path):
    def fill(run, out, log):
        (out / "sum.txt").symlink_to("/dev/full")
        (out / "sum.txt").write_text("no room for this")

    with pytest.raises(OSError, match="No space left"):
        run_all(tmp_path, (NUMBERS, Stage("sum", ("numbers",), ("sum.txt",), {}, fill)))
    assert (tmp_path / "numbers").is_dir()
    assert not (tmp_path / "sum.txt").is_symlink()
    assert run_all(tmp_path, resume=True).done == ["sum"]
