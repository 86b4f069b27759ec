import math

import pytest
import torch

from recon.capture import orbit_camera
from recon.field.band import band_around, spacing_of
from recon.field.field import Field
from recon.field.march import grid_rays, march
from recon.field.plain_march import plain_march
from recon.splat.harmonics import evaluate_basis
from recon.splat.volume import HALF_EXTENT
from tests.recon.field.spheres import ball_field

STEP = 0.6


def rays_at(field, count=60, degree=1, seed=0):
    """Rays from around, at the ball and past it."""
    generator = torch.Generator().manual_seed(seed)
    eyes = 1.5 * torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=-1)
    aims = 1.2 * (torch.rand(count, 3, generator=generator) - 0.5)
    directions = torch.nn.functional.normalize(aims - eyes, dim=-1)
    offset = STEP * torch.rand(count, generator=generator)
    return grid_rays(eyes, directions, evaluate_basis(directions, degree), field.resolution, offset)


def bumpy(field, seed=0):
    """Distances and colours with noise, so that rays enter and leave."""
    generator = torch.Generator().manual_seed(seed)
    distances = field.distances + 0.3 * torch.randn(len(field), generator=generator)
    colors = field.colors.flatten(1) + 0.3 * torch.randn(field.colors.flatten(1).shape, generator=generator)
    return distances, colors


@pytest.mark.parametrize("degree", [0, 1, 2])
@pytest.mark.parametrize("sharpness", [0.7, 4.0])
def test_pictures_and_gradients_match_the_oracle_in_double_precision(degree, sharpness):
    field = ball_field(24, degree=degree)
    rays = rays_at(field, degree=degree)
    distances, colors = bumpy(field)
    single = [values.clone().requires_grad_() for values in (distances, colors)]
    double = [values.double().requires_grad_() for values in (distances, colors)]
    drawn = march(field.band, single[0], single[1], rays, step=STEP, sharpness=sharpness)
    wanted = plain_march(field.band, double[0], double[1], rays, step=STEP, sharpness=sharpness)
    # The kernels leave out what comes behind the last thousandth of the light.
    assert (drawn[:, :4] - wanted[:, :4]).abs().max() < 3e-3
    assert (drawn[:, 4] - wanted[:, 4]).abs().max() < 3e-3 * field.resolution
    assert (wanted[:, 3] > 0.5).sum() > 10
    assert (wanted[:, 3] == 0).sum() > 3
    upstream = torch.randn(drawn.shape, generator=torch.Generator().manual_seed(1)) * torch.tensor([1, 1, 1, 1, 0.1])
    found = torch.autograd.grad((drawn * upstream).sum(), single)
    expected = torch.autograd.grad((wanted * upstream).sum(), double)
    for ours, theirs in zip(found, expected, strict=True):
        assert theirs.abs().max() > 1e-2
        assert (ours - theirs).norm() < 5e-3 * theirs.norm()


def test_both_halves_of_the_rays_are_drawn_and_give_the_same_bytes_again():
    field = ball_field(24, degree=1)
    distances, colors = bumpy(field)
    gradients = []
    for _ in range(2):
        leaves = [values.clone().requires_grad_() for values in (distances, colors)]
        drawn = march(field.band, leaves[0], leaves[1], rays_at(field, 501), step=STEP, sharpness=2.0)
        gradients.append(torch.autograd.grad(drawn.square().sum(), leaves))
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))
    alone = march(field.band, distances, colors, rays_at(field, 501), step=STEP, sharpness=2.0)
    assert torch.equal(drawn, alone)


def test_rays_that_miss_the_grid_or_begin_inside_it_do_no_harm():
    field = ball_field(24)
    camera = orbit_camera(0.3, 0.2, 1.5, 16, 16, distance=0.5)  # inside of the grid's ball, outside of the object
    origin, directions = camera.rays()
    unit = torch.nn.functional.normalize(directions.reshape(-1, 3), dim=-1)
    away = torch.cat((unit, -unit))
    rays = grid_rays(origin.expand_as(away), away, evaluate_basis(away, 0), 24, torch.zeros(len(away)))
    drawn = march(field.band, field.distances, field.colors.flatten(1), rays, step=STEP, sharpness=6.0)
    assert bool(drawn.isfinite().all())
    assert drawn[:256, 3].max() > 0.99
    assert drawn[256:, 3].max() == 0


def slab_field(resolution: int = 96) -> Field:
    """A flat box, half as wide as the grid and a tenth as high."""
    axis = torch.linspace(-HALF_EXTENT, HALF_EXTENT, resolution)
    outside = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1).abs() - torch.tensor(
        [0.4, 0.08, 0.4]
    )
    signed = outside.clamp_min(0).norm(dim=-1) + outside.amax(dim=-1).clamp_max(0)
    distances = signed / spacing_of(resolution)
    band = band_around(distances, 3.5)
    colors = torch.zeros(len(band.points), 1, 3)
    return Field(resolution, band.points, distances.flatten()[band.points], colors, distances < 0, 6.0)


@pytest.mark.parametrize("degrees", [1, 2, 3, 5])
@pytest.mark.parametrize(("step", "sharpness"), [(0.5, 6.0), (0.6, 2.0)])
def test_a_flat_surface_stops_the_rays_that_graze_it(degrees, step, sharpness):
    field, angle = slab_field(), math.radians(degrees)
    aims = torch.stack((torch.zeros(15), torch.full((15,), 0.08), torch.linspace(-0.3, 0.3, 15)), dim=-1)
    directions = torch.tensor([0.0, -math.sin(angle), -math.cos(angle)]).expand(15, 3)
    rays = grid_rays(
        aims - 1.5 * directions, directions, evaluate_basis(directions, 0), field.resolution, torch.zeros(15)
    )
    leaves = [field.distances.clone().requires_grad_(), field.distances.double().requires_grad_()]
    drawn = march(field.band, leaves[0], field.colors.flatten(1), rays, step=step, sharpness=sharpness)
    wanted = plain_march(field.band, leaves[1], field.colors.flatten(1).double(), rays, step=step, sharpness=sharpness)
    assert wanted[:, 3].max() > 0.5
    assert (drawn[:, :4] - wanted[:, :4]).abs().max() < 2e-2
    found, expected = (torch.autograd.grad(out[:, 3].sum(), leaf)[0] for out, leaf in zip((drawn, wanted), leaves))
    # Where hardly any light is left, what lies behind the last thousandth is a larger part of it.
    assert (found - expected).norm() < 2e-2 * expected.norm() + 1e-2
