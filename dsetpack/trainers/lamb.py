"""LAMB (You et al. 2020, algorithm 2, without weight decay): Adam with steps scaled layer by layer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast

import torch
from typing_extensions import override


class Lamb(torch.optim.Optimizer):
    """The optimiser that FRePo and ISA learn images and labels by.

    With Adam's bias-corrected moments m and v and u = m / (√v + eps), a tensor w moves by -lr · ‖w‖/‖u‖ · u, or by
    -lr · u if one of the two norms is 0.

    Args:
        params: tensors or groups of them.
        lr: the learning rate.
        betas: the decay of the moments.
        eps: the constant above, 1e-6 as in the paper's experiments and in optax.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps})

    @override
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take one step. ``closure`` evaluates the loss again, as in every torch optimiser."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, group)
        return loss

    def _move(self, w: torch.Tensor, group: dict[str, Any]) -> None:
        gradient, (first, second) = cast(torch.Tensor, w.grad), group["betas"]
        state = self.state[w]
        if not state:
            state.update(step=torch.zeros(()), m=torch.zeros_like(w), v=torch.zeros_like(w))
        state["step"] += 1
        step = float(state["step"])
        state["m"].lerp_(gradient, 1 - first)
        state["v"].mul_(second).addcmul_(gradient, gradient, value=1 - second)
        update = state["m"] / (1 - first**step) / ((state["v"] / (1 - second**step)).sqrt() + group["eps"])
        weight, size = w.norm(), update.norm()
        trust = torch.where((weight > 0) & (size > 0), weight / size, 1.0)
        w.sub_(update * trust * group["lr"])
