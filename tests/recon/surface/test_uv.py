"""Texture layouts: nothing overlaps, nothing stretches, nothing gets lost."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recon.surface.mesh import Mesh, face_normals, vertex_normals
from recon.surface.uv import UnwrapError, unwrap
from tests.recon.metrics.shapes import box, chair, joined, sphere
from tests.recon.surface.layouts import islands_of, report_uvs

SIZE = 256


def torus() -> Mesh:
    import trimesh

    shape = trimesh.creation.torus(0.35, 0.12, major_sections=64, minor_sections=32)
    return Mesh(torch.tensor(shape.vertices, dtype=torch.float32), torch.tensor(shape.faces, dtype=torch.int64))


@pytest.mark.parametrize(
    "mesh", [sphere(0.5, 3), torus(), chair(), box((0.3, 1, 0.5))], ids=["sphere", "torus", "chair", "box"]
)
def test_no_two_faces_share_a_texel(mesh):
    report = report_uvs(unwrap(mesh, SIZE), SIZE)
    assert report.overlapping_texels == 0
    assert report.coverage > 0.25


@pytest.mark.parametrize("mesh", [sphere(0.5, 3), torus()], ids=["sphere", "torus"])
def test_texels_are_spread_evenly_over_smooth_shapes(mesh):
    assert report_uvs(unwrap(mesh, SIZE), SIZE).density_spread < 0.15


def test_the_surface_stays_the_same():
    mesh = torus()
    flat = unwrap(mesh, SIZE)
    torch.testing.assert_close(flat.vertices[flat.faces], mesh.vertices[mesh.faces])
    assert flat.uvs is not None
    assert 0 <= float(flat.uvs.min()) <= float(flat.uvs.max()) <= 1


def test_smooth_normals_do_not_show_the_seams():
    mesh = sphere(0.5, 3)
    flat = unwrap(mesh, SIZE)
    assert flat.normals is not None
    expected = vertex_normals(mesh.vertices, mesh.faces)
    torch.testing.assert_close(flat.normals[flat.faces], expected[mesh.faces], atol=1e-5, rtol=0)


def test_colours_and_materials_follow_their_vertices():
    mesh = sphere(0.5, 2)
    coloured = Mesh(
        mesh.vertices, mesh.faces, colors=mesh.vertices + 0.5, face_material=torch.arange(len(mesh.faces)) % 2
    )
    flat = unwrap(coloured, SIZE)
    assert flat.colors is not None
    torch.testing.assert_close(flat.colors, flat.vertices + 0.5)
    assert flat.face_material is coloured.face_material


def test_faces_are_seen_from_outside_in_the_texture():
    flat = unwrap(torus(), SIZE)
    assert flat.uvs is not None
    points = torch.cat((flat.uvs * torch.tensor([1.0, -1.0]), torch.zeros(len(flat.uvs), 1)), 1)
    turning = face_normals(points, flat.faces)[:, 2]
    assert bool((turning > 0).all()) or bool((turning < 0).all())


def test_islands_keep_their_distance():
    from scipy.ndimage import distance_transform_edt

    from recon.surface._texel_kernels import rasterize_atlas

    flat = unwrap(sphere(0.5, 3), SIZE, padding=6)
    owner, _, _ = rasterize_atlas(flat.uvs.double().numpy() * SIZE, flat.faces.numpy(), SIZE)
    # Twice in both directions: textures repeat.
    owner = np.tile(owner, (2, 2))
    islands = np.where(owner >= 0, islands_of(flat.faces.numpy(), len(flat.vertices))[owner], -1)
    assert len(np.unique(islands)) > 2
    for island in np.unique(islands[islands >= 0]):
        others = (islands >= 0) & (islands != island)
        assert distance_transform_edt(~others)[islands == island].min() >= 6


def test_crumpled_soup_still_gets_a_layout():
    generator = torch.Generator().manual_seed(0)
    vertices = torch.rand(300, 3, generator=generator)
    faces = torch.randint(0, 300, (80, 3), generator=generator)
    report = report_uvs(unwrap(Mesh(vertices, faces), 1024, padding=2), 1024)
    assert report.overlapping_texels == 0


def test_faces_that_lie_on_each_other_get_texels_of_their_own():
    vertices = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]])
    report = report_uvs(unwrap(Mesh(vertices, torch.tensor([[0, 1, 2]] * 2)), SIZE), SIZE)
    assert report.overlapping_texels == 0
    assert report.charts == 2


def test_a_surface_that_winds_over_itself_is_cut_until_nothing_overlaps():
    """Forty turns of a ramp: every face looks up, so that they first come as one chart."""
    angle = torch.arange(401) * (40 * 2 * torch.pi / 400)
    rim = torch.stack((angle.cos(), 0.001 * angle, angle.sin()), -1)
    inner = rim * torch.tensor([0.5, 1.0, 0.5])
    step = torch.arange(400)[:, None]
    faces = torch.cat((step + torch.tensor([0, 401, 1]), step + torch.tensor([1, 401, 402])))
    flat = unwrap(Mesh(torch.cat((rim, inner)), faces), 1024, padding=2)
    assert report_uvs(flat, 1024).overlapping_texels == 0


def test_the_same_mesh_gets_the_same_layout():
    first, second = unwrap(torus(), SIZE), unwrap(torus(), SIZE)
    assert first.uvs is not None
    assert second.uvs is not None
    assert torch.equal(first.uvs, second.uvs)


def test_meshes_without_faces_or_area_are_refused():
    with pytest.raises(UnwrapError, match="without faces"):
        unwrap(Mesh(torch.zeros(3, 3), torch.zeros(0, 3, dtype=torch.int64)), SIZE)
    with pytest.raises(ValueError, match="without area"):
        unwrap(Mesh(torch.zeros(3, 3), torch.tensor([[0, 1, 2]])), SIZE)


def test_too_many_islands_for_a_texture_are_refused_with_a_remedy():
    cubes = joined(*[box((0.01, 0.01, 0.01), (0.05 * i, 0, 0)) for i in range(40)])
    with pytest.raises(ValueError, match="larger texture"):
        unwrap(cubes, 16)
