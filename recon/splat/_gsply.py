"""The only place that knows gsply, which codes compressed splats: its import, and its container to and from ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recon.splat.files import SplatsError, require_finite
from recon.splat.gaussians import Gaussians


def import_gsply(path: Path) -> Any:
    """The package gsply.

    Raises:
        SplatsError: if it is not installed or cannot be imported; `path` is the file that it was wanted for.
    """
    try:
        import gsply
    except (ImportError, RuntimeError) as cause:  # the latter from Numba, where no compiled code can be kept
        found = "no package gsply" if isinstance(cause, ModuleNotFoundError) else f"a gsply that fails: {cause}"
        remedy = "Run pip install 'turnabout[formats]', or use a plain .ply."
        raise SplatsError(path, found=found, expected="gsply, which codes such files", remedy=remedy) from cause
    return gsply


@contextmanager
def native_backend(gsply: Any) -> Iterator[None]:
    """Inside, gsply codes .spz with its C++ library where it brings one: nothing to compile first, and zstd within."""
    before = gsply.active_backend()
    gsply.use_backend("auto")
    try:
        yield
    finally:
        gsply.use_backend(before)


def to_gsdata(gsply: Any, gaussians: Gaussians, path: Path) -> Any:
    """gsply's container of Gaussians, which are in the conventions of PLY there, too; quaternions get unit length.

    Raises:
        SplatsError: if there are none, or some of them are not finite.
    """
    if len(gaussians) == 0:
        raise SplatsError(path, found="no Gaussians", expected="at least one", remedy="Write an empty scene as .ply.")
    scene = require_finite(gaussians.detach().to("cpu").to(torch.float32), path)
    return gsply.GSData.from_arrays(
        means=_array(scene.means),
        scales=_array(scene.log_scales),
        quats=_array(torch.nn.functional.normalize(scene.quats, dim=1)),
        opacities=_array(scene.logit_opacities),
        sh0=_array(scene.sh[:, 0]),
        shN=_array(scene.sh[:, 1:]) if scene.sh_degree else None,
        format="ply",
    )


def from_gsdata(data: Any, path: Path) -> Gaussians:
    """The Gaussians in gsply's container.

    Raises:
        SplatsError: if some of them are not finite.
    """
    means, quats, scales, opacities = map(_tensor, (data.means, data.quats, data.scales, data.opacities))
    sh = _tensor(data.sh0).reshape(-1, 1, 3)
    if data.shN is not None and data.shN.size:
        sh = torch.cat((sh, _tensor(data.shN)), dim=1)
    return require_finite(Gaussians(means, quats, scales, opacities.reshape(-1), sh), path)


def _array(tensor: Tensor) -> np.ndarray:
    return np.ascontiguousarray(tensor.numpy())


def _tensor(values: Any) -> Tensor:
    return torch.from_numpy(np.array(values, dtype=np.float32))
