"""Moving Gaussians to the files of other programs: one PLY a time, or one `.4dgs` container (fourdgs' format, through
the package fourdgs)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recon.capture.conversions import wxyz_from_xyzw, xyzw_from_wxyz
from recon.capture.files import whole_folder
from recon.motion.moving import MovingGaussians
from recon.splat.files import SplatsError, require_finite, whole_file
from recon.splat.gaussians import Gaussians
from recon.splat.harmonics import SH_DC
from recon.splat.ply import write_ply

_FOR_EVER = 1e6
"""Seconds over which an opacity fades in the format, which has no other word for one that does not."""

_FAINTEST = 0.5 / 255


def write_ply_sequence(moving: MovingGaussians, folder: Path, times: Iterable[float]) -> int:
    """Writes the scene at each time, exactly, as `0000.ply`, `0001.ply`, ...; the folder appears whole or not at all.
    How many there are.

    Raises:
        CaptureError: if the folder holds something.
        OSError: if it cannot be written.
    """
    count = 0
    with whole_folder(folder) as temporary:
        for time in times:
            write_ply(moving.at(time), temporary / f"{count:04d}.ply")
            count += 1
    return count


def write_4dgs(moving: MovingGaussians, path: Path, fps: float = 30.0) -> int:
    """Writes the clip as a `.4dgs` container whose times begin at 0; it appears whole or not at all. Its size in bytes.

    The Gaussians are stated `fps` times a second, quantised as finely as the format's profiles go, and move straight
    from one time to the next; the last is shown for as long as the others. Nothing is turned or scaled. Of harmonics
    only the constant is kept: the format has no room for others on what moves. All times are held in memory at once.

    Raises:
        SplatsError: if there are no Gaussians, some are not finite, or the package fourdgs is missing.
        ValueError: if `fps` is not positive.
        OSError: if the file cannot be written.
    """
    path = Path(path)
    if not 0 < fps < math.inf:
        raise ValueError(f"expected a positive number of frames a second, got {fps}")
    if len(moving) == 0:
        raise SplatsError(path, found="no Gaussians", expected="at least one", remedy="Fit the scene again.")
    _import_fourdgs(path)
    from fourdgs.keyframe_delta_file import write_sequence
    from fourdgs.keyframe_delta_writer import KeyframeDeltaOptions, Sample

    start = float(moving.motion.times[0])
    count = math.floor(moving.motion.duration * fps + 1e-6) + 1
    frames = [require_finite(moving.at(start + i / fps).detach().to("cpu"), path) for i in range(count)]
    samples = []
    for i, frame in enumerate(frames):
        velocity = (frames[min(i + 1, count - 1)].means - frame.means) * fps
        states = _states(frame, velocity, time=i / fps, duration=count / fps)
        samples.append(Sample(t0=i / fps, ids=np.arange(len(frame)), gaussians=states))
    options = KeyframeDeltaOptions(keyframe_every=max(1, round(fps)))
    data = write_sequence(samples, count / fps, kd=options, profile="fine", library="turnabout")
    with whole_file(path) as temporary:
        temporary.write_bytes(data)
    return len(data)


def read_4dgs(path: Path) -> list[tuple[float, Gaussians]]:
    """The times in seconds at which a file states its Gaussians, and these, of a file as `write_4dgs` writes it
    (temporal model "keyframe-delta"); a Gaussian that lives throughout keeps its place.

    Raises:
        SplatsError: for other or damaged files, or if the package fourdgs is missing.
        OSError: if the file cannot be opened.
    """
    path = Path(path)
    fourdgs = _import_fourdgs(path)
    from fourdgs.keyframe_delta_file import decode_streamed, reconstruct_at

    try:
        decoded = decode_streamed(path.read_bytes())
        moments = [(chunk.t0, reconstruct_at(chunk.state, decoded.grids, chunk.t0)) for chunk in decoded.chunks]
    except (fourdgs.FourdgsError, ValueError, KeyError, IndexError, OverflowError, MemoryError) as cause:
        raise SplatsError(
            path, found=str(cause), expected="a keyframe-delta .4dgs file", remedy="Check it with `fourdgs validate`."
        ) from cause
    return [(float(time), require_finite(_gaussians(state), path)) for time, state in moments]


def _import_fourdgs(path: Path) -> Any:
    """The package fourdgs.

    Raises:
        SplatsError: if it is not installed; `path` is the file that it was wanted for.
    """
    try:
        import fourdgs
    except ImportError as cause:
        remedy = "Run pip install 'turnabout[formats]', or write a sequence of PLYs."
        raise SplatsError(path, found="no package fourdgs", expected="fourdgs, for .4dgs", remedy=remedy) from cause
    return fourdgs


def _states(frame: Gaussians, velocity: Tensor, *, time: float, duration: float) -> Any:
    """fourdgs' container of Gaussians that set out at a time and are there throughout."""
    from fourdgs import GaussianSet

    everyone = np.ones(len(frame))
    return GaussianSet(
        positions=_array(frame.means),
        scales=_array(frame.scales),
        rotations=_array(xyzw_from_wxyz(torch.nn.functional.normalize(frame.quats, dim=1))),
        colors=_array(torch.cat((frame.base_colors, frame.opacities[:, None]), dim=1)),
        motions=_array(velocity),
        mu_t=time * everyone,
        sigma_t=_FOR_EVER * everyone,
        win_lo=0 * everyone,
        win_hi=duration * everyone,
    )


def _gaussians(state: dict[str, Any]) -> Gaussians:
    rgb, opacity = _tensor(state["rgb"]), _tensor(state["opacity"]).clamp(_FAINTEST, 1 - _FAINTEST)
    return Gaussians(
        _tensor(state["centers"]),
        wxyz_from_xyzw(_tensor(state["rotations"])),
        _tensor(state["scales"]).log(),
        opacity.logit(),
        ((rgb - 0.5) / SH_DC)[:, None],
    )


def _array(tensor: Tensor) -> NDArray[np.float32]:
    return np.ascontiguousarray(tensor.numpy(), dtype=np.float32)


def _tensor(values: Any) -> Tensor:
    return torch.from_numpy(np.array(values, dtype=np.float32))
