"""The repository keeps its promises: imports, pins, links, layout, the wheel."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gen.small import render_solids
from tests.shared_data import ROOT

PACKAGES = ("gen", "recon", "pipelines")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
IMPORT_NAMES = {
    "dracopy": "DracoPy",
    "fast-simplification": "fast_simplification",
    "huggingface-hub": "huggingface_hub",
    "libusb-package": "libusb_package",
    "open3d-cpu": "open3d",
    "opencv-python-headless": "cv2",
    "pi-heif": "pi_heif",
    "pillow": "PIL",
    "scikit-image": "skimage",
}
"""Distributions whose modules have another name."""
HOSTS = {"nerfstudio"}
"""Programs that load our plug-ins in environments of their own; the import contracts say from where."""
MEGABYTE = 10**6


def distribution(requirement: str) -> str:
    """The bare name of a requirement such as `open3d>=0.19; sys_platform == 'linux'`."""
    return re.split(r"[^\w.-]", requirement, maxsplit=1)[0].lower().replace("_", "-")


def tracked_files() -> list[Path]:
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listing.returncode:
        pytest.skip("this is not a git checkout")
    return [path for name in listing.stdout.split("\0") if name and (path := ROOT / name).exists()]


def imported_modules(package: str) -> Iterator[tuple[str, Path]]:
    """Every foreign top-level module that a package's sources import anywhere, and where."""
    for path in sorted((ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            else:
                continue
            for name in names:
                top = name.split(".")[0]
                if top not in sys.stdlib_module_names and top not in PACKAGES:
                    yield top, path.relative_to(ROOT)


def test_the_packages_import_what_is_declared_and_nothing_else():
    declared = {IMPORT_NAMES.get(name, name) for name in map(distribution, PROJECT["dependencies"])}
    optional = {
        IMPORT_NAMES.get(name, name)
        for extra, requirements in PROJECT["optional-dependencies"].items()
        if extra != "dev"
        for name in map(distribution, requirements)
    }
    imported = {module: path for package in PACKAGES for module, path in imported_modules(package)}
    undeclared = {module: str(path) for module, path in imported.items() if module not in declared | optional | HOSTS}
    assert not undeclared
    assert declared <= set(imported), "declared, but imported nowhere"


def test_every_dependency_is_pinned_without_a_local_build():
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and line[0] != "#"]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines)
    pinned = {distribution(line) for line in lines}
    extras = [r for requirements in PROJECT["optional-dependencies"].values() for r in requirements]
    wanted = {distribution(r) for r in PROJECT["dependencies"] + extras}
    assert wanted <= pinned


def test_links_in_the_documents_lead_somewhere():
    broken = []
    for document in (path for path in tracked_files() if path.suffix == ".md"):
        for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
            file = target.split("#")[0]
            if file and not re.match(r"\w+:", file) and not (document.parent / file).exists():
                broken.append(f"{document.relative_to(ROOT)} -> {target}")
    assert not broken


def test_make_targets_that_the_documents_name_exist():
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    documents = [path for path in tracked_files() if path.suffix == ".md"]
    named = {name for path in documents for name in re.findall(r"\bmake (\w+)`", path.read_text())}
    assert named
    assert named <= targets


def test_no_tracked_text_names_a_path_of_somebody_s_machine():
    pattern = re.compile(r"(?<![\w.*}])/(?:home|root|work|opt|Users)/\w+")
    found = []
    for path in tracked_files():
        if (
            path.suffix in (".md", ".py", ".toml", ".txt", ".sh", ".js", ".json", ".html", "")
            and path.stat().st_size < MEGABYTE
        ):
            found += [f"{path.relative_to(ROOT)}: {match}" for match in pattern.findall(path.read_text())]
    assert not found


def test_the_model_trains_on_a_bare_pytorch_machine(tmp_path: Path):
    data = render_solids(tmp_path, size=16, views=12).folder
    code = """
import importlib.util
import sys
from pathlib import Path

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"{name} is not on a bare machine", name=name)

BLOCKED = {
    "open3d", "viser", "rich", "tyro", "trimesh", "xatlas", "cv2", "skimage", "av",
    "diffusers", "scipy", "PIL", "transformers", "tensorboard",
}
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name.split(".")[0] in BLOCKED else found(name, *rest)
sys.meta_path.insert(0, Blocked())
from gen.data.dataset import OrbitDataset
from gen.options import OrbitConfig, TrainOptions
from gen.train import train

model = OrbitConfig(sample_size=16, patch_size=4, width=24, depth=2, heads=2)
options = TrainOptions(model=model, size=16, steps=1, frames_per_step=12, device="cpu")
train(OrbitDataset(Path(sys.argv[1])), Path(sys.argv[2]), options)
assert not BLOCKED & sys.modules.keys(), BLOCKED & sys.modules.keys()
"""
    command = [sys.executable, "-c", code, str(data), str(tmp_path / "run")]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "run" / "ema.safetensors").exists()


def test_weights_stay_within_their_budget_over_the_whole_history():
    arguments = ["rev-list", "--objects", "--all", "--", "assets/weights"]
    objects = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
    if objects.returncode:
        pytest.skip("this is not a git checkout")
    ids = "\n".join({line.split()[0] for line in objects.stdout.splitlines()})
    check = ["git", "cat-file", "--batch-check=%(objecttype) %(objectsize)"]
    sizes = subprocess.run(check, cwd=ROOT, input=ids, capture_output=True, text=True).stdout.split("\n")
    assert sum(int(line.split()[1]) for line in sizes if line.startswith("blob")) <= 100 * MEGABYTE


def test_the_wheel_holds_the_three_packages_with_the_weights_and_is_small(tmp_path: Path):
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    result = subprocess.run(build, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.stat().st_size < 100 * MEGABYTE
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == set(PACKAGES)
    assert any(re.fullmatch(r"gen/_weights/orbit-base/.*\.safetensors", name) for name in names)
