"""The one door to Open3D: on Linux it brings along what Open3D's library is linked against and we never call.

Open3D is heavy (seconds to import), so it is imported inside the functions that use it, through `import_open3d()`.

Open3D's Linux wheels are linked against libusb-1.0 (depth cameras) and libGL, libEGL and libX11 (windows). Fusing,
raycasting and decimating call none of them, but without them the library does not load, and pip does not bring them:
a minimal system (a slim container, say) lacks all four. So where the system has no libusb, the one in the
`libusb-package` wheel is loaded; where it has no GL, EGL or X11, a stub takes that name and answers 0 to every call,
which these interfaces mean by "no display". Real libraries are always preferred.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import os
import platform
import re
import sys
from pathlib import Path
from typing import Any

from recon._elf import read_imports, stub_library

_STUBBED = {"libGL.so.1": r"glX?[A-Z]", "libEGL.so.1": r"egl[A-Z]", "libX11.so.6": r"_?X[A-Za-z]"}
"""Libraries that may be stood in for, and how the names of their functions begin."""

_DEBIAN = {
    "libGL": "libgl1",
    "libEGL": "libegl1",
    "libX11": "libx11-6",
    "libusb-1.0": "libusb-1.0-0",
    "libudev": "libudev1",
}
_FEDORA = {
    "libGL": "libglvnd-glx",
    "libEGL": "libglvnd-egl",
    "libX11": "libX11",
    "libusb-1.0": "libusb1",
    "libudev": "systemd-libs",
}


class MissingLibraryError(OSError):
    """Open3D, or a system library that it needs, is not there."""


@functools.cache
def import_open3d() -> Any:
    """The `open3d` module.

    Raises:
        MissingLibraryError: if it cannot be loaded; the message says what is missing and which package has it.
    """
    if sys.platform == "linux":
        supply_libraries()
    try:
        import open3d
    except (ImportError, OSError) as error:
        raise MissingLibraryError(_explain(str(error))) from error
    return open3d


@functools.cache
def supply_libraries() -> dict[str, str]:
    """Loads a substitute for each library that Open3D is linked against and this Linux system lacks.

    Returns:
        For each such library, what was loaded: `"libusb-package"`, `"stub"`, or `"nothing"` if no substitute fits.
    """
    library = _open3d_library()
    if library is None:
        return {}
    imports = read_imports(library)
    supplied = {}
    for name in imports.libraries:
        if _loads(name) or (library.parent / name).exists():
            continue
        supplied[name] = "nothing"
        if name == "libusb-1.0.so.0" and _load_packaged_libusb():
            supplied[name] = "libusb-package"
        elif name in _STUBBED and _load_stub(name, [s for s in imports.symbols if re.match(_STUBBED[name], s)]):
            supplied[name] = "stub"
    return supplied


def _open3d_library() -> Path | None:
    spec = importlib.util.find_spec("open3d")
    folders = [] if spec is None else spec.submodule_search_locations or []
    return next((path for folder in folders for path in Path(folder).glob("**/libOpen3D.so*")), None)


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library, mode=ctypes.RTLD_GLOBAL)
    except OSError:
        return False
    return True


def _load_packaged_libusb() -> bool:
    try:
        import libusb_package
    except ImportError:
        return False
    path = libusb_package.get_library_path()
    return path is not None and _loads(str(path))


def _load_stub(name: str, functions: list[str]) -> bool:
    try:
        image = stub_library(name, functions, platform.machine())
        descriptor = os.memfd_create(name)  # stays open: the linker knows the stub by this path, so it must stay unique
    except (ValueError, OSError):
        return False
    with open(descriptor, "wb", closefd=False) as file:
        file.write(image)
    return _loads(f"/proc/self/fd/{descriptor}")


def _explain(error: str) -> str:
    missing = re.search(r"(lib[\w.+-]+?)\.so[.\d]*: cannot open shared object", error)
    if missing:
        debian, fedora = (table.get(missing[1], f"the package with {missing[1]}") for table in (_DEBIAN, _FEDORA))
        return (
            f"Open3D needs the system library {missing[1]}, which is not installed. On Debian or Ubuntu: "
            f"apt-get install {debian}; on Fedora: dnf install {fedora}."
        )
    if "No module named 'open3d'" in error:
        return (
            f"Open3D is not installed. It has wheels for Linux (x86-64, Arm), macOS on Apple silicon and Windows "
            f"(x86-64); this is {platform.system()} on {platform.machine()}, Python {platform.python_version()}. "
            "Where there is one: pip install open3d"
        )
    return f"Open3D is installed but does not load: {error}"
