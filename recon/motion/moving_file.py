"""`MovingGaussians` on disk, exactly: one safetensors file."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from recon.motion.moving import INFLUENCES, MovingGaussians
from recon.motion.trajectories import Trajectories
from recon.splat.files import SplatsError, read_tensors, whole_file
from recon.splat.gaussians import Gaussians

_FORMAT = "turnabout-moving-1"
_SCENE = ("means", "quats", "log_scales", "logit_opacities", "sh")
_MOTION = ("times", "pivots", "basis_quats", "shifts")
_BLEND = ("bases", "weights", "waves")
_MAX_BYTES = 2 << 30


def write_moving(moving: MovingGaussians, path: Path) -> None:
    """Writes a moving scene; the file appears whole or not at all.

    Raises:
        OSError: if it cannot be written.
    """
    from safetensors.torch import save

    motion = moving.motion
    tensors = (
        dict(zip(_SCENE, moving.canonical.tensors()))
        | dict(zip(_MOTION, (motion.times, motion.pivots, motion.quats, motion.shifts)))
        | dict(zip(_BLEND, (moving.bases, moving.weights, moving.waves)))
    )
    data = save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, {"format": _FORMAT})
    with whole_file(Path(path)) as draft:
        draft.write_bytes(data)


def read_moving(path: Path) -> MovingGaussians:
    """Reads what `write_moving` wrote.

    Raises:
        SplatsError: if the file is damaged or something else.
        OSError: if it cannot be opened.
    """
    path = Path(path)
    try:
        tensors = read_tensors(path, _FORMAT, (*_SCENE, *_MOTION, *_BLEND), _MAX_BYTES)
        times, pivots, quats, shifts = (tensors[name] for name in _MOTION)
        moving = MovingGaussians(
            Gaussians(*(tensors[name] for name in _SCENE)),
            Trajectories(times, pivots, quats, shifts),
            *(tensors[name] for name in _BLEND),
        )
    except (ValueError, IndexError) as error:
        raise _damaged(path, str(error)) from error
    _check(moving, tensors, path)
    return moving


def _check(moving: MovingGaussians, tensors: dict[str, Tensor], path: Path) -> None:
    bases, weights = moving.bases, moving.weights
    if not all(bool(tensor.isfinite().all()) for tensor in tensors.values() if tensor.is_floating_point()):
        raise _damaged(path, "numbers that are not finite")
    if not 1 <= bases.shape[1] <= INFLUENCES or bool(((bases < 0) | (bases >= moving.motion.bases)).any()):
        raise _damaged(path, "a Gaussian that is carried by a basis that is not there")
    if bool((weights < 0).any()) or not bool(((weights.sum(1) - 1).abs() < 1e-3).all()):
        raise _damaged(path, "blend weights that are negative or do not sum to 1")


def _damaged(path: Path, found: str) -> SplatsError:
    return SplatsError(
        path, found=found, expected=f"moving Gaussians ({_FORMAT})", remedy="Run the stage that writes it again."
    )
