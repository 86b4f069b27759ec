"""Parts that a picture shows and a solid lacks come back where they belong."""

from __future__ import annotations

import math

import pytest
import torch

from recon.capture import Source, frame_from_tensors
from recon.capture.orbit import orbit_cameras
from recon.splat.volume import HALF_EXTENT, SignedVolume
from recon.surface.close import keep_main_solids
from recon.surface.render import render_mesh
from recon.surface.silhouettes import restore_observed, shown_alone
from tests.recon.metrics.shapes import box, joined

RESOLUTION = 64
SPACING = 2 * HALF_EXTENT / (RESOLUTION - 1)
BASE = ((0.5, 0.2, 0.3), (0.0, -0.3, 0.0))
POLE = ((0.05, 0.45, 0.05), (0.1, 0.02, 0.05))


def grid():
    axis = torch.linspace(-HALF_EXTENT, HALF_EXTENT, RESOLUTION)
    return torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1)


def within(sides, centre, grow=0.0):
    """(R, R, R) bool: grid points in a box."""
    return ((grid() - torch.tensor(centre)).abs() < torch.tensor(sides) / 2 + grow).all(-1)


def solid(inside):
    values = torch.where(inside, -0.5, 0.5) * SPACING
    return SignedVolume(values, torch.full((3,), -HALF_EXTENT), SPACING)


def pictures(mesh, views, source=Source.RENDERED, depth=False):
    frames = []
    for index, camera in enumerate(orbit_cameras(views, math.radians(10), size=128)):
        drawn = render_mesh(mesh, camera)
        frames.append(
            frame_from_tensors(
                camera, drawn.rgba, source=source, name=f"view_{index}", depth=drawn.depth if depth else None
            )
        )
    return frames


LAMP = joined(box(*BASE), box(*POLE))


def test_a_lost_pole_comes_back_where_the_silhouettes_meet():
    restored = restore_observed(solid(within(*BASE)), pictures(LAMP, 12)).values < 0
    pole = within(*POLE)
    assert (restored & pole).sum() > 0.95 * pole.sum()
    assert not bool((restored & ~within(*BASE, grow=2 * SPACING) & ~within(*POLE, grow=2 * SPACING)).any())


def test_one_picture_with_depth_brings_the_pole_back_at_its_depth():
    restored = restore_observed(solid(within(*BASE)), pictures(LAMP, 1, depth=True)).values < 0
    pole = within(*POLE)
    assert (restored & pole).sum() > 0.7 * pole.sum()
    assert not bool((restored & ~within(*BASE, grow=2 * SPACING) & ~within(*POLE, grow=2 * SPACING)).any())


def test_one_picture_without_depth_does_not_say_where_the_pole_is():
    start = solid(within(*BASE))
    assert torch.equal(restore_observed(start, pictures(LAMP, 1)).values, start.values)


def test_generated_pictures_bring_nothing_back():
    start = solid(within(*BASE))
    frames = pictures(LAMP, 12, source=Source.GENERATED)
    assert torch.equal(restore_observed(start, frames).values, start.values)
    assert shown_alone(frames, RESOLUTION) is None


def test_a_solid_a_little_too_small_grows_no_fins():
    start = solid(within(*BASE, grow=-2 * SPACING))
    assert torch.equal(restore_observed(start, pictures(box(*BASE), 12)).values, start.values)


@pytest.mark.parametrize(("shown", "stays"), [(LAMP, True), (box(*BASE), False)])
def test_a_small_separate_solid_stays_if_the_pictures_show_it(shown, stays):
    tip = within((0.05, 0.15, 0.05), (0.1, 0.15, 0.05))  # too small to stay by its size
    volume = solid(within(*BASE) | tip)
    kept = keep_main_solids(volume, 0.1, shown_alone(pictures(shown, 8), RESOLUTION)).values < 0
    assert bool((kept & tip).any()) == stays
    assert bool(kept[within(*BASE)].all())
