"""Focal loss: cross-entropy that looks away from rows it already gets right."""

from __future__ import annotations

import torch
from torch import Tensor

from gence.losses._checks import check_loss_arguments
from gence.losses.cross_entropy import (
    Reduction,
    class_dim,
    computing_dtype,
    cross_entropy_of_scores,
    result_dtype,
)


def focal(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    *,
    gamma: float = 2.0,
) -> Tensor:
    r"""`F.cross_entropy` with log p replaced by :math:`(1 - p)^\gamma \log p`.

    For hard labels the term of a row is :math:`-(1 - p_y)^\gamma \log p_y`, so a row with p near 1 counts for little.
    Its minimiser is less confident than the true posterior; it is no proper score.

    Args:
        input: Logits, `(C)`, `(N, C)` or `(N, C, d1, ..., dK)`.
        target: Class numbers, int64, the shape of `input` without its class axis; or class probabilities.
        weight: `(C)` class weights; `"mean"` divides by the weights of the rows that count.
        ignore_index: Rows with this class number do not count.
        reduction: `"none"`, `"mean"` or `"sum"`, each as in `F.cross_entropy`.
        gamma: How fast a right answer stops to count, at least 0; 0 is cross-entropy.

    Returns:
        A scalar, or the shape of the rows for `"none"`, in the dtype that `F.cross_entropy` would give.

    Raises:
        ValueError: If shapes, dtypes or settings do not fit together.

    Example:
        >>> logits, target = torch.tensor([[0.0, 0.0]]), torch.tensor([1])
        >>> round(focal(logits, target, gamma=2.0).item(), 4)  # log(2) / 4
        0.1733

    Reference:
        Lin et al. 2017, arXiv 1708.02002, equation 4.
    """
    check_loss_arguments(input, target, weight, ignore_index, reduction)
    if not gamma >= 0.0:
        raise ValueError(f"gamma must be at least 0 (0 is cross-entropy); got {gamma}")
    log_p = input.log_softmax(class_dim(input), dtype=computing_dtype(input))
    # A class ruled out by minus infinity must get gradient 0, not the NaN of 0 times infinity.
    log_p = log_p.clamp(min=torch.finfo(log_p.dtype).min)
    # 1 - p by expm1: near p = 1 the plain difference has no digits left, and a power below 1 has a gradient of infinity
    # at 0, so it is kept off 0 by less than any difference a gradient could see.
    not_p = (-log_p.expm1()).clamp(min=1e-30)
    scores = not_p**gamma * log_p if gamma > 0.0 else log_p
    return cross_entropy_of_scores(scores, target, weight, ignore_index, reduction).to(result_dtype(input, target))
