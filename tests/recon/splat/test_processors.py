"""The kernels mean the same on every processor: other instruction sets are compiled for here and run where this
machine can, Arm is compiled for only."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys

import numpy as np
import pytest

ENVIRONMENTS = {
    "as the host compiles them": {},
    "AVX2": {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": ""},
    "without fused multiply-add": {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": ""},
    "plain scalars": {"TURNABOUT_SIMD_LANES": "1"},
}
CHECK = """
import torch
from recon.splat.backend_cpu.simd import LANES
from tests.recon.splat.scenes import random_scene
from tests.recon.splat.test_backends import FIELDS, assert_like_the_oracle
for seed in range(4):
    assert_like_the_oracle(random_scene(seed, 200, seed, (37, 41), 2, 3.5), (37, 41), FIELDS, "cpu", "cpu")
print("lanes", LANES)
"""


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_values_and_gradients_match_the_oracle_with_kernels_for(name, request):
    environment = ENVIRONMENTS[name]
    if "NUMBA_CPU_NAME" in environment and platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("these instruction sets are of x86 processors, and this is none")
    environment = {**os.environ, **environment, "PYTHONPATH": str(request.config.rootpath)}
    command = [sys.executable, "-c", CHECK]
    child = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert child.returncode == 0, child.stderr
    if environment.get("NUMBA_CPU_NAME"):
        assert child.stdout == "lanes 8\n"
    elif "TURNABOUT_SIMD_LANES" in environment:
        assert child.stdout == "lanes 1\n"


def test_a_vector_of_a_strange_length_is_refused():
    environment = {**os.environ, "TURNABOUT_SIMD_LANES": "5"}
    command = [sys.executable, "-c", "import recon.splat.backend_cpu"]
    child = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert "TURNABOUT_SIMD_LANES must be 1, 4, 8 or 16, found 5" in child.stderr


def test_the_vector_type_becomes_neon_on_arm():
    """Nothing of the type is x86's own, and its multiply-add is one instruction, not a call of the C library."""
    from llvmlite import binding as llvm

    from tests.recon.splat import test_simd

    row = np.zeros(256, np.float32)
    test_simd.functions(row, row, row, row, row)
    (code,) = test_simd.functions.inspect_llvm().values()
    # Numba's reference counting, optimised for this machine already, is the one thing that is not portable.
    code = re.sub(r"(= )(tail )?call i8 @llvm\.x86\.atomic\.sub\.cc.*", r"\1add i8 0, 0", code)
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    module = llvm.parse_assembly(code)
    module.triple = "aarch64-unknown-linux-gnu"
    machine = llvm.Target.from_triple(module.triple).create_target_machine(cpu="generic", opt=3)
    module.data_layout = str(machine.target_data)
    assembly = machine.emit_assembly(module)
    assert assembly.count("fmla") > 10
    called = set(re.findall(r"\tbl\t(\w+)", assembly))
    assert not any(name in called for name in ("fmaf", "exp2f", "log2f", "sqrtf", "floorf", "roundf"))
