import dataclasses
import math

import numpy as np
import pytest
import torch

from recon.splat.solve_poses import OrbitOptions, solve_orbit
from tests.recon.capture.turning import azimuth_errors, plain_vase, shipped_object, turned

QUICK = OrbitOptions(fit_size=48, passes=10, gaussians=600)
EVEN = 2 * math.pi * np.arange(12) / 12


@pytest.fixture(scope="module")
def seen():
    return turned(shipped_object("house"), EVEN)


@pytest.fixture(scope="module")
def solved(seen):
    return solve_orbit(seen.pictures, QUICK)


def test_an_orbit_is_solved_from_pixels(seen, solved):
    assert np.median(azimuth_errors(solved.azimuths, seen.azimuths)) < 2
    assert solved.fov == pytest.approx(seen.fov, rel=0.03)
    assert solved.elevation == pytest.approx(seen.elevation, abs=math.radians(2))
    assert solved.confidence > 0.5


def test_the_first_camera_looks_from_the_front_and_all_look_at_the_unit_sphere(seen, solved):
    assert solved.azimuths[0] == 0
    assert float(solved.cameras[0].forward[0]) == pytest.approx(0, abs=1e-5)
    assert float(solved.cameras[0].centre[2]) > 0.5
    for camera, picture in zip(solved.cameras, seen.pictures):
        assert (camera.width, camera.height) == (picture.shape[1], picture.shape[0])
        origin, directions = camera.rays()
        rays = torch.nn.functional.normalize(directions[picture[..., 3] > 0.5], dim=-1)
        missed = torch.linalg.cross(rays, -origin.expand_as(rays)).norm(dim=-1)
        assert float(missed.max()) < 0.55


def test_a_known_field_of_view_is_kept(seen):
    half = dataclasses.replace(QUICK, passes=4)
    known = solve_orbit(seen.pictures[::2], half, fov=seen.fov)
    assert known.fov == pytest.approx(seen.fov, rel=1e-4)
    assert known.reasons["focal"] > 0.5


def test_confidence_is_the_product_of_its_reasons(solved):
    assert set(solved.reasons) == {"explained", "alone", "azimuth", "focal"}
    assert all(0 <= value <= 1 for value in solved.reasons.values())
    assert solved.confidence == pytest.approx(math.prod(solved.reasons.values()))


def test_a_rival_whose_cameras_look_at_nothing_is_left_out(seen, solved, monkeypatch):
    quick, best = dataclasses.replace(QUICK, passes=1), solved.found
    nowhere = dataclasses.replace(best, orbit=dataclasses.replace(best.orbit, focal=0.05))
    monkeypatch.setattr("recon.splat.solve_poses.find_orbits", lambda *_, **__: [best, nowhere])
    assert solve_orbit(seen.pictures, quick).found is best
    monkeypatch.setattr("recon.splat.solve_poses.find_orbits", lambda *_, **__: [nowhere, best])
    with pytest.raises(ValueError, match="do not surround one place"):
        solve_orbit(seen.pictures, quick)


def test_the_turn_of_a_plain_solid_of_revolution_is_not_pretended_to_be_known():
    seen = turned(plain_vase(), EVEN, lit=False)
    assert solve_orbit(seen.pictures, dataclasses.replace(QUICK, passes=0)).confidence < 0.1


def test_large_pictures_are_shrunk_for_the_search_and_get_cameras_of_their_own_size():
    seen = turned(shipped_object("house"), EVEN[::2], size=96)
    solved = solve_orbit(seen.pictures, OrbitOptions(search_size=32, passes=0))
    assert {(camera.width, camera.height) for camera in solved.cameras} == {(96, 96)}


def test_the_same_seed_gives_the_same_bytes():
    seen = turned(shipped_object("house"), EVEN[::2], size=32)
    options = OrbitOptions(passes=3, gaussians=300)
    first, second = (solve_orbit(seen.pictures, options, seed=3) for _ in range(2))
    for one, other in zip(first.cameras, second.cameras):
        assert one.c2w.numpy().tobytes() == other.c2w.numpy().tobytes()
        assert one.intrinsics.numpy().tobytes() == other.intrinsics.numpy().tobytes()
