import math

import pytest
import torch

from benchmarks import tasks
from tests.gen.small import tiny_pipeline
from tests.recon.metrics.shapes import sphere


@pytest.fixture(scope="module")
def bench():
    return tasks.Bench(tiny_pipeline(), sphere(0.5), "ball", 32)


def test_every_task_has_an_answer_and_one_without_understanding(bench):
    with torch.no_grad():
        pairs = [bench.photos_to_views(2), bench.between(), bench.wide(), bench.seam(), *bench.geometry().values()]
    assert len(pairs) == 7
    assert all(math.isfinite(value) for pair in pairs for value in pair)
    # A ball looks alike from all sides but for its light: copying a picture of it is not far from right.
    assert pairs[0][1] > 10
    assert pairs[0][1] > pairs[0][0]


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
