"""What every benchmark leaves: one JSON file, with what a reader needs to know to repeat the run."""

from __future__ import annotations

import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

from pipelines.evaluation.results import code_version


def write_json(file: Path, document: Any) -> None:
    """The file appears whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(file.name + ".part")
    temporary.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    os.replace(temporary, file)


def environment() -> dict[str, Any]:
    """What a reader needs to know to repeat the run."""
    import torch

    return {
        "commit": code_version(),
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "machine": platform.machine(),
        "processors": os.cpu_count(),
    }
