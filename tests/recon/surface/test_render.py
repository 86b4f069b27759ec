from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from recon.capture import Camera, intrinsics_from_fov, look_at, orbit_camera
from recon.capture.orbit import orbit_cameras
from recon.surface.mesh import Material, Mesh
from recon.surface.render import Lights, render_mesh
from tests.recon.metrics.shapes import chair

FOV = math.radians(40)
UVS = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, 0.0]])


def quad(corners: list[list[float]], **fields) -> Mesh:
    """Two triangles over four corners, given counter-clockwise from the top left as seen from outside."""
    return Mesh(torch.tensor(corners), torch.tensor([[0, 1, 2], [0, 2, 3]]), uvs=UVS, **fields)


def facing_quad(side: float = 1.0, z: float = 0.0, **fields) -> Mesh:
    h = side / 2
    return quad([[-h, h, z], [-h, -h, z], [h, -h, z], [h, h, z]], **fields)


def sphere(rings: int = 48, radius: float = 0.5) -> Mesh:
    theta = torch.linspace(0, math.pi, rings + 1)
    phi = torch.arange(2 * rings) * (math.pi / rings)
    grid = torch.stack(
        (
            theta.sin()[:, None] * phi.sin(),
            theta.cos()[:, None].expand(-1, 2 * rings),
            theta.sin()[:, None] * phi.cos(),
        ),
        dim=-1,
    )
    faces = []
    for i in range(rings):
        for j in range(2 * rings):
            a, b = i * 2 * rings + j, i * 2 * rings + (j + 1) % (2 * rings)
            faces += [[a, a + 2 * rings, b + 2 * rings], [a, b + 2 * rings, b]]
    return Mesh(radius * grid.reshape(-1, 3), torch.tensor(faces))


def cube(side: float = 0.5) -> Mesh:
    corners = torch.cartesian_prod(*[torch.tensor([-side / 2, side / 2])] * 3)
    faces = [
        [0, 1, 3],
        [0, 3, 2],
        [4, 6, 7],
        [4, 7, 5],
        [0, 4, 5],
        [0, 5, 1],
        [2, 3, 7],
        [2, 7, 6],
        [0, 2, 6],
        [0, 6, 4],
    ]
    return Mesh(corners, torch.tensor([*faces, [1, 5, 7], [1, 7, 3]]))


def cameras(size: int = 64) -> list[Camera]:
    return [
        orbit_camera(a, e, FOV, size, size, roll=r) for a, e, r in [(0, 0.2, 0), (2.0, 0.9, 0.3), (4.5, -0.3, -1.0)]
    ]


def test_known_points_land_where_the_camera_projects_them():
    generator = torch.Generator().manual_seed(0)
    for camera in cameras(96):
        points = (torch.rand(6, 3, generator=generator) - 0.5) * 0.6
        for point in points:
            speck = sphere(rings=6, radius=0.02).moved(translation=point)
            alpha = render_mesh(speck, camera, supersample=8).rgba[..., 3]
            y, x = torch.meshgrid(torch.arange(96) + 0.5, torch.arange(96) + 0.5, indexing="ij")
            centroid = torch.stack(((alpha * x).sum(), (alpha * y).sum())) / alpha.sum()
            pixel, _ = camera.project(point)
            torch.testing.assert_close(centroid, pixel, atol=0.05, rtol=0)


def test_a_face_on_pixel_borders_covers_exactly_these_pixels():
    # At distance 1 with a focal length of 8 pixels, a side of 4/8 spans pixels 6..9 of 16.
    camera = Camera(look_at(torch.tensor([0.0, 0.0, 1.0])), torch.tensor([[8.0, 0, 8], [0, 8, 8], [0, 0, 1]]), 16, 16)
    expected = torch.zeros(16, 16)
    expected[6:10, 6:10] = 1
    torch.testing.assert_close(render_mesh(facing_quad(0.5), camera, supersample=2).rgba[..., 3], expected)


def test_sphere_depth_and_normals_agree_with_the_formula():
    mesh = sphere()
    for camera in cameras():
        seen = render_mesh(mesh, camera, supersample=1)
        origin, rays = camera.rays()
        a, b, c = (rays * rays).sum(-1), (rays @ origin), origin @ origin - 0.25
        root = b * b - a * c
        inside = root > 0.02
        depth = (-b - root.clamp_min(0).sqrt()) / a
        assert (seen.depth[inside] > 0).all()
        assert (seen.depth - depth)[inside].abs().max() < 4e-3  # the polyhedron lies inside the sphere
        normal = (origin + depth[..., None] * rays) * 2
        assert (seen.normal * normal).sum(-1)[inside].min() > 0.998
        assert (seen.rgba[..., 3][root < 0] == 0).all()
        assert (seen.depth[root < 0] == 0).all()


def test_cube_depth_is_exact_and_its_normals_stay_sharp():
    for camera in cameras():
        seen = render_mesh(cube(), camera, supersample=1)
        points = camera.unproject(seen.depth)[seen.depth > 0]
        normals = seen.normal[seen.depth > 0]
        assert len(points) > 300
        torch.testing.assert_close(points.abs().max(dim=1).values, torch.full((len(points),), 0.25), atol=2e-6, rtol=0)
        torch.testing.assert_close((points * normals).sum(1), torch.full((len(points),), 0.25), atol=2e-6, rtol=0)
        toward_camera = ((camera.centre - points) * normals).sum(1)
        assert (toward_camera > 0).all()


def test_faces_that_cross_the_camera_plane_are_drawn():
    ground = quad([[-50.0, -1, -50], [-50.0, -1, 50], [50.0, -1, 50], [50.0, -1, -50]])
    camera = Camera(look_at(torch.zeros(3), torch.tensor([0.0, 0.0, -1.0])), intrinsics_from_fov(FOV, 32, 32), 32, 32)
    seen = render_mesh(ground, camera, supersample=1)
    _, rays = camera.rays()
    depth = -1 / rays[..., 1]
    visible = (rays[..., 1] < 0) & (depth < 50)
    assert torch.equal(seen.depth > 0, visible)
    torch.testing.assert_close(seen.depth[visible], depth[visible], rtol=1e-4, atol=0)
    assert (seen.normal[visible] == torch.tensor([0.0, 1.0, 0.0])).all()


def test_shared_edges_leave_no_holes():
    generator = torch.Generator().manual_seed(1)
    cells = 24
    axis = torch.linspace(-0.5, 0.5, cells + 1)
    x, y = torch.meshgrid(axis, axis, indexing="xy")
    inner = torch.zeros(cells + 1, cells + 1)
    inner[1:-1, 1:-1] = 0.015
    jitter = (torch.rand(cells + 1, cells + 1, 2, generator=generator) - 0.5) * inner[..., None]
    vertices = torch.stack((x + jitter[..., 0], y + jitter[..., 1], torch.zeros_like(x)), dim=-1).reshape(-1, 3)
    corner = (torch.arange(cells)[:, None] * (cells + 1) + torch.arange(cells)).reshape(-1)
    row = cells + 1
    faces = torch.cat(
        (
            torch.stack((corner, corner + 1, corner + row + 1), dim=1),
            torch.stack((corner, corner + row + 1, corner + row), dim=1),
        )
    )
    camera = orbit_camera(0.3, 0.2, math.radians(20), 256, 256)
    alpha = render_mesh(Mesh(vertices, faces), camera).rgba[..., 3]
    outline = render_mesh(facing_quad(), camera).rgba[..., 3]
    assert torch.equal(alpha[outline == 1], torch.ones_like(alpha[outline == 1]))


def test_textures_stand_upright():
    texture = torch.zeros(8, 8, 3, dtype=torch.uint8)
    texture[:4, :4, 0] = 255  # red on the top left
    texture[:4, 4:, 1] = 255  # green on the top right
    texture[4:, :4, 2] = 255  # blue on the bottom left
    seen = render_mesh(facing_quad(materials=(Material(texture=texture),)), orbit_camera(0, 0, FOV, 64, 64)).rgba
    for row, col, color in [(22, 22, [1, 0, 0]), (22, 42, [0, 1, 0]), (42, 22, [0, 0, 1]), (42, 42, [0, 0, 0])]:
        torch.testing.assert_close(seen[row, col], torch.tensor([*color, 1.0]), atol=1e-3, rtol=0)


def test_texture_coordinates_are_perspective_correct():
    ramp = torch.arange(256, dtype=torch.uint8)[None, :, None].expand(256, 256, 3).contiguous()
    mesh = facing_quad(materials=(Material(texture=ramp),))
    camera = orbit_camera(1.0, 0.3, FOV, 128, 128)
    seen = render_mesh(mesh, camera, supersample=1)
    points = camera.unproject(seen.depth)
    expected = (points[..., 0] + 0.5) * 256 / 255 - 0.5 / 255
    inner = (seen.depth > 0) & (points[..., 0].abs() < 0.48)
    assert (seen.rgba[..., 0] - expected)[inner].abs().max() < 0.01


def test_distant_textures_are_averaged_not_sparkling():
    checker = ((torch.arange(512)[:, None] + torch.arange(512)) % 2 * 255).to(torch.uint8)
    mesh = facing_quad(materials=(Material(texture=checker[..., None].expand(-1, -1, 3).contiguous()),))
    seen = render_mesh(mesh, orbit_camera(0, 0, FOV, 32, 32)).rgba
    inner = seen[10:22, 10:22, 0]
    assert (inner - 0.5).abs().max() < 0.02


def test_texels_below_the_cutoff_are_holes():
    texture = torch.full((16, 16, 4), 255, dtype=torch.uint8)
    texture[:, 8:, 3] = 0
    front = facing_quad(materials=(Material(texture=texture, alpha_cutoff=0.5),))
    camera = orbit_camera(0, 0, FOV, 64, 64)
    seen = render_mesh(front, camera)
    assert (seen.rgba[24:40, 20:30, 3] == 1).all()
    assert (seen.rgba[24:40, 34:44, 3] == 0).all()
    assert (seen.depth[24:40, 34:44] == 0).all()
    opaque = replace(front, materials=(replace(front.materials[0], alpha_cutoff=None),))
    assert (render_mesh(opaque, camera).rgba[24:40, 34:44, 3] == 1).all()


def test_what_lies_behind_a_hole_is_seen():
    hole = torch.full((4, 4, 4), 255, dtype=torch.uint8)
    hole[..., 3] = 0
    near = facing_quad(z=0.2)
    mesh = Mesh(
        torch.cat((near.vertices, near.vertices - torch.tensor([0.0, 0.0, 0.4]))),
        torch.cat((near.faces, near.faces + 4)),
        uvs=UVS.repeat(2, 1),
        materials=(Material(texture=hole, alpha_cutoff=0.5), Material(torch.tensor([0.2, 0.4, 0.6, 1.0]))),
        face_material=torch.tensor([0, 0, 1, 1]),
    )
    camera = orbit_camera(0, 0, FOV, 32, 32)
    seen = render_mesh(mesh, camera)
    torch.testing.assert_close(seen.rgba[16, 16], torch.tensor([0.2, 0.4, 0.6, 1.0]))
    assert float(seen.depth[16, 16]) == pytest.approx(float(camera.centre[2]) + 0.2, abs=1e-5)


def test_unlit_colours_are_those_of_the_material_and_the_vertices():
    mesh = facing_quad(materials=(Material(torch.tensor([0.5, 0.25, 1.0, 1.0])),), colors=torch.full((4, 3), 0.5))
    seen = render_mesh(mesh, orbit_camera(0.2, 0.1, FOV, 32, 32))
    torch.testing.assert_close(seen.rgba[16, 16], torch.tensor([0.25, 0.125, 0.5, 1.0]))


def test_light_from_everywhere_at_intensity_one_changes_no_colour():
    lights = Lights(torch.ones(2, 3), torch.zeros(0, 3), torch.zeros(0, 3), torch.eye(3))
    mesh = facing_quad(materials=(Material(torch.tensor([0.8, 0.3, 0.05, 1.0])),))
    seen = render_mesh(mesh, orbit_camera(0, 0, FOV, 16, 16), lights=lights)
    torch.testing.assert_close(seen.rgba[8, 8, :3], torch.tensor([0.8, 0.3, 0.05]), atol=3e-3, rtol=0)


def test_a_lamp_lights_the_side_that_faces_it_by_the_cosine():
    lamp = Lights(torch.zeros(2, 3), torch.tensor([[1.0, 0.0, 0.0]]), torch.ones(1, 3), torch.eye(3))
    camera = orbit_camera(0, 0, FOV, 64, 64)
    seen = render_mesh(sphere(), camera, lights=lamp, supersample=1)
    srgb = seen.rgba[..., 0]
    linear = torch.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    solid = seen.depth > 0
    torch.testing.assert_close(linear[solid], seen.normal[..., 0].clamp_min(0)[solid], atol=6e-3, rtol=0)


def test_back_faces_are_drawn_with_normals_toward_the_viewer():
    seen = render_mesh(facing_quad(), orbit_camera(math.pi, 0, FOV, 32, 32))
    torch.testing.assert_close(seen.normal[16, 16], torch.tensor([0.0, 0.0, -1.0]))


def test_colour_at_an_outline_is_straight_not_darkened():
    mesh = facing_quad(materials=(Material(torch.tensor([0.7, 0.7, 0.7, 1.0])),))
    seen = render_mesh(mesh, orbit_camera(0.4, 0.3, FOV, 48, 48, roll=0.2), supersample=4).rgba
    edge = (seen[..., 3] > 0) & (seen[..., 3] < 1)
    assert edge.any()
    torch.testing.assert_close(seen[edge][:, 0], torch.full((int(edge.sum()),), 0.7))


def test_outlines_in_front_of_other_surfaces_grow_no_floating_points():
    near, far = facing_quad(0.3, 0.4), facing_quad(2.0, -0.4)
    mesh = Mesh(torch.cat((near.vertices, far.vertices)), torch.cat((near.faces, far.faces + 4)))
    camera = orbit_camera(0.05, 0.04, FOV, 64, 64, roll=0.3)
    z = camera.unproject(render_mesh(mesh, camera, supersample=4).depth)[..., 2]
    assert torch.minimum((z - 0.4).abs(), (z + 0.4).abs()).max() < 1e-3


def test_resolution_does_not_move_the_picture():
    camera = orbit_camera(0.7, 0.4, FOV, 64, 64)
    coarse = render_mesh(cube(), camera, supersample=8).rgba[..., 3]
    fine = render_mesh(cube(), camera.resized(512, 512), supersample=1).rgba[..., 3]
    torch.testing.assert_close(fine.unflatten(0, (64, 8)).unflatten(2, (64, 8)).mean((1, 3)), coarse)


@pytest.mark.parametrize(
    ("mesh", "complaint"),
    [
        (Mesh(torch.zeros(3, 3), torch.tensor([[0, 1, 3]])), "3 vertices"),
        (Mesh(torch.zeros(3, 3), torch.tensor([[0, 1, 2]]), face_material=torch.tensor([4])), "1 materials"),
        (facing_quad(materials=(Material(texture=torch.zeros(4, 4, 3)),)), "uint8"),
    ],
)
def test_inconsistent_meshes_are_refused(mesh, complaint):
    with pytest.raises(ValueError, match=complaint):
        render_mesh(mesh, orbit_camera(0, 0, FOV, 8, 8))


def test_distorted_cameras_are_refused():
    camera = replace(orbit_camera(0, 0, FOV, 8, 8), distortion=torch.tensor([0.1, 0.0, 0.0, 0.0]))
    with pytest.raises(ValueError, match="undistort"):
        render_mesh(cube(), camera)


@pytest.mark.parametrize("size", [4.0, 1000.0, 1e25])
def test_meshes_that_the_camera_is_inside_of_are_drawn(size):
    mesh = Mesh(chair().vertices * size, chair().faces)
    for camera in orbit_cameras(8, 0.3, size=96):
        drawn = render_mesh(mesh, camera, supersample=3).rgba
        assert torch.isfinite(drawn).all()


def test_degenerate_meshes_draw_nothing_and_do_not_fail():
    flat = Mesh(torch.zeros(3, 3), torch.tensor([[0, 1, 2]]))
    none = Mesh(torch.zeros(1, 3), torch.zeros(0, 3, dtype=torch.int64))
    for mesh in (flat, none):
        assert render_mesh(mesh, orbit_camera(0, 0, FOV, 8, 8)).rgba.abs().max() == 0
