"""Pictures with cameras (COLMAP, nerfstudio, NeRF-synthetic, ...) to a textured mesh through the library.

    python examples/06_capture_to_glb.py CAPTURE GLB

The pictures must be cut out, as RGBA. A world whose format does not say what is up, such as COLMAP's, is set upright by
the ring of its cameras. The way back to it is kept, and printed.
"""

from __future__ import annotations

import sys
from pathlib import Path

from recon.asset.gltf import write_glb
from recon.capture.normalise import normalise
from recon.capture.reading import find_reader, read_capture
from recon.capture.upright import find_up, turned_upright
from recon.splat.fit import fit_gaussians
from recon.splat.fit_options import FIT_PRESETS
from recon.surface.finishing import FinishOptions, finish
from recon.surface.fusion import FUSION_PRESETS, fuse_depth, unseen_frames
from recon.surface.texture import BakeOptions

FIT = FIT_PRESETS["fast"]
FUSION = FUSION_PRESETS["fast"]
FINISH = FinishOptions(6000, bake=BakeOptions(1024))


def main(source: Path, glb_path: Path) -> None:
    capture, reader = read_capture(source), find_reader(source)
    if reader is not None and not reader.states_up:
        capture = turned_upright(capture, find_up(capture.cameras))
    capture = normalise(capture)
    back = capture.to_source
    print(f"one unit here is {back.scale:.4g} units of {source}; its origin is at {back.translation.tolist()} there")

    gaussians = fit_gaussians(capture, FIT, seed=0)
    surface = fuse_depth(gaussians, capture.cameras, FUSION, observed=capture.frames)
    unseen = unseen_frames(gaussians, capture.frames, FUSION)
    mesh = finish(surface, (*capture.frames, *unseen), FINISH).mesh
    write_glb(mesh, glb_path, name=source.resolve().stem)
    print(f"{glb_path}: {len(mesh.faces)} triangles")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
