from __future__ import annotations

import io
import json
import sys
import zipfile
from pathlib import Path

import pytest
import torch
import trimesh

from gen.data.downloads import DownloadError
from gen.data.foreign import MAX_FILES, OriginError, collect, references
from gen.data.origins import Package, Places, load_origin, read_origins
from pipelines.evaluation.sets import shipped
from tests.gen.origin_lists import EXTENTS, SIDES, box_files, entry, packed_entry, png, write_list
from tests.shared_data import shared_path

COLLADA = """<?xml version="1.0"?>
<COLLADA xmlns="http://www.collada.org/2005/11/COLLADASchema" version="1.4.1"><asset><up_axis>Z_UP</up_axis></asset>
<library_images><image id="paint"><init_from>../textures/paint.png</init_from></image></library_images>
<library_effects><effect id="effect"><profile_COMMON>
<newparam sid="surface"><surface type="2D"><init_from>paint</init_from></surface></newparam>
<newparam sid="sampler"><sampler2D><source>surface</source></sampler2D></newparam>
<technique sid="common"><lambert><diffuse><texture texture="sampler" texcoord="UV"/></diffuse></lambert></technique>
</profile_COMMON></effect></library_effects>
<library_materials><material id="material"><instance_effect url="#effect"/></material></library_materials>
<library_geometries><geometry id="geometry"><mesh>
<source id="places"><float_array id="places-array" count="12">0 0 0 1 0 0 0 2 0 0 0 4</float_array><technique_common>
<accessor source="#places-array" count="4" stride="3"><param name="X" type="float"/><param name="Y" type="float"/>
<param name="Z" type="float"/></accessor></technique_common></source>
<source id="uvs"><float_array id="uvs-array" count="2">0.5 0.5</float_array><technique_common>
<accessor source="#uvs-array" count="1" stride="2"><param name="S" type="float"/><param name="T" type="float"/>
</accessor></technique_common></source>
<vertices id="vertices"><input semantic="POSITION" source="#places"/></vertices>
<triangles count="4" material="symbol"><input semantic="VERTEX" source="#vertices" offset="0"/>
<input semantic="TEXCOORD" source="#uvs" offset="1" set="0"/>
<p>0 0 2 0 1 0 0 0 1 0 3 0 0 0 3 0 2 0 1 0 2 0 3 0</p></triangles></mesh></geometry></library_geometries>
<library_visual_scenes><visual_scene id="scene"><node><instance_geometry url="#geometry"><bind_material>
<technique_common><instance_material symbol="symbol" target="#material"><bind_vertex_input semantic="UV"
input_semantic="TEXCOORD" input_set="0"/></instance_material></technique_common></bind_material></instance_geometry>
</node></visual_scene></library_visual_scenes><scene><instance_visual_scene url="#scene"/></scene></COLLADA>
"""


def only(tmp_path: Path, line: dict):
    (origin,) = read_origins(write_list(tmp_path / "list.jsonl", line))
    return origin


def test_the_shipped_list_holds_the_sixty_objects_of_the_evaluation():
    origins = read_origins(shipped("validation.jsonl"))
    assert len(origins) == 60
    assert all(origin.info.licence and origin.info.author and origin.info.group for origin in origins)
    assert {origin.info.tier for origin in origins} == {"A", "B", "C"}
    assert all(float(origin.extents.norm()) >= 1 - 1e-3 for origin in origins), "a box lies in its sphere"


def test_the_shipped_list_agrees_with_the_packed_objects():
    known = {}
    for line in shared_path("objects/manifest_train.jsonl").read_text().splitlines():
        known[json.loads(line)["id"]] = json.loads(line)
    listed = shared_path("objects/validation.txt").read_text().split()
    origins = read_origins(shipped("validation.jsonl"))
    assert sorted(o.info.id for o in origins) == sorted(listed)
    for origin in origins:
        packed = known[origin.info.id]
        width, depth, height = packed["ext"]
        assert torch.allclose(origin.extents, torch.tensor([width, height, depth]), atol=2e-3)
        keys = ("tier", "group", "kind", "licence", "author")
        assert [getattr(origin.info, key) for key in keys] == [packed[key] for key in keys]
        assert packed["path"].endswith(origin.path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("garbage", "line 1: expected an object and its origin"),
        ("5", "line 1: expected an object and its origin"),
        ("[" * 10_000, "line 1: expected an object and its origin"),
        (json.dumps({"id": "box"}), "line 1: expected a field 'path', found none"),
        (json.dumps(entry("../box")), "is no file name"),
        (json.dumps(entry(path="../box.obj")), "is not a plain path"),
        (json.dumps(entry(path="/box.obj")), "is not a plain path"),
        (json.dumps(entry(repository="http://example.org/x")), "is not owner/name at a full commit hash"),
        (json.dumps(entry(commit="master")), "is not owner/name at a full commit hash"),
        (json.dumps(entry(sha256="12")), "is not a SHA-256"),
        (json.dumps(entry(axes=["+x", "+z", "+y"])), "do not make a rotation"),
        (json.dumps(entry(axes=["+x", "+x", "+y"])), "do not make a rotation"),
        (json.dumps(entry(axes=["+x", "up", "+y"])), "'up' is not an axis"),
        (json.dumps(entry(axes=["+x"])), "expected an object and its origin"),
        (json.dumps(entry(extents=[1, 2, 3])), "are not three sides of a box"),
        (json.dumps(entry(extents=[0.1, 0.2, float("nan")])), "are not three sides of a box"),
        (json.dumps(entry(moved={"a.png": "../../../a.png"})), "is not a plain path"),
        (json.dumps(packed_entry("box", b"") | {"package": ["http://deb.debian.org/x.deb"]}), "needs https addresses"),
        (f"{json.dumps(entry())}\n{json.dumps(entry())}", "line 2: 'box' is listed twice"),
        ("", "expected objects, one JSON object a line, found none"),
    ],
)
def test_a_list_that_is_wrong_is_refused_with_its_line(tmp_path, line, message):
    (tmp_path / "list.jsonl").write_text(line)
    with pytest.raises(OriginError, match=message):
        read_origins(tmp_path / "list.jsonl")


def test_a_list_that_is_missing_or_no_text_is_refused(tmp_path):
    with pytest.raises(OriginError, match=r"list\.jsonl: cannot be read"):
        read_origins(tmp_path / "list.jsonl")
    (tmp_path / "list.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(OriginError, match=r"list\.jsonl: cannot be read"):
        read_origins(tmp_path / "list.jsonl")


def test_an_object_is_turned_into_our_frame_with_its_picture(tmp_path):
    mesh = load_origin(only(tmp_path, entry()), box_files().__getitem__)
    low, high = mesh.bounds()
    assert torch.allclose(high, torch.tensor(EXTENTS) / 2, atol=1e-5)
    assert torch.allclose(low, -high, atol=1e-5)
    (material,) = mesh.materials
    assert material.base_color.tolist() == [1, 1, 1, 1], "a picture shows in its own colours"
    assert material.texture[0, 0].tolist() == [200, 30, 10]


def test_a_mesh_file_that_was_exchanged_is_refused(tmp_path):
    files = box_files() | {"toys/box/box.obj": b"v 0 0 0\n"}
    with pytest.raises(DownloadError, match=r"toys/box/box\.obj: expected the file with SHA-256"):
        load_origin(only(tmp_path, entry()), files.__getitem__)


def test_wrong_axes_show_in_the_box(tmp_path):
    with pytest.raises(OriginError, match=r"its box should be 0\.218 × 0\.873 × 0\.436, is 0\.218 × 0\.436 × 0\.873"):
        load_origin(only(tmp_path, entry(axes=["+x", "+y", "+z"])), box_files().__getitem__)


def test_files_that_are_elsewhere_or_lacking_are_listed(tmp_path):
    files = {"toys/box/box.obj": box_files()["toys/box/box.obj"], "pictures/red.png": png()}
    line = entry(
        moved={"paint.png": "../../pictures/red.png"}, supplied={"box.mtl": "newmtl paint\nmap_Kd paint.png\n"}
    )
    mesh = load_origin(only(tmp_path, line), files.__getitem__)
    assert mesh.materials[0].texture[0, 0].tolist() == [200, 30, 10]


@pytest.mark.parametrize("name", ["../../x.png", "../x.png", "/etc/x.png", "https://example.org/x.png", "..\\x.png"])
def test_a_file_outside_of_the_mesh_s_folder_is_never_asked_for(tmp_path, name):
    files = box_files() | {"toys/box/box.mtl": f"newmtl paint\nmap_Kd {name}\n".encode()}
    asked = []

    def read(path: str) -> bytes:
        asked.append(path)
        return files[path]

    with pytest.raises(OriginError, match=r"box\.mtl: names the file .* not in its own folder"):
        load_origin(only(tmp_path, entry()), read)
    assert asked == ["toys/box/box.obj", "toys/box/box.mtl"]


def test_a_mesh_that_names_very_many_files_is_refused():
    files = {"box.obj": b"".join(b"mtllib %d.mtl\n" % i for i in range(MAX_FILES + 1))}
    with pytest.raises(OriginError, match="more than 64 files"):
        collect("box.obj", lambda path: files.get(path, b""))


def test_gltf_names_its_buffers_and_images():
    document = {"buffers": [{"uri": "a.bin"}, {"uri": "data:;base64,AAAA"}], "images": [{"uri": "a.png"}, {}]}
    assert references("x/a.gltf", json.dumps(document).encode()) == ["a.bin", "a.png"]


@pytest.mark.parametrize(
    ("path", "data"),
    [("a.gltf", b"no"), ("a.gltf", b"[]"), ("a.gltf", b'{"buffers": [1]}'), ("a.glb", b"glTF"), ("a.dae", b"no")],
)
def test_damaged_files_are_refused(path, data):
    with pytest.raises(OriginError, match=r"^a\."):
        references(path, data)


def test_collada_with_entities_is_refused():
    with pytest.raises(OriginError, match="document type"):
        references("a.dae", b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaa">]><x>&a;</x>')


def test_collada_without_its_reader_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "collada", None)
    with pytest.raises(OriginError, match=r"pycollada .* install turnabout\[evaluate\]"):
        load_origin(only(tmp_path, entry(path="a.dae")), box_files().__getitem__)


def test_collada_is_read_with_its_picture(tmp_path):
    pytest.importorskip("collada", reason="pycollada is not installed (extra evaluate)")
    data = COLLADA.encode()
    files = {"toys/meshes/a.dae": data, "toys/textures/paint.png": png()}
    mesh = load_origin(only(tmp_path, entry(path="toys/meshes/a.dae", data=data)), files.__getitem__)
    assert len(mesh.faces) == 4
    assert mesh.materials[0].texture[0, 0].tolist() == [200, 30, 10]


def test_draco_is_read(tmp_path):
    pytest.importorskip("DracoPy", reason="DracoPy is not installed (extra evaluate)")
    data = trimesh.exchange.gltf.export_glb(trimesh.creation.box(SIDES).scene(), extension_draco=True)
    assert b'"extensionsRequired":["KHR_draco_mesh_compression"]' in data.replace(b" ", b"")
    mesh = load_origin(only(tmp_path, entry(path="a.glb", data=data)), {"a.glb": data}.__getitem__)
    assert len(mesh.faces) == 12


@pytest.mark.parametrize(("content", "message"), [(b"no ZIP", "damaged"), (None, r"expected the file x\.obj in it")])
def test_a_library_that_is_damaged_or_lacks_the_file_is_named(tmp_path, content, message):
    package = Package(("https://example.org/x.deb",), "00" * 32, "share/library.sh3f")
    library = tmp_path / package.sha256 / "library.sh3f"
    library.parent.mkdir()
    if content is None:
        stream = io.BytesIO()
        zipfile.ZipFile(stream, "w").close()
        content = stream.getvalue()
    library.write_bytes(content)
    with pytest.raises(DownloadError, match=message):
        Places(tmp_path).reader(package)("x.obj")
