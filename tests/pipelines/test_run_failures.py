"""What goes wrong in a run folder: nothing half-written stays, what was finished stays, and the message is one line."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import torch

from pipelines._command import run_command
from pipelines._run import STATE, RunFolderError, Stage, StageLog, open_run

ROOT = Path(__file__).parents[2]


class Quiet:
    """Counts what was done and what was kept."""

    def __init__(self):
        self.done, self.kept = [], []

    def stage_started(self, name): ...
    def step_started(self, name): ...
    def advanced(self, done, total): ...
    def warned(self, message): ...
    def scene_changed(self, gaussians): ...

    def stage_finished(self, name, seconds):
        self.done.append(name)

    def stage_kept(self, name):
        self.kept.append(name)


def carve(text: str = "wood"):
    """A stage that writes a folder of two files."""

    def work(run: Path, out: Path, log: StageLog) -> None:
        (out / "parts").mkdir()
        (out / "parts" / "seat").write_text(text)
        (out / "parts" / "legs").write_text(text * 4)

    return Stage("carve", (), ("parts",), {"text": text}, work)


def glue(fault: BaseException | None = None, settings: str = "bone glue"):
    """A stage that reads it and writes one file, or raises `fault` when half of it is written."""

    def work(run: Path, out: Path, log: StageLog) -> None:
        whole = (run / "parts" / "seat").read_text() + (run / "parts" / "legs").read_text() + settings
        (out / "chair.txt").write_text(whole[:5])
        if fault is not None:
            raise fault
        (out / "chair.txt").write_text(whole)

    return Stage("glue", ("parts",), ("chair.txt",), {"glue": settings}, work)


def run(path: Path, *stages: Stage, identity=None, **options) -> Quiet:
    watcher = Quiet()
    with open_run(path, identity or {"seed": 0}, **options) as folder:
        for stage in stages:
            folder.run(stage, watcher)
    return watcher


def exit_code(path: Path, *stages: Stage, **options) -> int:
    """What a command ends with that runs the stages."""

    def command() -> None:
        run(path, *stages, **options)

    return run_command(command)


def files(folder: Path) -> dict[str, bytes]:
    """What a user sees: everything but the hidden state and the times."""
    seen = (f for f in folder.rglob("*") if f.is_file() and STATE not in f.parts and f.name != "timings.json")
    return {f.relative_to(folder).as_posix(): f.read_bytes() for f in seen}


def one_line(capsys) -> str:
    printed = capsys.readouterr().err
    assert "Traceback" not in printed
    assert printed.count("\n") == 1
    return printed


def test_a_disk_that_is_full_is_a_message_and_resuming_goes_on(tmp_path, capsys):
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "chair.txt")
    assert exit_code(tmp_path / "run", carve(), glue(full)) == 2
    message = one_line(capsys)
    assert "chair.txt: No space left on device" in message
    assert "make room and add --resume" in message
    assert set(files(tmp_path / "run")) == {"parts/seat", "parts/legs"}
    again = run(tmp_path / "run", carve(), glue(), resume=True)
    assert (again.kept, again.done) == (["carve"], ["glue"])


def test_a_disk_that_fills_up_while_the_state_is_written_leaves_no_rubbish(tmp_path, monkeypatch):
    write = Path.write_text

    def fill(path, text, **rest):
        if path.name == "glue.json.part":
            write(path, text[:10], **rest)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return write(path, text, **rest)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", fill)
        with pytest.raises(OSError, match="No space left"):
            run(tmp_path, carve(), glue())
    assert not [*tmp_path.rglob("work-*"), *tmp_path.rglob("*.part")]
    again = run(tmp_path, carve(), glue(), resume=True)
    assert (again.kept, again.done) == (["carve"], ["glue"])


@pytest.mark.parametrize("existed", [False, True])
@pytest.mark.parametrize("fault", [ValueError("no wood"), KeyboardInterrupt()])
def test_a_first_attempt_that_published_nothing_leaves_the_place_as_it_was(tmp_path, existed, fault):
    path = tmp_path / "run"
    if existed:
        path.mkdir()

    def work(run, out, log):
        raise fault

    with pytest.raises(type(fault)):
        run(path, Stage("carve", (), ("parts",), {}, work), identity={"photo": "broken"})
    assert path.exists() == existed
    assert not existed or not list(path.iterdir())
    assert run(path, carve(), identity={"photo": "mended"}).done == ["carve"]


def test_a_variant_that_fails_at_once_leaves_nothing_either(tmp_path):
    def try_variants():
        with open_run(tmp_path / "run", {}) as folder:
            folder.announce(["seed_0"])
            run(folder.path / "seed_0", carve(), glue(ValueError("dried out"), settings=""))

    with pytest.raises(ValueError, match="dried out"):
        try_variants()
    assert (tmp_path / "run" / "seed_0" / "parts").is_dir(), "a finished stage stays"
    with pytest.raises(RunFolderError, match="--resume"):
        try_variants()


def test_ctrl_c_in_a_stage_keeps_the_finished_ones(tmp_path, capsys):
    assert exit_code(tmp_path / "run", carve(), glue(KeyboardInterrupt())) == 130
    assert "--resume" in one_line(capsys)
    assert set(files(tmp_path / "run")) == {"parts/seat", "parts/legs"}
    assert run(tmp_path / "run", carve(), glue(), resume=True).kept == ["carve"]


def test_a_stage_that_fails_when_done_again_leaves_the_earlier_result(tmp_path):
    run(tmp_path, carve(), glue())
    before = files(tmp_path)
    with pytest.raises(ValueError, match="dried out"):
        run(tmp_path, carve(), glue(ValueError("dried out"), settings="resin"), resume=True)
    assert files(tmp_path) == before
    assert run(tmp_path, carve(), glue(), resume=True).kept == ["carve", "glue"]


def test_a_changed_input_does_the_stages_again_that_read_it(tmp_path):
    run(tmp_path, carve(), glue())
    again = run(tmp_path, carve("oak"), glue(), resume=True)
    assert again.done == ["carve", "glue"]
    assert files(tmp_path)["chair.txt"] == b"oak" + b"oak" * 4 + b"bone glue"


@pytest.mark.parametrize("harm", ["cut short", "removed", "more in the folder", "less in the folder"])
def test_a_harmed_output_is_made_again_byte_for_byte(harm, tmp_path):
    run(tmp_path, carve(), glue())
    before = files(tmp_path)
    if harm == "cut short":
        (tmp_path / "chair.txt").write_text("woo")
    elif harm == "removed":
        (tmp_path / "chair.txt").unlink()
    elif harm == "more in the folder":
        (tmp_path / "parts" / "arm").write_text("of another chair")
    else:
        (tmp_path / "parts" / "legs").unlink()
    assert len(run(tmp_path, carve(), glue(), resume=True).done) == 1
    assert files(tmp_path) == before


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"key": 1}', "\ufffd\x00"])
def test_a_harmed_marker_does_its_stage_again(content, tmp_path):
    run(tmp_path, carve(), glue())
    before = files(tmp_path)
    (tmp_path / STATE / "glue.json").write_text(content)
    again = run(tmp_path, carve(), glue(), resume=True)
    assert (again.kept, again.done) == (["carve"], ["glue"])
    assert files(tmp_path) == before


@pytest.mark.parametrize("content", ["", "{", "[]", "3", '{"stages": 3}'])
def test_a_harmed_list_of_times_harms_nothing_else(content, tmp_path):
    run(tmp_path, carve())
    (tmp_path / "timings.json").write_text(content)
    assert run(tmp_path, carve(), glue(), resume=True).done == ["glue"]


def test_a_stage_that_does_not_keep_its_promise_is_named_and_publishes_nothing(tmp_path):
    with pytest.raises(RunFolderError, match=r"chair\.txt: expected a file"):
        run(tmp_path, Stage("box", (), ("chair.txt", "lid"), {}, lambda run, out, log: None))
    assert files(tmp_path) == {}


def test_a_stage_without_its_input_is_a_message(tmp_path):
    with pytest.raises(RunFolderError, match=r"parts: expected a file or a folder, found nothing"):
        run(tmp_path, glue())


def test_overwriting_removes_what_the_run_published_and_nothing_else(tmp_path):
    run(tmp_path, carve(), glue())
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cup.jpg").write_text("mine too")
    assert run(tmp_path, carve(), identity={"seed": 1}, overwrite=True).done == ["carve"]
    assert set(files(tmp_path)) == {"parts/seat", "parts/legs", "notes.txt", "photos/cup.jpg"}
    assert not (tmp_path / STATE / "glue.json").exists()


def test_overwriting_by_a_run_that_fails_at_once_keeps_the_earlier_one(tmp_path):
    before = run(tmp_path, carve(), glue())
    kept = files(tmp_path)

    def fail(run_folder, scratch, log):
        raise ValueError("no such photo")

    with pytest.raises(ValueError, match="no such photo"):
        run(tmp_path, replace(carve("oak"), work=fail), identity={"seed": 1}, overwrite=True)
    assert files(tmp_path) == kept
    assert run(tmp_path, carve(), glue(), resume=True).kept == before.done


@pytest.mark.parametrize(("fault", "code"), [(KeyboardInterrupt(), 130), (OSError(errno.ENOSPC, "full"), 2)])
def test_who_stops_an_overwriting_run_at_once_is_not_sent_to_resume_the_earlier_one(tmp_path, capsys, fault, code):
    run(tmp_path, carve())
    capsys.readouterr()

    def fail(run_folder, scratch, log):
        raise fault

    def overwrite():
        run(tmp_path, replace(carve(), work=fail), overwrite=True)

    assert run_command(overwrite) == code
    said = capsys.readouterr().err
    assert "--resume" not in said
    assert "as it was" in said or "same command again" in said


def test_overwriting_cannot_be_talked_into_removing_other_folders(tmp_path):
    run(tmp_path / "run", carve())
    (tmp_path / "run" / "notes.txt").write_text("mine")
    (tmp_path / "thesis.txt").write_text("mine too")
    marker = tmp_path / "run" / STATE / "carve.json"
    for name in ("../thesis.txt", str(tmp_path / "thesis.txt"), ".", "", "..", STATE, f"{STATE}/lock"):
        marker.write_text(f'{{"key": "", "outputs": {{"{name}": ""}}, "figures": {{}}, "warnings": []}}')
        publishing = tmp_path / "run" / STATE / "publishing.json"
        publishing.write_text(f'{{"stage": "glue", "outputs": ["{name}"]}}')
        run(tmp_path / "run", carve(), identity={"seed": 1}, overwrite=True)
        assert not publishing.exists()
        assert (tmp_path / "thesis.txt").exists()
        assert (tmp_path / "run" / STATE / "lock").exists()
        assert (tmp_path / "run" / "notes.txt").exists()


def test_overwriting_removes_the_runs_that_a_run_announced(tmp_path):
    with open_run(tmp_path, {}) as folder:
        folder.announce(["seed_0", "seed_1", "..", "never"])
    for name in ("seed_0", "seed_1", "other"):
        run(tmp_path / name, carve())
    (tmp_path / "seed_1" / "notes.txt").write_text("mine")
    run(tmp_path, carve("oak"), overwrite=True)
    assert {path.name for path in tmp_path.iterdir()} == {STATE, "parts", "timings.json", "other", "seed_1"}
    assert set(files(tmp_path / "seed_1")) == {"notes.txt"}
    assert set(files(tmp_path / "other")) == {"parts/seat", "parts/legs"}


def test_overwriting_that_was_killed_can_be_repeated(tmp_path, monkeypatch):
    """At every removal: the folder must never look like a stranger's."""
    unlink = Path.unlink
    for removals in range(20):
        path = tmp_path / str(removals)
        run(path, carve(), glue())
        (path / "notes.txt").write_text("mine")
        left = [removals]

        def unlink_or_die(file, *, missing_ok=False, left=left):
            if left[0] == 0:
                raise KeyboardInterrupt
            left[0] -= 1
            unlink(file, missing_ok=missing_ok)

        died = False
        with monkeypatch.context() as patch:
            patch.setattr(Path, "unlink", unlink_or_die)
            try:
                run(path, carve("elm"), identity={"seed": 1}, overwrite=True)
            except KeyboardInterrupt:
                died = True
        run(path, carve("oak"), glue(), identity={"seed": 2}, overwrite=True)
        assert files(path)["chair.txt"].startswith(b"oak")
        assert files(path)["notes.txt"] == b"mine"
        if not died:
            break
    assert removals >= 4


def test_a_folder_that_another_process_uses_is_refused_until_it_dies(tmp_path):
    code = (
        "import sys; from pathlib import Path; from pipelines._run import open_run\n"
        "with open_run(Path(sys.argv[1]), {'seed': 0}): print('mine', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(ROOT)}
    ) as other:
        assert other.stdout.readline() == b"mine\n"
        for options in ({"resume": True}, {"overwrite": True}):
            with pytest.raises(RunFolderError, match="another run is using this folder"):
                run(tmp_path, carve(), **options)
        other.kill()
    assert run(tmp_path, carve(), resume=True).done == ["carve"]


def test_an_output_that_is_a_file_is_a_message_and_the_file_stays(tmp_path, capsys):
    (tmp_path / "chair.glb").write_text("precious")
    assert exit_code(tmp_path / "chair.glb", carve(), overwrite=True) == 2
    assert "must be a folder, found a file" in one_line(capsys)
    assert (tmp_path / "chair.glb").read_text() == "precious"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_is_a_message(tmp_path, capsys):
    (tmp_path / "theirs").mkdir(mode=0o555)
    assert exit_code(tmp_path / "theirs" / "run", carve()) == 2
    assert "choose a place that you may read and write" in one_line(capsys)


def import_nothing() -> None:
    import a_package_that_is_not_there  # type: ignore[import-not-found]  # noqa: F401


def take_all_memory_in_numpy() -> None:
    np.zeros(1 << 60, np.uint8)


def take_all_memory_in_torch() -> None:
    torch.zeros(1 << 60, dtype=torch.uint8)


def lose_a_worker() -> None:
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        pool.submit(os._exit, 1).result()


@pytest.mark.parametrize(
    ("mishap", "said"),
    [
        (import_nothing, r"'a_package_that_is_not_there' is missing.*turnabout check"),
        (take_all_memory_in_numpy, "out of memory"),
        (take_all_memory_in_torch, "out of memory"),
        (lose_a_worker, "worker process was killed.*--workers"),
    ],
)
def test_what_only_the_machine_lacks_is_a_message(mishap, said, capsys):
    assert run_command(mishap) == 2
    assert re.search(said, one_line(capsys))


def import_what_we_never_wrote() -> None:
    from pipelines import never_written  # type: ignore[attr-defined]  # noqa: F401


def index_nothing() -> None:
    ()[0]  # type: ignore[misc]


@pytest.mark.parametrize("mistake", [import_what_we_never_wrote, index_nothing, lambda: 1 / 0])
def test_our_own_mistakes_keep_their_traceback(mistake):
    with pytest.raises((ImportError, IndexError, ZeroDivisionError)):
        run_command(mistake)


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS])
def test_a_place_that_may_not_be_written_is_a_message(code, tmp_path, capsys):
    denied = OSError(code, os.strerror(code), "chair.txt")
    assert exit_code(tmp_path / "run", carve(), glue(denied)) == 2
    assert "chair.txt: " in (message := one_line(capsys))
    assert "choose a place that you may read and write" in message
