"""A dataset of two things that move, for the tests of data and training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import trimesh

from gen.data.scenes import SceneOptions
from tests.recon.surface.rigs import QUARTER, Glb

OPTIONS = SceneOptions(size=16, views=12, times=4, seed=1)


def moving_solid(box: tuple[float, float, float], seconds: float = 1.0) -> Glb:
    """A box that wanders along +x and, a second clip, turns about +y."""
    solid = trimesh.creation.box(box)
    glb = Glb()
    attributes = {"POSITION": glb.accessor(np.array(solid.vertices))}
    primitive = {"attributes": attributes, "indices": glb.accessor(solid.faces.ravel(), "uint16"), "material": 0}
    glb.header |= {
        "meshes": [{"primitives": [primitive]}],
        "materials": [{"pbrMetallicRoughness": {"baseColorFactor": [0.8, 0.2, 0.1, 1]}}],
        "nodes": [{"mesh": 0}],
        "scenes": [{"nodes": [0]}],
    }
    glb.clip((0, "translation", [0, seconds], [[0, 0, 0], [2, 0, 0]], "LINEAR"), name="wander")
    glb.clip((0, "rotation", [0, seconds], [[0, 0, 0, 1], [0, QUARTER, 0, QUARTER]], "LINEAR"), name="turn")
    return glb


def write_solids(folder: Path) -> Path:
    """A folder of two such solids, of a third that is listed for validation, and of that list."""
    folder.mkdir(parents=True)
    moving_solid((1.0, 0.6, 0.4)).write(folder / "long.glb")
    moving_solid((0.5, 1.0, 0.5), seconds=3).write(folder / "tall.glb")
    (folder / "secret.glb").write_bytes(b"whoever loads this fails")
    (folder / "validation.txt").write_text("secret\n")
    return folder
