"""The house's conventions against OpenGL's, kornia's, OpenCV's and scipy's, half pixels included."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recon.capture import Camera, orbit_camera
from recon.capture import conversions as cv
from recon.capture.orbit import orbit_cameras, wave_cameras

POINTS = torch.tensor([[0.1, 0.2, 0.3], [-0.2, 0.05, 0.1], [0.3, -0.3, -0.2]])
angles = st.floats(-3.0, 3.0)


@given(angles, st.floats(-1.4, 1.4), st.floats(0.3, 1.5), angles)
@settings(max_examples=12, deadline=None)
def test_a_point_is_on_the_same_pixel_for_kornia_half_a_pixel_less(
    azimuth: float, elevation: float, fov: float, roll: float
) -> None:
    camera = orbit_camera(azimuth, elevation, fov, 64, 48, roll=roll)
    ours, _ = camera.project(POINTS)
    theirs = cv.to_kornia(camera).project(POINTS[None])[0]
    torch.testing.assert_close(theirs + 0.5, ours, atol=2e-3, rtol=1e-4)


@given(angles, st.floats(-1.4, 1.4), st.floats(0.3, 1.5))
@settings(max_examples=12, deadline=None)
def test_a_point_is_on_the_same_pixel_for_opencv_half_a_pixel_less(
    azimuth: float, elevation: float, fov: float
) -> None:
    camera = orbit_camera(azimuth, elevation, fov, 64, 48)
    w2c = camera.w2c.double().numpy()
    k = cv.centres_at_integers(camera.intrinsics).double().numpy()
    theirs, _ = cv2.projectPoints(
        POINTS.double().numpy(), cv2.Rodrigues(w2c[:3, :3])[0], w2c[:3, 3].copy(), k, np.zeros(4)
    )
    ours, _ = camera.project(POINTS)
    np.testing.assert_allclose(theirs[:, 0] + 0.5, ours.numpy(), atol=5e-3)


def test_a_point_is_on_the_same_pixel_through_opengl_matrices() -> None:
    camera = orbit_camera(0.7, 0.3, 0.6, 64, 64)
    view = torch.linalg.inv(cv.opengl_from_opencv(camera.c2w))
    local = POINTS @ view[:3, :3].T + view[:3, 3]
    cotangent = 1 / math.tan(0.3)
    ndc = cotangent * local[:, :2] / -local[:, 2:]  # OpenGL looks along -z, y up
    pixels = torch.stack(((ndc[:, 0] + 1) * 32, (1 - ndc[:, 1]) * 32), dim=1)
    torch.testing.assert_close(pixels, camera.project(POINTS)[0], atol=1e-3, rtol=0)
    assert torch.equal(cv.opencv_from_opengl(cv.opengl_from_opencv(camera.c2w)), camera.c2w)


def test_the_centre_of_the_first_pixel_is_at_one_half() -> None:
    camera = orbit_camera(0.2, 0.1, 0.6, 40, 30)
    point = camera.unproject(torch.full((30, 40), 1.3))[0, 0]
    torch.testing.assert_close(camera.project(point[None])[0][0], torch.tensor([0.5, 0.5]), atol=1e-3, rtol=0)
    torch.testing.assert_close(cv.centres_at_halves(cv.centres_at_integers(camera.intrinsics)), camera.intrinsics)


@given(st.lists(st.floats(-1, 1), min_size=4, max_size=4).filter(lambda q: sum(x * x for x in q) > 1e-2))
@settings(max_examples=15, deadline=None)
def test_quaternions_and_rotations_are_inverse_and_agree_with_scipy(values: list[float]) -> None:
    from scipy.spatial.transform import Rotation

    quat = torch.nn.functional.normalize(torch.tensor(values, dtype=torch.float64), dim=0)
    rotation = cv.rotation_from_quat(quat)
    np.testing.assert_allclose(rotation, Rotation.from_quat(cv.xyzw_from_wxyz(quat).numpy()).as_matrix(), atol=1e-9)
    back = cv.quat_from_rotation(rotation[None])[0]
    assert min(float((back - quat).norm()), float((back + quat).norm())) < 1e-3
    assert torch.equal(cv.wxyz_from_xyzw(cv.xyzw_from_wxyz(quat)), quat)


@given(angles, st.floats(-1.4, 1.4), st.sampled_from([1.0, -3.0, 0.01]))
@settings(max_examples=20, deadline=None)
def test_a_projection_matrix_known_up_to_scale_gives_the_camera_back(
    azimuth: float, elevation: float, scale: float
) -> None:
    pose = orbit_camera(azimuth, elevation, 0.6, 64, 48)
    camera = Camera(pose.c2w, torch.tensor([[70.0, 0, 30], [0, 75, 25], [0, 0, 1]]), 64, 48)
    matrix = scale * camera.intrinsics.double() @ camera.w2c[:3].double()
    back = cv.camera_from_projection(matrix, 64, 48)
    torch.testing.assert_close(back.c2w, camera.c2w, atol=1e-4, rtol=0)
    torch.testing.assert_close(back.intrinsics, camera.intrinsics, atol=1e-2, rtol=0)


def test_a_singular_projection_matrix_is_refused() -> None:
    with pytest.raises(ValueError, match="invertible"):
        cv.camera_from_projection(torch.zeros(3, 4), 4, 4)


def test_z_up_becomes_y_up_and_the_front_stays_the_front() -> None:
    axes = torch.tensor([[0.0, 0.0, 1.0], [0.0, -1.0, 0.0], [1.0, 0.0, 0.0]])  # up, front, right of a Z-up world
    expected = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    torch.testing.assert_close(cv.Z_UP_TO_Y_UP.apply(axes), expected)


def test_orbits_are_closed_evenly_spaced_and_start_at_the_front() -> None:
    cameras = orbit_cameras(8, 0.2, 0.6, 32)
    centres = torch.stack([camera.centre for camera in cameras])
    assert float(centres[0, 0].abs()) < 1e-6
    assert float(centres[0, 2]) > 0
    assert float(centres[2, 0]) > 0  # a quarter of the way round: toward +X
    torch.testing.assert_close(centres.mean(0)[[0, 2]], torch.zeros(2), atol=1e-6, rtol=0)
    elevations = [math.degrees(math.asin(float(c.centre[1] / c.centre.norm()))) for c in wave_cameras(4, 0.2, 0.3)]
    np.testing.assert_allclose(elevations, np.degrees([0.2, 0.5, 0.2, -0.1]), atol=1e-3)
    with pytest.raises(ValueError, match="at least one"):
        orbit_cameras(0, 0.5)


@pytest.mark.parametrize("fov", [0.0, -0.1, math.pi])
def test_an_orbit_without_a_field_of_view_is_refused(fov: float) -> None:
    with pytest.raises(ValueError, match="field of view must lie between"):
        orbit_camera(0.0, 0.0, fov, 8, 8)
