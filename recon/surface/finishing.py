"""From a raw surface to one that a game takes: so many faces, outlines as in the pictures, unwrapped, textured."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace

from recon.capture import Frame, Source
from recon.surface.decimate import with_face_count
from recon.surface.mesh import Mesh
from recon.surface.outlines import fit_outlines
from recon.surface.refine_texture import refine_texture
from recon.surface.texture import Baked, BakeOptions, bake
from recon.surface.uv import unwrap


@dataclass(frozen=True)
class FinishOptions:
    """What the finished mesh is to be like."""

    target_faces: int = 15_000
    """Triangles, within 5 %, where the surface's topology allows so few."""
    fit_outlines: bool = True
    """Shift vertices until the mesh's outlines are those of the pictures."""
    bake: BakeOptions = field(default_factory=BakeOptions)
    """Of the texture."""
    refine_texture: bool = False
    """Solve for the texture whose renders are nearest to the observed pictures."""


def finish(
    mesh: Mesh,
    frames: Sequence[Frame],
    options: FinishOptions,
    step: Callable[[str], AbstractContextManager[None]] = lambda _: contextlib.nullcontext(),
) -> Baked:
    """Decimates, fits, unwraps and textures a surface.

    Args:
        mesh: an oriented manifold in the frames' world, closed or not; only its shape is used.
        frames: undistorted pictures; those of a rendered source only fill what no other shows.
        step: called with the name of each step, entered while it lasts.

    Raises:
        ValueError: if the mesh is empty, no frame sees it, or it cannot be unwrapped for the texture's size.
    """
    if len(mesh.faces) == 0:
        raise ValueError("the surface has no triangle with an area; there is nothing to finish")
    with step("decimating"):
        mesh = with_face_count(mesh, options.target_faces)
    if options.fit_outlines:
        with step("fitting outlines"):
            mesh = fit_outlines(mesh, [frame for frame in frames if frame.source is not Source.RENDERED])
    with step("unwrapping"):
        mesh = unwrap(mesh, options.bake.texture_size)
    with step("texturing"):
        baked = bake(mesh, frames, options.bake)
    if not options.refine_texture:
        return baked
    with step("refining the texture"):
        return replace(baked, mesh=refine_texture(baked.mesh, frames))
