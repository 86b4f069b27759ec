"""Our .glb in the programs that people open it with: Khronos' validator, Blender, three.js in Chromium, and Godot.

`tests/acceptance/tools/install.sh` installs them. Blender and three.js draw the same view as our own renderer, and the
pictures have to agree: position, scale, axes, texture orientation and colour encoding are all in there.
"""

from __future__ import annotations

import functools
import json
import math
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from recon.asset import read_glb, write_glb
from recon.capture import Camera, frame_from_tensors, orbit_camera
from recon.surface.mesh import Material, Mesh
from recon.surface.render import render_mesh
from recon.surface.texture import BakeOptions, bake_texture
from recon.surface.uv import unwrap
from tests.recon.metrics.shapes import box, chair
from tests.shared_data import ROOT

TOOLS = ROOT / "tests" / "acceptance" / "tools"
INSTALLED = ROOT / ".tools"
SECONDS = 600
GODOT_SECONDS = 120
PICTURE = 256
EXTRAS = {"input_sha256": "0" * 64, "seed": 3, "versions": {"turnabout": "0.1.0"}}


def installed(path: str) -> Path:
    if not (INSTALLED / path).exists():
        pytest.skip(f".tools/{path} is not here: run tests/acceptance/tools/install.sh")
    return INSTALLED / path


def run(*command: str | Path) -> str:
    environment = {**os.environ, "TURNABOUT_NODE_MODULES": str(INSTALLED / "node" / "node_modules")}
    result = subprocess.run(
        command, capture_output=True, text=True, timeout=SECONDS, env=environment, stdin=subprocess.DEVNULL
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@functools.cache
def baked_chair() -> Mesh:
    """Without a mirror plane, coloured by place, unwrapped and baked from six pictures."""
    mesh = chair()
    truth = Mesh(mesh.vertices, mesh.faces, colors=0.5 + 0.4 * torch.sin(mesh.vertices * torch.tensor([5.0, 6.0, 7.0])))
    frames = []
    for i in range(6):
        camera = view(60 * i, 35 if i % 2 else -15)
        frames.append(frame_from_tensors(camera, render_mesh(truth, camera).rgba, name=f"frame{i}"))
    return bake_texture(unwrap(mesh, 512), frames, BakeOptions(512))


def view(azimuth: float = 30, elevation: float = 25) -> Camera:
    return orbit_camera(math.radians(azimuth), math.radians(elevation), math.radians(35), PICTURE, PICTURE)


def write_camera(camera: Camera, path: Path, **asked: float) -> Path:
    """What a client is to draw, and what else is asked of it: `time` of the animation, seconds to `play` it."""
    path.write_text(
        json.dumps(
            {
                "c2w": camera.c2w.tolist(),
                "fov_x": camera.fov_x,
                "fov_y": camera.fov_y,
                "width": camera.width,
                "height": camera.height,
                **asked,
            }
        )
    )
    return path


@pytest.fixture
def chair_file(tmp_path: Path) -> Path:
    path = tmp_path / "chair.glb"
    write_glb(baked_chair(), path, size=0.8, name="chair", extras=EXTRAS)
    return path


@pytest.fixture
def grey_card(tmp_path: Path) -> Path:
    """A box whose texture is sRGB grey 128 everywhere."""
    flat = unwrap(box((0.6, 0.6, 0.1)), 64)
    grey = Material(texture=torch.full((64, 64, 3), 128, dtype=torch.uint8), name="grey")
    path = tmp_path / "grey.glb"
    write_glb(Mesh(flat.vertices, flat.faces, flat.uvs, flat.normals, materials=(grey,)), path, name="card")
    return path


def blender(glb: Path, camera: Camera, folder: Path, **asked: float) -> tuple[dict[str, Any], np.ndarray]:
    python = installed("bpy-venv/bin/python")
    picture = folder / "blender.png"
    view_file = write_camera(camera, folder / "camera.json", **asked)
    output = run(python, TOOLS / "blender_client.py", glb, view_file, picture)
    (line,) = [line for line in output.splitlines() if line.startswith("DESCRIPTION ")]
    return json.loads(line.removeprefix("DESCRIPTION ")), read_picture(picture)


def three(glb: Path, camera: Camera, folder: Path, **asked: float) -> tuple[dict[str, Any], np.ndarray]:
    installed("node/node_modules/three")
    picture = folder / "three.png"
    view_file = write_camera(camera, folder / "camera.json", **asked)
    output = run("node", TOOLS / "three_client.mjs", glb, view_file, picture)
    return json.loads(output), read_picture(picture)


def godot(glb: Path, folder: Path) -> dict[str, Any]:
    """What Godot's editor made of a file that lies in a project of its own; there is no screen."""
    program = shutil.which("godot3-server")
    if program is None:
        pytest.skip("godot3-server is not here: run tests/acceptance/tools/install.sh")
    project = folder / "project"
    project.mkdir()
    (project / "project.godot").write_text('config_version=4\n[application]\nconfig/name="check"\n')
    shutil.copy(glb, project / "asset.glb")
    # This version imports, then waits for ever on its way out: it is done when the imported scene is noted.
    with subprocess.Popen(
        [program, "--path", project, "--editor", "--quit"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as editor:
        try:
            end = time.monotonic() + GODOT_SECONDS
            while not list((project / ".import").glob("asset.glb-*.md5")) and editor.poll() is None:
                assert time.monotonic() < end, "Godot did not import the file"
                time.sleep(0.2)
        finally:
            editor.kill()
    result = subprocess.run(
        [program, "--path", project, "-s", TOOLS / "godot_client.gd"], capture_output=True, text=True, timeout=SECONDS
    )
    lines = [line for line in result.stdout.splitlines() if line.startswith("GODOT ")]
    assert len(lines) == 1, result.stdout + result.stderr
    return json.loads(lines[0].removeprefix("GODOT "))


def read_picture(path: Path) -> np.ndarray:
    """(H, W, 4) in [0, 1]."""
    return np.asarray(Image.open(path).convert("RGBA"), np.float32) / 255


def agreement(picture: np.ndarray, mesh: Mesh, camera: Camera) -> float:
    """PSNR against our own drawing of the mesh, over white, inside the object's box."""
    ours = render_mesh(mesh, camera, supersample=4).rgba.numpy()
    rows, columns = np.nonzero(ours[..., 3] > 0)
    window = slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1)

    def over_white(image: np.ndarray) -> np.ndarray:
        return (image[..., :3] * image[..., 3:] + 1 - image[..., 3:])[window]

    return float(-10 * np.log10(np.mean((over_white(picture) - over_white(ours)) ** 2)))


CASES: dict[str, dict[str, Any]] = {
    "unlit": {},
    "lit": {"unlit": False},
    "jpeg": {"image_format": "jpeg"},
    "webp": {"image_format": "webp"},
    "open": {"double_sided": True},
    "plain": {"extras": None},
}


@pytest.mark.parametrize("case", CASES)
def test_the_validator_finds_nothing(tmp_path, case):
    installed("node/node_modules/gltf-validator")
    path = tmp_path / "chair.glb"
    write_glb(baked_chair(), path, **{"name": "chair", "extras": EXTRAS, **CASES[case]})
    report = json.loads(run("node", TOOLS / "validate.mjs", path))
    assert (report["issues"]["numErrors"], report["issues"]["numWarnings"]) == (0, 0), report["issues"]["messages"]
    assert report["info"]["totalTriangleCount"] == len(baked_chair().faces)


def test_the_validator_accepts_vertex_colours_and_several_materials(tmp_path):
    installed("node/node_modules/gltf-validator")
    cube = box()
    materials = (Material(name="red"), Material(torch.tensor([0.2, 0.4, 0.9, 1.0]), alpha_cutoff=0.5, name="blue"))
    mesh = Mesh(
        cube.vertices, cube.faces, colors=cube.vertices + 0.5, materials=materials, face_material=torch.arange(12) % 2
    )
    write_glb(mesh, tmp_path / "cube.glb")
    issues = json.loads(run("node", TOOLS / "validate.mjs", tmp_path / "cube.glb"))["issues"]
    assert (issues["numErrors"], issues["numWarnings"]) == (0, 0), issues["messages"]


def test_blender_shows_what_we_show(chair_file, tmp_path):
    found, picture = blender(chair_file, view(), tmp_path)
    low, high = read_glb(chair_file).mesh.bounds()
    assert found["objects"] == ["chair"]
    assert found["low"] == pytest.approx(low.tolist(), abs=1e-5)
    assert found["high"] == pytest.approx(high.tolist(), abs=1e-5)
    assert max(b - a for a, b in zip(found["low"], found["high"], strict=True)) == pytest.approx(0.8, abs=1e-5)
    assert found["triangles"] == len(baked_chair().faces)
    assert found["materials"] == ["material"]
    assert found["images"] == [{"size": [512, 512], "colorspace": "sRGB"}]
    assert found["properties"]["chair"]["seed"] == "3"
    assert agreement(picture, read_glb(chair_file).mesh, view()) >= 30


def test_three_shows_what_we_show(chair_file, tmp_path):
    found, picture = three(chair_file, view(), tmp_path)
    low, high = read_glb(chair_file).mesh.bounds()
    assert found["problems"] == []
    assert found["objects"] == ["chair"]
    assert found["extras"] == EXTRAS
    assert found["low"] == pytest.approx(low.tolist(), abs=1e-5)
    assert found["high"] == pytest.approx(high.tolist(), abs=1e-5)
    assert found["triangles"] == len(baked_chair().faces)
    assert found["materials"] == [{"name": "material", "type": "MeshBasicMaterial", "texture": [512, 512]}]
    assert agreement(picture, read_glb(chair_file).mesh, view()) >= 30


@pytest.mark.parametrize("image_format", ["png", "jpeg"])
def test_godot_imports_the_mesh_where_it_is_with_its_texture(tmp_path, image_format):
    path = tmp_path / "chair.glb"
    write_glb(baked_chair(), path, size=0.8, origin="base", name="chair", extras=EXTRAS, image_format=image_format)
    (found,) = godot(path, tmp_path)["meshes"]
    low, high = read_glb(path).mesh.bounds()
    assert found["name"] == "chair"
    assert found["low"] == pytest.approx(low.tolist(), abs=1e-4)
    assert found["high"] == pytest.approx(high.tolist(), abs=1e-4)
    (surface,) = found["surfaces"]
    # Godot 3.2 does not know KHR_materials_unlit and takes the rough material that stands in for it.
    assert surface == {"indices": 3 * len(baked_chair().faces), "texture": [512, 512]}


@pytest.mark.parametrize("client", [blender, three], ids=["blender", "three"])
def test_a_webp_texture_shows_like_any_other(client, tmp_path):
    path = tmp_path / "chair.glb"
    write_glb(baked_chair(), path, size=0.8, name="chair", image_format="webp")
    found, picture = client(path, view(), tmp_path)
    assert found["triangles"] == len(baked_chair().faces)
    assert agreement(picture, read_glb(path).mesh, view()) >= 30


@pytest.mark.parametrize("client", [blender, three], ids=["blender", "three"])
def test_a_grey_card_is_the_same_grey(client, grey_card, tmp_path):
    _, picture = client(grey_card, view(0, 0), tmp_path)
    middle = picture[PICTURE // 2 - 20 : PICTURE // 2 + 20, PICTURE // 2 - 20 : PICTURE // 2 + 20]
    assert np.abs(middle[..., :3] * 255 - 128).max() <= 2
    assert middle[..., 3].min() == 1
