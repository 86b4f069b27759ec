"""Opens a .glb in Blender, says what it found, and draws it. Runs inside the environment that has `bpy`.

usage: python blender_client.py FILE.glb CAMERA.json OUT.png; prints a JSON description.
CAMERA.json holds c2w (4x4, OpenCV axes, glTF's world), fov_x in radians, width and height; with a time in seconds, the
file's animation is shown at it, and where its vertices then are is said, too.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import bpy
from mathutils import Matrix  # type: ignore[import-not-found]

Y_UP_TO_Z_UP = Matrix(((1, 0, 0, 0), (0, 0, -1, 0), (0, 1, 0, 0), (0, 0, 0, 1)))
OPENCV_TO_OPENGL = Matrix.Diagonal((1, -1, -1, 1))


def main(glb: Path, camera_file: Path, picture: Path) -> None:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.import_scene.gltf(filepath=str(glb), disable_bone_shape=True)
    view = json.loads(camera_file.read_text())
    if "time" in view:
        scene = bpy.context.scene
        frame = view["time"] * scene.render.fps / scene.render.fps_base
        scene.frame_set(int(frame), subframe=frame - int(frame))
    meshes = [item for item in bpy.context.scene.objects if item.type == "MESH"]
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
    """A Cycles render on the processor; unlit materials need few samples."""
    scene = bpy.context.scene
    camera = bpy.data.cameras.new("camera")
    camera.sensor_fit, camera.angle_x = "HORIZONTAL", view["fov_x"]
    camera.clip_start = 0.01
    item = bpy.data.objects.new("camera", camera)
    scene.collection.objects.link(item)
    item.matrix_world = Y_UP_TO_Z_UP @ Matrix(view["c2w"]) @ OPENCV_TO_OPENGL
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
    render.filepath = str(picture)
    bpy.ops.render.render(write_still=True)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
