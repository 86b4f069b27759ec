"""The studio: its light stands with the camera, its shadow lies where the subject stands, behind it."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from recon.capture import orbit_camera
from recon.capture.orbit import orbit_cameras
from recon.surface.mesh import Mesh
from recon.surface.studio import floor_under, in_studio, mesh_look, splats_look, with_shadow
from tests.recon.surface.test_fusion import ball_of_gaussians
from tests.recon.surface.test_render import FOV, cube, facing_quad, sphere


def beside(mesh: Mesh, x: float, y: float = 0.0, z: float = 0.0) -> Mesh:
    return mesh.moved(translation=torch.tensor([x, y, z]))


def test_the_floor_is_under_the_subject_and_the_shadow_where_it_touches() -> None:
    floor = floor_under(mesh_look(beside(cube(0.4), 0.2, z=0.3)))
    assert floor is not None
    assert floor.height == pytest.approx(-0.2, abs=2e-3)
    size = len(floor.darkness)

    def darkness(x: float, z: float) -> float:
        return float(floor.darkness[int((0.5 - z / 3) * size), int((x / 3 + 0.5) * size)])

    assert darkness(0.2, 0.3) > 0.6
    assert 0.1 < darkness(0.43, 0.3) < darkness(0.39, 0.3)
    assert darkness(-1.2, 0.3) == darkness(0.2, -1.0) == 0


def test_what_hangs_higher_leaves_a_lighter_wider_shadow() -> None:
    foot = cube(0.1)
    raised = beside(cube(0.3), 0.6, 0.25)
    both = Mesh(torch.cat((foot.vertices, raised.vertices)), torch.cat((foot.faces, raised.faces + len(foot.vertices))))
    floor = floor_under(mesh_look(both))
    assert floor is not None
    dark = floor.darkness[len(floor.darkness) // 2]
    places = (torch.arange(len(dark)) + 0.5) / len(dark) * 3 - 1.5
    assert dark[places.abs() < 0.03].mean() > 2 * dark[(places - 0.6).abs() < 0.03].mean() > 0.02


def test_the_shadow_lies_behind_the_subject_on_the_floor_and_is_not_seen_from_beneath() -> None:
    mesh = cube(0.5)
    camera = orbit_camera(0.4, math.radians(20), FOV, 96, 96)
    plain, view = mesh_look(mesh)(camera).rgba, in_studio(mesh_look(mesh))(camera)
    solid = plain[..., 3] == 1
    assert torch.equal(view[solid], plain[solid])
    shadow = (plain[..., 3] == 0) & (view[..., 3] > 0.02)
    assert shadow.float().mean() > 0.02
    assert view[shadow][:, :3].max() == 0
    rows = shadow.nonzero()[:, 0]
    assert rows.float().mean() > solid.nonzero()[:, 0].float().mean()
    beneath = orbit_camera(0.4, math.radians(-20), FOV, 96, 96)
    assert torch.equal(in_studio(mesh_look(mesh))(beneath), mesh_look(mesh)(beneath).rgba)


def test_over_a_background_shadow_and_rim_blend_as_layers_do() -> None:
    mesh, camera = sphere(24, 0.4), orbit_camera(0.0, 0.3, FOV, 64, 64)
    plain, floor = mesh_look(mesh)(camera).rgba, floor_under(mesh_look(mesh))
    assert floor is not None
    view = with_shadow(plain, camera, floor)
    nothing = torch.zeros_like(plain)
    shadow = with_shadow(nothing, camera, floor)[..., 3:]
    floor_first = plain[..., :3] * plain[..., 3:] + (1 - plain[..., 3:]) * (1 - shadow)
    at_once = view[..., :3] * view[..., 3:] + (1 - view[..., 3:])
    torch.testing.assert_close(at_once, floor_first, atol=1e-5, rtol=0)


def test_the_light_stands_with_the_camera() -> None:
    ball = sphere(48, 0.5)
    draw = mesh_look(ball, "shape")
    views = [draw(camera).rgba for camera in orbit_cameras(4, 0.2, size=48)]
    for view in views[1:]:
        torch.testing.assert_close(view, views[0], atol=0.02, rtol=0)
    upper_left, lower_right = views[0][14:20, 14:20, :3].mean(), views[0][28:34, 28:34, :3].mean()
    assert upper_left > lower_right + 0.05  # where the key light is


def test_each_look_shows_what_its_name_says() -> None:
    quad = facing_quad(0.8, colors=torch.tensor([[0.2, 0.5, 0.8]]).expand(4, 3))
    quad = replace(quad, uvs=None)
    camera = orbit_camera(0.0, 0.0, FOV, 32, 32)
    middle = {look: mesh_look(quad, look)(camera).rgba[16, 16] for look in ("lit", "unlit", "shape", "normals")}
    torch.testing.assert_close(middle["unlit"], torch.tensor([0.2, 0.5, 0.8, 1.0]), atol=4e-3, rtol=0)
    torch.testing.assert_close(middle["normals"], torch.tensor([0.5, 0.5, 1.0, 1.0]), atol=4e-3, rtol=0)
    assert middle["lit"][0] < middle["lit"][1] < middle["lit"][2]
    assert middle["shape"][:3].max() - middle["shape"][:3].min() < 0.05
    assert not torch.allclose(middle["lit"], middle["unlit"], atol=0.02)


def test_splats_stand_on_the_floor_too_and_nothing_stands_nowhere() -> None:
    floor = floor_under(splats_look(ball_of_gaussians()))
    assert floor is not None
    assert -0.6 < floor.height < -0.2
    assert floor.darkness.max() > 0.3
    away = beside(cube(0.1), 50.0)
    assert floor_under(mesh_look(away)) is None
    camera = orbit_camera(0.0, 0.2, FOV, 16, 16)
    assert in_studio(mesh_look(away))(camera)[..., 3].max() == 0
