"""Bending a photograph to the outline of the mesh."""

from __future__ import annotations

import numpy as np

from recon.surface.align import bend, outline_flow

SIZE = 200


def ellipse(width: float, height: float, x: float = 0, y: float = 0) -> np.ndarray:
    v, u = np.mgrid[:SIZE, :SIZE] + 0.5 - SIZE / 2
    return ((u - x) / width) ** 2 + ((v - y) / height) ** 2 < 1


def overlap(one: np.ndarray, two: np.ndarray) -> float:
    return (one & two).sum() / (one | two).sum()


def test_the_outline_falls_on_the_other():
    picture, mesh = ellipse(70, 60), ellipse(60, 72, 5, -4)
    flow = outline_flow(picture, mesh)
    assert flow is not None
    assert overlap(picture, mesh) < 0.8
    assert overlap(bend(picture.astype(np.float32), flow) > 0.5, mesh) > 0.96


def test_nothing_bends_where_the_outlines_agree():
    assert outline_flow(ellipse(70, 60), ellipse(70, 60)) is None


def test_the_field_is_smooth_and_does_not_fold():
    flow = outline_flow(ellipse(70, 60), ellipse(60, 72, 5, -4))
    assert flow is not None
    across, down = np.gradient(flow[..., 0], axis=1), np.gradient(flow[..., 1], axis=0)
    shear = np.gradient(flow[..., 0], axis=0) * np.gradient(flow[..., 1], axis=1)
    assert ((1 + across) * (1 + down) - shear).min() > 0.3


def test_the_field_fits_pictures_of_another_resolution():
    picture, mesh = ellipse(70, 60), ellipse(64, 66)
    flow = outline_flow(picture, mesh)
    assert flow is not None
    large = np.kron(picture, np.ones((3, 3))).astype(np.float32)
    assert overlap(bend(large, flow) > 0.5, np.kron(mesh, np.ones((3, 3))) > 0.5) > 0.96


def test_empty_and_full_masks_are_left_alone():
    some, none, everything = ellipse(50, 50), np.zeros((SIZE, SIZE), bool), np.ones((SIZE, SIZE), bool)
    for one, two in [(none, some), (some, none), (everything, some), (some, everything)]:
        assert outline_flow(one, two) is None
