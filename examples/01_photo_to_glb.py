"""One photo to one textured mesh through the library: the steps of `turnabout img2mesh --preset fast`, without its run
folder.

    python examples/01_photo_to_glb.py [PHOTO] [GLB]
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import torch

from gen.weights import load_pipeline
from recon.asset.gltf import write_glb
from recon.capture import Frame
from recon.capture.matting import find_foreground
from recon.capture.orbit import orbit_cameras
from recon.capture.photo import frame_subject, read_photo
from recon.splat.fit import fit_gaussians
from recon.splat.fit_options import FIT_PRESETS
from recon.surface.finishing import FinishOptions, finish
from recon.surface.fusion import FUSION_PRESETS, fuse_depth, unseen_frames
from recon.surface.texture import BakeOptions

PHOTO = Path(__file__).resolve().parent.parent / "assets" / "photos" / "toadstool.png"
ELEVATION = math.radians(10)  # what the program assumes of a photo
FRAMES = 12
STEPS = 1
FIT = FIT_PRESETS["fast"]
FUSION = FUSION_PRESETS["fast"]
TEXTURE_SIZE = 1024
TARGET_FACES = 6000


def main(photo_path: Path, glb_path: Path) -> None:
    frame = framed_photo(photo_path)

    generator = load_pipeline()
    cameras = orbit_cameras(FRAMES, ELEVATION, frame.camera.fov_y, generator.transformer.config.sample_size)
    orbit = generator(
        [frame],
        cameras[1:],  # the first is the photo's own place
        num_inference_steps=STEPS,
        generator=torch.Generator().manual_seed(0),
    )

    gaussians = fit_gaussians(orbit, FIT, seed=0)
    surface = fuse_depth(gaussians, orbit.cameras, FUSION, observed=orbit.frames)
    unseen = unseen_frames(gaussians, orbit.frames, FUSION)
    finishing = FinishOptions(TARGET_FACES, bake=BakeOptions(TEXTURE_SIZE))
    mesh = finish(surface, (*orbit.frames, *unseen), finishing).mesh
    write_glb(mesh, glb_path, name=photo_path.stem)
    print(f"{glb_path}: {len(mesh.faces)} triangles")


def framed_photo(path: Path) -> Frame:
    """The square around the subject: at the photo's own resolution, or the texture's where that is less."""
    photo = read_photo(path)
    alpha = find_foreground(photo)
    frame = frame_subject(photo, alpha, elevation=ELEVATION)
    if frame.camera.width > TEXTURE_SIZE:
        frame = frame_subject(photo, alpha, size=TEXTURE_SIZE, elevation=ELEVATION)
    return frame


if __name__ == "__main__":
    arguments = [Path(argument) for argument in sys.argv[1:]]
    main(*(arguments + [PHOTO, Path("mesh.glb")][len(arguments) :]))
