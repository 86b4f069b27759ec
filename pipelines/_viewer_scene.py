"""Things as nodes of a viser scene: one layer a way of showing them, of which one is visible at a time.

https://viser.studio: a server that keeps a scene, and a client in the browser that draws it with three.js.
"""

from __future__ import annotations

import math
import tempfile
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines._shown import Shown
from pipelines._viewer_glb import scrubbed
from pipelines._viewer_splats import splat_arrays

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from recon.capture import Camera, Frame
    from recon.surface.mesh import Mesh

LAYERS = {
    "mesh": "Mesh",
    "splats": "Splats",
    "shape": "Shape",
    "wireframe": "Wireframe",
    "normals": "Normals",
    "checker": "UV checker",
    "seen": "Seen or made up",
}
"""Ways of showing a subject, and what they are called. Cameras come beside any of them."""
CAMERAS = "cameras"
_APART = 1.25
"""Between the middles of things that stand side by side, in their diameters."""
_THUMB = 96
_SOURCES = {"observed": (31, 95, 209), "generated": (226, 120, 20), "rendered": (130, 130, 130)}
"""Colours of cameras by who made their pictures."""
_CHECKS = 16
_TOLERANCE, _HARDLY = 5e-3, 0.05
"""How far behind what a camera shows a surface counts as seen, and what is less than seen."""


@dataclass(frozen=True)
class Cameras:
    """viser's handles of a capture's cameras: the node above them, and each one's in the capture's order."""

    node: Any
    frusta: list[Any]


def group_names(things: Sequence[Shown]) -> list[str]:
    """A name for each path, unique, fit for a node of the scene."""
    from recon.capture.files import unique_names

    return unique_names([thing.path.resolve().stem or "scene" for thing in things])


def layers_of(thing: Shown) -> list[str]:
    """The layers that it has, the first of which is shown first.

    Raises:
        ValueError, OSError: if a file cannot be read.
    """
    mesh = thing.mesh
    has = {
        "mesh": mesh is not None,
        "splats": thing.splats is not None,
        "shape": mesh is not None,
        "wireframe": mesh is not None,
        "normals": mesh is not None,
        "checker": mesh is not None and mesh.uvs is not None,
        # A moving mesh's pictures are of many poses, so that they do not tell about one.
        "seen": mesh is not None and thing.capture is not None and thing.moving_mesh is None,
    }
    return [key for key in LAYERS if has[key]]


def layers_of_any(things: Sequence[Shown]) -> list[str]:
    """The layers that at least one thing has."""
    return [key for key in LAYERS if any(key in layers_of(thing) for thing in things)]


def places(things: Sequence[Shown]) -> list[tuple[float, float, float]]:
    """Where each thing's middle is when they stand side by side."""
    middle = (len(things) - 1) / 2
    return [((index - middle) * _APART, 0.0, 0.0) for index in range(len(things))]


def add_things(server: Any, things: Sequence[Shown]) -> dict[str, Any]:
    """Adds all layers of all things, side by side, and sets the camera before them.

    Returns:
        viser's handles of the layers by their names, such as "chair/mesh"; "chair/cameras" is a `Cameras`.

    Raises:
        ValueError, OSError: if a file cannot be read.
    """
    handles: dict[str, Any] = {}
    for thing, name, place in zip(things, group_names(things), places(things)):
        server.scene.add_frame(f"/{name}", show_axes=False, position=place)
        for order, key in enumerate(layers_of(thing)):
            handles[f"{name}/{key}"] = _add_layer(server.scene, f"/{name}/{key}", key, thing, visible=order == 0)
        if thing.capture is not None:
            node, alone = f"/{name}/{CAMERAS}", thing.mesh is None and thing.splats is None
            group = server.scene.add_frame(node, show_axes=False, visible=alone)
            handles[f"{name}/{CAMERAS}"] = Cameras(group, _add_frusta(server.scene, node, thing.capture.frames))
    point_camera(server, len(things))
    return handles


def point_camera(server: Any, count: int = 1) -> None:
    """Lets browsers begin with `start_camera`."""
    camera = start_camera(count)
    server.initial_camera.position = tuple(camera.centre.tolist())
    server.initial_camera.look_at = (0.0, 0.0, 0.0)
    server.initial_camera.up = (0.0, 1.0, 0.0)
    server.initial_camera.fov = camera.fov_y


def start_camera(count: int = 1, size: int = 512) -> Camera:
    """The view, square, that a page opens with when so many things stand side by side."""
    from recon.capture.camera import orbit_camera, orbit_distance
    from recon.capture.orbit import DEFAULT_FOV

    radius = 0.6 + (count - 1) / 2 * _APART
    return orbit_camera(
        math.radians(25), math.radians(15), DEFAULT_FOV, size, size, orbit_distance(DEFAULT_FOV, radius)
    )


def _add_layer(scene: Any, node: str, key: str, thing: Shown, *, visible: bool) -> Any:
    if key == "splats":
        assert thing.splats is not None
        return scene.add_gaussian_splats(node, **splat_arrays(thing.splats), visible=visible)
    if thing.moving_mesh is not None:
        moving = thing.moving_mesh
        data = scrubbed(moving.file, moving.rigged, key, _checker_address())
        place = {"scale": float(moving.place.scale), "position": tuple(moving.place.translation.tolist())}
        return scene.add_glb(node, data, **place, visible=visible, cast_shadow=False, receive_shadow=False)
    assert thing.mesh is not None
    if key in ("shape", "wireframe"):
        corners, faces = thing.mesh.vertices.numpy(), thing.mesh.faces.numpy()
        look = {"wireframe": True, "color": (70, 78, 90)} if key == "wireframe" else {"color": (184, 184, 184)}
        return scene.add_mesh_simple(node, corners, faces, side="double", visible=visible, **look)
    dress = {"mesh": lambda mesh: mesh, "normals": _by_normals, "checker": _checkered}
    mesh = _by_source(thing) if key == "seen" else dress[key](thing.mesh)
    return scene.add_glb(node, _glb(mesh), visible=visible, cast_shadow=False, receive_shadow=False)


def _glb(mesh: Mesh) -> bytes:
    """The mesh where it is, unlit, its textures as WebP, which every browser reads."""
    from recon.asset.gltf import write_glb

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "mesh.glb"
        write_glb(mesh, file, size=None, origin="keep", double_sided=True, image_format="webp")
        return file.read_bytes()


def _by_normals(mesh: Mesh) -> Mesh:
    from recon.surface.mesh import Material, vertex_normals

    normals = vertex_normals(mesh.vertices, mesh.faces) if mesh.normals is None else mesh.normals
    return replace(mesh, colors=(normals + 1) / 2, uvs=None, materials=(Material(),), face_material=None)


def _by_source(thing: Shown) -> Mesh:
    """The colours that cameras have, mixed by how well each kind saw the surface; generated frames count for what the
    observed ones leave, as they do for the texture. Grey is what neither saw."""
    import torch

    from recon.surface.mesh import Mesh
    from recon.surface.seen import seen_by

    assert thing.mesh is not None
    assert thing.capture is not None
    colors = {source: torch.tensor(color) / 255 for source, color in _SOURCES.items()}
    observed, generated = (
        seen_by(thing.mesh, [frame for frame in thing.capture if frame.source.value == source], _TOLERANCE)[:, None]
        for source in ("observed", "generated")
    )
    generated = (1 - observed) * generated
    both = observed + generated
    mixed = (observed * colors["observed"] + generated * colors["generated"]) / both.clamp_min(1e-9)
    faces = torch.where(both > _HARDLY, mixed, colors["rendered"])
    corners = thing.mesh.vertices[thing.mesh.faces].reshape(-1, 3)  # not shared, so that each face has its colour
    return Mesh(corners, torch.arange(len(corners)).reshape(-1, 3), colors=faces.repeat_interleave(3, dim=0))


def _checkered(mesh: Mesh) -> Mesh:
    """Squares where the texture is; where they are not square, or of uneven size, it is stretched."""
    from recon.surface.mesh import Material

    return replace(mesh, colors=None, materials=(Material(texture=_checker()),), face_material=None)


def _checker() -> Tensor:
    """(1024, 1024, 3) bytes."""
    import torch

    steps = torch.arange(64 * _CHECKS) // 64
    odd = ((steps[:, None] + steps[None, :]) % 2).bool()
    ramp = (steps / (_CHECKS - 1))[None, :, None] * torch.tensor([90.0, 0, -90.0]) + torch.tensor([120.0, 150, 210])
    squares = torch.where(odd[..., None], ramp.expand(*odd.shape, 3), torch.tensor([245.0, 245, 245]))
    return squares.round().to(torch.uint8)


def _checker_address() -> str:
    from PIL import Image

    picture = BytesIO()
    Image.fromarray(_checker().numpy()).save(picture, format="PNG")
    return f"data:image/png;base64,{b64encode(picture.getvalue()).decode('ascii')}"


def _add_frusta(scene: Any, node: str, frames: Sequence[Frame]) -> list[Any]:
    """Each frame's camera with its picture, coloured by who made it; viser's handles of them."""
    from recon.splat.rotations import quat_from_rotation

    handles = []
    for frame in frames:
        camera = frame.camera
        handle = scene.add_camera_frustum(
            f"{node}/{frame.name}",
            fov=camera.fov_y,
            aspect=camera.width / camera.height,
            scale=0.12,
            thickness=0.004,
            color=_SOURCES[frame.source.value],
            image=thumbnail(frame),
            jpeg_quality=80,
            format="jpeg",
            wxyz=quat_from_rotation(camera.c2w[:3, :3]).numpy(),
            position=camera.centre.numpy(),
        )
        handles.append(handle)
    return handles


def thumbnail(frame: Frame, *, weights: bool = False) -> NDArray[np.uint8]:
    """The frame's picture over white, or how much its pixels are trusted (white fully, black not at all): (H, W, 3),
    with at most so many pixels a side as a page can carry of many."""
    import torch

    from recon.capture.unposed import shrunk_picture
    from recon.metrics.images import over_white

    rgba = frame.rgba()
    if weights:
        grey = frame.weight()[..., None].expand(-1, -1, 3)
        rgba = torch.cat((grey, torch.ones_like(rgba[..., 3:])), dim=-1)
    small = over_white(shrunk_picture(rgba, _THUMB))
    return (small.clamp(0, 1) * 255).round().byte().numpy()
