from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from gen.data.scenes import SceneOptions, orbit_poses, random_cameras, random_lights
from recon.capture import orbit_camera, orbit_distance


def test_batched_poses_are_those_of_orbit_camera():
    rng = np.random.default_rng(0)
    azimuth, elevation = rng.uniform(0, 7, 20), rng.uniform(-1.4, 1.4, 20)
    distance, roll = rng.uniform(1, 3, 20), rng.uniform(-2, 2, 20)
    poses = torch.from_numpy(orbit_poses(azimuth, elevation, distance, roll)).float()
    for i, pose in enumerate(poses):
        camera = orbit_camera(azimuth[i], elevation[i], 0.7, 64, 64, distance[i], roll[i])
        torch.testing.assert_close(pose, camera.c2w, atol=2e-6, rtol=0)


def test_cameras_stay_within_their_ranges_and_go_all_around():
    options = SceneOptions(views=2000)
    cameras = random_cameras(options, "thing")
    eye = cameras.c2w[:, :3, 3]
    elevation = np.degrees(np.arcsin(eye[:, 1] / cameras.distance))
    assert -10 <= elevation.min() < -8
    assert 58 < elevation.max() <= 60
    fov = 2 * np.arctan(32 / cameras.focal)
    assert 20 <= math.degrees(fov.min()) < 21
    assert 59 < math.degrees(fov.max()) <= 60
    framing = cameras.distance / np.array([orbit_distance(f) for f in fov])
    assert 0.95 <= framing.min() < 0.96
    assert 1.14 < framing.max() <= 1.15
    sectors = np.histogram(np.arctan2(eye[:, 0], eye[:, 2]), bins=20, range=(-math.pi, math.pi))[0]
    assert sectors.min() >= 99
    upright = np.abs(cameras.c2w[:, 1, 0]) < 1e-12
    assert 0.75 < upright.mean() < 0.85


def test_a_scene_follows_from_the_seed_and_the_id_alone():
    options = SceneOptions(seed=3)
    first = random_cameras(options, "a")
    random_cameras(options, "b")
    again = random_cameras(options, "a")
    assert np.array_equal(first.c2w, again.c2w)
    assert not np.array_equal(first.c2w, random_cameras(options, "b").c2w)
    assert not np.array_equal(first.c2w, random_cameras(SceneOptions(seed=4), "a").c2w)
    lights = [random_lights(options, i, keep_colours=False) for i in ("a", "a", "b")]
    assert torch.equal(lights[0].ambient, lights[1].ambient)
    assert not torch.equal(lights[0].ambient, lights[2].ambient)


def test_lights_expose_as_photographs_do():
    options = SceneOptions()
    brightest = []
    for i in range(300):
        lights = random_lights(options, str(i), keep_colours=True)
        assert torch.equal(lights.albedo_matrix, torch.eye(3))
        normals = torch.nn.functional.normalize(torch.randn(256, 3, generator=torch.Generator().manual_seed(i)), dim=1)
        light = lights.ambient[0] + (lights.ambient[1] - lights.ambient[0]) * (0.5 + 0.5 * normals[:, 1:2])
        light = light + (normals @ lights.directions.T).clamp_min(0) @ lights.colors
        assert light.min() > 0.05
        brightest.append(float(light.mean(1).max()))
    assert 0.8 < np.median(brightest) < 1.2
    assert max(brightest) < 1.6


def test_turned_hues_keep_greys_grey():
    turned = 0
    for i in range(100):
        matrix = random_lights(SceneOptions(), str(i), keep_colours=False).albedo_matrix
        torch.testing.assert_close(matrix @ torch.ones(3), torch.ones(3), atol=1e-5, rtol=0)
        turned += not torch.equal(matrix, torch.eye(3))
    assert 10 < turned < 45


@pytest.mark.parametrize(
    "wrong", [{"size": 4}, {"views": 0}, {"elevation": (40.0, 10.0)}, {"fov": (0.0, 20.0)}, {"distance": (0.1, 1.0)}]
)
def test_impossible_options_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SceneOptions(**wrong)
