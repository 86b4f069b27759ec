"""The whole chain with the shipped weights, held to what it reached: pictures of objects whose shape is known go in,
and what comes out must beat the trivial shapes, look like the picture, and be a file without a flaw.

The objects are those of examples/02_render_sample_objects.py, so that nothing but the repository is needed.
"""

from __future__ import annotations

import importlib.util
import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch

from recon.asset import read_glb
from recon.capture import Capture, Source, frame_from_tensors, orbit_camera
from recon.capture.io_nerfstudio import read_transforms, write_transforms
from recon.capture.orbit import orbit_cameras
from recon.metrics.meshes import TrueShape, compare_meshes
from recon.metrics.topology import is_watertight
from recon.surface.baselines import bounding_sphere, hull_mesh, inflated_silhouette
from recon.surface.mesh import Mesh
from recon.surface.render import Lights, render_mesh
from tests.acceptance.test_glb_clients import TOOLS, installed
from tests.acceptance.test_glb_clients import run as run_tool
from tests.shared_data import ROOT

SUBJECTS = ("teapot", "toadstool", "duck", "rocket")
MINUTES = 10


def _examples() -> ModuleType:
    path = ROOT / "examples" / "02_render_sample_objects.py"
    spec = importlib.util.spec_from_file_location("sample_objects", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


EXAMPLES = _examples()


def true_mesh(name: str) -> Mesh:
    """The object turned so that its photo was taken from azimuth 0."""
    make, degrees = EXAMPLES.OBJECTS[name]
    mesh, angle = make(), -math.radians(degrees)
    c, s = math.cos(angle), math.sin(angle)
    turn = torch.tensor([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])
    return replace(mesh, vertices=mesh.vertices @ turn.T, normals=None)


def img2mesh(out: Path, *arguments: str | Path) -> dict:
    """Runs the command; the run's report."""
    command = [sys.executable, "-m", "pipelines.img2mesh", *map(str, arguments), "-o", str(out), "--preset", "fast"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60 * MINUTES)
    assert result.returncode == 0, result.stdout + result.stderr
    return json.loads((out / "report.json").read_text())


def in_capture_frame(run: Path) -> Mesh:
    """The asset, brought back to where the capture has the object by what the file itself says."""
    asset = read_glb(run / "mesh.glb")
    back = asset.extras["to_capture"]
    return asset.mesh.moved(back["scale"], torch.tensor(back["translation"]))


@pytest.fixture(scope="module")
def from_one_photo(tmp_path_factory) -> dict[str, Path]:
    runs = {name: tmp_path_factory.mktemp("photo") / name for name in SUBJECTS}
    for name, out in runs.items():
        img2mesh(out, ROOT / "assets" / "photos" / f"{name}.png")
    return runs


@pytest.fixture(scope="module")
def from_true_views(tmp_path_factory) -> dict[str, Path]:
    runs = {}
    for name in SUBJECTS:
        folder = tmp_path_factory.mktemp("views")
        mesh = true_mesh(name)
        frames = tuple(
            frame_from_tensors(
                camera,
                render_mesh(mesh, camera, lights=Lights.studio(), supersample=3).rgba,
                source=Source.RENDERED,
                name=f"view_{index:02d}",
            )
            for index, camera in enumerate(orbit_cameras(21, math.radians(10), size=128))
        )
        write_transforms(Capture(frames), folder / "capture")
        img2mesh(folder / "run", "--capture", folder / "capture")
        runs[name] = folder / "run"
    return runs


def boxed(mesh: Mesh) -> Mesh:
    """Centred, longest side 1: one picture does not tell an object's size."""
    low, high = mesh.bounds()
    scale = 1 / float((high - low).max())
    return mesh.moved(scale, -scale * (low + high) / 2)


def chamfer(mesh: Mesh, name: str) -> float:
    return compare_meshes(mesh, TrueShape.of(true_mesh(name), seed=0), seed=0).chamfer


def shape_error(mesh: Mesh, name: str) -> float:
    """Chamfer distance of the shapes alone, each in its own box."""
    return compare_meshes(boxed(mesh), TrueShape.of(boxed(true_mesh(name)), seed=0), seed=0).chamfer


def test_photos_become_closed_meshes_that_beat_the_trivial_shapes(from_one_photo):
    camera = orbit_camera(0.0, EXAMPLES.ELEVATION, EXAMPLES.FOV, 128, 128)
    ours, sphere, inflated = 0.0, 0.0, 0.0
    for name, run in from_one_photo.items():
        mesh = in_capture_frame(run)
        assert is_watertight(mesh), name
        mask = render_mesh(true_mesh(name), camera).rgba[..., 3]
        ours += shape_error(mesh, name)
        sphere += shape_error(bounding_sphere(), name)
        inflated += shape_error(inflated_silhouette(camera, mask), name)
    assert ours < min(sphere, inflated), (ours, sphere, inflated)


def test_assets_look_like_their_photos_from_where_these_were_taken(from_one_photo):
    for name, run in from_one_photo.items():
        frame = read_transforms(run / "photo").frames[0]
        camera = frame.camera.resized(256, 256)
        photo = torch.nn.functional.interpolate(frame.premultiplied().permute(2, 0, 1)[None], (256, 256), mode="area")
        photo = photo[0].permute(1, 2, 0)
        drawn = render_mesh(in_capture_frame(run), camera, supersample=2).rgba
        over_white = photo[..., :3] + 1 - photo[..., 3:], drawn[..., :3] * drawn[..., 3:] + 1 - drawn[..., 3:]
        inside = (photo[..., 3] > 0.5) | (drawn[..., 3] > 0.5)
        error = (over_white[0] - over_white[1])[inside].square().mean()
        # Reached with the shipped weights: 14.2 (rocket) to 17.7 dB; what is missing lies along the outline.
        assert float(-10 * error.log10()) > 13, name


def test_the_validator_finds_nothing_in_the_runs_assets(from_one_photo):
    installed("node/node_modules/gltf-validator")
    for run in from_one_photo.values():
        issues = json.loads(run_tool("node", TOOLS / "validate.mjs", run / "mesh.glb"))["issues"]
        assert (issues["numErrors"], issues["numWarnings"]) == (0, 0), issues["messages"]


def test_true_views_become_meshes_as_close_as_their_visual_hulls_or_closer(from_true_views):
    cameras = orbit_cameras(21, math.radians(10), size=128)
    ours, hulls = 0.0, 0.0
    for name, run in from_true_views.items():
        mesh = true_mesh(name)
        masks = [render_mesh(mesh, camera, supersample=3).rgba[..., 3] for camera in cameras]
        error = chamfer(in_capture_frame(run), name)
        assert error < 0.02, name
        ours += error
        hulls += chamfer(hull_mesh(cameras, masks), name)
    assert ours < hulls
