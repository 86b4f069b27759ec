"""Kernels compile wherever the package is installed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading

import filelock
import numba

from recon import _jit
from tests.shared_data import ROOT

IMPORT_AND_CALL = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
import numpy as np
from recon.splat._volume_kernels import _between
print(_between(np.ones((4, 4), np.float32), np.float32(2), np.float32(2), np.float32(3), np.float32(1)))
"""


def test_kernels_import_and_run_where_nothing_can_be_cached(tmp_path):
    """An installation that its user may not write to, and a user without a home."""
    for package in ("gen", "recon"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    sources = [path for package in ("gen", "recon") for path in (tmp_path / package).rglob("*.py")]
    for folder in {path.parent for path in sources}:
        (folder / "__pycache__").touch()  # a file: not even root can make a folder of it
    compiled = [path.relative_to(tmp_path) for path in sources if re.search("numba|_jit", path.read_text())]
    modules = [".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in compiled]
    assert {"gen.data._coding_kernels", "recon.surface._render_kernels"} <= set(modules)
    nowhere = str(sources[0] / "home")
    environment = {key: value for key, value in os.environ.items() if key != "NUMBA_CACHE_DIR"}
    environment |= {"HOME": nowhere, "XDG_CACHE_HOME": nowhere, "LOCALAPPDATA": nowhere, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-c", IMPORT_AND_CALL, *modules]
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert float(result.stdout) == 1


def test_one_module_alone_decides_how_kernels_are_compiled():
    sources = [path for package in ("gen", "recon") for path in (ROOT / package).rglob("*.py")]
    assert [path.relative_to(ROOT).as_posix() for path in sources if "njit" in path.read_text()] == ["recon/_jit.py"]


def test_a_change_in_what_kernels_inline_compiles_them_anew(tmp_path):
    """Stale code that disagrees with fresh code about a layout would write outside of its arrays."""
    shutil.copytree(ROOT / "recon", tmp_path / "recon", ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-c", "import recon._jit; print(recon._jit.cache_folder())"]

    def folder() -> str:
        environment = os.environ | {"PYTHONPATH": str(tmp_path)}
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True).stdout

    before = folder()
    assert before == folder()
    layout = tmp_path / "recon" / "splat" / "backend_cpu" / "layout.py"
    layout.write_text(layout.read_text().replace("TILE_HEIGHT = 16", "TILE_HEIGHT = 8"))
    assert folder() != before


def test_kernels_are_saved_by_one_process_at_a_time(tmp_path, monkeypatch):
    """Two that save versions of one function at once could swap them."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    _jit.cache_folder.cache_clear()
    try:
        folder = _jit.cache_folder()
        assert folder is not None
        double = _jit.compiled()(_double)
    finally:
        _jit.cache_folder.cache_clear()
    lock = filelock.FileLock(folder / "saving.lock")
    worker = threading.Thread(target=double, args=(1.0,))
    with lock:
        worker.start()
        worker.join(5)
        assert worker.is_alive()
        assert not list(folder.rglob("*.nbi"))
    worker.join(30)
    assert list(folder.rglob("*.nbi"))


def _double(x):
    return x + x
