"""How often a row of some weight comes, in whole numbers."""

from __future__ import annotations

import torch
from torch import Tensor


def copies(weight: Tensor, offset: float) -> Tensor:
    r"""Systematic sampling: counts whose running sum never strays by 1 from that of the weights.

    With :math:`W_i = \sum_{j \le i} w_j` and an offset u, row i comes
    :math:`\lfloor W_i + u \rfloor - \lfloor W_{i-1} + u \rfloor` times. Over u uniform in [0, 1) that is
    :math:`w_i` on average, and a whole number is met exactly for every u. The counts add up to the sum of the weights,
    rounded, whatever u is.

    Args:
        weight: `(rows)`, not negative.
        offset: u, at least 0 and below 1.

    Returns:
        int64 `(rows)`.

    Raises:
        ValueError: If a weight is negative or not finite.

    Example:
        >>> copies(torch.tensor([2.0, 0.0, 0.5, 0.5, 1.0]), 0.5)
        tensor([2, 0, 1, 0, 1])

    Reference:
        Madow and Madow: On the theory of systematic sampling. Annals of Mathematical Statistics 15 (1944), 1-24.
    """
    weight = weight.to(torch.float64)
    if not bool((torch.isfinite(weight) & (weight >= 0)).all()):
        raise ValueError("weights must be finite and not negative")
    upto = weight.cumsum(0)
    if len(upto):
        whole = upto[-1].round()
        upto[-1] = whole
        upto = upto.clamp(max=whole)
    # The fraction by itself: next to a large sum an offset just below 1 would be rounded to 1.
    edges = (upto.floor() + (upto.frac() + offset).floor()).to(torch.int64)
    return edges.diff(prepend=edges.new_zeros(1))
