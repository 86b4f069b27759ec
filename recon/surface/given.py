"""Splats and meshes from elsewhere: read, set upright in the unit-diameter sphere, and looked at from all around."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from recon.capture import Camera, Capture, Frame, Similarity, Source
from recon.capture.upright import UpAxis, axis_direction
from recon.splat import formats
from recon.splat.gaussians import Gaussians
from recon.splat.rendered import render_frames
from recon.surface.close import surrounding_cameras
from recon.surface.loading import SUFFIXES, into_sphere, load_mesh
from recon.surface.mesh import Mesh
from recon.surface.render import prepare_mesh, render_prepared
from recon.surface.seen import connected_parts, seen_faces

_SPLAT_VIEW = 512
"""Pixels a side at most of splats' views: they hold no more."""
_OUTLIERS = 0.005
"""Part of a scene's splats, at each end of each axis, that its size is found without."""
_LOOKS, _LOOK_SIZE = 16, 256
"""Views, and their size in pixels, that tell which side of a surface is outside."""
_SOLID = 0.1
"""Opacity from which on a splat counts for the size."""


def read_given(path: Path, up: UpAxis = "+y") -> tuple[Gaussians | Mesh, Similarity]:
    """What a file of splats, or a .glb, .gltf or .obj holds, in our frame, and the way back to the file's.

    Args:
        path: of a mesh, or of splats in a format of `recon.splat.formats`.
        up: the file's axis that points up.

    Raises:
        ValueError: if the file cannot be read, or what it holds has no extent.
        OSError: if it cannot be opened.
    """
    upright = Similarity(rotation=_upright(up))
    known = (*formats.SUFFIXES, *SUFFIXES)
    if path.suffix.lower() not in known:
        raise ValueError(f"{path}: expected {', '.join(known)}, found {path.suffix or 'no suffix'}")
    if path.suffix.lower() in formats.SUFFIXES:
        scene = formats.read_splats(path)
        place = splats_in_sphere([scene], up, path)
        return scene.transform(place), place.inverse()
    mesh = load_mesh(path)
    turned = replace(
        mesh,
        vertices=upright.apply(mesh.vertices),
        normals=None if mesh.normals is None else upright.apply(mesh.normals),
    )
    low, high = turned.bounds()
    fitted = into_sphere(turned.vertices, (low + high) / 2, f"{path}: what it holds")
    return replace(turned, vertices=fitted.apply(turned.vertices)), fitted.compose(upright).inverse()


def splats_in_sphere(scenes: Sequence[Gaussians], up: UpAxis, path: Path) -> Similarity:
    """What sets the moments of a scene upright and brings what is solid in any of them into the unit-diameter sphere.

    Args:
        up: the axis of the scenes that points up.
        path: their file, for messages.

    Raises:
        ValueError: if all of it is transparent, or has no extent.
    """
    upright = Similarity(rotation=_upright(up))
    places = torch.cat([scene.means[torch.sigmoid(scene.logit_opacities) > _SOLID] for scene in scenes])
    if len(places) == 0:
        raise ValueError(f"{path}: all of its splats are transparent; there is no surface")
    places = upright.apply(places)
    order = places.sort(dim=0).values
    last = len(places) - 1
    low, high = order[int(_OUTLIERS * last)], order[last - int(_OUTLIERS * last)]
    places = places[((places >= low) & (places <= high)).all(dim=1)]
    return into_sphere(places, (low + high) / 2, f"{path}: what it holds").compose(upright)


def views_of(scene: Gaussians | Mesh, count: int, size: int, to_source: Similarity) -> Capture:
    """Square pictures of at most `size` pixels from an even sphere: observed ones of a mesh, unlit and drawn when asked
    for, as it is what is to be shown; rendered ones of splats, a guess between pictures that are not here."""
    if isinstance(scene, Gaussians):
        cameras = surrounding_cameras(count, min(size, _SPLAT_VIEW))
        return Capture(render_frames(scene, cameras), to_source)
    prepared = prepare_mesh(scene)

    def picture(camera: Camera) -> Tensor:
        return render_prepared(prepared, camera).rgba

    frames = [
        Frame(camera, partial(picture, camera), source=Source.OBSERVED, name=f"view_{i:03d}")
        for i, camera in enumerate(surrounding_cameras(count, size))
    ]
    return Capture(tuple(frames), to_source)


def outward(mesh: Mesh) -> Mesh:
    """An oriented manifold whose connected parts face those who look at it: parts seen from behind are turned over."""
    cameras = surrounding_cameras(_LOOKS, _LOOK_SIZE)
    turned = replace(mesh, faces=mesh.faces.flip(1), normals=None)
    front, back = (seen_faces(m, cameras, 1e-3).numpy() for m in (mesh, turned))
    part = connected_parts(mesh)
    wrong = np.bincount(part, weights=back) > np.bincount(part, weights=front)
    return replace(turned, faces=torch.where(torch.from_numpy(wrong[part])[:, None], turned.faces, mesh.faces))


def _upright(up: UpAxis) -> Tensor:
    """(3, 3) the shortest turn that takes the axis to +Y."""
    axis = axis_direction(up)
    y = torch.tensor([0.0, 1.0, 0.0])
    if up[1] == "y":
        return torch.diag(torch.tensor([1.0, float(axis[1]), float(axis[1])]))
    normal = torch.linalg.cross(axis, y)
    return torch.outer(normal, normal) + torch.outer(y, axis) - torch.outer(axis, y)
