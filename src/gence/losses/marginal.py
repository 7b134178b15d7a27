"""Cross-entropy with a calibration error of the batch added: MMCE, MDCA and DCA."""

from __future__ import annotations

import torch
from torch import Tensor

from gence.losses._checks import check_above_0, check_at_least_0
from gence.losses.cross_entropy import Reduction
from gence.losses.rows import Rows, rows_of


def mmce(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    *,
    lambd: float = 2.0,
    width: float = 0.4,
    weighted: bool = False,
) -> Tensor:
    r"""Cross-entropy plus :math:`\lambda` times the maximum mean calibration error of the batch.

    With c the confidence, the largest probability of a row, and a whether its class is the label, of v rows

    .. math:: \mathrm{MMCE} = \sqrt{\sum_{ij} e_i e_j \exp(-|c_i - c_j| / \mathrm{width})}, \quad e_i = (a_i - c_i) / v

    Weighted, a right row is divided by the number of right ones and a wrong row by that of wrong ones in the place of
    v, so that few errors are not outvoted. The gradient flows through c only. Memory grows with the square of the rows.

    In a large batch the unweighted error is 0 for the true posterior, so there the loss is strictly proper; in a small
    one it is not, as chance alone makes the error positive. The weighted one, which the authors train with, is not
    proper in any batch: it is 0 for honest confidences only where half of the rows are right, and otherwise pulls
    towards confidences of 1/2. Their code divides it by the numbers of rows twice, which leaves next to nothing of it.

    Args:
        input: Logits, `(C)`, `(N, C)` or `(N, C, d1, ..., dK)`.
        target: Class numbers, int64, the shape of `input` without its class axis.
        weight: `(C)` class weights of the terms; the error itself is unweighted and is added to each term.
        ignore_index: Rows with this class number do not count, nor in the error.
        reduction: `"none"`, `"mean"` or `"sum"`, each as in `F.cross_entropy`.
        lambd: The weight of the error, at least 0; 0 is cross-entropy. The default was published with the weighted
            error.
        width: How far apart confidences may be to be compared, above 0.
        weighted: Whether right and wrong rows count as much as each other.

    Returns:
        A scalar, or the shape of `target` for `"none"`, in the dtype that `F.cross_entropy` would give.

    Raises:
        ValueError: If shapes, dtypes or settings do not fit together.

    Example:
        >>> logits, target = torch.zeros(1, 2), torch.tensor([0])  # right, with confidence 1/2
        >>> round(mmce(logits, target, lambd=2.0).item(), 4)  # log(2) + 2 * 1/2
        1.6931

    Reference:
        Kumar, Sarawagi and Jain 2018, Trainable Calibration Measures for Neural Networks from Kernel Mean Embeddings,
        ICML.
    """
    rows = rows_of(input, target, weight, ignore_index, reduction, "mmce")
    check_at_least_0("0 is cross-entropy", lambd=lambd)
    check_above_0(width=width)
    confidence, right = _answers(rows)
    valid = rows.valid.to(right.dtype)
    share = _share(right * valid) + _share((1.0 - right) * valid) if weighted else _share(valid)
    error = (right - confidence) * share
    kernel = (-(confidence[:, None] - confidence).abs() / width).exp()
    # No matrix product: autocast would take it in half precision.
    square = (error[:, None] * error * kernel).sum()
    return rows.reduce(rows.cross_entropy() + lambd * _root(square))


def mdca(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    *,
    beta: float = 1.0,
) -> Tensor:
    r"""Cross-entropy plus :math:`\beta` times the gap, in each class, of mean probability and label frequency.

    Of the v rows that count the gap is

    .. math:: \frac{1}{C} \sum_k \left| \frac{1}{v} \sum_i p_{ik} - \frac{1}{v} \sum_i 1\{y_i = k\} \right|

    It is 0 where the class mass of the batch is that of its labels, which is where the term that GenCE adds to
    cross-entropy has no gradient either. The true posterior has no gap in a large batch, so there the loss is strictly
    proper; in a small one it is not, as the frequencies of few labels are not their expectations. The authors add the
    gap to cross-entropy or to focal loss; this is the former.

    Args:
        input: Logits, `(C)`, `(N, C)` or `(N, C, d1, ..., dK)`.
        target: Class numbers, int64, the shape of `input` without its class axis.
        weight: `(C)` class weights of the terms; the gap itself is unweighted and is added to each term.
        ignore_index: Rows with this class number do not count, nor in the gap.
        reduction: `"none"`, `"mean"` or `"sum"`, each as in `F.cross_entropy`.
        beta: The weight of the gap, at least 0; 0 is cross-entropy.

    Returns:
        A scalar, or the shape of `target` for `"none"`, in the dtype that `F.cross_entropy` would give.

    Raises:
        ValueError: If shapes, dtypes or settings do not fit together.

    Example:
        >>> logits, target = torch.zeros(2, 2), torch.tensor([0, 0])
        >>> round(mdca(logits, target, beta=1.0).item(), 4)  # log(2) + (|1/2 - 1| + |1/2 - 0|) / 2
        1.1931

    Reference:
        Hebbalaguppe et al. 2022, arXiv 2203.13834, section 3.
    """
    rows = rows_of(input, target, weight, ignore_index, reduction, "mdca")
    check_at_least_0("0 is cross-entropy", beta=beta)
    log_p = rows.log_probs()
    gap = rows.mean(log_p.exp() - rows.one_hot()).abs().mean()
    return rows.reduce(-rows.of_label(log_p) + beta * gap)


def dca(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    *,
    beta: float = 1.0,
) -> Tensor:
    r"""Cross-entropy plus :math:`\beta` times the gap of mean confidence and accuracy in the batch.

    With c the confidence, the largest probability of a row, and a whether its class is the label, of v rows the gap is

    .. math:: \left| \frac{1}{v} \sum_i c_i - \frac{1}{v} \sum_i a_i \right|

    The gradient flows through c only. The true posterior has no gap in a large batch, so there the loss is strictly
    proper; in a small one it is not, as the accuracy of few rows is not its expectation.

    Args:
        input: Logits, `(C)`, `(N, C)` or `(N, C, d1, ..., dK)`.
        target: Class numbers, int64, the shape of `input` without its class axis.
        weight: `(C)` class weights of the terms; the gap itself is unweighted and is added to each term.
        ignore_index: Rows with this class number do not count, nor in the gap.
        reduction: `"none"`, `"mean"` or `"sum"`, each as in `F.cross_entropy`.
        beta: The weight of the gap, at least 0; 0 is cross-entropy. The default is that of comparisons by others, on
            natural images; the authors, on medical ones, use 10 in their code.

    Returns:
        A scalar, or the shape of `target` for `"none"`, in the dtype that `F.cross_entropy` would give.

    Raises:
        ValueError: If shapes, dtypes or settings do not fit together.

    Example:
        >>> logits, target = torch.zeros(2, 2), torch.tensor([0, 0])  # both right, with confidence 1/2
        >>> round(dca(logits, target, beta=1.0).item(), 4)  # log(2) + |1/2 - 1|
        1.1931

    Reference:
        Liang et al. 2020, arXiv 2009.04057.
    """
    rows = rows_of(input, target, weight, ignore_index, reduction, "dca")
    check_at_least_0("0 is cross-entropy", beta=beta)
    confidence, right = _answers(rows)
    gap = rows.mean(confidence - right).abs()
    return rows.reduce(rows.cross_entropy() + beta * gap)


def _answers(rows: Rows) -> tuple[Tensor, Tensor]:
    """`(R)` and `(R)`: the confidence of each row, and 1 where its answer is right, else 0."""
    confidence = rows.log_probs().amax(1).exp()
    return confidence, (rows.logits.argmax(1) == rows.labels).to(confidence.dtype)


def _share(members: Tensor) -> Tensor:
    """One over their number for each of the members; 0 if there are none."""
    return members / members.sum().clamp(min=1.0)


def _root(square: Tensor) -> Tensor:
    """The square root; 0, with gradient 0, of what is below rounding: its gradient at 0 would be infinite."""
    floor = torch.finfo(square.dtype).eps ** 2
    return torch.where(square > floor, square.clamp(min=floor).sqrt(), 0.0)
