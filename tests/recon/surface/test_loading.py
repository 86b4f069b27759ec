from __future__ import annotations

import json
import math
import struct

import numpy as np
import pytest
import torch
import trimesh
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from recon.capture import orbit_camera
from recon.surface.loading import MeshFileError, companions, load_mesh, normalised
from recon.surface.mesh import Mesh
from recon.surface.render import render_mesh

QUADRANTS = np.zeros((8, 8, 3), np.uint8)
QUADRANTS[:4, :4, 0] = 255
QUADRANTS[:4, 4:, 1] = 255
QUADRANTS[4:, :4, 2] = 255
SQUARE = np.array([[-0.5, 0.5, 0], [-0.5, -0.5, 0], [0.5, -0.5, 0], [0.5, 0.5, 0]])
UPWARD_UV = np.array([[0, 1], [0, 0], [1, 0], [1, 1]])  # v counted upward, as trimesh and OBJ do


def textured_square(**material) -> trimesh.Trimesh:
    visual = trimesh.visual.TextureVisuals(
        uv=UPWARD_UV,
        material=trimesh.visual.material.PBRMaterial(baseColorTexture=Image.fromarray(QUADRANTS), **material),
    )
    return trimesh.Trimesh(SQUARE, [[0, 1, 2], [0, 2, 3]], visual=visual, process=False)


def save_glb(tmp_path, scene):
    path = tmp_path / "mesh.glb"
    path.write_bytes(trimesh.Scene(scene).export(file_type="glb"))
    return path


def shown_corners(mesh: Mesh) -> list[list[float]]:
    seen = render_mesh(mesh, orbit_camera(0, 0, math.radians(40), 64, 64)).rgba
    return [[round(v) for v in seen[y, x, :3].tolist()] for y, x in [(22, 22), (22, 42), (42, 22)]]


def edit_header(path, change) -> None:
    """Rewrites a GLB's JSON."""
    data = path.read_bytes()
    (length,) = struct.unpack_from("<I", data, 12)
    header = json.loads(data[20 : 20 + length])
    change(header)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 4)
    rest = data[20 + length :]
    total = struct.pack("<4sII", b"glTF", 2, 20 + len(text) + len(rest))
    path.write_bytes(total + struct.pack("<I4s", len(text), b"JSON") + text + rest)


def test_a_glb_keeps_its_texture_upright(tmp_path):
    mesh = load_mesh(save_glb(tmp_path, textured_square()))
    assert shown_corners(mesh) == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]


def test_an_obj_keeps_its_texture_upright(tmp_path):
    Image.fromarray(QUADRANTS).save(tmp_path / "skin.png")
    (tmp_path / "skin.mtl").write_text("newmtl skin\nKd 1 1 1\nmap_Kd skin.png\n")
    points = "".join(f"v {x} {y} {z}\n" for x, y, z in SQUARE) + "".join(f"vt {u} {v}\n" for u, v in UPWARD_UV)
    (tmp_path / "a.obj").write_text(f"mtllib skin.mtl\n{points}usemtl skin\nf 1/1 2/2 3/3\nf 1/1 3/3 4/4\n")
    assert shown_corners(load_mesh(tmp_path / "a.obj")) == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]


def test_linear_factors_of_gltf_become_srgb(tmp_path):
    path = save_glb(tmp_path, textured_square(baseColorFactor=[55, 255, 0, 255]))
    color = load_mesh(path).materials[0].base_color
    torch.testing.assert_close(color, torch.tensor([0.5029, 1.0, 0.0, 1.0]), atol=2e-3, rtol=0)


def test_masked_materials_keep_their_cutoff(tmp_path):
    square = textured_square(alphaMode="MASK", alphaCutoff=0.25)
    square.visual.material.baseColorTexture = Image.fromarray(np.full((4, 4, 4), 100, np.uint8))
    material = load_mesh(save_glb(tmp_path, square)).materials[0]
    assert material.alpha_cutoff == pytest.approx(0.25)
    assert material.texture is not None
    assert material.texture.shape == (4, 4, 4)


def test_parts_stand_where_the_scene_puts_them_and_share_no_material(tmp_path):
    scene = trimesh.Scene()
    box = trimesh.creation.box((1, 1, 1))
    move = trimesh.transformations.translation_matrix([3, 0, 0])
    mirror = np.diag([-1.0, 1, 1, 1])
    scene.add_geometry(box, transform=move)
    scene.add_geometry(textured_square(), transform=mirror)
    mesh = load_mesh(save_glb(tmp_path, scene))
    low, high = mesh.bounds()
    assert low.tolist() == pytest.approx([-0.5, -0.5, -0.5])
    assert high.tolist() == pytest.approx([3.5, 0.5, 0.5])
    assert len(mesh.materials) == 2
    assert mesh.face_material is not None
    assert mesh.face_material.bincount().tolist() in ([12, 2], [2, 12])


def test_a_mirrored_part_is_not_turned_inside_out(tmp_path):
    scene = trimesh.Scene()
    scene.add_geometry(trimesh.creation.icosphere(subdivisions=2), transform=np.diag([-1.0, 1, 1, 1]))
    mesh = load_mesh(save_glb(tmp_path, scene))
    a, b, c = mesh.vertices[mesh.faces].unbind(1)
    assert (torch.linalg.cross(b - a, c - a) * (a + b + c)).sum(1).min() > 0


def test_normalised_meshes_touch_the_sphere_of_diameter_one():
    mesh = normalised(Mesh(torch.tensor([[1.0, 2, 3], [5, 2, 3], [1, 4, 3]]), torch.tensor([[0, 1, 2]])))
    low, high = mesh.bounds()
    torch.testing.assert_close(low, -high, atol=1e-6, rtol=0)
    assert float(mesh.vertices.norm(dim=1).max()) == pytest.approx(0.5)


def test_a_mesh_without_extent_cannot_be_normalised():
    with pytest.raises(ValueError, match="extent"):
        normalised(Mesh(torch.ones(3, 3), torch.tensor([[0, 1, 2]])))


def test_an_accessor_that_claims_too_much_is_refused_before_memory_is_taken(tmp_path):
    path = save_glb(tmp_path, textured_square())

    def inflate(header):
        header["accessors"][0] = {"componentType": 5126, "type": "MAT4", "count": 10**12}

    edit_header(path, inflate)
    with pytest.raises(MeshFileError, match="claims"):
        load_mesh(path)


def test_unsupported_compression_is_named(tmp_path):
    path = save_glb(tmp_path, textured_square())
    edit_header(path, lambda header: header.update(extensionsRequired=["KHR_draco_mesh_compression"]))
    with pytest.raises(MeshFileError, match="KHR_draco_mesh_compression"):
        load_mesh(path)


def test_an_obj_cannot_reach_outside_of_its_folder(tmp_path):
    Image.fromarray(QUADRANTS).save(tmp_path / "secret.png")
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "m.mtl").write_text("newmtl m\nmap_Kd ../secret.png\n")
    (inside / "a.obj").write_text("mtllib m.mtl\nusemtl m\nv 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nf 1/1 2/1 3/1\n")
    assert load_mesh(inside / "a.obj").materials[0].texture is None


@pytest.mark.parametrize("name", ["a.glb", "a.gltf", "a.obj", "a.stl"])
def test_garbage_is_refused_with_the_files_name(tmp_path, name):
    (tmp_path / name).write_bytes(b"this is no mesh \xff\x00" * 10)
    with pytest.raises(MeshFileError, match=name):
        load_mesh(tmp_path / name)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_glbs_raise_nothing_but_mesh_file_error(tmp_path, data):
    path = tmp_path / "mesh.glb"
    content = bytearray(trimesh.Scene(textured_square()).export(file_type="glb"))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content)
    try:
        mesh = load_mesh(path)
    except MeshFileError:
        return
    render_mesh(mesh, orbit_camera(0, 0, 0.7, 8, 8))


def test_companions_are_the_files_that_a_mesh_names_in_its_own_folder(tmp_path):
    folder = tmp_path / "given"
    (folder / "pictures").mkdir(parents=True)
    for name in ("a b.bin", "pictures/skin.png", "paint.mtl", "wood.jpg", "other.bin", "../outside.bin"):
        (folder / name).write_bytes(b"1")
    (folder / "paint.mtl").write_text("newmtl wood\nKd 1 1 1\nmap_Kd -s 1 1 1 wood.jpg\nmap_d absent.png\n")
    (folder / "a.obj").write_text("mtllib paint.mtl\nv 0 0 0\n")
    uris = {"buffers": ["a%20b.bin", "../outside.bin", "data:;base64,AA=="], "images": ["pictures/skin.png"]}
    header = {kind: [{"uri": uri} for uri in named] for kind, named in uris.items()}
    (folder / "b.gltf").write_text(json.dumps(header | {"images": [*header["images"], {"bufferView": 0}]}))
    (folder / "c.gltf").write_text("[1")

    def names(file: str) -> list[str]:
        return [path.relative_to(folder.resolve()).as_posix() for path in companions(folder / file)]

    assert names("a.obj") == ["paint.mtl", "wood.jpg"]
    assert names("b.gltf") == ["a b.bin", "pictures/skin.png"]
    assert names("c.gltf") == names("absent.gltf") == names("a b.bin") == []
