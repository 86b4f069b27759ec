"""One photo to one textured mesh through the library, step by step: `turnabout img2mesh` without a run folder.

python examples/01_photo_to_glb.py [PHOTO] [GLB]
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import torch

from gen.weights import load_pipeline
from recon.asset.gltf import write_glb
from recon.capture.matting import find_foreground
from recon.capture.orbit import orbit_cameras
from recon.capture.photo import frame_subject, read_photo
from recon.splat.fit import FIT_PRESETS, fit_gaussians
from recon.surface.decimate import decimate
from recon.surface.fusion import FUSION_PRESETS, fuse_depth
from recon.surface.texture import BakeOptions, bake_texture
from recon.surface.uv import unwrap

ELEVATION = math.radians(10)
FRAMES = 12
TEXTURE_SIZE = 1024


def main(photo_path: Path, glb_path: Path) -> None:
    photo = read_photo(photo_path)
    frame = frame_subject(photo, find_foreground(photo), size=None, elevation=ELEVATION, fov=None)

    generator = load_pipeline()
    cameras = orbit_cameras(FRAMES, ELEVATION, frame.camera.fov_y, generator.transformer.config.sample_size)
    orbit = generator(
        [frame],
        cameras[1:],  # the first is the photo's own place
        num_inference_steps=12,
        generator=torch.Generator().manual_seed(0),
    )

    gaussians = fit_gaussians(orbit, FIT_PRESETS["fast"], seed=0)
    mesh = decimate(fuse_depth(gaussians, None, FUSION_PRESETS["fast"]), 6000)
    mesh = bake_texture(unwrap(mesh, TEXTURE_SIZE), orbit.frames, BakeOptions(TEXTURE_SIZE))
    write_glb(mesh, glb_path, name=photo_path.stem)
    print(f"{glb_path}: {len(mesh.faces)} triangles")


if __name__ == "__main__":
    arguments = [Path(argument) for argument in sys.argv[1:]]
    main(*(arguments + [Path("assets/photos/toadstool.png"), Path("mesh.glb")][len(arguments) :]))
