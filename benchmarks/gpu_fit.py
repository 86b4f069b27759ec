"""Fits on a GPU, beside gsplat's own way to fit: `python -m benchmarks.gpu_fit CAPTURES -o out.json`

The dinosaur and the lego of `benchmarks.captures`, in turns: our preset "views" on the processor and on the GPU, and
gsplat's `DefaultStrategy` with the settings of its example trainer (`simple_trainer.py default`: 7,000 of 30,000 steps,
harmonics of degree 3, one picture a step), which starts from points on the surface that ours starts from. Ours gets the
pictures' alpha and random backgrounds; the trainer knows no masks and gets the same pictures over one background, over
which all are judged. Finding the surface counts for both. The example trainer itself needs a viewer, LPIPS weights and
COLMAP's files; what is timed here is its loop without them, and with our structural similarity in place of its
compiled one.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import tyro
from torch import Tensor

from benchmarks._errors import BenchmarkError
from benchmarks._held_out import BACKGROUND, Split, composed, dino, lego
from benchmarks._results import environment, write_json
from benchmarks.fit import shared_start
from pipelines._command import run_command
from pipelines.evaluation.markdown import table
from recon.splat.backend_cuda import find_gsplat
from recon.splat.fit import fit_gaussians
from recon.splat.fit_options import FIT_PRESETS
from recon.splat.gaussians import Gaussians
from recon.splat.harmonics import SH_DC
from recon.splat.losses import photometric_loss
from recon.splat.warm_up import warm_up

_POINTS = 10_000
_FULL_LENGTH = 30_000
"""Steps over which the trainer's step size of the centres falls to a hundredth."""
_RATES = {"means": 1.6e-4, "scales": 5e-3, "quats": 1e-3, "opacities": 5e-2, "sh0": 2.5e-3, "shN": 2.5e-3 / 20}
_DEGREE, _DEGREE_INTERVAL = 3, 1000
_FIRST_OPACITY = 0.1
_SSIM_SHARE = 0.2


@dataclass(frozen=True)
class GpuFitOptions:
    """Fit two captures on a GPU, and by gsplat's own strategy."""

    captures: tyro.conf.Positional[Path]
    """Folder of the captures."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """JSON file with all figures."""
    size: int = 256
    """Longer side of the pictures in pixels."""
    steps: int = 7000
    """Steps of gsplat's fits, and of the longer one of ours; the shorter is the preset's."""


@dataclass(frozen=True)
class Row:
    """One fit. `peak_mib` is of the GPU's memory, None on the processor."""

    psnr: float
    ssim: float
    gaussians: int
    seconds: float
    steps: int
    peak_mib: int | None


def scored(split: Split, scene: Gaussians, seconds: float, steps: int, peak: int | None) -> Row:
    """Judged on the processor, as every fit."""
    return Row(*split.scores(scene), len(scene), seconds, steps, peak)


def ours(split: Split, device: Literal["cpu", "cuda"], steps: int) -> Row:
    """The preset "views" with so many views."""
    options = replace(FIT_PRESETS["views"], iterations=steps)
    _forget_peak(device)
    begin = time.perf_counter()
    scene = fit_gaussians(split.capture, options, device=device)
    seconds = time.perf_counter() - begin
    return scored(split, scene, seconds, steps, _peak(device))


def by_default_strategy(split: Split, steps: int, device: str = "cuda") -> Row:
    """gsplat's densification and the settings of its example trainer."""
    gsplat = find_gsplat()
    torch.manual_seed(42)
    frames = split.capture.frames
    centres = torch.stack([frame.camera.c2w[:3, 3] for frame in frames])
    extent = 1.1 * float((centres - centres.mean(0)).norm(dim=1).max())
    _forget_peak(device)
    begin = time.perf_counter()
    start = shared_start(split.capture, FIT_PRESETS["views"], _POINTS)
    splats = {name: torch.nn.Parameter(value.to(device)) for name, value in _first_splats(start).items()}
    optimisers = {
        name: torch.optim.Adam(
            [{"params": splats[name], "lr": rate * (extent if name == "means" else 1)}], eps=1e-15, fused=True
        )
        for name, rate in _RATES.items()
    }
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimisers["means"], gamma=0.01 ** (1 / _FULL_LENGTH))
    strategy = gsplat.DefaultStrategy(verbose=False)
    strategy.check_sanity(splats, optimisers)
    state = strategy.initialize_state(scene_scale=extent)
    pictures = [composed(frame).to(device) for frame in frames]
    viewmats = [frame.camera.w2c[None].to(device) for frame in frames]
    intrinsics = [frame.camera.intrinsics[None].to(device) for frame in frames]
    background = BACKGROUND[None].to(device)
    weights = [torch.ones(picture.shape[:2], device=device) for picture in pictures]
    order: list[int] = []
    for step in range(steps):
        order = order or torch.randperm(len(frames)).tolist()
        place = order.pop()
        picture = pictures[place]
        drawn, _, info = gsplat.rasterization(
            splats["means"],
            splats["quats"],
            splats["scales"].exp(),
            splats["opacities"].sigmoid(),
            torch.cat((splats["sh0"], splats["shN"]), 1),
            viewmats[place],
            intrinsics[place],
            picture.shape[1],
            picture.shape[0],
            sh_degree=min(step // _DEGREE_INTERVAL, _DEGREE),
            packed=False,
            backgrounds=background,
        )
        strategy.step_pre_backward(splats, optimisers, state, step, info)
        photometric_loss(drawn[0], picture, weights[place], _SSIM_SHARE).backward()
        for optimiser in optimisers.values():
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        schedule.step()
        strategy.step_post_backward(splats, optimisers, state, step, info, packed=False)
    if device == "cuda":
        torch.cuda.synchronize()
    seconds = time.perf_counter() - begin
    found = {name: value.detach().cpu() for name, value in splats.items()}
    colours = torch.cat((found["sh0"], found["shN"]), 1)
    scene = Gaussians(found["means"], found["quats"], found["scales"], found["opacities"], colours)
    return scored(split, scene, seconds, steps, _peak(device))


def _first_splats(start: Gaussians) -> dict[str, Tensor]:
    """Round ones as wide as the mean distance to the three nearest others, of which one sees a tenth."""
    from scipy.spatial import cKDTree

    points = start.means
    near = torch.from_numpy(cKDTree(points.numpy()).query(points.numpy(), 4)[0][:, 1:]).float()
    width = near.square().mean(1).sqrt().clamp_min(1e-6).log()
    count = len(points)
    return {
        "means": points,
        "scales": width[:, None].repeat(1, 3),
        "quats": torch.rand(count, 4),
        "opacities": torch.full((count,), math.log(_FIRST_OPACITY / (1 - _FIRST_OPACITY))),
        "sh0": (start.base_colors[:, None] - 0.5) / SH_DC,
        "shN": torch.zeros(count, (_DEGREE + 1) ** 2 - 1, 3),
    }


def _forget_peak(device: str) -> None:
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()


def _peak(device: str) -> int | None:
    return int(torch.cuda.max_memory_allocated() >> 20) if device == "cuda" else None


def run(options: GpuFitOptions) -> dict[str, Any]:
    """Measure; writes after each row.

    Raises:
        BenchmarkError, CudaBackendError: without a GPU, gsplat or the captures.
    """
    if not torch.cuda.is_available():
        raise BenchmarkError("benchmarks.gpu_fit needs an NVIDIA GPU, which this PyTorch does not see")
    find_gsplat()
    warm_up()
    rows: dict[str, Any] = {}
    short = FIT_PRESETS["views"].iterations
    for split in (dino(options.captures, options.size), lego(options.captures, options.size)):
        ours(split, "cuda", 50)  # what is only slow the first time
        by_default_strategy(split, 50)
        for key, fit in (
            (f"{split.name}, ours on the GPU", partial(ours, split, "cuda", short)),
            (f"{split.name}, gsplat's strategy", partial(by_default_strategy, split, options.steps)),
            (f"{split.name}, ours on the GPU, longer", partial(ours, split, "cuda", options.steps)),
            (f"{split.name}, ours on the processor", partial(ours, split, "cpu", short)),
        ):
            print(key, file=sys.stderr)
            rows[key] = asdict(fit())
            document = {
                "benchmark": "gpu_fit",
                "environment": environment() | {"gpu": torch.cuda.get_device_name()},
                "settings": {"size": options.size, "steps": options.steps},
                "rows": rows,
            }
            write_json(options.output, document)
    return {"rows": rows}


def markdown(document: Mapping[str, Any]) -> str:
    """The table of saved results."""
    header = ["capture, fit", "steps", "held-out PSNR, dB", "SSIM", "Gaussians", "seconds", "steps/s", "peak GPU, MiB"]
    lines = [
        [
            key,
            f"{row['steps']:,}",
            f"{row['psnr']:.2f}",
            f"{row['ssim']:.3f}",
            f"{row['gaussians']:,}",
            f"{row['seconds']:.1f}",
            f"{row['steps'] / row['seconds']:.0f}",
            "–" if row["peak_mib"] is None else f"{row['peak_mib']:,}",
        ]
        for key, row in document["rows"].items()
    ]
    return table(header, lines)


def main(args: list[str] | None = None) -> int:
    """Parses `args` (the command line unless given); returns the exit code."""
    options = tyro.cli(GpuFitOptions, args=args, prog="python -m benchmarks.gpu_fit")
    return run_command(lambda: print(markdown(run(options))), again="give the same command again")


if __name__ == "__main__":
    sys.exit(main())
