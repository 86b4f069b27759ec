import dataclasses

import pytest
import torch

from recon.metrics.texels import texel_density
from recon.surface.mesh import Mesh
from recon.surface.uv import unwrap
from tests.recon.metrics.shapes import box


def square(side: float, part: float) -> Mesh:
    """A square of `side` metres that covers `part` by `part` of its texture."""
    corners = torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    return Mesh(side * corners, torch.tensor([[0, 1, 2], [0, 2, 3]]), uvs=part * corners[:, :2])


def test_density_is_texels_by_metres():
    density = texel_density(square(0.5, 0.25), 1024)
    assert density.median == density.low == density.high == pytest.approx(512)
    assert density.used == pytest.approx(1 / 16)
    assert density.islands == 1


def test_twice_as_large_half_as_dense():
    mesh = unwrap(box(), 256)
    small, large = texel_density(mesh, 256), texel_density(mesh.moved(2.0), 256)
    assert large.median == pytest.approx(small.median / 2, rel=1e-5)
    assert large.used == small.used
    assert small.low <= small.median <= small.high
    assert small.high / small.low < 1.2  # charts are not stretched against each other
    assert 1 < small.islands <= 6


def test_a_mesh_without_coordinates_or_area_is_refused():
    with pytest.raises(ValueError, match="coordinates"):
        texel_density(box(), 64)
    with pytest.raises(ValueError, match="no area"):
        texel_density(dataclasses.replace(square(0.0, 1.0)), 64)
