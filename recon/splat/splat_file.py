"""antimatter15's .splat (github.com/antimatter15/splat): 32 bytes a Gaussian, no header, no view-dependent colour.

A record is position and standard deviations as float32, red, green, blue and opacity as bytes, and the quaternion wxyz
as bytes of which 128 is 0 and 0 is -1. Frame and colour are those of the PLY file that it was made of.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from recon.splat.files import SplatsError, require_finite, whole_file
from recon.splat.gaussians import Gaussians
from recon.splat.harmonics import SH_DC

_RECORD = np.dtype([("means", "<f4", 3), ("scales", "<f4", 3), ("rgba", "u1", 4), ("quats", "u1", 4)])
_FLAT = 1e-10
"""Standard deviation that stands for 0, which disks have in some files."""
_FULL = 254.75
"""What opacity 255 is read as, and 0.25 for 0: a logit knows neither 0 nor 1."""


def write_splat(gaussians: Gaussians, path: Path) -> None:
    """Writes the Gaussians in their order. Viewers that draw while they load expect the largest first.

    What is lost: all harmonics but the constant; 1/510 of colour, clamped to 0 and 1; 1/510 of opacity; 1/256 in a
    quaternion's part (1/128 where it is 1). Positions and sizes are exact.

    Raises:
        SplatsError: if there are no Gaussians, or some are not finite.
    """
    path = Path(path)
    if len(gaussians) == 0:
        raise SplatsError(path, found="no Gaussians", expected="at least one", remedy="Write an empty scene as .ply.")
    scene = require_finite(gaussians.detach().to("cpu").to(torch.float32), path)
    records = np.zeros(len(scene), _RECORD)
    records["means"], records["scales"] = scene.means.numpy(), scene.scales.numpy()
    records["rgba"] = _bytes(255 * torch.cat((scene.base_colors, scene.opacities[:, None]), dim=1))
    records["quats"] = _bytes(128 + 128 * torch.nn.functional.normalize(scene.quats, dim=1))
    with whole_file(path) as temporary:
        temporary.write_bytes(records.tobytes())


def read_splat(path: Path) -> Gaussians:
    """Reads Gaussians of degree 0; nothing in such a file tells that it is one, except its length.

    Raises:
        SplatsError: if the length is no multiple of 32 bytes, or values are none that a scene can have.
        OSError: if the file cannot be opened.
    """
    path = Path(path)
    content = path.read_bytes()
    if not content or len(content) % _RECORD.itemsize:
        raise SplatsError(
            path,
            found=f"{len(content)} bytes",
            expected=f"{_RECORD.itemsize} for each Gaussian",
            remedy="The file is cut off or of another format; fetch it again.",
        )
    records = np.frombuffer(content, _RECORD)
    rgba = torch.from_numpy(records["rgba"].astype(np.float32))
    opacities = rgba[:, 3].clamp(255 - _FULL, _FULL) / 255
    scales = torch.from_numpy(records["scales"].astype(np.float32))
    scene = Gaussians(
        torch.from_numpy(records["means"].astype(np.float32)),
        torch.nn.functional.normalize(torch.from_numpy(records["quats"].astype(np.float32)) - 128, dim=1),
        torch.where(scales == 0, _FLAT, scales).log(),
        opacities.logit(),
        ((rgba[:, :3] / 255 - 0.5) / SH_DC)[:, None],
    )
    return require_finite(scene, path)


def _bytes(values: Tensor) -> np.ndarray:
    return values.round().clamp(0, 255).numpy().astype(np.uint8)
