"""Muon: momentum, orthogonalised, for the weight matrices of a transformer (Keller Jordan et al., 2024).

`torch.optim.Muon` always orthogonalises in bfloat16, which processors without bfloat16 arithmetic emulate some sixty
times slower than float32; this one works in a dtype of the caller's choice and scales its step so that AdamW's
learning rates fit (Moonlight, arXiv:2502.16982).
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Quintic of the Newton-Schulz iteration, from the original description of Muon."""


class Muon(torch.optim.Optimizer):
    """Args:
    params: matrices only.
    lr: step in AdamW's scale.
    momentum: Nesterov momentum.
    weight_decay: decoupled.
    dtype: of the orthogonalisation.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-3,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        self.dtype = dtype
        if any(p.ndim != 2 for group in self.param_groups for p in group["params"]):
            raise ValueError("Muon takes matrices only; give the other parameters to AdamW")

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            alike: dict[torch.Size, list[Tensor]] = {}
            for p in group["params"]:
                if p.grad is not None:
                    alike.setdefault(p.shape, []).append(p)
            for same in alike.values():
                self._step_together(same, group["lr"], group["momentum"], group["weight_decay"])

    def _step_together(self, same: list[Tensor], lr: float, momentum: float, weight_decay: float) -> None:
        """Steps matrices of one shape at once: one by one they are too small to keep a GPU busy."""
        gradients = []
        for p in same:
            state = self.state[p]
            if "momentum" not in state:
                state["momentum"] = torch.zeros_like(p)
            assert p.grad is not None
            buffer = state["momentum"].lerp_(p.grad, 1 - momentum)
            gradients.append(p.grad.lerp(buffer, momentum).to(self.dtype))
        for p, update in zip(same, orthogonalise(torch.stack(gradients))):
            p.mul_(1 - lr * weight_decay)
            p.add_(update.to(p), alpha=-lr * 0.2 * max(p.shape) ** 0.5)


def orthogonalise(matrices: Tensor, iterations: int = 5) -> Tensor:
    """The nearest semi-orthogonal matrices (..., m, n), roughly: singular values end between about 0.7 and 1.2."""
    a, b, c = _COEFFICIENTS
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(iterations):
        gram = x @ x.mT
        x = a * x + (b * gram + c * (gram @ gram)) @ x
    return x.mT if tall else x
