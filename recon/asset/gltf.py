"""`Mesh` to a binary glTF 2.0 file (.glb) and back.

The house's world is glTF's: +Y up, front +Z, metres; nothing is rotated. Colours are sRGB in textures and linear in
factors and vertex colours, as the format asks. Materials are unlit by default (KHR_materials_unlit): a texture taken
from pictures already holds their light, and lighting it again would wash it out; `unlit=False` writes a rough
dielectric instead, which is also what programs without the extension fall back to.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recon.asset._glb_container import GlbError, read_container
from recon.asset._glb_document import GlbDocument
from recon.asset._glb_reading import Asset, asset_of
from recon.asset.placing import Origin, place_mesh
from recon.asset.textures import ImageFormat, decode_texture, encode_texture, linear_to_srgb, srgb_to_linear
from recon.surface.mesh import Mesh

__all__ = [
    "Asset",
    "GlbError",
    "ImageFormat",
    "decode_texture",
    "encode_texture",
    "linear_to_srgb",
    "read_glb",
    "srgb_to_linear",
    "write_glb",
]


def write_glb(
    mesh: Mesh,
    path: Path,
    *,
    size: float | None = 1.0,
    origin: Origin = "centre",
    name: str = "object",
    extras: Mapping[str, Any] | None = None,
    unlit: bool = True,
    double_sided: bool = False,
    image_format: ImageFormat = "png",
) -> None:
    """Writes one mesh in one node; the file appears whole or not at all.

    Args:
        size: longest side in metres, or None to keep the scale; see `place_mesh`.
        origin: "centre", "base" or "keep".
        name: of the node and the mesh; materials keep theirs.
        extras: provenance (input hash, seed, versions ...), anything JSON holds; kept in `asset.extras`, and on the
            node, where editors show it.
        double_sided: for surfaces that are open.
        image_format: "png" keeps every texel; "jpeg" and "webp" are some times smaller and lose a little. WebP needs a
            program that knows EXT_texture_webp (Blender, three.js; not Godot 3). Textures with holes are never JPEG.

    Raises:
        AssetError: if the mesh cannot be placed, lacks texture coordinates for its texture, or `extras` is not JSON.
        OSError: if the file cannot be written.
    """
    mesh = place_mesh(mesh, size=size, origin=origin)
    document = GlbDocument(unlit=unlit, double_sided=double_sided, image_format=image_format)
    document.nodes.append({"mesh": document.add_mesh(mesh, name), "name": name})
    document.write(path, [0], dict(extras or {}), {})


def read_glb(path: Path) -> Asset:
    """Reads a file that `write_glb` wrote (one mesh, no transforms, no compression).

    Files of other programs are read by `recon.surface.loading.load_mesh`.

    Raises:
        GlbError: if the file is not such a file; sizes are checked before anything is decoded.
        OSError: if it cannot be opened.
    """
    try:
        return asset_of(*read_container(path))
    except (KeyError, IndexError, TypeError, AttributeError, OverflowError, struct.error) as error:
        raise GlbError(f"{path}: not a file that this program wrote ({error!r})") from error
    except ValueError as error:
        raise error if isinstance(error, GlbError) else GlbError(f"{path}: {error}") from error
