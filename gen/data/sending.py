"""How tensors get from the processor to a GPU without either waiting for the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def send(values: NDArray[Any] | Tensor, device: torch.device) -> Tensor:
    """The values on `device`. A GPU that still works on what it was told before is not waited for."""
    tensor = torch.from_numpy(values) if isinstance(values, np.ndarray) else values
    if device.type == "cuda" and tensor.device.type == "cpu":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


T = TypeVar("T")


def send_all(tensors: T, device: torch.device) -> T:
    """A dataclass of tensors, and of dataclasses of tensors, on `device`."""
    return _change(tensors, lambda tensor: send(tensor, device))


def pin_all(tensors: T) -> T:
    """The same in memory that a GPU can read while the processor goes on."""
    return _change(tensors, Tensor.pin_memory)


def _change(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(value, Tensor):
        return change(value)
    if is_dataclass(value) and not isinstance(value, type):
        return type(value)(**{f.name: _change(getattr(value, f.name), change) for f in fields(value)})
    return value
