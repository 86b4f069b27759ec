"""Pictures of something that moves, with cameras and times, to an animated, skinned mesh through the library.

    python examples/10_clip_to_animated_glb.py CAPTURE GLB

CAPTURE is nerfstudio's or D-NeRF's layout with a `time` for every frame, several frames a time, cut out as RGBA.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from recon.asset import write_skinned_glb
from recon.capture.normalise import normalise
from recon.capture.reading import read_capture
from recon.motion.fit import by_time, fit_moving, time_of
from recon.motion.fit_options import MOVING_PRESETS
from recon.splat.corrections import NO_CORRECTIONS
from recon.surface.finishing import FinishOptions, finish
from recon.surface.fusion import FUSION_PRESETS, fuse_depth, unseen_frames
from recon.surface.moving_outlines import fit_moving_outlines
from recon.surface.skinning import skin_mesh
from recon.surface.texture import BakeOptions

FUSION = FUSION_PRESETS["fast"]
FINISH = FinishOptions(6000, bake=BakeOptions(512))


def main(source: Path, glb_path: Path) -> None:
    capture = normalise(read_capture(source))
    options = replace(MOVING_PRESETS["fast"], corrections=NO_CORRECTIONS)  # pictures that agree
    fit = fit_moving(capture, options, seed=0)
    moving, groups = fit.moving, by_time(capture.frames)
    print(f"{moving.motion.bases} bones over {moving.motion.duration:.2f} s")

    rest = moving.motion.rest_time()  # the mesh is taken off the scene as it is then
    frames = min(groups, key=lambda group: abs(time_of(group) - rest))
    scene, cameras = moving.at(rest), [frame.camera for frame in frames]
    surface = fuse_depth(scene, cameras, FUSION, observed=frames)
    mesh = finish(surface, (*frames, *unseen_frames(scene, frames, FUSION)), FINISH).mesh

    skinned = fit_moving_outlines(skin_mesh(mesh, moving, rest), moving.motion.times.tolist(), groups)
    written = write_skinned_glb(skinned, glb_path, name=source.resolve().stem, loop="pingpong")
    print(f"{glb_path}: {len(mesh.faces)} triangles, {written.keys} keys, {written.bytes / 1024:.0f} KiB")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
