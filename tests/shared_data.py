"""Where tests find the optional data that the repository does not ship."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def shared_path(relative: str) -> Path:
    """The path of a shared test file; skips the calling test, saying why, when it is absent."""
    base = Path(os.environ.get("TURNABOUT_SHARED", ROOT.parent / "shared"))
    path = base / relative
    if not path.exists():
        pytest.skip(f"optional test data {relative!r} is not here (set TURNABOUT_SHARED to its folder)")
    return path
