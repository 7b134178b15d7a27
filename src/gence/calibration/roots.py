"""The root of a falling function of one number, many at once: Newton's step where it helps, bisection where not."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

_STEPS = 80
_TOLERANCE = 1e-13


def falling_root(function: Callable[[Tensor], tuple[Tensor, Tensor]], low: Tensor, high: Tensor) -> Tensor:
    """Where each of some falling functions crosses zero between `low` and `high`; an end, if it does not.

    The bracket always holds the root and the step is halved whenever Newton's would not halve it, so it cannot diverge.

    Args:
        function: x `(n,)` -> the values and slopes `(n,)` of n functions; each may depend on its own x only.
        low: `(n,)`, where the functions are still positive, if they ever are.
        high: `(n,)`, where they are negative, if they ever are.

    Returns:
        `(n,)` roots.
    """
    x, width = (low + high) / 2, high - low
    for _ in range(_STEPS):
        found = width <= _TOLERANCE * (1.0 + x.abs())
        if bool(found.all()):
            break
        value, slope = function(x)
        low, high = torch.where(value > 0.0, x, low), torch.where(value > 0.0, high, x)
        newton = x - value / slope
        # A slope of zero gives infinity or NaN, which is not inside either.
        inside = (newton >= low) & (newton <= high) & ((newton - x).abs() <= width / 2)
        new = torch.where(inside, newton, (low + high) / 2)
        x, width = torch.where(found, x, new), torch.where(found, width, (new - x).abs())
    return x
