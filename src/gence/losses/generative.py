"""Generative cross-entropy (GenCE): maximise p(x | y) with a discriminative network."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from gence.losses._checks import check_loss_arguments
from gence.losses.cross_entropy import (
    Reduction,
    class_dim,
    computing_dtype,
    cross_entropy_of_scores,
    result_dtype,
    valid_rows,
)


def generative_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    label_smoothing: float = 0.0,
    *,
    strength: float = 1.0,
) -> Tensor:
    r"""`F.cross_entropy` in every argument, with log q replaced by log q - strength * log m.

    With :math:`q_i = \mathrm{softmax}(z_i)` and V the rows that are not ignored, the class mass
    :math:`m_k = \frac{1}{|V|} \sum_{i \in V} q_{ik}` is the model's own marginal of class k over the batch. By Bayes'
    rule :math:`p(x \mid y) = q_y(x)\, p(x) / m_y`, so for hard labels the loss is

    .. math:: L = -\frac{1}{|V|} \sum_{i \in V} \left( \log q_{i y_i} - \mathrm{strength} \cdot \log m_{y_i} \right)

    The mass is over all of V, row i included and unweighted, and the gradient flows through it. The value depends on
    the whole batch: it can be negative, it is 0 for a batch of one row, and validation should use the negative
    log-likelihood instead. One row with NaN makes the result NaN; an ignored row may hold NaN without changing the
    value, but its own gradient is then NaN, as in `F.cross_entropy`.

    Args:
        input: Logits, `(C)`, `(N, C)` or `(N, C, d1, ..., dK)`; with K axes more, every position is a row.
        target: Class numbers, int64, `()`, `(N)` or `(N, d1, ..., dK)`; or class probabilities, the shape of `input`.
        weight: `(C)` class weights. They weigh the terms of the sum, not the mass.
        ignore_index: Rows with this class number count neither in the sum nor in the mass.
        reduction: `"none"`, `"mean"` or `"sum"`, each as in `F.cross_entropy`.
        label_smoothing: Share of the target spread evenly over the classes, in [0, 1].
        strength: How much of log m is taken off: 0 is cross-entropy, 1 is GenCE. Other values are for study; above 1
            the loss is no proper score.

    Returns:
        A scalar, or the shape of the rows for `"none"`, in the dtype that `F.cross_entropy` would give. Half precision
        is computed in float32.

    Raises:
        ValueError: If shapes, dtypes or settings do not fit together.

    Example:
        >>> logits = torch.tensor([[2.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        >>> target = torch.tensor([0, 0, 1])
        >>> round(generative_cross_entropy(logits, target).item(), 4)
        -0.3888
        >>> round(generative_cross_entropy(logits, target, strength=0.0).item(), 4)
        0.2512

    Reference:
        Zhan, Zhou and Shen, arXiv 2604.06689. The decomposition into cross-entropy plus
        :math:`\sum_k \frac{n_k}{|V|} \log m_k` is its equation 5 (first version).
    """
    check_loss_arguments(input, target, weight, ignore_index, reduction, label_smoothing)
    if not -math.inf < strength < math.inf:
        raise ValueError(f"strength must be a finite number, 1 for GenCE and 0 for cross-entropy; got {strength}")
    log_q = input.log_softmax(class_dim(input), dtype=computing_dtype(input))
    scores = log_q
    if strength != 0.0:
        scores = log_q - strength * log_class_mass(log_q, valid_rows(input, target, ignore_index))
    loss = cross_entropy_of_scores(scores, target, weight, ignore_index, reduction, label_smoothing)
    return loss.to(result_dtype(input, target))


def log_class_mass(log_q: Tensor, valid: Tensor) -> Tensor:
    """Log m: the logarithm of the mean of q over the rows that count, taken in log space.

    Args:
        log_q: Log-probabilities, `(C)`, `(N, C)` or `(N, C, d1, ..., dK)`.
        valid: Mask of the rows that count, the shape of `log_q` with size 1 on the class axis.

    Returns:
        log m with the number of axes of `log_q`, size 1 on all but the class axis. Where no row counts it is that of
        all rows, so that a sum over no rows stays 0 and its gradient finite.
    """
    rows = [d for d in range(log_q.dim()) if d != class_dim(log_q)]
    left_out = ~valid & valid.any()
    count = (~left_out).sum().clamp(min=1)
    # A class that is impossible in every row (logits of minus infinity) must get gradient 0, not the NaN of inf - inf.
    total = log_q.clamp(min=torch.finfo(log_q.dtype).min).masked_fill(left_out, -math.inf)
    return (total.logsumexp(rows, keepdim=True) if rows else total) - count.to(log_q.dtype).log()


class GenCELoss(nn.Module):
    """`nn.CrossEntropyLoss` with GenCE in the place of cross-entropy; see `generative_cross_entropy` for the terms.

    The two arguments that PyTorch has deprecated, size_average and reduce, are not there: give the others by keyword.

    Args:
        weight: `(C)` class weights, kept as a buffer.
        ignore_index: Rows with this class number do not count.
        reduction: `"none"`, `"mean"` or `"sum"`.
        label_smoothing: Share of the target spread evenly over the classes, in [0, 1].
        strength: 1 for GenCE, 0 for cross-entropy.

    Example:
        >>> loss = GenCELoss(label_smoothing=0.1)
        >>> loss(torch.zeros(4, 3), torch.tensor([0, 1, 2, 0])).item()
        0.0
    """

    weight: Tensor | None

    def __init__(
        self,
        weight: Tensor | None = None,
        ignore_index: int = -100,
        reduction: Reduction = "mean",
        label_smoothing: float = 0.0,
        *,
        strength: float = 1.0,
    ) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.ignore_index = ignore_index
        self.reduction: Reduction = reduction
        self.label_smoothing = label_smoothing
        self.strength = strength

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return generative_cross_entropy(
            input,
            target,
            self.weight,
            self.ignore_index,
            self.reduction,
            self.label_smoothing,
            strength=self.strength,
        )

    def extra_repr(self) -> str:
        return (
            f"ignore_index={self.ignore_index}, reduction={self.reduction!r}, "
            f"label_smoothing={self.label_smoothing}, strength={self.strength}"
        )
