"""Small sets of objects for the tests: two shapes without a mirror plane, painted."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from recon.asset.gltf import write_glb
from recon.surface.loading import normalised
from recon.surface.mesh import Mesh
from tests.recon.metrics.shapes import box, chair, joined


def painted(mesh: Mesh) -> Mesh:
    """Coloured by place, so that no two sides look alike."""
    low, high = mesh.bounds()
    return Mesh(mesh.vertices, mesh.faces, colors=(mesh.vertices - low) / (high - low).clamp_min(1e-6))


def step() -> Mesh:
    """A block with a smaller one beside its top."""
    return joined(box((0.5, 0.3, 0.4), (0, -0.1, 0)), box((0.2, 0.25, 0.25), (0.12, 0.17, 0.05)))


SHAPES = {"chair": chair, "step": step}


def write_set(folder: Path) -> Path:
    """A folder of two GLB files and their manifest."""
    folder.mkdir(parents=True)
    for name, make in SHAPES.items():
        write_glb(painted(normalised(make())), folder / f"{name}.glb", size=None, origin="keep", unlit=False)
    tiers = {"chair.glb": "A", "step.glb": "C"}
    lines = [json.dumps({"id": name, "tier": tier, "kind": "modelled"}) for name, tier in tiers.items()]
    (folder / "manifest.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def gray_views(count: int, size: int) -> torch.Tensor:
    """(count, size, size, 4) a grey disc in every view."""
    axis = torch.linspace(-1, 1, size)
    inside = (axis[:, None] ** 2 + axis[None] ** 2 < 0.5).float()
    return torch.stack((*(torch.full((size, size), 0.5),) * 3, inside), dim=-1).expand(count, -1, -1, -1)
