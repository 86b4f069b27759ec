"""What a picture of flat Gaussians means: the depth of planes, the low-pass filter, what is left out."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from recon.capture.camera import Camera, orbit_camera
from recon.splat.backend_torch import NEAR, SCREEN_BLUR
from recon.splat.backend_torch_2d import EDGE_ON
from recon.splat.gaussians import Gaussians, from_points
from recon.splat.rasterize import Backend, RasterizeError, rasterize

BACKENDS: tuple[Backend, ...] = ("cpu", "torch")
SIZE = 40


def disk(scales: tuple[float, float, float] = (0.1, 0.1, 0.1), *, z: float = 0.0, opacity: float = 0.9) -> Gaussians:
    """One Gaussian on the Z axis of the world, its third axis along it."""
    return Gaussians(
        torch.tensor([[0.0, 0.0, z]]),
        torch.tensor([[1.0, 0.0, 0.0, 0.0]]),
        torch.tensor([scales]).log(),
        torch.tensor([opacity]).logit(),
        torch.zeros(1, 1, 3),
    )


def camera(azimuth: float = 0.0, elevation: float = 0.0, distance: float = 1.5, size: int = SIZE) -> Camera:
    return orbit_camera(azimuth, elevation, math.radians(40), size, size, distance=distance)


def tilted_sheet(view: Camera) -> tuple[Gaussians, Tensor]:
    """Flat, opaque Gaussians all over the plane z = 0 of the world, and the depth (H, W) of the plane for a camera."""
    steps = torch.linspace(-1, 1, 21)
    points = torch.stack((*torch.meshgrid(steps, steps, indexing="ij"), torch.zeros(21, 21)), -1).reshape(-1, 3)
    sheet = from_points(points, torch.ones(21 * 21, 3), 0.16, opacity=0.9)
    flat = sheet.log_scales.clone()
    flat[:, 2] = math.log(1e-4)
    y, x = torch.meshgrid(torch.arange(view.height) + 0.5, torch.arange(view.width) + 0.5, indexing="ij")
    rays = torch.stack((x, y, torch.ones_like(x)), -1) @ torch.linalg.inv(view.intrinsics).T @ view.c2w[:3, :3].T
    depth = -view.centre[2] / rays[..., 2]
    return Gaussians(points, sheet.quats, flat, sheet.logit_opacities, sheet.sh), depth


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_plane_seen_at_a_slant_has_the_depth_of_the_plane_in_every_pixel(backend):
    view = camera(azimuth=math.radians(65), size=64)
    sheet, expected = tilted_sheet(view)
    flat = rasterize(sheet, [view], backend=backend, primitive="2d")
    solid = rasterize(sheet, [view], backend=backend, primitive="3d")
    full = (flat.alpha[0] > 0.99) & (solid.alpha[0] > 0.99)
    assert full.float().mean() > 0.5
    error = (flat.depth[0] - expected)[full].abs()
    assert error.max() < 2e-5
    assert (flat.median_depth[0] - expected)[full].abs().max() < 2e-5
    assert (solid.depth[0] - expected)[full].abs().mean() > 1000 * error.mean()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_flat_gaussian_seen_frontally_is_alike_in_both_kinds_up_to_the_filters(backend):
    view = camera()
    pixels = float(view.intrinsics[0, 0]) / 1.5
    solid = rasterize(disk((0.12, 0.2, 1e-6)), [view], backend=backend)
    first, second = (math.sqrt(scale**2 + SCREEN_BLUR / pixels**2) for scale in (0.12, 0.2))
    flat = rasterize(disk((first, second, 1.0)), [view], backend=backend, primitive="2d")
    assert torch.allclose(flat.alpha, solid.alpha, atol=1e-4)
    assert torch.allclose(flat.normal, solid.normal, atol=1e-5)
    assert torch.allclose(flat.depth, solid.depth, atol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("azimuth", [0.0, 1.4])
def test_what_is_smaller_than_a_pixel_shows_as_the_filter_at_the_depth_of_the_centre(backend, azimuth):
    view = camera(azimuth)
    drawn = rasterize(disk((1e-5, 1e-5, 1.0), opacity=0.8), [view], backend=backend, primitive="2d")
    y, x = torch.meshgrid(torch.arange(SIZE) + 0.5, torch.arange(SIZE) + 0.5, indexing="ij")
    expected = 0.8 * torch.exp(-((x - SIZE / 2) ** 2 + (y - SIZE / 2) ** 2))
    expected = torch.where(expected < 1 / 255, 0, expected)
    assert torch.allclose(drawn.alpha[0], expected, atol=1e-5)
    assert torch.allclose(drawn.depth[0][expected > 0], torch.tensor(1.5))


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_third_scale_does_not_matter_and_has_no_gradient(backend):
    pictures = []
    for third in (1e-6, 0.1, 5.0):
        scene = disk((0.1, 0.05, third))
        scene.log_scales.requires_grad_()
        drawn = rasterize(scene, [camera(0.7, 0.3)], backend=backend, primitive="2d")
        (drawn.alpha.sum() + drawn.depth.sum()).backward()
        assert scene.log_scales.grad is not None
        assert scene.log_scales.grad[0, :2].all()
        assert scene.log_scales.grad[0, 2] == 0
        pictures.append(drawn.alpha.detach())
    assert torch.equal(pictures[0], pictures[1])
    assert torch.equal(pictures[0], pictures[2])


@pytest.mark.parametrize("backend", BACKENDS)
def test_normals_are_the_third_axis_turned_to_the_camera(backend):
    for azimuth, sign in ((0.5, 1.0), (math.pi - 0.5, -1.0)):
        drawn = rasterize(disk((0.05, 0.1, 3.0)), [camera(azimuth)], backend=backend, primitive="2d")
        normals = drawn.normal[drawn.alpha > 0]
        assert torch.allclose(normals, torch.tensor([0.0, 0.0, sign]).expand_as(normals), atol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_behind_the_camera_or_reaches_its_plane_is_not_drawn(backend):
    view = camera()

    def shows(scene: Gaussians, azimuth: float = 0.0) -> bool:
        drawn = rasterize(scene, [camera(azimuth)], backend=backend, primitive="2d")
        return bool(drawn.alpha.any())

    assert shows(disk())
    for behind in (0.01, 0.1, 0.5):
        slanted = Gaussians(
            torch.tensor([[0.0, 0.0, float(view.centre[2]) + behind]]),
            torch.tensor([[0.9, 0.3, -0.3, 0.1]]),
            *disk().tensors()[2:],
        )
        assert not shows(slanted)
    # Seen at 60 degrees, the rim of what is drawn comes nearer by sin(60°) times its radius.
    slant, opacity = math.radians(60), 0.9
    radius = math.sqrt(2 * math.log(opacity * 255)) * math.sin(slant)
    touching = (1.5 - NEAR) / radius
    assert shows(disk((touching * 0.99, 0.1, 1.0), opacity=opacity), slant)
    assert not shows(disk((touching * 1.01, 0.1, 1.0), opacity=opacity), slant)


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_seen_edge_on_is_not_drawn(backend):
    for share, shown in ((1.05, True), (0.95, False), (0.0, False)):
        drawn = rasterize(disk(), [camera(math.pi / 2 - math.asin(EDGE_ON * share))], backend=backend, primitive="2d")
        assert bool(drawn.alpha.any()) is shown


def test_antialiased_disks_and_unknown_primitives_are_refused():
    with pytest.raises(RasterizeError, match="low-pass filter"):
        rasterize(disk(), [camera()], primitive="2d", antialias=True)
    with pytest.raises(RasterizeError, match="unknown primitive '4d'"):
        rasterize(disk(), [camera()], primitive="4d")  # type: ignore[call-overload]


def test_gradient_descent_turns_a_disk_into_the_plane_that_was_seen():
    target = disk((0.3, 0.3, 1.0))
    views = [camera(azimuth, 0.2) for azimuth in (-0.6, 0.6)]
    seen = rasterize(target, views, primitive="2d")
    quats = torch.tensor([[1.0, 0.15, -0.2, 0.0]], requires_grad=True)
    optimiser = torch.optim.Adam([quats], lr=2e-2)
    for _ in range(80):
        scene = Gaussians(target.means, quats, target.log_scales, target.logit_opacities, target.sh)
        drawn = rasterize(scene, views, primitive="2d")
        loss = ((drawn.depth - seen.depth) * seen.alpha * drawn.alpha.detach()).square().sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    found = torch.nn.functional.normalize(quats.detach()[0], dim=0)
    assert found[1:3].abs().max() < 5e-3
