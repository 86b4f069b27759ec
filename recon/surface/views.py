"""What one frame can tell about a surface's colour: its picture in two bands, the surface's depth in it, and how far
each place may be trusted. Prepared once a frame, then read by the texture bake (texture.py)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recon.capture import Camera, Frame
from recon.surface.align import bend, outline_flow
from recon.surface.render import PreparedMesh, render_prepared

Image = NDArray[np.float32]

_MAP_SIDE = (192, 512)
"""Smallest and largest longer side of the depth and trust maps, in pixels."""
_UPSAMPLED = 256
"""Pictures smaller than this are enlarged smoothly first, so that bilinear reading shows no grid."""
_SOLID = (0.7, 0.95)
"""Alpha between which a pixel's colour begins to count."""
_BAND = 0.02
"""Blur that parts the two bands, as a part of the object's size."""
_JUMP = 0.015
"""Bend of the depth, as a part of the object's size, that counts as an edge of one part before another."""

_STEEP = 5.0
"""The same in pixels of the depth map: a sharp but unbroken ridge seen at a slant bends less than this."""


@dataclass(frozen=True)
class View:
    """A frame made ready. All pictures cover the same field of view.

    Attributes:
        camera: for `image`'s size.
        image: (H, W, 4) premultiplied picture; smooth resizing may overshoot [0, 1], alike in colour and alpha.
        low: (h, w, 3) its slow part, straight colour, continued beyond the object's outline.
        trust: (h, w) in [0, 1], 0 outside of the object and at its edges.
        depth: (h, w) forward depth of the mesh, 0 = none.
    """

    camera: Camera
    image: Image
    low: Image
    trust: Image
    depth: Image


def prepare_view(
    frame: Frame, surface: PreparedMesh, *, extent: float, density: float, edge: float, fit_outline: bool = False
) -> View | None:
    """A frame made ready, or None if the surface is not in it.

    Args:
        surface: the mesh, ready to be drawn.
        extent: the object's size in world units.
        density: texels per world unit; finer pictures are shrunk to it, which filters them.
        edge: width, as a part of the object's size, over which trust rises from the object's edges.
        fit_outline: bend the picture to the mesh's outline (align.py).
    """
    import cv2

    rgba: Image = frame.rgba().numpy()
    weight = frame.weight().numpy()
    camera = frame.camera
    map_camera = _scaled(camera, *_MAP_SIDE)
    depth: Image = render_prepared(surface, map_camera, supersample=1).depth.numpy()
    if not (depth > 0).any():
        return None
    pixels_per_unit = float(camera.intrinsics[0, 0]) / float(np.median(depth[depth > 0]))

    # Half-covered pixels hold the background's colour too; only solid ones speak for the object.
    solid: Image = np.clip((rgba[..., 3:] - _SOLID[0]) / (_SOLID[1] - _SOLID[0]), 0, 1)
    image: Image = np.concatenate((rgba[..., :3] * solid, solid), -1)
    ratio = density / pixels_per_unit
    if ratio < 0.8:
        camera = camera.resized(max(round(camera.width * ratio), 1), max(round(camera.height * ratio), 1))
        image = cv2.resize(image, (camera.width, camera.height), interpolation=cv2.INTER_AREA)
    elif max(camera.width, camera.height) < _UPSAMPLED:
        camera = _scaled(camera, _UPSAMPLED, _UPSAMPLED)
        image = cv2.resize(image, (camera.width, camera.height), interpolation=cv2.INTER_CUBIC)

    size = (map_camera.width, map_camera.height)
    shrinks = map_camera.width < frame.camera.width
    coarse: Image = cv2.resize(image, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    coarse_weight: Image = cv2.resize(weight, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    if fit_outline:
        flow = outline_flow(coarse[..., 3] > 0.5, depth > 0)
        if flow is not None:
            image, coarse, coarse_weight = bend(image, flow), bend(coarse, flow), bend(coarse_weight, flow)
    unit = float(map_camera.intrinsics[0, 0]) / float(np.median(depth[depth > 0]))  # map pixels per world unit
    source_pixel = map_camera.width / frame.camera.width
    trust = _trust(
        coarse[..., 3], depth, ramp=max(edge * extent * unit, 2 * source_pixel), jump=max(_JUMP * extent, _STEEP / unit)
    )
    low = _slow_part(
        coarse * ((depth > 0) * (trust + np.float32(1e-3)))[..., None],
        sigma=max(_BAND * extent * unit, 0.7 * source_pixel),
    )
    return View(
        camera,
        np.ascontiguousarray(image, np.float32),
        low,
        (trust * coarse_weight).clip(0, 1).astype(np.float32),
        depth,
    )


def _trust(alpha: Image, depth: Image, *, ramp: float, jump: float) -> Image:
    """Rises smoothly with the distance from everything that could bleed: the picture's outline, the mesh's outline
    (they differ where the shape is wrong) and edges of parts in front of others."""
    import cv2

    inside = (alpha > 0.6) & (depth > 0)
    padded = np.pad(depth, 1, mode="edge")
    bend_x = np.abs(padded[1:-1, 2:] - 2 * depth + padded[1:-1, :-2])
    bend_y = np.abs(padded[2:, 1:-1] - 2 * depth + padded[:-2, 1:-1])
    inside &= np.maximum(bend_x, bend_y) < jump
    distance = cv2.distanceTransform(np.pad(inside, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    rise = np.clip(distance / ramp, 0, 1)
    return np.asarray(rise * rise * (3 - 2 * rise), np.float32)


def _slow_part(premultiplied: Image, sigma: float) -> Image:
    """(h, w, 3) blurred straight colour; alpha-weighted, so that the background has no part in it."""
    import cv2

    radius = max(math.ceil(3 * sigma), 1)
    blurred = cv2.GaussianBlur(premultiplied, (2 * radius + 1, 2 * radius + 1), sigma)
    return np.ascontiguousarray(blurred[..., :3] / np.maximum(blurred[..., 3:], 1e-7), np.float32)


def _scaled(camera: Camera, least: int, most: int) -> Camera:
    side = max(camera.width, camera.height)
    scale = min(max(side, least), most) / side
    return camera.resized(max(round(camera.width * scale), 2), max(round(camera.height * scale), 2))
