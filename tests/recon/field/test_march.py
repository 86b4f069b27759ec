import pytest
import torch

from recon.capture import orbit_camera
from recon.field.march import grid_rays, march
from recon.field.plain_march import plain_march
from recon.splat.harmonics import evaluate_basis
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
