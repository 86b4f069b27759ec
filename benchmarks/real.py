"""Orbits of real captures: `python -m benchmarks.real CAPTURES -o real.json`

One picture of a capture in, the others as the truth: the turned dinosaur (photographs before black, cut off a little by
the picture's border) and the NeRF-synthetic lego. Cameras are the captures' own. Every answer stands beside the input
picture itself, repeated.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro
from rich.console import Console
from rich.progress import track
from torch import Tensor

from benchmarks._held_out import LEGO, dino
from benchmarks._results import environment, write_json
from gen.weights import load_pipeline, weights_digest
from pipelines._command import run_command
from pipelines._pictures import evenly, write_sheet
from pipelines.evaluation.markdown import show, table
from recon.capture import FRAME_MARGIN, OBJECT_RADIUS, Camera, Frame, Source, frame_from_tensors
from recon.capture.io_synthetic import read_nerf_synthetic
from recon.capture.normalise import normalise
from recon.metrics.bootstrap import bootstrap_interval
from recon.metrics.views import compare_views

_SIZE = 256
"""Longer side in pixels at which captures are read."""
MOST = 24
"""Views of a capture, evenly spread over it."""
INPUTS = 6
"""Of these, how many are the input in turn."""
_SHOWN = 8


@dataclass(frozen=True)
class RealBenchmarkOptions:
    """Compare generated views of real captures with their pictures."""

    captures: Annotated[Path, tyro.conf.Positional]
    """Folder of the captures."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """JSON file; a sheet of pictures (.png) is written beside it."""
    model: Path
    """Weights of the generator."""


def open_captures(folder: Path, size: int) -> dict[str, list[Frame]]:
    """Frames of the captures, upright and framed, each capture around the origin in the sphere of diameter 1."""
    split = dino(folder, _SIZE)
    lego = normalise(read_nerf_synthetic(folder / LEGO))
    # The dinosaur's camera lay on its side.
    lying = [framed(frame, size) for frame in evenly((*split.capture, *split.held_out), MOST)]
    return {
        "dinosaur": [_stood_up(frame) for frame in lying],
        "lego": [framed(frame, size) for frame in evenly(lego.frames, MOST)],
    }


def _stood_up(frame: Frame) -> Frame:
    """A square frame turned by a quarter, counter-clockwise: what was on the left is at the bottom."""
    camera = frame.camera
    c2w = camera.c2w.clone()
    c2w[:3, 0], c2w[:3, 1] = camera.c2w[:3, 1], -camera.c2w[:3, 0]
    intrinsics = camera.intrinsics.clone()
    intrinsics[0, 0], intrinsics[1, 1] = camera.intrinsics[1, 1], camera.intrinsics[0, 0]
    intrinsics[0, 2], intrinsics[1, 2] = camera.intrinsics[1, 2], camera.width - camera.intrinsics[0, 2]
    turned = Camera(c2w, intrinsics, camera.width, camera.height)
    return frame_from_tensors(turned, frame.rgba().rot90(1, (0, 1)), source=Source.OBSERVED, name=frame.name)


def framed(frame: Frame, size: int) -> Frame:
    """The frame's square around the sphere of diameter 1 with the house margin, `size` pixels a side."""
    camera = frame.camera
    focal = 0.5 * float(camera.intrinsics[0, 0] + camera.intrinsics[1, 1])
    distance = float(camera.centre.norm())
    half = focal * math.tan(math.asin(min(0.99, FRAME_MARGIN * OBJECT_RADIUS / distance)))
    (x, y), _ = camera.project(torch.zeros(3))
    side = 2 * round(half)
    left, top = round(float(x) - half), round(float(y) - half)
    square = camera.cropped(left, top, side, side).resized(size, size)
    picture = _window(frame.premultiplied(), left, top, side).movedim(-1, 0)[None]
    small = torch.nn.functional.interpolate(picture, (size, size), mode="bilinear", antialias=True)[0].movedim(0, -1)
    alpha = small[..., 3:].clamp(0, 1)
    straight = torch.cat((small[..., :3] / alpha.clamp_min(1e-3), alpha), dim=-1).clamp(0, 1)
    return frame_from_tensors(square, straight, source=Source.OBSERVED, name=frame.name)


def _window(picture: Tensor, left: int, top: int, side: int) -> Tensor:
    """(side, side, 4) of the picture, transparent outside of it."""
    height, width = picture.shape[:2]
    out = picture.new_zeros(side, side, 4)
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + side, width), min(top + side, height)
    if x0 < x1 and y0 < y1:
        out[y0 - top : y1 - top, x0 - left : x1 - left] = picture[y0:y1, x0:x1]
    return out


def run(options: RealBenchmarkOptions) -> dict[str, Any]:
    """Measure all captures and write results and pictures.

    Raises:
        BenchmarkError, CaptureError, WeightsError: if captures or weights are missing.
        OSError: if the output cannot be written.
    """
    pipe = load_pipeline(options.model)
    options.output.open("a").close()  # what cannot be written is known before the work
    size = pipe.transformer.config.sample_size
    scores: dict[str, dict[str, list[float]]] = {}
    rows = []
    for name, frames in open_captures(options.captures, size).items():
        found: dict[str, list[float]] = {"psnr": [], "copy psnr": [], "iou": [], "copy iou": []}
        for place in track(evenly(range(len(frames)), INPUTS), name, console=Console(stderr=True)):
            others = [frame for i, frame in enumerate(frames) if i != place]
            told = _tell(pipe, frames[place], [frame.camera for frame in others])
            truth = torch.stack([frame.rgba() for frame in others])
            copied = frames[place].rgba().expand_as(truth)
            for key, views in (("", told), ("copy ", copied)):
                compared = compare_views(views, truth, with_flip=False)
                found[f"{key}psnr"].append(float(compared.masked_psnr.mean()))
                found[f"{key}iou"].append(float(compared.mask_iou.mean()))
            if place == 0:
                shown = evenly(range(len(others)), _SHOWN)
                rows += [
                    (f"{name}: the input, then the truth", [frames[place].rgba(), *(truth[i] for i in shown)]),
                    (f"{name}: generated from the input", [frames[place].rgba(), *(told[i] for i in shown)]),
                ]
        scores[name] = found
    write_sheet(rows, options.output.with_suffix(".png"))
    document = {
        "benchmark": "real",
        "environment": environment(),
        "settings": {"size": size, "weights": weights_digest(options.model)},
        "captures": scores,
    }
    write_json(options.output, document)
    return document


def markdown(document: dict[str, Any]) -> str:
    """The table of a document that `run` made."""
    rows = [
        [name, *(show(bootstrap_interval(found[key]), 2) for key in ("psnr", "copy psnr", "iou", "copy iou"))]
        for name, found in document["captures"].items()
    ]
    header = ["capture", "masked PSNR", "of the copied input", "mask IoU", "of the copied input"]
    return f"Weights {document['settings']['weights'][:8]}…\n\n" + table(header, rows)


def _tell(pipe: Any, context: Frame, targets: Sequence[Camera]) -> Tensor:
    """(T, H, W, 4) straight alpha."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        capture = pipe([context], targets, generator=generator)
    return torch.stack([frame.rgba() for frame in capture.frames[1:]])


def main(args: list[str] | None = None) -> int:
    """Parses `args` (the command line unless given); returns the exit code."""
    options = tyro.cli(RealBenchmarkOptions, args=args, prog="python -m benchmarks.real")
    return run_command(lambda: print(markdown(run(options))), again="give the same command again")


if __name__ == "__main__":
    sys.exit(main())
