"""How long does an asset take, and how good is its texture? `python -m benchmarks.asset OBJECTS -o asset.json`

From fitted splats to a written .glb of 50,000 faces with a texture of 2,048 texels a side: seconds by step and the
process's peak memory. Then the bake beside Open3D's `project_images_to_albedo`: the same mesh with the same texture
coordinates, the same 41 pictures, one after the other; judged by eight views that neither was given.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, median
from typing import Annotated, Any

import numpy as np
import torch
import tyro
from rich.console import Console
from rich.progress import track
from torch import Tensor

from benchmarks._results import environment, write_json
from pipelines._command import run_command
from pipelines._run import peak_memory_mib
from pipelines.evaluation.markdown import table
from pipelines.evaluation.protocol import draw_views, held_out_cameras, object_seed, path_cameras, stratified
from pipelines.evaluation.sets import open_set, shipped
from pipelines.evaluation.subject import Subject
from recon._open3d import import_open3d
from recon.asset.gltf import write_glb
from recon.capture import Capture, Frame
from recon.metrics.views import compare_views
from recon.splat.fit import fit_gaussians
from recon.splat.fit_options import FIT_PRESETS
from recon.splat.warm_up import warm_up
from recon.surface.finishing import FinishOptions, finish
from recon.surface.fusion import FUSION_PRESETS, fuse_depth, unseen_frames
from recon.surface.mesh import Material, Mesh
from recon.surface.texture import BakeOptions, bake_texture

PRESET = "balanced"
_WARM_FACES = 500


@dataclass(frozen=True)
class AssetBenchmarkOptions:
    """Time the way from splats to a file, and compare textures with Open3D's."""

    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """JSON file."""
    objects: tyro.conf.Positional[Path | None] = None
    """Folder of the object pack or of mesh files; unless given, the dozen that ship with the program."""
    count: int = 4
    """Objects, chosen by hash, tiers in proportion."""
    faces: int = 50_000
    """Of the mesh."""
    texture_size: int = 2048
    """Texels a side."""
    size: int = 256
    """Side of the pictures in pixels."""


def run(options: AssetBenchmarkOptions) -> None:
    """Measures, prints the tables and writes the file.

    Raises:
        ValueError, OSError: for what a user can mend.
    """
    objects = open_set(options.objects or shipped())
    warm_up()
    rows: list[dict[str, Any]] = []
    for item in track(stratified(objects.objects, options.count), "objects", console=Console(stderr=True)):
        mesh, cameras = objects.mesh(item.id), path_cameras("both", options.size)
        subject = Subject(item.id, cameras, draw_views(mesh, cameras), object_seed(item.id))
        rows.append({"object": item.id, **_measure(mesh, subject, options)})
    document = {
        "benchmark": "asset",
        "environment": environment(),
        "settings": {"faces": options.faces, "texture_size": options.texture_size, "size": options.size},
        "objects": rows,
    }
    write_json(options.output, document)
    print(markdown(document))


def _measure(truth: Mesh, subject: Subject, options: AssetBenchmarkOptions) -> dict[str, Any]:
    fusion, frames = FUSION_PRESETS[PRESET], subject.frames()
    gaussians = fit_gaussians(Capture(frames), FIT_PRESETS[PRESET], seed=subject.seed)
    _finish_small(frames, fuse_depth(gaussians, subject.cameras, FUSION_PRESETS["fast"], observed=frames))
    steps: dict[str, float] = {}

    @contextlib.contextmanager
    def step(name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        steps[name] = time.perf_counter() - start

    with step("surface"):
        surface = fuse_depth(gaussians, subject.cameras, fusion, observed=frames)
    with step("drawing"):
        rest = unseen_frames(gaussians, frames, fusion)
    finishing = FinishOptions(options.faces, bake=BakeOptions(options.texture_size))
    asset = finish(surface, (*frames, *rest), finishing, step).mesh
    with step("export"), tempfile.TemporaryDirectory() as folder:
        write_glb(asset, Path(folder) / "mesh.glb")
    peak = peak_memory_mib()

    cameras = held_out_cameras(options.size)
    held_out = draw_views(truth, cameras)
    start = time.perf_counter()
    ours = bake_texture(asset, frames, finishing.bake)
    middle = time.perf_counter()
    theirs = _open3d_texture(asset, frames, options.texture_size)
    end = time.perf_counter()

    def psnr(mesh: Mesh) -> float:
        drawn = draw_views(mesh, cameras, lit=False)
        return float(compare_views(drawn, held_out, with_flip=False).masked_psnr.mean())

    return {
        "steps": steps,
        "faces": len(asset.faces),
        "peak_mib": peak,
        "bake": {"seconds": middle - start, "psnr": psnr(ours)},
        "open3d": {"seconds": end - middle, "psnr": psnr(theirs)},
    }


def _finish_small(frames: Sequence[Frame], surface: Mesh) -> None:
    """Everything once, so that no kernel is compiled while it is timed."""
    with tempfile.TemporaryDirectory() as folder:
        write_glb(finish(surface, frames[:2], FinishOptions(_WARM_FACES)).mesh, Path(folder) / "mesh.glb")


def _open3d_texture(mesh: Mesh, frames: Sequence[Frame], size: int) -> Mesh:
    """The mesh with what `project_images_to_albedo` makes of the pictures, over white as it knows no masks."""
    o3d = import_open3d()
    assert mesh.uvs is not None
    given = o3d.t.geometry.TriangleMesh(
        o3d.core.Tensor(mesh.vertices.numpy()), o3d.core.Tensor(np.ascontiguousarray(mesh.faces.numpy()))
    )
    corners = mesh.uvs.numpy()[mesh.faces.numpy()] * (1, -1) + (0, 1)  # it counts v from below
    given.triangle.texture_uvs = o3d.core.Tensor(np.ascontiguousarray(corners, np.float32))
    images, intrinsics, extrinsics = [], [], []
    for frame in frames:
        rgba = frame.rgba()
        white = rgba[..., :3] * rgba[..., 3:] + 1 - rgba[..., 3:]
        images.append(o3d.t.geometry.Image(o3d.core.Tensor((white * 255).round().byte().numpy())))
        k: Tensor = frame.camera.intrinsics.double().clone()
        k[:2, 2] -= 0.5  # its pixel centres lie on whole numbers
        intrinsics.append(o3d.core.Tensor(k.numpy()))
        extrinsics.append(o3d.core.Tensor(frame.camera.w2c.double().numpy()))
    albedo = given.project_images_to_albedo(images, intrinsics, extrinsics, size, False)
    texture = torch.from_numpy(np.ascontiguousarray(albedo.as_tensor().numpy()[..., :3]))
    return replace(mesh, materials=(Material(texture=texture),))


def markdown(document: dict[str, Any]) -> str:
    """The tables of saved results."""
    rows, settings = document["objects"], document["settings"]
    names = list(rows[0]["steps"])
    steps = [[name, f"{median(row['steps'][name] for row in rows):.1f}"] for name in names]
    total = [sum(row["steps"].values()) for row in rows]
    steps.append(["**all**", f"**{median(total):.1f}** ({min(total):.1f} to {max(total):.1f})"])
    ratio = median(row["open3d"]["seconds"] / row["bake"]["seconds"] for row in rows)
    gain = fmean(row["bake"]["psnr"] - row["open3d"]["psnr"] for row in rows)
    bakes = [
        [
            label,
            f"{median(row[key]['seconds'] for row in rows):.1f}",
            f"{fmean(row[key]['psnr'] for row in rows):.2f}",
        ]
        for key, label in (("bake", "ours"), ("open3d", "Open3D `project_images_to_albedo`"))
    ]
    bakes.append(["ratio, difference", f"{ratio:.1f}×", f"{gain:+.2f}"])
    said = (
        f"{settings['faces']:,} faces, {settings['texture_size']} texels a side, {len(rows)} objects; peak memory "
        f"{max(row['peak_mib'] for row in rows)} MiB, the fit included."
    )
    return "\n\n".join(
        (
            said,
            table(["step", "seconds, median"], steps),
            table(["texture of the same mesh from the same 41 pictures", "seconds", "held-out PSNR, dB"], bakes),
        )
    )


def main(args: list[str] | None = None) -> int:
    """Parses `args` (the command line unless given); returns the exit code."""
    options = tyro.cli(AssetBenchmarkOptions, args=args, prog="python -m benchmarks.asset")
    return run_command(lambda: run(options), again="give the same command again")


if __name__ == "__main__":
    sys.exit(main())
