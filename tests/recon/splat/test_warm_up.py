"""Kernels are compiled before they are needed, by two processes, and once for all."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from recon.splat.backend_cpu import jit
from recon.splat.warm_up import warm_up
from tests.shared_data import ROOT

COMPILED_HERE = """
from numba.core import event
from recon.splat.warm_up import warm_up

class Listener(event.Listener):
    def on_start(self, event):
        print(event.data["dispatcher"].py_func.__name__)

    def on_end(self, event):
        pass

event.register("numba:compile", Listener())
warm_up()
"""


def test_kernels_are_warmed_up_in_steps():
    heard = []
    warm_up(lambda done, total: heard.append((done, total)))
    assert heard == [(i, 5) for i in range(1, 6)]


def test_a_second_process_compiles_half_and_the_next_start_nothing(tmp_path):
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path), "NUMBA_NUM_THREADS": "2"}
    command = [sys.executable, "-c", COMPILED_HERE]

    def compiled() -> set[str]:
        run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
        return set(run.stdout.split())

    cold = compiled()
    assert {"project", "project_backward", "find_pairs"} <= cold
    assert not cold & {"compare", "compare_masks", "gather_gradient", "adam", "vote_depth", "vote_silhouette"}
    assert not compiled()


@pytest.mark.parametrize("executable", ["", "false"])
def test_without_a_helper_that_works_one_process_compiles_all(executable, monkeypatch):
    monkeypatch.setattr(jit, "nothing_is_kept", lambda: True)
    monkeypatch.setattr(jit, "all_threads", lambda: 2)
    monkeypatch.setattr(sys, "executable", executable and shutil.which(executable))
    heard = []
    warm_up(lambda done, total: heard.append(done))
    assert heard == [1, 2, 3, 4, 5]
