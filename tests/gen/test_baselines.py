"""View baselines: what they remember and what they answer."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from gen.baselines import TrainingViews, copy_input, premultiplied, remember_training_views, straight
from recon.capture.orbit import orbit_cameras
from recon.surface.mesh import Mesh
from recon.surface.render import Lights, render_mesh
from tests.recon.metrics.shapes import box, chair, sphere

CAMERAS = orbit_cameras(4, math.radians(10), size=32)
LIGHTS = Lights.studio()


def painted(mesh: Mesh, color: tuple[float, float, float]) -> Mesh:
    return replace(mesh, colors=torch.tensor(color).expand(len(mesh.vertices), 3))


OBJECTS = {
    "red ball": painted(sphere(0.45, 2), (0.9, 0.1, 0.1)),
    "blue ball": painted(sphere(0.45, 2), (0.1, 0.1, 0.9)),
    "red chair": painted(chair(), (0.9, 0.1, 0.1)),
}


@pytest.fixture(scope="module")
def memory() -> TrainingViews:
    return remember_training_views(list(OBJECTS), OBJECTS.__getitem__, CAMERAS[0], CAMERAS[1:], lights=LIGHTS)


@pytest.mark.parametrize("name", list(OBJECTS))
def test_every_training_object_is_nearest_to_itself(memory, name):
    assert memory.nearest(render_mesh(OBJECTS[name], CAMERAS[0], lights=LIGHTS).rgba) == name


def test_shape_and_colour_both_decide_what_is_near(memory):
    bluish = painted(sphere(0.42, 2), (0.2, 0.2, 0.8))
    assert memory.nearest(render_mesh(bluish, CAMERAS[0], lights=LIGHTS).rgba) == "blue ball"


def test_the_mean_view_is_the_mean_of_all_objects(memory):
    drawn = [premultiplied(render_mesh(mesh, CAMERAS[2], lights=LIGHTS).rgba) for mesh in OBJECTS.values()]
    expected = torch.stack(drawn).mean(0)
    assert torch.allclose(premultiplied(memory.mean_views[1]), expected, atol=1e-5)


def test_copying_repeats_the_input():
    rgba = render_mesh(box(), CAMERAS[0]).rgba
    copies = copy_input(rgba, 3)
    assert copies.shape == (3, 32, 32, 4)
    assert all(torch.equal(view, rgba) for view in copies)


def test_premultiplying_and_back_keeps_visible_pixels():
    rgba = torch.rand(5, 5, 4, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(straight(premultiplied(rgba)), rgba, atol=1e-5)


def test_a_picture_of_another_size_is_refused(memory):
    with pytest.raises(ValueError, match="expected a picture"):
        memory.nearest(torch.zeros(16, 16, 4))


def test_no_objects_are_refused():
    with pytest.raises(ValueError, match="no training objects"):
        remember_training_views([], OBJECTS.__getitem__, CAMERAS[0], CAMERAS[1:], lights=LIGHTS)
