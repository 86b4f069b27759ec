"""A studio for one subject, as for a product's picture: lights that stand with the camera, and a shadow on the floor.

What is drawn is made for looking at it: it is no light transport. The shadow is what a wide, soft light from above
leaves: dark and sharp where the subject touches the floor, light and wide where it hangs over it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from recon.capture import Camera
from recon.splat.gaussians import Gaussians
from recon.splat.rasterize import rasterize
from recon.splat.rendered import straight
from recon.surface.mesh import Material, Mesh
from recon.surface.render import Lights, prepare_mesh, render_prepared

Look = Literal["lit", "unlit", "shape", "normals"]
"""Of a mesh: its colours under the studio's lights, as they are, grey under the lights, normals as colours."""

_FLOOR_SIDE = 3.0
_FLOOR_SIZE = 384
_BENEATH = 20.0
"""How far beneath the floor the camera stands that looks at what hangs over it: its rays are nearly parallel."""
_LAYERS = ((0.0, 0.02, 0.55), (0.03, 0.045, 0.35), (0.10, 0.10, 0.22), (0.30, 0.18, 0.12))
"""Of the shadow: up to this height above the floor fully, blurred so much, so dark. Lengths in subjects' diameters."""


@dataclass(frozen=True)
class View:
    """What a way of drawing gives for a camera: straight alpha (H, W, 4), and depth (H, W), 0 where nothing is."""

    rgba: Tensor
    depth: Tensor


Draw = Callable[[Camera], View]


def mesh_look(mesh: Mesh, look: Look = "lit") -> Draw:
    """How to draw a mesh.

    Raises:
        ValueError: if the mesh is inconsistent.
    """
    prepared = prepare_mesh(grey(mesh) if look == "shape" else mesh)

    def draw(camera: Camera) -> View:
        x, _, z = camera.centre.tolist()
        lights = Lights.studio(math.atan2(x, z)) if look in ("lit", "shape") else None
        drawn = render_prepared(prepared, camera, lights=lights)
        rgba = drawn.rgba
        if look == "normals":
            rgba = torch.cat((normals_as_colours(drawn.normal, camera), rgba[..., 3:]), dim=-1)
        return View(rgba, drawn.depth)

    return draw


def splats_look(gaussians: Gaussians) -> Draw:
    """How to draw splats: their colours hold the light already."""

    def draw(camera: Camera) -> View:
        with torch.no_grad():
            drawn = rasterize(gaussians, [camera])
        return View(straight(drawn.rgb[0], drawn.alpha[0]), drawn.depth[0] * (drawn.alpha[0] > 0.5))

    return draw


def grey(mesh: Mesh) -> Mesh:
    """The shape alone, in grey."""
    material = Material(base_color=torch.tensor([0.72, 0.72, 0.72, 1.0]))
    return replace(mesh, materials=(material,), face_material=None, colors=None, uvs=None)


def normals_as_colours(normal: Tensor, camera: Camera) -> Tensor:
    """(H, W, 3) colours of world normals (H, W, 3) as the camera has them: red right, green up, blue towards it."""
    local = normal @ camera.c2w[:3, :3] * torch.tensor([1.0, -1.0, -1.0])
    return torch.where(normal.abs().sum(-1, keepdim=True) > 0, (local + 1) / 2, 0.0)


def in_studio(draw: Draw, height: float | None = None) -> Callable[[Camera], Tensor]:
    """The same pictures (H, W, 4) of a subject in the unit-diameter sphere, with its shadow on the floor beneath it.

    The shadow is black with its darkness as alpha, so that it can lie over any background.

    Args:
        height: y of the floor; None for where the subject stands on it.
    """
    floor = floor_under(draw, height)

    def view(camera: Camera) -> Tensor:
        rgba = draw(camera).rgba
        return rgba if floor is None else with_shadow(rgba, camera, floor)

    return view


@dataclass(frozen=True)
class Floor:
    """Where the floor is, and the shadow on it.

    Attributes:
        height: its y in the world.
        darkness: (N, N) in [0, 1]; columns along +X, rows along -Z, about the origin.
    """

    height: float
    darkness: Tensor


def floor_under(draw: Draw, height: float | None = None) -> Floor | None:
    """The floor that a subject in the unit-diameter sphere stands on, or that is at a `height` beneath it; None where
    there is nothing."""
    focal = _BENEATH * _FLOOR_SIZE / _FLOOR_SIDE
    middle = _FLOOR_SIZE / 2
    c2w = torch.tensor([[1.0, 0, 0, 0], [0, 0, 1, -_BENEATH], [0, -1, 0, 0], [0, 0, 0, 1]])
    k = torch.tensor([[focal, 0, middle], [0, focal, middle], [0, 0, 1]])
    view = draw(Camera(c2w, k, _FLOOR_SIZE, _FLOOR_SIZE))
    there = view.depth > 0
    if not there.any():
        return None
    above = view.depth - _BENEATH  # y of the lowest surface
    height = float(above[there].min()) if height is None else height
    alpha = view.rgba[..., 3]
    light = torch.ones(_FLOOR_SIZE, _FLOOR_SIZE)
    for full, blur, dark in _LAYERS:
        near = ((full + 0.05 - (above - height)) / 0.05).clamp(0, 1) * there * alpha
        light = light * (1 - dark * _blurred(near, blur * _FLOOR_SIZE / _FLOOR_SIDE))
    return Floor(height, 1 - light)


def with_shadow(rgba: Tensor, camera: Camera, floor: Floor) -> Tensor:
    """A straight-alpha picture (H, W, 4) with the floor's shadow behind what it shows; from beneath there is none."""
    origin, rays = camera.rays()
    drop = floor.height - float(origin[1])
    if drop >= 0:
        return rgba
    along = torch.where(rays[..., 1] < -1e-6, drop / rays[..., 1].clamp(max=-1e-6), 0.0)
    x, z = origin[0] + along * rays[..., 0], origin[2] + along * rays[..., 2]
    places = torch.stack((x, -z), dim=-1) * (2 / _FLOOR_SIDE)
    shadow = torch.nn.functional.grid_sample(
        floor.darkness[None, None], places[None], mode="bilinear", padding_mode="zeros", align_corners=False
    )[0, 0] * (along > 0)
    alpha = rgba[..., 3]
    both = alpha + (1 - alpha) * shadow
    colours = rgba[..., :3] * (alpha / both.clamp_min(1e-6))[..., None]
    return torch.cat((colours, both[..., None]), dim=-1)


def _blurred(image: Tensor, sigma: float) -> Tensor:
    import cv2

    return torch.from_numpy(cv2.GaussianBlur(image.numpy(), (0, 0), sigma, borderType=cv2.BORDER_CONSTANT))
