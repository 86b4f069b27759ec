"""Opens a .glb in Blender, says what it found, and draws it. Runs inside the environment that has `bpy`.

usage: python blender_client.py FILE.glb CAMERA.json OUT.png; prints a JSON description.
CAMERA.json holds c2w (4x4, OpenCV axes, glTF's world), fov_x in radians, width and height; with a time in seconds, the
file's animation is shown at it, and where its vertices then are is said, too.

With a list of `times`, `c2w` is a list as well and OUT.png a folder: every camera's picture at every time goes there as
`TIME_CAMERA.png` by their numbers, and `shape.npz` holds vertices (T, V, 3) in glTF's world and faces (F, 3).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import bpy
import numpy as np
from mathutils import Matrix  # type: ignore[import-not-found]

Y_UP_TO_Z_UP = Matrix(((1, 0, 0, 0), (0, 0, -1, 0), (0, 1, 0, 0), (0, 0, 0, 1)))
OPENCV_TO_OPENGL = Matrix.Diagonal((1, -1, -1, 1))


def main(glb: Path, camera_file: Path, picture: Path) -> None:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.import_scene.gltf(filepath=str(glb), disable_bone_shape=True)
    view = json.loads(camera_file.read_text())
    meshes = [item for item in bpy.context.scene.objects if item.type == "MESH"]
    if "times" in view:
        replay(meshes, view, picture)
        return
    if "time" in view:
        show(view["time"])
    corners = [Y_UP_TO_Z_UP.inverted() @ item.matrix_world @ v.co for item in meshes for v in item.data.vertices]
    description = {
        "version": bpy.app.version_string,
        "objects": [item.name for item in meshes],
        "triangles": sum(len(item.data.polygons) for item in meshes),
        "low": [min(c[axis] for c in corners) for axis in range(3)],
        "high": [max(c[axis] for c in corners) for axis in range(3)],
        "materials": [slot.material.name for item in meshes for slot in item.material_slots],
        "images": [
            {"size": list(image.size), "colorspace": image.colorspace_settings.name}
            for image in bpy.data.images
            if image.name != "Render Result"
        ],
        "properties": {item.name: {key: str(item[key]) for key in item.keys()} for item in meshes},  # noqa: SIM118
    }
    if "time" in view:
        description["vertices"] = posed_vertices(meshes)
        armatures = [item.data for item in bpy.context.scene.objects if item.type == "ARMATURE"]
        description["bones"] = {b.name: b.parent and b.parent.name for skin in armatures for b in skin.bones}
    draw(view, picture)
    print("DESCRIPTION " + json.dumps(description))


def replay(meshes: list, view: dict, folder: Path) -> None:
    """All times before all cameras."""
    item = set_up(view)
    bpy.context.scene.render.use_persistent_data = True
    vertices = []
    for place, time in enumerate(view["times"]):
        show(time)
        vertices.append(posed_vertices(meshes))
        for number, c2w in enumerate(view["c2w"]):
            shoot(item, c2w, folder / f"{place:03d}_{number:03d}.png")
    faces, first = [], 0
    for mesh in meshes:
        faces += [[first + corner for corner in polygon.vertices] for polygon in mesh.data.polygons]
        first += len(mesh.data.vertices)
    np.savez(folder / "shape.npz", vertices=np.array(vertices, np.float32), faces=np.array(faces, np.int64))


def show(time: float) -> None:
    """Puts everything where it is at a time in seconds."""
    scene = bpy.context.scene
    frame = time * scene.render.fps / scene.render.fps_base
    scene.frame_set(int(frame), subframe=frame - int(frame))


def posed_vertices(meshes: list) -> list[list[float]]:
    """All vertices in glTF's world, after bones, shapes and the objects' own motion."""
    graph = bpy.context.evaluated_depsgraph_get()
    vertices = []
    for item in meshes:
        posed = item.evaluated_get(graph)
        to_gltf = Y_UP_TO_Z_UP.inverted() @ posed.matrix_world
        vertices += [list(to_gltf @ vertex.co) for vertex in posed.data.vertices]
    return vertices


def draw(view: dict, picture: Path) -> None:
    """One picture."""
    shoot(set_up(view), view["c2w"], picture)


def set_up(view: dict) -> bpy.types.Object:
    """A camera, and Cycles on the processor; unlit materials need few samples."""
    scene = bpy.context.scene
    camera = bpy.data.cameras.new("camera")
    camera.sensor_fit, camera.angle_x = "HORIZONTAL", view["fov_x"]
    camera.clip_start = 0.01
    item = bpy.data.objects.new("camera", camera)
    scene.collection.objects.link(item)
    scene.camera = item
    render = scene.render
    render.engine = "CYCLES"
    scene.cycles.device, scene.cycles.samples, scene.cycles.use_denoising = "CPU", 16, False
    scene.cycles.pixel_filter_type = "BOX"
    render.threads_mode, render.threads = "FIXED", 2
    render.resolution_x, render.resolution_y, render.resolution_percentage = view["width"], view["height"], 100
    render.film_transparent = True
    render.filter_size = 1.0
    scene.view_settings.view_transform = "Standard"
    render.image_settings.file_format, render.image_settings.color_mode = "PNG", "RGBA"
    return item


def shoot(camera: bpy.types.Object, c2w: list, picture: Path) -> None:
    """What the camera sees from there."""
    camera.matrix_world = Y_UP_TO_Z_UP @ Matrix(c2w) @ OPENCV_TO_OPENGL
    bpy.context.scene.render.filepath = str(picture)
    bpy.ops.render.render(write_still=True)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
