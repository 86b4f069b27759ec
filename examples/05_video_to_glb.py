"""A turntable's video to a textured mesh through the library: frames chosen and cut out, cameras found, then as ever.

    python examples/05_video_to_glb.py VIDEO GLB

The steps of `turnabout video2mesh --cameras orbit --preset fast` for an object that turns before a plain backdrop.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor

from recon.asset.gltf import write_glb
from recon.capture import Capture, frame_from_tensors
from recon.capture.cutouts import with_matte
from recon.capture.frame_choice import choose_frames
from recon.capture.matting import find_foreground
from recon.capture.unposed import shrunk_picture, video_photos
from recon.capture.video import scan_video
from recon.splat.fit import fit_gaussians
from recon.splat.fit_options import FIT_PRESETS
from recon.splat.solve_poses import solve_orbit
from recon.surface.finishing import FinishOptions, finish
from recon.surface.fusion import FUSION_PRESETS, fuse_depth, unseen_frames
from recon.surface.texture import BakeOptions

FRAMES = 24
SIDE = 512
FIT = FIT_PRESETS["fast"]
FUSION = FUSION_PRESETS["fast"]
FINISH = FinishOptions(6000, bake=BakeOptions(1024))


def main(video: Path, glb_path: Path) -> None:
    pictures = cut_out_frames(video)
    solved = solve_orbit(pictures, ordered=True, seed=0)
    print(f"confidence {solved.confidence:.2f}: " + ", ".join(f"{k} {v:.2f}" for k, v in solved.reasons.items()))
    frames = [
        frame_from_tensors(camera.resized(*picture.shape[1::-1]), picture, name=f"frame_{i:02d}")
        for i, (camera, picture) in enumerate(zip(solved.cameras, pictures))
    ]
    capture = Capture(tuple(frames))

    gaussians = fit_gaussians(capture, FIT, seed=0)
    surface = fuse_depth(gaussians, capture.cameras, FUSION, observed=capture.frames)
    unseen = unseen_frames(gaussians, capture.frames, FUSION)
    mesh = finish(surface, (*capture.frames, *unseen), FINISH).mesh
    write_glb(mesh, glb_path, name=video.stem)
    print(f"{glb_path}: {len(mesh.faces)} triangles")


def cut_out_frames(video: Path) -> list[Tensor]:
    """The sharpest frames, evenly spread over what the object turned, each (H, W, 4), straight alpha."""
    chosen = choose_frames(scan_video(video), FRAMES, video).indices
    pictures = []
    for _, photo in video_photos(video, chosen):
        rgb = photo.rgb.to(torch.float32) / 255
        pictures.append(shrunk_picture(with_matte(rgb, find_foreground(photo)), SIDE))
    return pictures


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
