"""Stub libraries are real ones to the dynamic linker."""

from __future__ import annotations

import ctypes
import platform
import sys
from pathlib import Path

import pytest

from recon._elf import read_imports, stub_library

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"), reason="ELF stubs are for Linux"
)


def test_a_stub_defines_exactly_the_functions_that_were_asked_for(tmp_path: Path):
    path = tmp_path / "libstub.so.1"
    path.write_bytes(stub_library("libstub.so.1", ["alpha", "beta", "gamma"], platform.machine()))
    library = ctypes.CDLL(str(path))
    assert [library.alpha(), library.beta(7), library.gamma(1, 2)] == [0, 0, 0]
    assert not hasattr(library, "delta")


def test_a_stub_without_functions_loads(tmp_path: Path):
    path = tmp_path / "libempty.so.1"
    path.write_bytes(stub_library("libempty.so.1", [], platform.machine()))
    ctypes.CDLL(str(path))


def test_a_loaded_stub_answers_to_its_soname(tmp_path: Path):
    path = tmp_path / "any-file-name"
    path.write_bytes(stub_library("libturnabout-test.so.3", ["alpha"], platform.machine()))
    ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
    assert ctypes.CDLL("libturnabout-test.so.3").alpha() == 0


def test_imports_of_a_real_extension_module_are_read():
    import _ctypes

    imports = read_imports(Path(_ctypes.__file__))
    assert any(name.startswith("libc.so") for name in imports.libraries)
    assert "PyErr_SetString" in imports.symbols
    assert "PyInit__ctypes" not in imports.symbols  # defined here, not imported


def test_files_of_other_kinds_are_refused(tmp_path: Path):
    path = tmp_path / "libtext.so"
    path.write_text("not a library")
    with pytest.raises(ValueError, match="ELF"):
        read_imports(path)


def test_unknown_processors_are_refused():
    with pytest.raises(ValueError, match="riscv64"):
        stub_library("libstub.so.1", ["alpha"], "riscv64")
