"""OpenSplat's program as a peer: its data folder, its runs, its CPU time, the scenes that it saves on the way.

https://github.com/pierotofy/OpenSplat (AGPL): it is run as a program beside ours and nothing of it is in here.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks._errors import BenchmarkError
from benchmarks._held_out import composed
from recon.capture import Camera, Capture
from recon.capture.conversions import opengl_from_opencv
from recon.splat.gaussians import Gaussians

_SETTLING = 5
_STEP = re.compile(r"Step (\d+): \S+")


@dataclass(frozen=True)
class ProgramRun:
    """Attributes:
    seconds: CPU seconds (all threads) at every step's line of output, from the first step's on.
    wall: seconds on the clock from the first step's line to the last one's.
    peak_mib: the most memory that was resident, in MiB.
    saved: (steps done, PLY file), as far as the program was asked to save.
    """

    seconds: dict[int, float]
    wall: float
    peak_mib: int
    saved: tuple[tuple[int, Path], ...]

    def seconds_per_step(self) -> float:
        """Mean over the steps, the first few left out; no median, as the system counts in hundredths of a second."""
        steps, times = list(self.seconds), list(self.seconds.values())
        return (times[-1] - times[_SETTLING]) / (steps[-1] - steps[_SETTLING])

    def seconds_at(self, steps: int) -> float:
        """After so many steps, or the nearest number that the program printed."""
        return self.seconds[min(self.seconds, key=lambda printed: abs(printed - steps))]


def check_program(program: Path) -> None:
    """Raises:
    BenchmarkError: if there is no such program.
    """
    if not os.access(program, os.X_OK):
        raise BenchmarkError(f"{program}: expected OpenSplat's program, found nothing that can be run")


def write_data(capture: Capture, start: Gaussians, folder: Path) -> None:
    """A nerfstudio folder: pictures over the program's background, cameras, and the centres of `start` with colours."""
    (folder / "images").mkdir(parents=True)
    frames = []
    for index, frame in enumerate(capture):
        name = f"images/{index:03d}.png"
        Image.fromarray((composed(frame) * 255).round().byte().numpy()).save(folder / name)
        matrix = opengl_from_opencv(frame.camera.c2w).tolist()
        frames.append({"file_path": name, "transform_matrix": matrix, **_lens(frame.camera)})
    document = {"camera_model": "OPENCV", "frames": frames, "ply_file_path": "points.ply"}
    (folder / "transforms.json").write_text(json.dumps(document), encoding="utf-8")
    _write_points(start, folder / "points.ply")


def run_program(
    program: Path,
    data: Path,
    output: Path,
    steps: int,
    options: Sequence[str],
    *,
    save_every: int = -1,
    threads: int = 1,
) -> ProgramRun:
    """Runs `steps` steps at full resolution with further command-line options.

    Raises:
        BenchmarkError: if the program fails.
    """
    output.mkdir(parents=True, exist_ok=True)
    command = [
        str(program), str(data), "-o", str(output / "splat.ply"), "-n", str(steps), "--num-downscales", "0",
        "--save-every", str(save_every), "--keep-crs", "--cpu", *options,
    ]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    seconds: dict[int, float] = {}
    clock: list[float] = []
    peak = 0
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, bufsize=1) as process:
        for line in process.stdout or ():
            if match := _STEP.match(line):
                seconds[int(match[1])] = _cpu_seconds(process.pid)
                clock.append(time.perf_counter())
                peak = max(peak, _peak_mib(process.pid))
    if process.returncode != 0 or not seconds:
        raise BenchmarkError(f"{program}: expected to fit {data}, found exit code {process.returncode}")
    begin = min(seconds.values())
    numbered = sorted(
        (int(match[1]), path) for path in output.glob("splat_*.ply") if (match := re.search(r"_(\d+)$", path.stem))
    )
    saved = dict([*numbered, (steps, output / "splat.ply")])
    counted = {step: used - begin for step, used in seconds.items()}
    return ProgramRun(counted, clock[-1] - clock[0], peak, tuple(saved.items()))


def fixed_count(steps: int) -> list[str]:
    """Options under which the program neither adds nor drops Gaussians, and one colour has four harmonics."""
    never = str(steps + 1)
    return ["--warmup-length", never, "--sh-degree", "1", "--sh-degree-interval", never]


def _cpu_seconds(pid: int) -> float:
    """User and system time of a process so far, all threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _peak_mib(pid: int) -> int:
    """The most memory of a process that was resident so far; 0 of one that has ended."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next((int(line.split()[1]) // 1024 for line in status.splitlines() if line.startswith("VmHWM")), 0)


def _lens(camera: Camera) -> dict[str, float]:
    k = camera.intrinsics
    size = {"w": camera.width, "h": camera.height}
    pinhole = {"fl_x": float(k[0, 0]), "fl_y": float(k[1, 1]), "cx": float(k[0, 2]), "cy": float(k[1, 2])}
    return size | pinhole | dict.fromkeys(("k1", "k2", "k3", "p1", "p2"), 0.0)


def _write_points(start: Gaussians, file: Path) -> None:
    names = ("x", "y", "z")
    table = np.zeros(len(start), [(n, "<f4") for n in names] + [(n, "u1") for n in ("red", "green", "blue")])
    for axis, name in enumerate(names):
        table[name] = start.means[:, axis].numpy()
    for channel, name in enumerate(("red", "green", "blue")):
        table[name] = (start.base_colors[:, channel] * 255).round().byte().numpy()
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(start)}"]
    header += [f"property float {name}" for name in names]
    header += [f"property uchar {name}" for name in ("red", "green", "blue")] + ["end_header", ""]
    file.write_bytes("\n".join(header).encode("ascii") + table.tobytes())
