"""Quaternions (wxyz) and rotation matrices, as the splats use them."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def rotations_from_quats(quats: Tensor) -> Tensor:
    """(..., 4) wxyz quaternions of any positive length to (..., 3, 3) rotation matrices; differentiable."""
    w, x, y, z = torch.nn.functional.normalize(quats, dim=-1, eps=1e-30).unbind(-1)
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    )
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


def quat_from_rotation(rotation: Tensor) -> Tensor:
    """(3, 3) rotation matrix to its unit quaternion (4,), wxyz with w >= 0.

    Starts from the largest of the four components, so that no root of a small number is divided by (Shepperd 1978).
    """
    m = rotation.double().tolist()
    trace = m[0][0] + m[1][1] + m[2][2]
    squares = [1 + trace] + [1 + 2 * m[i][i] - trace for i in range(3)]  # four times w², x², y², z²
    largest = max(range(4), key=squares.__getitem__)
    half = math.sqrt(squares[largest]) / 2
    products = {  # four times the product of each pair of components
        (0, 1): m[2][1] - m[1][2],
        (0, 2): m[0][2] - m[2][0],
        (0, 3): m[1][0] - m[0][1],
        (1, 2): m[0][1] + m[1][0],
        (1, 3): m[0][2] + m[2][0],
        (2, 3): m[1][2] + m[2][1],
    }
    quat = [half if i == largest else products[min(i, largest), max(i, largest)] / (4 * half) for i in range(4)]
    sign = -1.0 if quat[0] < 0 else 1.0
    return torch.tensor(quat, dtype=rotation.dtype, device=rotation.device) * sign


def multiply_quats(left: Tensor, right: Tensor) -> Tensor:
    """Hamilton product of (..., 4) wxyz quaternions: the rotation that applies `right`, then `left`."""
    a, b, c, d = left.unbind(-1)
    w, x, y, z = right.unbind(-1)
    return torch.stack(
        (
            a * w - b * x - c * y - d * z,
            a * x + b * w + c * z - d * y,
            a * y - b * z + c * w + d * x,
            a * z + b * y - c * x + d * w,
        ),
        dim=-1,
    )


def conjugate_quats(quats: Tensor) -> Tensor:
    """The inverses of (..., 4) unit wxyz quaternions."""
    return torch.cat((quats[..., :1], -quats[..., 1:]), dim=-1)
