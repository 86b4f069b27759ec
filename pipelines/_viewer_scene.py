"""Things as nodes of a viser scene: one layer a way of showing them, of which one is visible at a time.

https://viser.studio: a server that keeps a scene, and a client in the browser that draws it with three.js.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines._options import OptionsError
from pipelines._shown import Shown

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from recon.capture import Camera, Frame
    from recon.splat.gaussians import Gaussians
    from recon.surface.mesh import Mesh

LAYERS = {
    "mesh": "Mesh",
    "splats": "Splats",
    "shape": "Shape",
    "wireframe": "Wireframe",
    "normals": "Normals",
    "checker": "UV checker",
}
"""Ways of showing a subject, and what they are called. Cameras come beside any of them."""
CAMERAS = "cameras"
_APART = 1.25
"""Between the middles of things that stand side by side, in their diameters."""
_THUMB = 96
_SOURCES = {"observed": (31, 95, 209), "generated": (226, 120, 20), "rendered": (130, 130, 130)}
"""Colours of cameras by who made their pictures."""
_CHECKS = 16


@dataclass(frozen=True)
class Cameras:
    """viser's handles of a capture's cameras: the node above them, and each one's in the capture's order."""

    node: Any
    frusta: list[Any]


def import_viser() -> Any:
    """The package viser.

    Raises:
        OptionsError: if it is not installed.
    """
    try:
        import viser
    except ImportError as cause:
        raise OptionsError("the viewer needs viser: pip install 'turnabout[view]'") from cause
    return viser


@contextmanager
def scene_server(host: str, port: int) -> Iterator[Any]:
    """A viser server with our axes and colours, stopped at the end.

    Raises:
        OSError: if the port cannot be had.
    """
    import contextlib
    import io

    viser = import_viser()
    with contextlib.redirect_stdout(io.StringIO()):  # it prints a table of addresses whatever it is told
        server = viser.ViserServer(host=host, port=port, label="Turnabout", verbose=False)
    try:
        server.scene.set_up_direction("+y")
        yield server
    finally:
        with contextlib.redirect_stdout(io.StringIO()):
            server.stop()


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


def figures_of(thing: Shown) -> list[tuple[str, str]]:
    """What a run's report says that viewers want to know: names and values.

    Raises:
        OptionsError: if the report cannot be read.
    """
    report = thing.report()
    found: list[tuple[str, str]] = []

    def walk(name: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(f"{name} {key}".strip().replace("_", " "), inner)
        elif isinstance(value, (int, float, str)):
            found.append((name, f"{value:,}" if isinstance(value, int) and value > 9999 else str(value)))

    quality = report.get("quality")
    for stage in ("mesh", "motion", "splat", "capture", "cameras"):
        figures = quality.get(stage) if isinstance(quality, dict) else None
        if isinstance(figures, dict):
            walk(stage, {key: value for key, value in figures.items() if not key.startswith("to_")})
    return found


def _add_layer(scene: Any, node: str, key: str, thing: Shown, *, visible: bool) -> Any:
    if key == "splats":
        assert thing.splats is not None
        return scene.add_gaussian_splats(node, **splat_arrays(thing.splats), visible=visible)
    if key == "mesh" and thing.playing is not None:
        data, scale, shift = thing.playing  # viser's client plays what moves, over and over
        still = {"cast_shadow": False, "receive_shadow": False}
        return scene.add_glb(node, data, scale=scale, position=shift, visible=visible, **still)
    assert thing.mesh is not None
    if key in ("shape", "wireframe"):
        corners, faces = thing.mesh.vertices.numpy(), thing.mesh.faces.numpy()
        look = {"wireframe": True, "color": (70, 78, 90)} if key == "wireframe" else {"color": (184, 184, 184)}
        return scene.add_mesh_simple(node, corners, faces, side="double", visible=visible, **look)
    mesh = {"mesh": lambda mesh: mesh, "normals": _by_normals, "checker": _checkered}[key](thing.mesh)
    return scene.add_glb(node, _glb(mesh), visible=visible, cast_shadow=False, receive_shadow=False)


def _glb(mesh: Mesh) -> bytes:
    """The mesh where it is, unlit, its textures as WebP, which every browser reads."""
    from recon.asset.gltf import write_glb

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "mesh.glb"
        write_glb(mesh, file, size=None, origin="keep", double_sided=True, image_format="webp")
        return file.read_bytes()


def splat_arrays(gaussians: Gaussians) -> dict[str, NDArray[np.float32]]:
    """As viser wants them: their colours are the mean over all directions."""
    import torch

    from recon.splat.rotations import rotations_from_quats

    spread = rotations_from_quats(gaussians.quats) * gaussians.log_scales.exp()[:, None, :]
    return {
        "centers": gaussians.means.numpy(),
        "covariances": (spread @ spread.transpose(1, 2)).numpy(),
        "rgbs": gaussians.base_colors.numpy(),
        "opacities": torch.sigmoid(gaussians.logit_opacities)[:, None].numpy(),
    }


def _by_normals(mesh: Mesh) -> Mesh:
    from recon.surface.mesh import Material, vertex_normals

    normals = vertex_normals(mesh.vertices, mesh.faces) if mesh.normals is None else mesh.normals
    return replace(mesh, colors=(normals + 1) / 2, uvs=None, materials=(Material(),), face_material=None)


def _checkered(mesh: Mesh) -> Mesh:
    """Squares where the texture is; where they are not square, or of uneven size, it is stretched."""
    import torch

    from recon.surface.mesh import Material

    steps = torch.arange(64 * _CHECKS) // 64
    odd = ((steps[:, None] + steps[None, :]) % 2).bool()
    ramp = (steps / (_CHECKS - 1))[None, :, None] * torch.tensor([90.0, 0, -90.0]) + torch.tensor([120.0, 150, 210])
    squares = torch.where(odd[..., None], ramp.expand(*odd.shape, 3), torch.tensor([245.0, 245, 245]))
    texture = squares.round().to(torch.uint8)
    return replace(mesh, colors=None, materials=(Material(texture=texture),), face_material=None)


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
