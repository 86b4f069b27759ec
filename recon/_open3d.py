"""The one door to Open3D: loads what its Linux library needs from pip, or says exactly what is missing.

Open3D is heavy (seconds to import), so it is imported inside the functions that use it, through `import_open3d()`.
"""

from __future__ import annotations

import ctypes
import functools
import sys
from types import ModuleType
from typing import Any

_LIBUSB = "libusb-1.0.so.0"


class MissingLibraryError(OSError):
    """Open3D is installed, but a system library that it links against is not."""


@functools.cache
def import_open3d() -> Any:
    """The `open3d` module.

    On Linux, Open3D's library is linked against libusb-1.0 (for depth cameras, which we never open). Where the system
    has none, the copy in the `libusb-package` wheel is loaded first; the dynamic linker then finds it by its name.

    Raises:
        MissingLibraryError: if Open3D cannot be loaded; the message names the library and the package that has it.
    """
    if sys.platform == "linux":
        _preload_libusb()
    try:
        import open3d
    except ImportError as error:
        raise MissingLibraryError(_explain(error)) from error
    return open3d


def _preload_libusb() -> None:
    try:
        ctypes.CDLL(_LIBUSB, mode=ctypes.RTLD_GLOBAL)
        return
    except OSError:
        pass
    library = _libusb_package()
    if library is None:
        return
    path = library.get_library_path()
    if path is not None:
        ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)


def _libusb_package() -> ModuleType | None:
    try:
        import libusb_package
    except ImportError:
        return None
    return libusb_package


def _explain(error: ImportError) -> str:
    return f"Open3D could not be loaded: {error}"
