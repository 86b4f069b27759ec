import dataclasses

import numpy as np
import pytest
import torch

from recon.field._band_kernels import regularise
from recon.field.band import Band, band_around, distances_from, finer, nearest_rows, spacing_of
from recon.splat.volume import HALF_EXTENT
from tests.recon.field.spheres import ball_field


def ball_distances(resolution, radius=0.35):
    """(R, R, R) true distances from a ball, in spacings."""
    axis = torch.linspace(-HALF_EXTENT, HALF_EXTENT, resolution)
    grid = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1)
    return (grid.norm(dim=-1) - radius) / spacing_of(resolution)


def test_the_gradients_of_the_penalties_match_autograd_in_double_precision():
    field = ball_field(20)
    generator = torch.Generator().manual_seed(0)
    laid = field.distances
    distances = laid + 0.4 * torch.randn(len(field), generator=generator)
    weights = torch.tensor([0.7, 0.2, 0.5])
    found = torch.zeros(len(field))
    arrays = field.band.around, distances.numpy(), laid.numpy(), weights.numpy()
    total = sum(regularise(*part, *arrays, found.numpy()) for part in ((0, 100), (100, len(field))))

    f = distances.double().requires_grad_()
    around = torch.from_numpy(field.band.around).long()
    whole = (around >= 0).all(1)
    beside = f[around[whole]]
    slope = (beside[:, 1::2] - beside[:, ::2]) / 2
    bend = beside.sum(1) - 6 * f[whole]
    moved = (f - laid.double()).square()
    penalty = 0.7 * (slope.norm(dim=1) - 1).square().sum() + 0.2 * bend.square().sum()
    penalty = penalty + 0.5 * (moved / (1 + moved)).sum()
    (expected,) = torch.autograd.grad(penalty, f)
    assert total == pytest.approx(float(penalty.detach()), rel=1e-4)
    assert (found - expected).norm() < 1e-4 * expected.norm()


def test_distances_are_measured_from_signs_alone_and_better_from_values():
    true = ball_distances(40)
    near = true.abs() < 5
    from_signs = distances_from(true.sign())
    assert (from_signs - true)[near].abs().mean() < 0.6
    from_values = distances_from(true.clamp(-2, 2) * 0.3)  # of another slope, and cut off
    assert (from_values - true)[near].abs().mean() < 0.25
    assert torch.equal(from_values < 0, true < 0)
    kept = true.abs() < 1.5
    assert torch.equal(distances_from(true, kept)[kept], true[kept])


def test_what_has_no_surface_has_no_distances():
    with pytest.raises(ValueError, match="no surface"):
        distances_from(torch.ones(32, 32, 32))


def test_a_band_leaves_the_border_out_and_its_cells_have_all_their_corners():
    wide = band_around(ball_distances(24, radius=0.54), 3.0)
    for axis in wide.index:
        assert axis.min() >= 1
        assert axis.max() <= 22
    numbers, corners, blocks = wide.cells
    assert (corners >= 0).all()
    low = np.argwhere(numbers >= 0)
    places = wide.places.numpy()
    for corner in range(8):
        step = np.array([corner >> 2, corner >> 1 & 1, corner & 1])
        wanted = (low + step) * spacing_of(24) - HALF_EXTENT
        assert np.allclose(places[corners[numbers[tuple(low.T)], corner]], wanted, atol=1e-5)
    assert blocks[tuple(low.T // 4)].all()


def test_neighbours_are_one_spacing_away():
    band = ball_field(24).band
    for direction in range(6):
        beside = torch.from_numpy(band.around[:, direction]).long()
        step = band.places[beside] - band.places
        wanted = torch.zeros(3)
        wanted[direction // 2] = (2 * (direction % 2) - 1) * spacing_of(24)
        assert torch.allclose(step[beside >= 0], wanted.expand_as(step[beside >= 0]), atol=1e-6)
    assert (band.around < 0).any()


def test_the_nearest_point_of_a_finer_band_is_within_a_spacing():
    coarse, fine = ball_field(24).band, ball_field(40, width=3.0).band
    gap = (coarse.places[nearest_rows(coarse, fine)] - fine.places).norm(dim=1)
    assert gap.max() < spacing_of(24)
    assert torch.equal(nearest_rows(fine, fine), torch.arange(len(fine.points)))


def test_finer_values_are_those_of_the_same_places():
    assert (finer(ball_distances(24), 47)[::2, ::2, ::2] - ball_distances(24)).abs().max() < 1e-4


def test_the_volume_of_a_field_has_its_signs_everywhere():
    field = ball_field(32)
    volume = field.volume()
    assert torch.equal(volume.values < 0, ball_distances(32) < 0)
    assert volume.spacing == pytest.approx(field.spacing)
    empty = dataclasses.replace(
        field,
        points=field.points[:0],
        distances=field.distances[:0],
        colors=field.colors[:0],
        inside=torch.zeros(32, 32, 32, dtype=torch.bool),
    )
    assert (empty.volume().values > 0).all()
    assert Band(32, empty.points).cells[1].shape == (0, 8)
