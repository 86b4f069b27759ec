"""Open3D loads on a Linux system that has only what pip installs."""

from __future__ import annotations

import ctypes.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
LIBRARIES = ("libusb-1.0.so.0", "libGL.so.1", "libEGL.so.1", "libX11.so.6")
PROBE = """
from recon._open3d import import_open3d, supply_libraries
print(*sorted(supply_libraries().items()))
open3d = import_open3d()
ball = open3d.t.geometry.TriangleMesh.from_legacy(open3d.geometry.TriangleMesh.create_sphere(1.0))
scene = open3d.t.geometry.RaycastingScene()
scene.add_triangles(ball)
print("hit at", scene.cast_rays(open3d.core.Tensor([[0, 0, 5, 0, 0, -1]], dtype=open3d.core.float32))["t_hit"].item())
"""


def system_files(library: str) -> list[Path]:
    """Where this system keeps a library; empty if it has none."""
    cache = subprocess.run([shutil.which("ldconfig") or "/sbin/ldconfig", "-p"], capture_output=True, text=True)
    lines = [line for line in cache.stdout.splitlines() if line.split()[:1] == [library]]
    return [Path(line.split("=> ")[1]).resolve() for line in lines]


def run_without(libraries: tuple[str, ...], code: str) -> subprocess.CompletedProcess[str]:
    """Runs Python code in a mount namespace in which the libraries' files are empty."""
    hidden = [path for library in libraries for path in system_files(library)]
    script = "".join(f"mount --bind /dev/null {path} && " for path in hidden) + 'exec "$0" -c "$1"'
    command = ["sh", "-c", script, sys.executable, code]
    if hidden:
        namespace = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
        if shutil.which("unshare") is None or subprocess.run([*namespace, "true"], capture_output=True).returncode:
            pytest.skip("hiding system libraries needs the right to make a mount namespace")
        command = namespace + command
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems' wheels bring everything")
def test_open3d_loads_and_casts_rays_where_the_system_has_neither_usb_nor_graphics_libraries():
    plain = run_without(LIBRARIES, "import open3d")
    assert plain.returncode != 0, "this test proves nothing if Open3D finds its libraries by itself"
    result = run_without(LIBRARIES, PROBE)
    assert result.returncode == 0, result.stderr
    assert "('libusb-1.0.so.0', 'libusb-package')" in result.stdout
    for library in LIBRARIES[1:]:
        assert f"('{library}', 'stub')" in result.stdout
    assert "hit at 4.0" in result.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="other systems' wheels bring everything")
def test_real_libraries_are_preferred():
    present = [library for library in LIBRARIES if system_files(library)]
    if not present:
        pytest.skip("this system has none of the libraries")
    result = run_without((), PROBE)
    assert result.returncode == 0, result.stderr
    assert not any(library in result.stdout for library in present)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems' wheels bring everything")
def test_what_cannot_be_supplied_is_named_with_its_package():
    if ctypes.util.find_library("udev") is None:
        pytest.skip("this system has no libudev to hide")
    result = run_without(("libudev.so.1",), "from recon._open3d import import_open3d; import_open3d()")
    assert result.returncode != 0
    assert "libudev" in result.stderr
