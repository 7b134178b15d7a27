"""Poly-1 loss: cross-entropy with another weight on the first term of its series in 1 - p."""

from __future__ import annotations

import math

from torch import Tensor

from gence.losses.cross_entropy import Reduction
from gence.losses.rows import rows_of


def poly1(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    *,
    epsilon: float = 1.0,
) -> Tensor:
    r"""Cross-entropy and a linear term, :math:`-\log p_y + \epsilon (1 - p_y)`.

    Cross-entropy is the series :math:`\sum_j (1 - p_y)^j / j`; this one has :math:`1 + \epsilon` for the first
    coefficient. It is no proper score for :math:`\epsilon \ne 0`, as :math:`1 - p_y` is none: with
    :math:`\epsilon > 0` its minimiser is more confident than the true posterior, with :math:`\epsilon < 0` less.

    Args:
        input: Logits, `(C)`, `(N, C)` or `(N, C, d1, ..., dK)`.
        target: Class numbers, int64, the shape of `input` without its class axis.
        weight: `(C)` class weights; `"mean"` divides by the weights of the rows that count.
        ignore_index: Rows with this class number do not count.
        reduction: `"none"`, `"mean"` or `"sum"`, each as in `F.cross_entropy`.
        epsilon: What is added to the first coefficient, at least -1, where none of it is left; 0 is cross-entropy.

    Returns:
        A scalar, or the shape of `target` for `"none"`, in the dtype that `F.cross_entropy` would give.

    Raises:
        ValueError: If shapes, dtypes or settings do not fit together.

    Example:
        >>> import torch
        >>> round(poly1(torch.zeros(1, 2), torch.tensor([0]), epsilon=1.0).item(), 4)  # log(2) + 1/2
        1.1931

    Reference:
        Leng et al. 2022, arXiv 2204.12511, the Poly-1 loss.
    """
    if not -1.0 <= epsilon < math.inf:
        raise ValueError(
            f"epsilon must be a finite number of at least -1, so that no coefficient is negative; got {epsilon}"
        )
    rows = rows_of(input, target, weight, ignore_index, reduction, "poly1")
    log_p = rows.of_label(rows.log_probs())
    return rows.reduce(-log_p - epsilon * log_p.expm1())
