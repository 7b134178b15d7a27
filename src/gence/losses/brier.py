"""Brier score as a loss: the squared distance of the probabilities to the label."""

from __future__ import annotations

from torch import Tensor

from gence.losses.cross_entropy import Reduction
from gence.losses.rows import rows_of


def brier(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""The Brier score, :math:`\sum_k (p_k - 1\{k = y\})^2`, in [0, 2]: a sum over classes, not their mean.

    It is strictly proper and bounded, so a row that is surely wrong has nearly no gradient.

    Args:
        input: Logits, `(C)`, `(N, C)` or `(N, C, d1, ..., dK)`.
        target: Class numbers, int64, the shape of `input` without its class axis.
        weight: `(C)` class weights; `"mean"` divides by the weights of the rows that count.
        ignore_index: Rows with this class number do not count.
        reduction: `"none"`, `"mean"` or `"sum"`, each as in `F.cross_entropy`.

    Returns:
        A scalar, or the shape of `target` for `"none"`, in the dtype that `F.cross_entropy` would give.

    Raises:
        ValueError: If shapes, dtypes or settings do not fit together.

    Example:
        >>> import torch
        >>> brier(torch.zeros(1, 2), torch.tensor([0])).item()  # (1/2)^2 + (1/2)^2
        0.5

    Reference:
        Brier 1950, Monthly Weather Review 78, equation 2.
    """
    rows = rows_of(input, target, weight, ignore_index, reduction, "brier")
    p = rows.log_probs().exp()
    return rows.reduce((p - rows.one_hot()).square().sum(1))
