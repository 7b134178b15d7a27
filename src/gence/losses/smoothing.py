"""Losses that do not ask for certainty: smoothed labels, relaxed labels, and a price on confidence."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gence.losses._checks import check_at_least_0, check_loss_arguments
from gence.losses.cross_entropy import Reduction, class_dim, counting_logits, cross_entropy_of_scores, result_dtype
from gence.losses.rows import complement, rows_of


def label_smoothing(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    *,
    smoothing: float = 0.1,
) -> Tensor:
    r"""Cross-entropy to the target :math:`(1 - \epsilon) 1\{k = y\} + \epsilon / K`.

    It equals `F.cross_entropy(..., label_smoothing=smoothing)`: the share :math:`\epsilon` is spread over all K
    classes, the label among them, and with class weights each class's part of it has that class's own weight. It is no
    proper score: its minimiser is the posterior smoothed like the target. A class ruled out by minus infinity gets a
    share too, so the loss is then infinite.

    Args:
        input: Logits, `(C)`, `(N, C)` or `(N, C, d1, ..., dK)`.
        target: Class numbers, int64, the shape of `input` without its class axis; or class probabilities.
        weight: `(C)` class weights; `"mean"` divides by the weights of the rows that count.
        ignore_index: Rows with this class number do not count.
        reduction: `"none"`, `"mean"` or `"sum"`, each as in `F.cross_entropy`.
        smoothing: The share :math:`\epsilon`, in [0, 1]; 0 is cross-entropy.

    Returns:
        A scalar, or the shape of the rows for `"none"`, in the dtype that `F.cross_entropy` would give.

    Raises:
        ValueError: If shapes, dtypes or settings do not fit together.

    Example:
        >>> logits = torch.tensor([[0.8, 0.2]]).log()
        >>> round(label_smoothing(logits, torch.tensor([0])).item(), 4)  # -0.95 log(0.8) - 0.05 log(0.2)
        0.2925

    Reference:
        Szegedy et al. 2016, arXiv 1512.00567, section 7.
    """
    check_loss_arguments(input, target, weight, ignore_index, reduction)
    if not 0.0 <= smoothing <= 1.0:
        raise ValueError(f"smoothing must lie in [0, 1] (0 is cross-entropy); got {smoothing}")
    # Rows that do not count become zeros first, so that a NaN in them does not reach the gradient.
    logits = counting_logits(input, target, ignore_index)
    loss = cross_entropy_of_scores(
        logits.log_softmax(class_dim(input)), target, weight, ignore_index, reduction, smoothing
    )
    return loss.to(result_dtype(input, target))


def label_relaxation(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    *,
    alpha: float = 0.1,
) -> Tensor:
    r"""The divergence of p from the nearest distribution that gives the label at least :math:`1 - \alpha`.

    It is 0 where :math:`p_y \ge 1 - \alpha`, and elsewhere

    .. math:: (1 - \alpha) \log \frac{1 - \alpha}{p_y} + \alpha \log \frac{\alpha}{1 - p_y}.

    How the rest is shared among the other classes is free, where label smoothing wants it even. The loss is smooth,
    also where it becomes 0. It is no proper score: every p that is sure enough of the label is as good as any other.

    Args:
        input: Logits, `(C)`, `(N, C)` or `(N, C, d1, ..., dK)`.
        target: Class numbers, int64, the shape of `input` without its class axis.
        weight: `(C)` class weights; `"mean"` divides by the weights of the rows that count.
        ignore_index: Rows with this class number do not count.
        reduction: `"none"`, `"mean"` or `"sum"`, each as in `F.cross_entropy`.
        alpha: What the label need not have, in [0, 1]; 0 is cross-entropy.

    Returns:
        A scalar, or the shape of `target` for `"none"`, in the dtype that `F.cross_entropy` would give.

    Raises:
        ValueError: If shapes, dtypes or settings do not fit together.

    Example:
        >>> logits = torch.tensor([[0.95, 0.05], [0.5, 0.5]]).log()
        >>> loss = label_relaxation(logits, torch.tensor([0, 0]), reduction="none")
        >>> [round(value, 4) for value in loss.tolist()]  # 0.9 log(0.9 / 0.5) + 0.1 log(0.1 / 0.5)
        [0.0, 0.3681]

    Reference:
        Lienen and Hüllermeier 2021, From Label Smoothing to Label Relaxation, AAAI 35.
    """
    if not 0.0 <= alpha <= 1.0:
        raise ValueError(f"alpha must lie in [0, 1] (0 is cross-entropy); got {alpha}")
    rows = rows_of(input, target, weight, ignore_index, reduction, "label_relaxation")
    log_p = rows.of_label(rows.log_probs())
    negative_entropy = sum(share * math.log(share) for share in (1.0 - alpha, alpha) if share > 0.0)
    divergence = negative_entropy - (1.0 - alpha) * log_p - alpha * complement(log_p).log()
    return rows.reduce(torch.where(log_p.exp() >= 1.0 - alpha, 0.0, divergence))


def confidence_penalty(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    *,
    beta: float = 0.1,
) -> Tensor:
    r"""Cross-entropy less a share of the entropy of the row's probabilities, :math:`-\log p_y - \beta H(p)`.

    The entropy is the sum :math:`H(p) = -\sum_k p_k \log p_k`; some code takes the mean over the K classes instead,
    which is :math:`\beta / K` here. It is no proper score for :math:`\beta > 0`: its minimiser is less confident than
    the true posterior.

    Args:
        input: Logits, `(C)`, `(N, C)` or `(N, C, d1, ..., dK)`.
        target: Class numbers, int64, the shape of `input` without its class axis.
        weight: `(C)` class weights, of both terms; `"mean"` divides by the weights of the rows that count.
        ignore_index: Rows with this class number do not count.
        reduction: `"none"`, `"mean"` or `"sum"`, each as in `F.cross_entropy`.
        beta: The price of confidence, at least 0; 0 is cross-entropy.

    Returns:
        A scalar, or the shape of `target` for `"none"`, in the dtype that `F.cross_entropy` would give.

    Raises:
        ValueError: If shapes, dtypes or settings do not fit together.

    Example:
        >>> round(confidence_penalty(torch.zeros(1, 2), torch.tensor([0]), beta=0.1).item(), 4)  # 0.9 log(2)
        0.6238

    Reference:
        Pereyra et al. 2017, arXiv 1701.06548.
    """
    check_at_least_0("0 is cross-entropy", beta=beta)
    rows = rows_of(input, target, weight, ignore_index, reduction, "confidence_penalty")
    log_p = rows.log_probs()
    entropy = -(log_p.exp() * log_p).sum(1)
    return rows.reduce(-rows.of_label(log_p) - beta * entropy)
