"""Writes the evaluation objects that are modelled in code: assets/eval comes from here.

    python examples/04_model_evaluation_objects.py [FOLDER]

Shows how to make textured meshes, write them as GLB with a manifest, and draw a contact sheet. Equal bytes every time.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from gen.data.modelled.objects import MODELLED, TIERS, make
from recon.asset.gltf import write_glb
from recon.capture import orbit_camera
from recon.surface.mesh import Mesh
from recon.surface.render import Lights, prepare_mesh, render_prepared

FOLDER = Path(__file__).resolve().parent.parent / "assets" / "eval"
CELL = 160
"""Side of a picture on the contact sheet, in pixels."""
VIEWS = ((0, 10), (90, 20), (180, 10), (270, 35))
"""Azimuth and elevation of the sheet's four pictures of an object, in degrees."""


def views(mesh: Mesh) -> Tensor:
    """(CELL, 4 CELL, 3) the mesh in studio light over pale grey."""
    prepared = prepare_mesh(mesh)
    row = []
    for azimuth, elevation in VIEWS:
        camera = orbit_camera(math.radians(azimuth), math.radians(elevation), math.radians(33.8), CELL, CELL)
        color, alpha = render_prepared(prepared, camera, lights=Lights.studio(), supersample=3).rgba.split((3, 1), -1)
        row.append(color * alpha + 0.94 * (1 - alpha))
    return torch.cat(row, 1)


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    lines, rows = [], []
    for name in MODELLED:
        mesh = make(name)
        write_glb(mesh, folder / f"{name}.glb", size=None, origin="keep", name=name, unlit=False, image_format="jpeg")
        entry = {"id": f"{name}.glb", "tier": TIERS[name], "group": name, "licence": "CC0-1.0"}
        lines.append(json.dumps(entry | {"author": "Turnabout contributors", "kind": "modelled"}) + "\n")
        rows.append(views(mesh))
        print(folder / f"{name}.glb")
    (folder / "manifest.jsonl").write_text("".join(lines), encoding="utf-8")
    sheet = torch.cat([torch.cat(pair, 1) for pair in zip(rows[::2], rows[1::2], strict=True)])
    picture = Image.fromarray((sheet * 255).round().to(torch.uint8).numpy())
    picture.quantize(256, kmeans=4).save(folder / "preview.png", optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
