"""Focal losses with a fixed rule: cross-entropy that looks away from rows it already gets right."""

from __future__ import annotations

import torch
from torch import Tensor

from gence.losses._checks import check_at_least_0, check_loss_arguments
from gence.losses.cross_entropy import Reduction, class_dim, counting_logits, cross_entropy_of_scores, result_dtype
from gence.losses.rows import complement, rows_of


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
    It is no proper score: for two classes, or where one class is likely, its minimiser is less confident than the true
    posterior; with many classes of which none is likely it can be more confident.

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
    check_at_least_0("0 is cross-entropy", gamma=gamma)
    # Rows that do not count become zeros first, so that a NaN in them does not reach the gradient.
    logits = counting_logits(input, target, ignore_index)
    log_p = logits.log_softmax(class_dim(input))
    # A class ruled out by minus infinity must get gradient 0, not the NaN of 0 times infinity.
    log_p = log_p.clamp(min=torch.finfo(log_p.dtype).min)
    scores = complement(log_p) ** gamma * log_p if gamma > 0.0 else log_p
    return cross_entropy_of_scores(scores, target, weight, ignore_index, reduction).to(result_dtype(input, target))


def focal_sample_dependent(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    *,
    gamma_low: float = 5.0,
    gamma_high: float = 3.0,
    threshold: float = 0.2,
) -> Tensor:
    r"""FLSD-53, the focal loss :math:`-(1 - p_y)^\gamma \log p_y` with another :math:`\gamma` where :math:`p_y` is low.

    The exponent is `gamma_low` where :math:`p_y` is below the threshold and `gamma_high` elsewhere; the loss jumps
    there. It is no proper score: on either side of the threshold it is the focal loss, which is none.

    Args:
        input: Logits, `(C)`, `(N, C)` or `(N, C, d1, ..., dK)`.
        target: Class numbers, int64, the shape of `input` without its class axis.
        weight: `(C)` class weights; `"mean"` divides by the weights of the rows that count.
        ignore_index: Rows with this class number do not count.
        reduction: `"none"`, `"mean"` or `"sum"`, each as in `F.cross_entropy`.
        gamma_low: The exponent of rows with :math:`p_y` below the threshold, at least 0.
        gamma_high: The exponent of all others, at least 0.
        threshold: A probability, in [0, 1]; a row that is exactly there has `gamma_high`.

    Returns:
        A scalar, or the shape of `target` for `"none"`, in the dtype that `F.cross_entropy` would give.

    Raises:
        ValueError: If shapes, dtypes or settings do not fit together.

    Example:
        >>> logits, target = torch.zeros(1, 2), torch.tensor([1])
        >>> round(focal_sample_dependent(logits, target).item(), 4)  # log(2) / 2^3
        0.0866

    Reference:
        Mukhoti et al. 2020, arXiv 2002.09437, the FLSD-53 of its experiments.
    """
    check_at_least_0("0 is cross-entropy", gamma_low=gamma_low, gamma_high=gamma_high)
    if not 0.0 <= threshold <= 1.0:
        raise ValueError(f"threshold must be a probability, in [0, 1]; got {threshold}")
    rows = rows_of(input, target, weight, ignore_index, reduction, "focal_sample_dependent")
    log_p = rows.of_label(rows.log_probs())
    not_p = complement(log_p)
    focus = torch.where(log_p.exp() < threshold, not_p**gamma_low, not_p**gamma_high)
    return rows.reduce(-focus * log_p)


def dual_focal(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    *,
    gamma: float = 5.0,
) -> Tensor:
    r"""The focal loss with the next class in it, :math:`-(1 - p_y + p_j)^\gamma \log p_y`.

    Here :math:`p_j` is the largest probability that is strictly less than :math:`p_y`, or 0 if there is none; gradients
    go through it. A row counts until the label is far ahead of the class that follows it. The loss jumps where another
    class overtakes the label. It is no proper score: for two classes it is the focal loss where
    :math:`p_y \le 1/2` and :math:`2^\gamma` times that elsewhere.

    Args:
        input: Logits, `(C)`, `(N, C)` or `(N, C, d1, ..., dK)`.
        target: Class numbers, int64, the shape of `input` without its class axis.
        weight: `(C)` class weights; `"mean"` divides by the weights of the rows that count.
        ignore_index: Rows with this class number do not count.
        reduction: `"none"`, `"mean"` or `"sum"`, each as in `F.cross_entropy`.
        gamma: How fast a right answer stops to count, at least 0; 0 is cross-entropy. The paper tunes it for each
            network and data set, from 2.3 to 6.1.

    Returns:
        A scalar, or the shape of `target` for `"none"`, in the dtype that `F.cross_entropy` would give.

    Raises:
        ValueError: If shapes, dtypes or settings do not fit together.

    Example:
        >>> logits = torch.tensor([[0.5, 0.3, 0.2]]).log()
        >>> round(dual_focal(logits, torch.tensor([0]), gamma=2.0).item(), 4)  # (1 - 0.5 + 0.3)^2 log(2)
        0.4436

    Reference:
        Tao et al. 2023, arXiv 2305.13665.
    """
    check_at_least_0("0 is cross-entropy", gamma=gamma)
    rows = rows_of(input, target, weight, ignore_index, reduction, "dual_focal")
    log_probs = rows.log_probs()
    log_p = rows.of_label(log_probs)
    below = log_probs < log_p[:, None]
    # Not max: where several classes come next, amax shares the gradient among them, whatever their order.
    p_next = log_probs.exp().masked_fill(~below, 0.0).amax(1)
    return rows.reduce(-((complement(log_p) + p_next) ** gamma) * log_p)
