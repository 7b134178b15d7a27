"""Newton's method for the smooth, strictly convex problems of the scaling calibrators."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

_MOST_STEPS = 100
_MOST_HALVINGS = 30
_MOST_PRODUCTS = 500
# Near the minimum a step changes the value by less than the value's own rounding.
_ROUNDING = 1e-13


@dataclass(frozen=True)
class Local:
    """An objective at one point: its value, its gradient, and on demand the Newton step -H^-1 g."""

    value: Tensor
    gradient: Tensor
    newton_step: Callable[[], Tensor]


def minimise(objective: Callable[[Tensor], Local], start: Tensor, *, tolerance: float) -> tuple[Tensor, bool]:
    """The minimiser of `objective`, by Newton steps that are halved until the value falls.

    Returns:
        The best point found, and whether no entry of its gradient is larger than `tolerance`.
    """
    point, here = start, objective(start)
    for _ in range(_MOST_STEPS):
        if _small(here.gradient, tolerance):
            return point, True
        step = here.newton_step()
        slope = (here.gradient * step).sum()
        limit = here.value + _ROUNDING * (1.0 + here.value.abs())
        for share in (0.5**k for k in range(_MOST_HALVINGS)):
            there = objective(point + share * step)
            if bool(there.value <= limit + 1e-4 * share * slope):
                point, here = point + share * step, there
                break
        else:
            return point, False
    return point, _small(here.gradient, tolerance)


def solve_dense(hessian: Tensor, gradient: Tensor) -> Tensor:
    """-H^-1 g by Cholesky; a step down the gradient where rounding has left H without full rank."""
    factor, failed = torch.linalg.cholesky_ex(hessian)
    if bool(failed):
        return -gradient / hessian.diagonal().sum()
    return -torch.cholesky_solve(gradient[:, None], factor).squeeze(1)


def solve_by_products(product: Callable[[Tensor], Tensor], diagonal: Tensor, gradient: Tensor) -> Tensor:
    """-H^-1 g by conjugate gradients, preconditioned with the diagonal of H; the smaller g is, the more exact."""
    size = gradient.norm()
    enough = min(0.1, float(size.sqrt())) * size
    step, residual = torch.zeros_like(gradient), -gradient
    scaled = residual / diagonal
    direction, inner = scaled, (residual * scaled).sum()
    for _ in range(_MOST_PRODUCTS):
        if bool(residual.norm() <= enough):
            break
        image = product(direction)
        length = inner / (direction * image).sum()
        step, residual = step + length * direction, residual - length * image
        scaled = residual / diagonal
        last, inner = inner, (residual * scaled).sum()
        direction = scaled + inner / last * direction
    return step


def _small(gradient: Tensor, tolerance: float) -> bool:
    return bool(gradient.abs().amax() <= tolerance)
