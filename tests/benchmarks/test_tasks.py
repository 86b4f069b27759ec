import math

import pytest
import torch

from benchmarks import tasks
from recon.capture import Camera
from tests.gen.small import tiny_pipeline
from tests.recon.metrics.shapes import sphere


@pytest.fixture(scope="module")
def bench():
    return tasks.Bench(tiny_pipeline(), sphere(0.5), "ball", 32)


def test_every_task_has_an_answer_and_one_without_understanding(bench):
    with torch.no_grad():
        pairs = [bench.photos_to_views(2), bench.between(), bench.wide(), bench.seam(), *bench.geometry().values()]
        pairs += bench.cameras().values()
    assert len(pairs) == 10
    assert all(math.isfinite(value) for pair in pairs for value in pair)
    # A ball looks alike from all sides but for its light: copying a picture of it is not far from right.
    assert pairs[0][1] > 10
    assert pairs[0][1] > pairs[0][0]


def test_cameras_that_are_told_rightly_have_no_error(bench, monkeypatch):
    """And the answer that turns nothing errs by the true turns."""
    true: list[Camera] = []

    def draw_views(mesh, cameras):
        true[:] = cameras
        return torch.rand(len(cameras), 32, 32, 4)

    monkeypatch.setattr(tasks, "draw_views", draw_views)
    monkeypatch.setattr(tasks, "tell_cameras", lambda network, pictures, generator: true[: len(pictures)])
    found = bench.cameras()
    assert [found[name][0] for name in (tasks.ELEVATION, tasks.FIELD, tasks.TURNS)] == pytest.approx(
        [0, 0, 0], abs=0.05
    )
    cosines = [float((true[0].c2w[:3, :3] * camera.c2w[:3, :3]).sum() - 1) / 2 for camera in true[1:]]
    turned = sum(math.degrees(math.acos(cosine)) for cosine in cosines) / len(cosines)
    assert found[tasks.TURNS][1] == pytest.approx(turned, rel=1e-3)


def test_geometry_is_measured_in_diameters_and_degrees(bench):
    """The answers without understanding are known of a ball: where its front is, and how it is turned."""
    origin, directions = bench.camera(0.0).rays()
    a, b, c = directions.square().sum(-1), directions @ origin, origin @ origin - 0.25
    root = b.square() - a * c
    hit = root > 0
    depth = (-b - root.clamp_min(0).sqrt())[hit] / a[hit]
    normals = torch.nn.functional.normalize(origin + depth[:, None] * directions[hit], dim=-1)
    with torch.no_grad():
        found = bench.geometry()
    in_front = float((origin.norm() - depth).mean())
    assert found[tasks.DEPTH][1] == pytest.approx(100 * in_front, rel=0.03)
    turned = torch.rad2deg(torch.acos(normals @ bench.camera(0.0).c2w[:3, 2] * -1)).mean()
    assert found[tasks.NORMALS][1] == pytest.approx(float(turned), rel=0.03)


def test_the_table_says_where_intervals_are_apart():
    pairs = {f"{i}": (20.0 + i, 10.0 + i) for i in range(5)}
    document = {
        "settings": {"weights": "0123456789abcdef"},
        "tasks": {task.name: pairs for task in tasks.TASKS},
    }
    lines = tasks.markdown(document).splitlines()
    assert len(lines) == 2 + 2 + len(tasks.TASKS)
    for task, line in zip(tasks.TASKS, lines[4:]):
        assert line.endswith("| yes |" if task.measure == tasks.PSNR else "| no |")
