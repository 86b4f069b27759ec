"""The web app's temporary folder, and those that killed apps have left."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from pipelines._app_root import LOCK, PREFIX, new_root, sweep


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def killed(folder: Path) -> Path:
    """The folder, with a photo, of an app that was ended by SIGKILL."""
    code = "import time; from pipelines._app_root import new_root; root, file = new_root()\n"
    code += "(root / 'photo.png').touch(); print(root, flush=True); time.sleep(600)"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env={"TMPDIR": str(folder)}
    ) as process:
        assert process.stdout is not None
        root = Path(process.stdout.readline().strip())
        sweep()
        assert (root / "photo.png").exists()  # it lives
        process.kill()
    return root


def test_what_a_killed_app_left_goes_and_what_a_living_one_has_stays(temporary):
    left = killed(temporary)
    root, file = new_root()
    sweep()
    assert not left.exists()
    assert (root / LOCK).exists()
    file.close()
    sweep()
    assert not root.exists()


def test_what_no_app_made_stays_and_links_are_not_followed(temporary):
    elsewhere = temporary / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / LOCK).write_text("1")
    (temporary / f"{PREFIX}link").symlink_to(elsewhere)
    (temporary / f"{PREFIX}file").write_text("1")
    for name in ("none", "empty", "linked"):
        (temporary / f"{PREFIX}{name}").mkdir()
    (temporary / f"{PREFIX}empty" / LOCK).touch()  # an app that is about to take it
    (temporary / f"{PREFIX}linked" / LOCK).symlink_to(elsewhere / LOCK)
    before = sorted(temporary.rglob("*"))
    sweep()
    assert sorted(temporary.rglob("*")) == before
