"""Draws someone's trained splats: point_cloud.ply from the first of cameras.json, as Kerbl et al.'s program writes.

python examples/03_render_a_ply.py POINT_CLOUD.ply CAMERAS.json PICTURE.png
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from PIL import Image

from recon.capture import Camera
from recon.splat.ply import read_ply
from recon.splat.rasterize import rasterize


def main(ply: Path, cameras: Path, png: Path) -> None:
    view = json.loads(cameras.read_text(encoding="utf-8"))[0]
    c2w = torch.eye(4)
    c2w[:3, :3], c2w[:3, 3] = torch.tensor(view["rotation"]), torch.tensor(view["position"])
    width, height = view["width"], view["height"]
    intrinsics = torch.tensor([[view["fx"], 0, width / 2], [0, view["fy"], height / 2], [0, 0, 1]])
    with torch.no_grad():
        picture = rasterize(read_ply(ply), [Camera(c2w, intrinsics, width, height)], geometry=False).rgb[0]
    Image.fromarray((picture.clamp(0, 1) * 255).round().byte().numpy()).save(png)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
