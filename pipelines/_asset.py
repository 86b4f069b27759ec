"""The end of every chain that makes a mesh: a raw surface and pictures of it become the files of an asset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines._options import AssetSettings
from pipelines._run import StageLog

if TYPE_CHECKING:
    from recon.capture import Capture, Frame, Similarity
    from recon.surface.mesh import Mesh
    from recon.surface.texture import Baked

_MAX_UNSEEN = 0.5
_MAX_EXCESS = 1.05


def finish_asset(
    surface: Mesh,
    capture: Capture,
    frames: Sequence[Frame],
    out: Path,
    log: StageLog,
    settings: AssetSettings,
    name: str,
    extras: Mapping[str, Any],
    refine: bool = False,
) -> None:
    """Finishes a surface and writes `mesh.glb` and the files beside it into `out`; figures and warnings go to the log.

    Args:
        surface: an oriented manifold in the capture's world.
        capture: the pictures that the result is compared with.
        frames: those that the texture is made from, the capture's and others.
        extras: provenance; where the mesh lies in the capture's world is added.

    Raises:
        ValueError: if the surface is not watertight though it was to be, or cannot be finished.
    """
    from pipelines._quality import mesh_figures
    from recon.asset.formats import write_mesh
    from recon.asset.gltf import write_glb
    from recon.asset.placing import placement
    from recon.capture import Source
    from recon.metrics.texels import texel_density
    from recon.surface.finishing import FinishOptions, finish
    from recon.surface.texture import BakeOptions

    options = FinishOptions(settings.target_faces, bake=BakeOptions(settings.texture_size), refine_texture=refine)
    baked = finish(surface, frames, options, log.step)
    mesh = baked.mesh
    place = placement(mesh, size=settings.size, origin=settings.origin)
    to_capture = similarity_json(place.inverse())
    with log.step("writing"):
        kept: dict[str, Any] = {"size": settings.size, "origin": settings.origin, "name": name}
        write_glb(
            mesh,
            out / "mesh.glb",
            extras={**extras, "to_capture": to_capture},
            double_sided=settings.keep_open,
            image_format=settings.image_format,
            **kept,
        )
        for kind in settings.also:
            write_mesh(mesh, out / f"mesh.{kind}", **kept)
    with log.step("measuring"):
        log.figures.update(mesh_figures(mesh, capture))
        placed = mesh.moved(place.scale, place.translation)
        density = texel_density(placed, settings.texture_size)
    log.figures["texture"] = {
        "texels_per_metre": {key: round(getattr(density, key), 1) for key in ("low", "median", "high")},
        "used": round(density.used, 4),
        "islands": density.islands,
    }
    log.figures["texels_from"] = texel_sources(baked)
    log.figures["to_capture"] = to_capture
    if not settings.keep_open and not log.figures["watertight"]:
        raise ValueError("the surface could not be closed; --keep-open writes it as it is")
    pictured = any(frame.source is not Source.RENDERED for frame in frames)
    _warn(log, len(mesh.faces), settings.target_faces, baked.filled + (baked.rendered if pictured else 0.0))


def _warn(log: StageLog, faces: int, target: int, unseen: float) -> None:
    if faces > _MAX_EXCESS * target:
        log.warn(f"the surface has too many holes and handles for {target} triangles; the mesh has {faces}")
    if unseen > _MAX_UNSEEN:
        log.warn(
            f"{unseen:.0%} of the texture is in no picture and was filled in from what is around it; more "
            "pictures from other sides would show it"
        )


def texel_sources(baked: Baked) -> dict[str, float]:
    """Which shares of a texture come from observed, generated and rendered pictures, and from what is around them."""
    return {kind: round(getattr(baked, kind), 4) for kind in ("observed", "generated", "rendered", "filled")}


def similarity_json(similarity: Similarity) -> dict[str, Any]:
    """One without a turn, as JSON values."""
    return {"scale": float(similarity.scale), "translation": [float(x) for x in similarity.translation]}


def full_similarity_json(similarity: Similarity) -> dict[str, Any]:
    """Any, as JSON values."""
    return similarity_json(similarity) | {"rotation": [[float(x) for x in row] for row in similarity.rotation]}
