"""What a picture of Gaussians means: where things land, what is in front, which way surfaces look."""

from __future__ import annotations

import math

import pytest
import torch

from recon.capture.camera import Camera, orbit_camera
from recon.splat.gaussians import Gaussians, from_points
from recon.splat.rasterize import Backend, RasterizeError, rasterize
from tests.recon.splat.scenes import random_scene

BACKENDS: tuple[Backend, ...] = ("cpu", "torch")
CAMERA = orbit_camera(0.6, 0.2, math.radians(40), 48, 36)


def blobs(points: list[list[float]], colors: list[list[float]], scale: float = 0.02) -> Gaussians:
    return from_points(torch.tensor(points), torch.tensor(colors), scale, opacity=0.99)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_point_lands_where_the_camera_projects_it(backend):
    scene = blobs([[0.1, 0.15, -0.05]], [[1.0, 0.0, 0.0]])
    drawn = rasterize(scene, [CAMERA], backend=backend)
    y, x = torch.meshgrid(torch.arange(36) + 0.5, torch.arange(48) + 0.5, indexing="ij")
    weight = drawn.alpha[0] / drawn.alpha[0].sum()
    pixel, depth = CAMERA.project(scene.means[0])
    assert torch.allclose(torch.stack(((weight * x).sum(), (weight * y).sum())), pixel, atol=0.05)
    inside = drawn.alpha[0] > 0.5
    assert torch.allclose(drawn.depth[0][inside], depth.expand(int(inside.sum())), atol=1e-5)
    assert torch.allclose(drawn.median_depth[0][inside], depth.expand(int(inside.sum())), atol=1e-5)
    assert not drawn.median_depth[0][drawn.alpha[0] < 0.49].any()


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_nearer_of_two_hides_the_other(backend):
    toward = -CAMERA.forward * 0.2
    scene = blobs([[0.0, 0.0, 0.0], toward.tolist()], [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], scale=0.2)
    middle = rasterize(scene, [CAMERA], backend=backend).rgb[0, 18, 24]
    assert middle[1] > 0.95
    assert middle[0] < 0.05


@pytest.mark.parametrize("backend", BACKENDS)
def test_normals_are_the_thin_axis_turned_to_the_camera(backend):
    flat = Gaussians(
        torch.zeros(1, 3),
        torch.tensor([[1.0, 0, 0, 0]]),
        torch.tensor([[0.2, 0.2, 0.001]]).log(),
        torch.tensor([4.0]),
        torch.zeros(1, 1, 3),
    )
    for azimuth, expected in ((0.3, 1.0), (math.pi - 0.3, -1.0)):
        drawn = rasterize(flat, [orbit_camera(azimuth, 0.1, 0.7, 32, 32)], backend=backend)
        covered = drawn.alpha[0] > 0
        normals = drawn.normal[0][covered]
        assert torch.allclose(normals, torch.tensor([0.0, 0.0, expected]).expand_as(normals), atol=1e-5)
        assert not drawn.normal[0][~covered].any()


@pytest.mark.parametrize("backend", BACKENDS)
def test_background_shows_through_what_is_not_covered(backend):
    gaussians, viewmats, intrinsics = random_scene(0, 20, 0, (24, 20), 2, 3.0)
    views = (viewmats, intrinsics, 24, 20)
    black = rasterize(gaussians, views, backend=backend)
    for background in (torch.rand(3), torch.rand(2, 1, 1, 3), torch.rand(2, 20, 24, 3)):
        over = rasterize(gaussians, views, backend=backend, background=background)
        assert torch.allclose(over.rgb, black.rgb + (1 - black.alpha[..., None]) * background, atol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_cameras_and_their_matrices_draw_the_same(backend):
    gaussians = random_scene(1, 20, 2, (24, 20), 1, 3.0)[0]
    cameras = [orbit_camera(a, 0.2, 0.7, 24, 20) for a in (0.0, 1.0, 2.0, 3.0)]  # four, like the tuple
    matrices = (torch.stack([c.w2c for c in cameras]), torch.stack([c.intrinsics for c in cameras]), 24, 20)
    a, b = rasterize(gaussians, cameras, backend=backend), rasterize(gaussians, matrices, backend=backend)
    assert torch.equal(a.rgb, b.rgb)
    assert a.rgb.shape == (4, 20, 24, 3)


@pytest.mark.parametrize("backend", BACKENDS)
def test_lower_harmonics_can_be_asked_for(backend):
    gaussians, viewmats, intrinsics = random_scene(1, 20, 3, (24, 20), 1, 3.0)
    views = (viewmats, intrinsics, 24, 20)
    low = rasterize(gaussians.with_sh_degree(1), views, backend=backend)
    assert torch.equal(rasterize(gaussians, views, backend=backend, sh_degree=1).rgb, low.rgb)
    full = rasterize(gaussians, views, backend=backend)
    assert torch.equal(rasterize(gaussians, views, backend=backend, sh_degree=7).rgb, full.rgb)


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_behind_the_camera_is_not_drawn(backend):
    behind = CAMERA.centre - CAMERA.forward
    assert not rasterize(blobs([behind.tolist()], [[1.0, 1, 1]], 0.5), [CAMERA], backend=backend).alpha.any()


def test_pose_gradient_descent_finds_the_camera_back():
    gaussians = random_scene(2, 60, 0, (32, 32), 1, 3.0)[0]
    camera = orbit_camera(0.5, 0.2, 0.8, 32, 32, distance=1.5)
    views = (camera.w2c[None], camera.intrinsics[None], 32, 32)
    target = rasterize(gaussians, views).rgb.detach()
    shift = torch.tensor([0.03, -0.02, 0.05], requires_grad=True)
    optimiser = torch.optim.Adam([shift], lr=3e-3)
    for _ in range(60):
        viewmat = camera.w2c + torch.nn.functional.pad(shift[:, None], (3, 0, 0, 1))
        loss = (rasterize(gaussians, (viewmat[None], *views[1:])).rgb - target).square().sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert shift.abs().max() < 5e-3


def test_cameras_that_cannot_be_drawn_are_refused():
    gaussians = random_scene(0, 3, 0, (8, 8), 1, 3.0)[0]
    distorted = Camera(CAMERA.c2w, CAMERA.intrinsics, 48, 36, torch.tensor([0.1, 0, 0, 0]))
    skewed = CAMERA.intrinsics.clone()
    skewed[0, 1] = 2
    for cameras, message in (
        ([], "at least one camera"),
        ([CAMERA, CAMERA.resized(24, 18)], "share a size"),
        ([distorted], "undistort"),
        ([Camera(CAMERA.c2w, skewed, 48, 36)], "skew"),
        ((torch.zeros(2, 3, 4), torch.zeros(2, 3, 3), 8, 8), r"expected view matrices \(C, 4, 4\)"),
    ):
        with pytest.raises(RasterizeError, match=message):
            rasterize(gaussians, cameras)
