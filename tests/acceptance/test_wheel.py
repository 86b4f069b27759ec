"""The built wheel, alone in an empty environment and far from the sources, does the whole job."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
import venv
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.shared_data import ROOT

PHOTO = ROOT / "assets" / "photos" / "toadstool.png"
MINUTE = 60


def run(*command: str | Path, cwd: Path, environment: Mapping[str, str], minutes: float) -> str:
    result = subprocess.run(
        command,
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=minutes * MINUTE,
    )
    assert result.returncode == 0, result.stdout
    return result.stdout


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    """The caller's environment without anything that leads back to the sources."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return {**kept, "PYTHONNOUSERSITE": "1"}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> Path:
    """The `bin` folder of a new environment in which only the wheel and its dependencies are installed."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    run(*build, cwd=ROOT, environment=environment, minutes=2)
    (wheel,) = folder.glob("turnabout-*.whl")
    venv.create(folder / "venv", with_pip=True)
    commands = folder / "venv" / "bin"
    pip: list[str | Path] = [commands / "python", "-m", "pip", "install", "--quiet", "--only-binary", ":all:"]
    pins: list[str | Path] = ["--constraint", ROOT / "constraints.txt"]
    run(*pip, *pins, "torch", cwd=folder, environment=environment, minutes=10)
    run(*pip, *pins, wheel, cwd=folder, environment=environment, minutes=20)
    return commands


def test_no_package_called_tests_is_installed(installed: Path, environment: dict[str, str], tmp_path: Path):
    code = "import importlib.util, gen; print(gen.__file__, importlib.util.find_spec('tests'))"
    printed = run(installed / "python", "-c", code, cwd=tmp_path, environment=environment, minutes=1)
    assert printed.split()[0].startswith(str(installed.parent))
    assert printed.split()[1] == "None"


def test_the_evaluation_objects_are_installed(installed: Path, environment: dict[str, str], tmp_path: Path):
    code = "from pipelines.evaluation.sets import open_set, shipped; print(len(open_set(shipped()).objects))"
    assert run(installed / "python", "-c", code, cwd=tmp_path, environment=environment, minutes=1).split()[-1] == "12"


def test_the_installed_command_finds_its_weights_and_makes_the_glb(
    installed: Path, environment: dict[str, str], tmp_path: Path
):
    shutil.copy(PHOTO, tmp_path / "photo.png")
    turnabout = installed / "turnabout"
    run(turnabout, "check", cwd=tmp_path, environment=environment, minutes=2)
    command: list[str | Path] = [turnabout, "img2mesh", "photo.png", "-o", "out", "--preset", "fast"]
    run(*command, cwd=tmp_path, environment=environment, minutes=10)
    glb = (tmp_path / "out" / "mesh.glb").read_bytes()
    magic, version, length, header, kind = struct.unpack_from("<4sIIII", glb)
    assert (magic, version, length) == (b"glTF", 2, len(glb))
    assert kind == 0x4E4F534A  # "JSON"
    document = json.loads(glb[20 : 20 + header])
    assert document["meshes"][0]["primitives"]
    assert document["images"]
