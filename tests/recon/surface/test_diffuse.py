"""Smooth fields on surfaces."""

from __future__ import annotations

import numpy as np

from recon.surface.diffuse import diffuse
from tests.recon.metrics.shapes import joined, sphere


def ball():
    mesh = sphere(0.5, 3)
    return mesh.vertices.double().numpy(), mesh.faces.numpy()


def test_known_values_are_kept_and_the_rest_lies_between():
    vertices, faces = ball()
    confidence = np.where(vertices[:, 1] > 0.3, 100.0, 0.0) + np.where(vertices[:, 1] < -0.3, 100.0, 0.0)
    values = np.where(vertices[:, 1:2] > 0, 1.0, 0.0)
    field = diffuse(vertices, faces, values, confidence, reach=None)
    np.testing.assert_allclose(field[vertices[:, 1] > 0.4], 1, atol=0.05)
    np.testing.assert_allclose(field[np.abs(vertices[:, 1]) < 0.02].mean(), 0.5, atol=0.05)
    assert field.min() >= -1e-6
    assert field.max() <= 1 + 1e-6


def test_a_constant_stays_constant():
    vertices, faces = ball()
    confidence = (vertices[:, 2] > 0.2).astype(float)
    field = diffuse(vertices, faces, np.full((len(vertices), 3), 0.37), confidence, reach=None)
    np.testing.assert_allclose(field, 0.37, atol=1e-4)


def test_with_a_reach_the_field_fades_to_nothing():
    vertices, faces = ball()
    confidence = (vertices[:, 2] > 0.4) * 10.0
    field = diffuse(vertices, faces, np.ones((len(vertices), 1)), confidence, reach=0.15)
    back = field[vertices[:, 2] < -0.4].mean()
    middle = field[np.abs(vertices[:, 2] - 0.2) < 0.05].mean()
    assert back < 0.02
    assert 0.02 < middle < 0.8


def test_parts_that_know_nothing_take_the_mean():
    two = joined(
        sphere(0.2, 2), sphere(0.2, 2).moved(1.0, two_apart := sphere(0.2, 2).vertices.new_tensor([1.0, 0, 0]))
    )
    assert float(two_apart[0]) == 1
    vertices, faces = two.vertices.double().numpy(), two.faces.numpy()
    confidence = (vertices[:, 0] < 0.5).astype(float)
    field = diffuse(vertices, faces, np.full((len(vertices), 1), 0.6), confidence, reach=None)
    np.testing.assert_allclose(field, 0.6, atol=1e-3)
