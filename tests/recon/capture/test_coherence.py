import dataclasses
import math

import numpy as np
import pytest
import torch

from recon.capture import orbit_camera
from recon.capture.coherence import Orbit, Rays, turned_to
from tests.recon.capture.turning import plain_chair, shipped_object, turned

EVEN = 2 * math.pi * np.arange(12) / 12


@pytest.fixture(scope="module")
def seen():
    return turned(shipped_object("house"), EVEN)


@pytest.fixture(scope="module")
def rays(seen):
    return Rays(seen.pictures, 14, 10, 24, seed=0)


def test_an_orbit_has_the_house_s_cameras():
    orbit = Orbit(np.array([0.0, 0.7, -2.0]), 0.3, 1.2)
    for azimuth, camera in zip(orbit.azimuths, orbit.cameras(64, 48, scale=2.5)):
        expected = orbit_camera(azimuth, 0.3, orbit.fov(64, 48), 64, 48, distance=2.5)
        torch.testing.assert_close(camera.c2w, expected.c2w, atol=1e-6, rtol=0)
        torch.testing.assert_close(camera.intrinsics, expected.intrinsics)


def test_an_orbit_survives_being_a_vector():
    orbit = Orbit(np.array([0.0, 0.7, -2.0]), 0.3, 1.2, 0.01, -0.02)
    wobbling = dataclasses.replace(orbit, wobbles=np.arange(15.0).reshape(3, 5) / 100)
    for each in (orbit, wobbling):
        again = Orbit.of_vector(each.vector(), 3)
        np.testing.assert_allclose(again.vector(), each.vector())
        np.testing.assert_allclose(again.poses(), each.poses())
    np.testing.assert_allclose(orbit.loosened().poses(), orbit.poses())


def test_wobbles_move_the_picture_the_other_way():
    still = Orbit(np.array([0.4]), 0.3, 1.0)
    place = torch.tensor([[0.0, 0.1, 0.0]])
    before = still.cameras(100, 100)[0].project(place)[0][0]
    for column, expected in enumerate(([-1.0, 0.0], [0.0, -1.0], None, [0.0, -1.0], None)):
        wobbles = np.zeros((1, 5))
        wobbles[0, column] = 0.01
        camera = dataclasses.replace(still, wobbles=wobbles).cameras(100, 100)[0]
        after = camera.project(place)[0][0]
        if expected is not None:
            torch.testing.assert_close(after - before, torch.tensor(expected), atol=0.05, rtol=0)
        elif column == 2:  # clockwise: what is above the middle moves to the left
            assert float(after[0]) == pytest.approx(float(before[0]) - 0.01 * (50 - float(before[1])), abs=1e-3)
        else:  # nearer: away from the middle
            assert 50 - float(after[1]) == pytest.approx((50 - float(before[1])) * 1.01, rel=2e-3)


def test_a_rolled_and_shifted_orbit_moves_the_axis_in_the_picture():
    camera = Orbit(np.array([0.4]), 0.0, 1.0, shift=0.1, roll=0.2).cameras(100, 100)[0]
    axis = camera.project(torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.2, 0.0]]))[0]
    torch.testing.assert_close(axis[0], torch.tensor([60.0, 50.0]), atol=1e-4, rtol=0)
    right, up = axis[1, 0] - axis[0, 0], axis[0, 1] - axis[1, 1]
    assert math.atan2(right, up) == pytest.approx(0.2, abs=1e-4)


def test_rays_miss_by_fractions_of_a_pixel_on_the_true_orbit(seen, rays):
    verdict = rays.judge(seen.orbit())
    assert verdict.deficits.mean() < 0.1
    assert verdict.score() < 0.3


@pytest.mark.parametrize(
    "wrong",
    [
        lambda o: dataclasses.replace(o, azimuths=-o.azimuths),
        lambda o: dataclasses.replace(o, azimuths=-o.azimuths, elevation=-o.elevation),
        lambda o: dataclasses.replace(o, azimuths=0.9 * o.azimuths),
        lambda o: dataclasses.replace(o, elevation=o.elevation + 0.1),
        lambda o: dataclasses.replace(o, focal=0.7 * o.focal),
        lambda o: dataclasses.replace(o, shift=0.03),
        lambda o: dataclasses.replace(o, roll=0.1),
        lambda o: turned_to(o, 4, o.azimuths[4] + 0.2),
    ],
    ids=["reversed", "mirrored depth", "span", "elevation", "focal", "shift", "roll", "one azimuth"],
)
def test_every_mistake_makes_rays_miss(seen, rays, wrong):
    assert rays.judge(wrong(seen.orbit())).score() > 1.2 * rays.judge(seen.orbit()).score()


def test_the_rays_of_a_frame_are_judged_as_among_all_others(seen, rays):
    orbit = seen.orbit()
    everything, own = rays.judge(orbit), rays.of_frame(5)
    np.testing.assert_array_equal(rays.judge(orbit, own).deficits, everything.deficits[own])
    np.testing.assert_array_equal(rays.judge(orbit, own).costs, everything.costs[own])


def test_only_the_rays_said_to_be_touched_change_when_a_frame_turns_a_little(seen, rays):
    orbit = seen.orbit()
    verdict = rays.judge(orbit)
    touched = rays.touched(orbit, verdict)[3]
    moved = rays.judge(turned_to(orbit, 3, orbit.azimuths[3] + 1e-3))
    changed = np.flatnonzero(np.abs(moved.residuals() - verdict.residuals()).max(1) > 1e-3)
    assert set(changed) <= set(touched)
    assert len(touched) < len(verdict.deficits) * 0.8


def test_the_order_of_the_pictures_does_not_matter(seen, rays):
    order = [7, 2, 9, 0, 11, 4, 1, 10, 3, 8, 5, 6]
    other = seen.picked(order)
    score = Rays(other.pictures, 14, 10, 24, seed=0).judge(other.orbit()).score()
    assert score == pytest.approx(rays.judge(seen.orbit()).score(), abs=1e-4)


def test_silhouettes_alone_tell_the_orbit_of_an_object_without_texture():
    seen = turned(plain_chair(), EVEN, lit=False)
    rays, truth = Rays(seen.pictures, 14, 10, 24, seed=0), seen.orbit()
    opposite = dataclasses.replace(truth, azimuths=-truth.azimuths)
    assert rays.judge(opposite).score() > 3 * rays.judge(truth).score()
