from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.interpolate import CubicHermiteSpline

from recon.surface.loading import load_mesh
from recon.surface.rigged import RiggedFileError, load_rigged, normalised_over
from tests.recon.surface.rigs import QUARTER, Glb, edited, triangle, two_bones
from tests.recon.surface.test_loading import QUADRANTS, SQUARE, UPWARD_UV, save_glb, textured_square
from tests.shared_data import shared_path


def load(glb: Glb, tmp_path):
    return load_rigged(glb.write(tmp_path / "a.glb"))


def corner(glb: Glb, tmp_path, time: float) -> list[float]:
    """Where the triangle's corner (1, 0, 0) is."""
    return load(glb, tmp_path).vertices_at(0, time)[1].tolist()


@pytest.mark.parametrize(("time", "turned"), [(0, 0), (0.5, 22.5), (1, 45), (2, 90), (9, 90)])
def test_a_bent_strip_lies_where_two_bones_put_it(tmp_path, time, turned):
    rigged = load(two_bones(), tmp_path)
    assert [(clip.name, clip.duration) for clip in rigged.clips] == [("move", 2.0)]
    c, s = math.cos(math.radians(turned)), math.sin(math.radians(turned))
    turn, joint = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]), np.array([0, 1, 0])
    rest = np.array([[x, y, 0.0] for y in (0, 1, 2) for x in (0, 1)])
    upper = (rest - joint) @ turn.T + joint
    expected = np.concatenate((rest[:2], (rest[2:4] + upper[2:4]) / 2, upper[4:]))
    posed = rigged.posed(0, time)
    np.testing.assert_allclose(posed.vertices.numpy(), expected, atol=1e-6)
    torch.testing.assert_close(posed.normals, torch.tensor([[0.0, 0, 1]]).expand(6, 3), atol=1e-6, rtol=0)
    assert torch.equal(posed.vertices, rigged.vertices_at(0, time))


def test_the_mesh_itself_is_in_the_pose_that_the_nodes_store(tmp_path):
    glb = edited(two_bones(), lambda h: h["nodes"][1].update(translation=[0, 0, 5]))
    np.testing.assert_allclose(load(glb, tmp_path).mesh.vertices[:, 2].numpy(), 5)


def test_skinned_normals_turn_with_their_bones(tmp_path):
    glb = two_bones()
    glb.header["animations"] = []
    glb.clip((1, "rotation", [0, 1], [[0, 0, 0, 1], [QUARTER, 0, 0, QUARTER]], "LINEAR"))  # about +x: z goes to -y
    normals = load(glb, tmp_path).posed(0, 1).normals
    torch.testing.assert_close(normals, torch.tensor([[0.0, -1, 0]]).expand(6, 3), atol=1e-6, rtol=0)


def test_normals_that_the_file_does_not_have_are_computed(tmp_path):
    glb = triangle()
    glb.clip((0, "rotation", [0, 1], [[0, 0, 0, 1], [0, QUARTER, 0, QUARTER]], "LINEAR"))  # about +y: z goes to x
    torch.testing.assert_close(
        load(glb, tmp_path).posed(0, 1).normals, torch.tensor([[1.0, 0, 0]]).expand(3, 3), atol=1e-6, rtol=0
    )


def test_without_inverse_bind_matrices_they_are_the_identity(tmp_path):
    glb = edited(two_bones(), lambda h: h["skins"][0].pop("inverseBindMatrices"))
    top = load(glb, tmp_path).vertices_at(0, 0)[4]
    assert top.tolist() == pytest.approx([0, 3, 0])  # the upper bone's place counts twice


def test_a_step_holds_its_value_until_the_next_key(tmp_path):
    glb = triangle()
    glb.clip((0, "translation", [0.5, 1, 2], [[1, 0, 0], [2, 0, 0], [3, 0, 0]], "STEP"))
    assert [corner(glb, tmp_path, t)[0] for t in (0, 0.5, 0.99, 1, 1.99, 2, 7)] == [2, 2, 2, 3, 3, 4, 4]


def test_a_cubic_spline_follows_its_tangents(tmp_path):
    times = np.array([0.5, 1.25, 3])
    rng = np.random.default_rng(0)
    into, values, out = rng.normal(size=(3, 3, 3))
    glb = triangle()
    glb.clip((0, "translation", times, np.stack((into, values, out), axis=1).reshape(-1, 3), "CUBICSPLINE"))
    rigged = load(glb, tmp_path)
    for first in (0, 1):
        ends = slice(first, first + 2)
        spline = CubicHermiteSpline(times[ends], values[ends], np.stack((out[first], into[first + 1])))
        for time in np.linspace(times[first], times[first + 1], 7):
            np.testing.assert_allclose(rigged.vertices_at(0, time)[0].numpy(), spline(time), atol=1e-5)


def test_a_rotation_by_a_cubic_spline_stays_one(tmp_path):
    flat = [0, 0, 0, 0]
    glb = triangle()
    keys = [flat, [0, 0, 0, 1], flat, flat, [0, 0, QUARTER, QUARTER], flat]
    glb.clip((0, "rotation", [0, 1], keys, "CUBICSPLINE"))
    point = np.array(corner(glb, tmp_path, 0.5))
    np.testing.assert_allclose(point, [QUARTER, QUARTER, 0], atol=1e-6)


def test_rotations_take_the_shorter_way_at_even_speed(tmp_path):
    glb = triangle()
    third = np.array([0, 0, math.sin(math.pi / 3), math.cos(math.pi / 3)])  # by 120 degrees
    glb.clip((0, "rotation", [0, 1], [[0, 0, 0, 1], -third], "LINEAR"))
    for time, degrees in ((0.25, 30), (0.5, 60), (1, 120)):
        angle = math.radians(degrees)
        assert corner(glb, tmp_path, time) == pytest.approx([math.cos(angle), math.sin(angle), 0], abs=1e-6)


def test_an_unskinned_mesh_follows_its_animated_parents(tmp_path):
    glb = triangle(scale=[2, 1, 1])
    parent = {"children": [0], "matrix": [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 10, 1]}  # column by column
    glb.header |= {"nodes": [*glb.header["nodes"], parent, {"children": [1]}], "scenes": [{"nodes": [2]}]}
    glb.clip((2, "translation", [0, 1], [[0, 0, 0], [0, 4, 0]], "LINEAR"))
    assert corner(glb, tmp_path, 0.5) == pytest.approx([2, 2, 10])


@pytest.mark.parametrize("animated", [False, True])
def test_morph_targets_add_up_by_their_weights(tmp_path, animated):
    glb = triangle()
    places, values = glb.view(np.array([1], np.uint16).tobytes()), glb.view(np.array([[0, 0, 8]], np.float32).tobytes())
    sparse = {
        "count": 1,
        "indices": {"bufferView": places, "componentType": 5123},
        "values": {"bufferView": values},
    }
    (primitive,) = glb.header["meshes"][0]["primitives"]
    primitive["targets"] = [
        {"POSITION": glb.accessor(np.zeros((3, 3)), sparse=sparse)},
        {"POSITION": glb.accessor([[0, 1, 0]] * 3)},
    ]
    glb.header["meshes"][0]["weights"] = [0.5, 1]
    if animated:
        glb.clip((0, "weights", [0, 1], [0, 0, 1, 2], "LINEAR"))
        rigged = load(glb, tmp_path)
        assert rigged.vertices_at(0, 0.25)[1].tolist() == pytest.approx([1, 0.5, 2])
    else:
        rigged = load(glb, tmp_path)
    assert rigged.mesh.vertices[1].tolist() == pytest.approx([1, 1, 4])
    assert rigged.mesh.vertices[0].tolist() == pytest.approx([0, 1, 0])


def test_interleaved_and_normalised_numbers_are_what_they_stand_for(tmp_path):
    glb = two_bones()
    rows = np.zeros(6, [("position", "<f4", 3), ("weights", "u1", 4), ("joints", "u1", 4)])
    rows["position"] = [[x, y, 0] for y in (0, 1, 2) for x in (0, 1)]
    rows["weights"] = [[255, 0, 0, 0]] * 2 + [[128, 128, 0, 0]] * 2 + [[0, 255, 0, 0]] * 2
    rows["joints"] = [0, 1, 200, 200]  # no such joints, but no weight either
    shared: dict[str, Any] = {"bufferView": glb.view(rows.tobytes(), byteStride=rows.itemsize)}
    attributes = glb.header["meshes"][0]["primitives"][0]["attributes"]
    attributes |= {
        "POSITION": glb.accessor(rows["position"], **shared),
        "WEIGHTS_0": glb.accessor(rows["weights"], "uint8", normalized=True, byteOffset=12, **shared),
        "JOINTS_0": glb.accessor(rows["joints"], "uint8", byteOffset=16, **shared),
    }
    for time in (0, 1.3):
        torch.testing.assert_close(
            load(glb, tmp_path).vertices_at(0, time), load(two_bones(), tmp_path).vertices_at(0, time)
        )


def test_a_second_set_of_joints_counts_as_well(tmp_path):
    glb = two_bones()
    attributes = glb.header["meshes"][0]["primitives"][0]["attributes"]
    attributes["WEIGHTS_1"] = attributes["WEIGHTS_0"]
    attributes["JOINTS_1"] = attributes["JOINTS_0"]
    attributes["WEIGHTS_0"] = glb.accessor(np.zeros((6, 4)))
    expected = load(two_bones(), tmp_path).vertices_at(0, 1)
    torch.testing.assert_close(load(glb, tmp_path).vertices_at(0, 1), expected)


def test_strips_and_fans_are_triangles_that_face_one_way(tmp_path):
    for mode in (5, 6):
        glb = triangle()
        square = [[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]] if mode == 5 else SQUARE
        primitive = {"attributes": {"POSITION": glb.accessor(square)}, "mode": mode}
        glb.header["meshes"][0]["primitives"] = [primitive]
        mesh = load(glb, tmp_path).mesh
        a, b, c = mesh.vertices[mesh.faces].unbind(1)
        area = torch.linalg.cross(b - a, c - a) / 2
        torch.testing.assert_close(area, torch.tensor([[0.0, 0, 0.5]] * 2))


def test_a_mirrored_part_is_not_turned_inside_out(tmp_path):
    mesh = load(triangle(scale=[-1, 1, 1]), tmp_path).mesh
    a, b, c = mesh.vertices[mesh.faces[0]]
    assert torch.linalg.cross(b - a, c - a)[2] > 0


def test_appearance_is_what_the_reader_of_still_meshes_sees(tmp_path):
    square = textured_square(baseColorFactor=[55, 255, 0, 255], alphaMode="MASK", alphaCutoff=0.25)
    path = save_glb(tmp_path, square)
    still, rigged = load_mesh(path), load_rigged(path).mesh
    (expected,), (found,) = still.materials, rigged.materials
    torch.testing.assert_close(found.base_color, expected.base_color, atol=2e-3, rtol=0)
    assert torch.equal(found.texture, expected.texture)
    assert torch.equal(found.texture, torch.from_numpy(QUADRANTS))
    torch.testing.assert_close(rigged.uvs, still.uvs)
    torch.testing.assert_close(rigged.vertices, still.vertices)
    assert torch.equal(rigged.faces, still.faces)
    torch.testing.assert_close(rigged.uvs[:, 1], torch.from_numpy(1.0 - UPWARD_UV[:, 1]).float())


def test_parts_keep_their_materials_and_linear_colours_become_srgb(tmp_path):
    glb = two_bones()
    position = glb.accessor([[0, 0, 0], [1, 0, 0], [0, 1, 0]])
    painted = glb.accessor([[55, 255, 0, 255]] * 3, "uint8", normalized=True)
    part = {"attributes": {"POSITION": position, "COLOR_0": painted}, "material": 0}
    glb.header["materials"] = [{"name": "red", "pbrMetallicRoughness": {"baseColorFactor": [1, 0, 0, 1]}}]
    glb.header["meshes"][0]["primitives"].append(part)
    mesh = load(glb, tmp_path).mesh
    assert [m.name for m in mesh.materials] == ["material", "red"]
    assert mesh.face_material.tolist() == [0, 0, 0, 0, 1]
    torch.testing.assert_close(mesh.colors[0], torch.ones(3))
    torch.testing.assert_close(mesh.colors[-1], torch.tensor([0.5029, 1, 0]), atol=2e-3, rtol=0)


def test_a_gltf_with_its_buffer_beside_it_is_read_and_one_elsewhere_is_not(tmp_path):
    glb = two_bones()
    (tmp_path / "inside").mkdir()
    for name, uri in (("near", "a%20b.bin"), ("far", "../a b.bin")):
        header = glb.header | {"buffers": [{"byteLength": len(glb.data), "uri": uri}]}
        (tmp_path / "inside" / f"{name}.gltf").write_text(json.dumps(header))
    (tmp_path / "inside" / "a b.bin").write_bytes(glb.data)
    (tmp_path / "a b.bin").write_bytes(glb.data)
    near = load_rigged(tmp_path / "inside" / "near.gltf")
    assert torch.equal(near.vertices_at(0, 1), load(two_bones(), tmp_path).vertices_at(0, 1))
    with pytest.raises(RiggedFileError, match="not in its folder"):
        load_rigged(tmp_path / "inside" / "far.gltf")


def test_a_whole_clip_fits_the_sphere_of_diameter_one(tmp_path):
    glb = triangle()
    glb.clip((0, "translation", [0, 1], [[3, 0, 0], [9, 0, 0]], "LINEAR"))
    rigged = load(glb, tmp_path)
    fit = normalised_over(rigged, 0, samples=3)
    poses = fit.apply(torch.cat([rigged.vertices_at(0, t) for t in (0, 0.5, 1)]))
    assert float(poses.norm(dim=1).max()) == pytest.approx(0.5)
    torch.testing.assert_close(poses.min(0).values, -poses.max(0).values, atol=1e-6, rtol=0)
    assert fit.scale < normalised_over(rigged, 0, samples=1).scale / 3


HOSTILE = {
    "claims": lambda h: h["accessors"][0].update(count=10**12),
    "more than": lambda h: (
        h["accessors"].append({"componentType": 5126, "type": "MAT4", "count": 10**7})
        or h["skins"][0].update(inverseBindMatrices=len(h["accessors"]) - 1)
    ),
    "ends? at byte": lambda h: h["bufferViews"][0].update(byteLength=10**9),
    "elements end": lambda h: h["accessors"][0].update(byteOffset=8),
    "hangs on joint 1 of 1": lambda h: h["skins"][0].update(joints=[1]),
    "circle": lambda h: h["nodes"][2].update(children=[1]),
    "two parents": lambda h: h["nodes"][0].update(children=[2]),
    "points to -1": lambda h: h["skins"][0].update(joints=[1, -1]),
    "points to 99": lambda h: h["scenes"][0].update(nodes=[99]),
    "is no translation": lambda h: h["nodes"][2].update(translation=[0, float("nan"), 0]),
    "is no matrix": lambda h: h["nodes"][1].update(matrix=[1, 2, 3]),
    "has a matrix and is animated": lambda h: h["nodes"][2].update(matrix=np.eye(4).ravel().tolist()),
    "is no interpolation": lambda h: h["animations"][0]["samplers"][0].update(interpolation="CATMULL"),
    "6 keys": lambda h: (
        h["animations"][0]["samplers"][0].update(input=len(h["accessors"]))
        or h["accessors"].append(h["accessors"][0] | {"type": "SCALAR", "count": 6})
    ),
    "matrices for 2 joints": lambda h: h["accessors"][h["skins"][0]["inverseBindMatrices"]].update(count=1),
    "no triangles": lambda h: h["nodes"][0].pop("mesh"),
    "beyond all numbers": lambda h: h["nodes"][1].update(scale=[1e300] * 3),
    "KHR_anything": lambda h: h.update(extensionsRequired=["KHR_anything"]),
    "no list of objects": lambda h: h.update(nodes=[1, 2]),
    "cannot be read as glTF": lambda h: h["meshes"][0].update(primitives=3),
}


@pytest.mark.parametrize("message", HOSTILE)
def test_hostile_files_are_refused_by_what_is_wrong(tmp_path, message):
    path = edited(two_bones(), HOSTILE[message]).write(tmp_path / "hostile.glb")
    with pytest.raises(RiggedFileError, match=rf"hostile\.glb.*{message}"):
        load_rigged(path)


@pytest.mark.parametrize("kind", ["POSITION", "rotation"])
def test_numbers_that_are_none_are_refused(tmp_path, kind):
    glb = two_bones()
    if kind == "POSITION":
        index = glb.header["meshes"][0]["primitives"][0]["attributes"][kind]
    else:
        index = glb.header["animations"][0]["samplers"][0]["output"]
    start = glb.header["bufferViews"][glb.header["accessors"][index]["bufferView"]]["byteOffset"]
    glb.data[start : start + 4] = np.float32("nan").tobytes()
    with pytest.raises(RiggedFileError, match="NaN"):
        load(glb, tmp_path)


def test_a_vertex_whose_weights_are_no_numbers_stays_with_the_first_joint(tmp_path):
    glb = two_bones()
    index = glb.header["meshes"][0]["primitives"][0]["attributes"]["WEIGHTS_0"]
    start = glb.header["bufferViews"][glb.header["accessors"][index]["bufferView"]]["byteOffset"]
    glb.data[start + 80 : start + 96] = np.full(4, np.nan, np.float32).tobytes()
    assert load(glb, tmp_path).vertices_at(0, 2)[5].tolist() == pytest.approx([1, 2, 0])


@pytest.mark.parametrize("name", ["a.glb", "a.gltf", "a.obj"])
def test_garbage_is_refused_with_the_files_name(tmp_path, name):
    (tmp_path / name).write_bytes(b"this moves nothing \xff\x00" * 10)
    with pytest.raises(RiggedFileError, match=name):
        load_rigged(tmp_path / name)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files_raise_nothing_but_rigged_file_error(tmp_path, data):
    content = bytearray(two_bones().write(tmp_path / "a.glb").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content)))]
    (tmp_path / "a.glb").write_bytes(content)
    try:
        rigged = load_rigged(tmp_path / "a.glb")
    except RiggedFileError:
        return
    for clip in range(len(rigged.clips)):
        rigged.posed(clip, 0.7)


def test_every_shared_file_poses_in_all_its_clips():
    files = sorted(shared_path("animated").glob("*.glb"))
    assert len(files) == 85
    for file in files:
        rigged = load_rigged(file)
        assert rigged.clips
        for clip, found in enumerate(rigged.clips):
            posed = rigged.posed(clip, 0.4 * found.duration)
            assert torch.isfinite(posed.vertices).all(), file
            assert ((posed.normals.norm(dim=1) - 1).abs() < 1e-3).all(), file


def test_a_real_fox_runs_and_its_feet_stay_above_the_ground():
    fox = load_rigged(shared_path("animated/gltf_Fox.glb"))
    assert [clip.name for clip in fox.clips] == ["Survey", "Walk", "Run"]
    assert fox.mesh.materials[0].texture is not None
    run = fox.clips[2].duration
    poses = torch.stack([fox.vertices_at(2, t) for t in np.linspace(0, run, 9)])
    span = fox.mesh.bounds()[1][1] - fox.mesh.bounds()[0][1]
    assert -0.05 * span < poses[..., 1].min() < 0.1 * span
    assert (poses[0] - poses[-1]).norm(dim=1).max() < 0.02 * span  # it is a cycle
    assert (poses[0] - poses[4]).norm(dim=1).max() > 0.2 * span
