"""The plain formats, read back by trimesh."""

from __future__ import annotations

import pytest
import torch
import trimesh

from recon.asset import AssetError, write_mesh
from recon.surface.mesh import Material, Mesh
from recon.surface.uv import unwrap
from tests.recon.metrics.shapes import box, sphere


@pytest.mark.parametrize("extension", [".obj", ".stl", ".ply"])
def test_shape_and_size_survive(tmp_path, extension):
    mesh = sphere(0.4, 2)
    path = tmp_path / f"ball{extension}"
    write_mesh(mesh, path, size=2.0)
    back = trimesh.load(path, force="mesh")
    assert len(back.faces) == len(mesh.faces)
    assert back.extents.max() == pytest.approx(2.0, rel=1e-5)
    assert back.is_watertight
    assert back.volume > 0


def test_obj_brings_its_texture_the_right_way_up(tmp_path):
    flat = unwrap(sphere(0.5, 2), 64)
    texture = torch.zeros(64, 64, 3, dtype=torch.uint8)
    texture[:32, :, 0] = 255
    mesh = Mesh(flat.vertices, flat.faces, flat.uvs, materials=(Material(texture=texture, name="my skin"),))
    write_mesh(mesh, tmp_path / "ball.obj")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["ball.mtl", "ball.obj", "ball.png"]
    back = trimesh.load(tmp_path / "ball.obj", force="mesh", process=False)
    assert back.visual.material.image.size == (64, 64)
    assert back.visual.material.image.getpixel((5, 5))[0] == 255
    # trimesh counts v from the bottom, as OBJ does
    assert flat.uvs is not None
    found = torch.tensor(back.visual.uv, dtype=torch.float32)[torch.tensor(back.faces)]
    torch.testing.assert_close(1 - found[..., 1], flat.uvs[flat.faces][..., 1], atol=1e-5, rtol=0)


def test_ply_keeps_vertex_colours(tmp_path):
    cube = box()
    colors = torch.linspace(0, 1, 24).reshape(8, 3)
    write_mesh(Mesh(cube.vertices, cube.faces, colors=colors), tmp_path / "cube.ply")
    back = trimesh.load(tmp_path / "cube.ply", process=False)
    assert back.visual.vertex_colors[:, :3].tolist() == (colors * 255).round().int().tolist()


def test_unknown_extensions_are_refused(tmp_path):
    with pytest.raises(AssetError, match=r"\.obj, \.stl, \.ply"):
        write_mesh(box(), tmp_path / "cube.fbx")
