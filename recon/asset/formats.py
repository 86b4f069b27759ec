"""`Mesh` to the plain formats: .obj (with material and texture beside it), .ply (with a colour at every vertex) and
.stl (shape only). All of them are written in metres, +Y up, like the .glb."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from recon.asset.gltf import encode_texture
from recon.asset.placing import AssetError, Origin, place_mesh
from recon.surface.mesh import Mesh, face_normals, vertex_normals

EXTENSIONS = (".obj", ".stl", ".ply")


def write_mesh(
    mesh: Mesh, path: Path, *, size: float | None = 1.0, origin: Origin = "centre", name: str = "object"
) -> None:
    """Writes `path` in the format of its extension; an .obj gets `<stem>.mtl` and `<stem>.png` beside it.

    Raises:
        AssetError: if the extension is unknown, or the mesh cannot be placed; see `place_mesh`.
        OSError: if a file cannot be written.
    """
    if path.suffix.lower() not in EXTENSIONS:
        raise AssetError(f"cannot write {path.name}: expected an extension out of {', '.join(EXTENSIONS)}")
    mesh = place_mesh(mesh, size=size, origin=origin)
    if path.suffix.lower() == ".obj":
        _write_obj(mesh, path, name)
    elif path.suffix.lower() == ".stl":
        _replace(path, _stl(mesh))
    else:
        _replace(path, _ply(mesh))


def _write_obj(mesh: Mesh, path: Path, name: str) -> None:
    used = [0] if mesh.face_material is None else sorted(set(mesh.face_material.tolist()))
    library = []
    for index in used:
        material = mesh.materials[index]
        r, g, b = material.base_color[:3].tolist()
        library += [f"newmtl {_token(material.name)}_{index}", f"Kd {r:.6f} {g:.6f} {b:.6f}", "Ks 0 0 0", "illum 1"]
        if material.texture is not None:
            if mesh.uvs is None:
                raise AssetError("the mesh has a texture but no texture coordinates; unwrap it first")
            image = path.with_name(f"{path.stem}.png" if len(used) == 1 else f"{path.stem}_{index}.png")
            _replace(image, encode_texture(material.texture)[0])
            library.append(f"map_Kd {image.name}")
    _replace(path.with_suffix(".mtl"), ("\n".join(library) + "\n").encode())

    normals = vertex_normals(mesh.vertices, mesh.faces) if mesh.normals is None else mesh.normals
    lines = [f"mtllib {path.with_suffix('.mtl').name}", f"o {_token(name)}"]
    lines += ["v {:.7g} {:.7g} {:.7g}".format(*row) for row in mesh.vertices.tolist()]
    lines += ["vn {:.5g} {:.5g} {:.5g}".format(*row) for row in normals.tolist()]
    if mesh.uvs is not None:  # OBJ counts v from the picture's bottom
        lines += [f"vt {u:.7g} {1 - v:.7g}" for u, v in mesh.uvs.tolist()]
    corner = "{0}/{0}/{0}" if mesh.uvs is not None else "{0}//{0}"
    for index in used:
        faces = mesh.faces if mesh.face_material is None else mesh.faces[mesh.face_material == index]
        lines.append(f"usemtl {_token(mesh.materials[index].name)}_{index}")
        lines += ["f " + " ".join(corner.format(i + 1) for i in row) for row in faces.tolist()]
    _replace(path, ("\n".join(lines) + "\n").encode())


def _stl(mesh: Mesh) -> bytes:
    import numpy as np

    record = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("unused", "<u2")])
    triangles = np.zeros(len(mesh.faces), record)
    triangles["normal"] = torch.nn.functional.normalize(face_normals(mesh.vertices, mesh.faces), dim=1).numpy()
    triangles["corners"] = mesh.vertices[mesh.faces].numpy()
    return b"binary STL, metres, +Y up".ljust(80) + np.uint32(len(triangles)).tobytes() + triangles.tobytes()


def _ply(mesh: Mesh) -> bytes:
    import numpy as np

    fields = [("position", "<f4", 3), ("normal", "<f4", 3)]
    colors = _vertex_colors(mesh)
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(mesh.vertices)}"]
    header += [f"property float {axis}" for axis in ("x", "y", "z", "nx", "ny", "nz")]
    if colors is not None:
        fields.append(("color", "u1", 3))
        header += [f"property uchar {channel}" for channel in ("red", "green", "blue")]
    header += [f"element face {len(mesh.faces)}", "property list uchar int vertex_indices", "end_header"]
    vertices = np.zeros(len(mesh.vertices), fields)
    vertices["position"] = mesh.vertices.numpy()
    normals = vertex_normals(mesh.vertices, mesh.faces) if mesh.normals is None else mesh.normals
    vertices["normal"] = normals.numpy()
    if colors is not None:
        vertices["color"] = (colors.clamp(0, 1) * 255).round().byte().numpy()
    faces = np.zeros(len(mesh.faces), [("count", "u1"), ("indices", "<i4", 3)])
    faces["count"] = 3
    faces["indices"] = mesh.faces.numpy()
    return "\n".join(header).encode() + b"\n" + vertices.tobytes() + faces.tobytes()


def _vertex_colors(mesh: Mesh) -> torch.Tensor | None:
    """(V, 3) the vertices' own colours, or what their one texture shows there."""
    texture = mesh.materials[0].texture
    if mesh.colors is not None or texture is None or mesh.uvs is None or len(mesh.materials) > 1:
        return mesh.colors
    picture = texture[..., :3].permute(2, 0, 1)[None].float() / 255
    place = (mesh.uvs * 2 - 1)[None, None]
    sampled = torch.nn.functional.grid_sample(picture, place, padding_mode="border", align_corners=False)
    return sampled[0, :, 0].T * mesh.materials[0].base_color[:3]


def _token(name: str) -> str:
    """A name that OBJ's space-separated lines can hold."""
    return "_".join(name.split()) or "object"


def _replace(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
