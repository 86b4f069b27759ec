"""HEIC, the form in which phones keep photos: read through pi-heif where it is installed."""

from __future__ import annotations

import functools

SUFFIXES = (".heic", ".heif", ".hif")
INSTALL = "pip install 'turnabout[heic]'"


@functools.cache
def reads_heic() -> bool:
    """Whether Pillow opens HEIC, after pi-heif, where it is installed, has been made known to it."""
    try:
        import pi_heif
    except ImportError:
        return False
    pi_heif.register_heif_opener(thumbnails=False)
    return True
