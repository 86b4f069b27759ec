"""What `turnabout check` looks at: is this machine ready, and if not, what to install."""

from __future__ import annotations

import importlib
import importlib.util
import os
import platform
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

PACKAGES = (
    "torch", "numpy", "scipy", "numba", "PIL", "cv2", "skimage", "av", "safetensors", "kornia", "diffusers",
    "huggingface_hub", "trimesh", "xatlas", "tyro", "rich", "filelock",
)  # fmt: skip
"""What the commands import; Open3D, which may need help, apart. Imported, because compiled ones can be installed and
still not load."""

EXTRAS = (
    ("pycolmap", "colmap", "video2mesh finds cameras with it, and takes pictures for an orbit without"),
    ("viser", "view", "`view` and --view need it"),
    ("fastapi", "app", "`app` needs it"),
    ("pi_heif", "heic", "HEIC photos, as iPhones keep them, need it"),
    ("gsply", "formats", "splats as compressed PLY and SPZ need it"),
    ("onnxruntime", "matting", "--matting needs it"),
)
"""Module, extra, and what it is for."""

MINIMUM_MEMORY = 2 * 2**30
"""Bytes; the `fast` preset was seen to need 0.8 GiB."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        subject: what it is.
        state: "ok", "note" (works, with a limit worth knowing) or "missing".
        detail: what was found; when it is missing, what to do.
    """

    subject: str
    state: str
    detail: str


def inspect() -> list[Finding]:
    """Everything that the commands need from this machine, in the order in which it would fail."""
    checks: Sequence[Callable[[], Finding | list[Finding]]] = (_python, _packages, _extras, _open3d, _device, _memory)
    findings: list[Finding] = []
    for check in checks:
        result = check()
        findings += result if isinstance(result, list) else [result]
    return findings


def main() -> int:
    """Prints the findings; 0 if the commands can run, 1 if something is missing."""
    findings = inspect()
    width = max(len(finding.subject) for finding in findings)
    for finding in findings:
        print(f"{finding.state:>7}  {finding.subject:<{width}}  {finding.detail}")
    return int(any(finding.state == "missing" for finding in findings))


def _python() -> Finding:
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if sys.maxsize < 2**32:
        return Finding("Python", "missing", f"found a 32-bit {found}; its packages exist for 64-bit Python only")
    return Finding("Python", "ok", found)


def _packages() -> list[Finding]:
    findings = []
    for name in PACKAGES:
        try:
            module = importlib.import_module(name)
        except ImportError as error:
            findings.append(Finding(name, "missing", f"{error}; in the checkout: pip install -c constraints.txt ."))
        except OSError as error:
            findings.append(Finding(name, "missing", f"installed, but a system library does not load: {error}"))
        else:
            findings.append(Finding(name, "ok", str(getattr(module, "__version__", "installed"))))
    return findings


def _extras() -> list[Finding]:
    return [
        Finding(module, "ok", "installed")
        if importlib.util.find_spec(module) is not None
        else Finding(module, "note", f"not installed; {purpose}: pip install 'turnabout[{extra}]'")
        for module, extra, purpose in EXTRAS
    ]


def _open3d() -> Finding:
    from recon._open3d import import_open3d, supply_libraries

    try:
        supplied = supply_libraries() if sys.platform == "linux" else {}
        version = import_open3d().__version__
    except (OSError, ValueError) as error:
        return Finding("open3d", "missing", str(error))
    stood_in = [f"{name} from {source}" for name, source in supplied.items() if source != "nothing"]
    return Finding("open3d", "ok", ", ".join([version, *stood_in]))


def _device() -> Finding:
    try:
        import torch
    except (ImportError, OSError):
        return Finding("device", "missing", "needs torch")
    if not torch.cuda.is_available():
        return Finding("device", "ok", f"CPU, {os.cpu_count()} cores (no CUDA device that this torch can use)")
    return Finding("device", "ok", f"{torch.cuda.get_device_name()}, for the generator; splats are fitted on the CPU")


def _memory() -> Finding:
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return Finding("memory", "note", f"not measured; {MINIMUM_MEMORY / 2**30:.0f} GiB are enough for --preset fast")
    found = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if found < MINIMUM_MEMORY:
        detail = f"{found / 2**30:.1f} GiB; {MINIMUM_MEMORY / 2**30:.0f} GiB are recommended"
        return Finding("memory", "note", detail)
    return Finding("memory", "ok", f"{found / 2**30:.0f} GiB")
