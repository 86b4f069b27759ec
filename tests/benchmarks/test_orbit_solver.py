"""The measures of the orbit solver's benchmark, and what it draws."""

import math

import numpy as np
import pytest
import torch

from benchmarks.orbit_solver import CASES, FRAMES, Case, _drawn, _errors, hits, markdown, uneven, wobbling, write_plot
from recon.capture import orbit_camera
from tests.recon.metrics.shapes import sphere


def test_a_common_turn_is_no_error():
    truth = np.linspace(0, 5, FRAMES)
    found = _errors(truth + 1.3 + 2 * math.pi, 0.6, 0.2, truth, 0.6, 0.2)
    assert all(abs(value) < 1e-9 for value in found.values())


def test_errors_are_degrees_and_per_cent():
    truth = np.linspace(0, 5, FRAMES)
    wrong = truth + np.radians(3) * np.where(np.arange(FRAMES) % 2, 1, -1)
    found = _errors(wrong, 2 * math.atan(math.tan(0.3) / 1.1), 0.2 + math.radians(4), truth, 0.6, 0.2)
    assert found == pytest.approx({"azimuth": 3, "azimuth_90": 3, "focal": 10, "elevation": 4}, abs=1e-6)


def test_the_other_direction_is_far_off():
    truth = 2 * math.pi * np.arange(FRAMES) / FRAMES
    assert _errors(-truth, 0.6, 0.2, truth, 0.6, 0.2)["azimuth"] > 60


@pytest.mark.parametrize("seed", range(5))
def test_an_uneven_turn_is_monotonic_and_less_than_a_full_one(seed):
    turned = uneven(np.random.default_rng(seed))
    steps = np.diff(turned)
    assert (steps > 0).all() or (steps < 0).all()
    assert np.abs(steps).max() > 2 * np.abs(steps).min()
    assert math.pi < abs(turned[-1]) < 2 * math.pi


def test_awobbling_camera_is_a_little_off():
    camera, random = orbit_camera(0.3, 0.2, 0.6, 32, 32), np.random.default_rng(0)
    moved = wobbling(camera, 0.5, random)
    assert 0 < (moved.c2w - camera.c2w).abs().max() < 0.15
    assert torch.equal(wobbling(camera, 0.0, random).c2w, camera.c2w)


def row(case, azimuth, focal, confidence, symmetric=False):
    errors = {"azimuth": azimuth, "azimuth_90": azimuth, "focal": focal, "elevation": 0.0}
    said = dict.fromkeys(("solved", "search alone", "nothing known"), errors)
    return {"case": case, "symmetric": symmetric, "confidence": confidence, "cpu_seconds": 1.0, **said}


def test_light_on_a_turntable_stands_still_beside_the_camera():
    ball = sphere(0.4)
    azimuths = np.array([0.0, 1.0, 2.5])
    cameras = [orbit_camera(a, 0.2, 0.6, 32, 32) for a in azimuths]
    still, around = (_drawn(ball, cameras, azimuths, Case(35, uneven, turntable=t)) for t in (True, False))
    assert (still - still[:1]).abs().mean() < 0.004
    assert (around - around[:1]).abs().mean() > 0.01


def test_the_targets_depend_on_the_field_of_view():
    wide, narrow = "fov 35, uneven", "fov 20, even"
    assert hits(row(wide, 1.9, -2.9, 1))
    assert not hits(row(wide, 1.9, 5, 1))
    assert hits(row(narrow, 1.9, 5, 1))
    assert not hits(row(narrow, 2.1, 0, 1))


def test_tables_and_plot_show_every_group(tmp_path):
    pytest.importorskip("matplotlib")
    orbits = {str(i): row(case, 0.5 * i, i, 1 - 0.1 * i) for i, case in enumerate(CASES)}
    document = {"orbits": orbits | {"last": row("fov 35, uneven", 70.0, 50.0, 0.0, symmetric=True)}}
    text = markdown(document)
    assert all(case in text for case in CASES)
    assert "azimuth -1.00" in text
    assert "solids of revolution | 1 |" in text
    write_plot(document, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 1000
