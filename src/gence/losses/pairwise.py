"""Calibration by pairwise constraints: every two classes as a problem of two classes."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from gence.losses._checks import check_at_least_0
from gence.losses.cross_entropy import Reduction
from gence.losses.rows import rows_of


def cpc(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    *,
    lambda1: float = 0.1,
    lambda2: float = 1.0,
) -> Tensor:
    r"""Cross-entropy, plus the label against each other class, plus no preference between two wrong classes.

    With :math:`\sigma` the logistic function, so that :math:`\sigma(z_j - z_k)` is the probability of j among j and k,
    the term of a row is

    .. math:: -\log p_y - \frac{\lambda_1}{C - 1} \sum_{k \ne y} \log \sigma(z_y - z_k)
        - \frac{\lambda_2}{(C - 1)(C - 2)} \sum_{j \ne k;\ j, k \ne y} \frac{1}{2} \log \sigma(z_j - z_k)

    The second part is proper, as each of its problems of two classes is. The third is least where all wrong classes are
    equally likely, whatever the posterior: with it the loss is not proper. Two classes have no third part. Its memory
    is that of a number for every row and every pair of classes.

    Args:
        input: Logits, `(C)`, `(N, C)` or `(N, C, d1, ..., dK)`. A class ruled out by minus infinity cannot be as likely
            as another, so the third part is infinite.
        target: Class numbers, int64, the shape of `input` without its class axis.
        weight: `(C)` class weights; `"mean"` divides by the weights of the rows that count.
        ignore_index: Rows with this class number do not count.
        reduction: `"none"`, `"mean"` or `"sum"`, each as in `F.cross_entropy`.
        lambda1: The weight of the second part, binary discrimination, at least 0.
        lambda2: The weight of the third part, binary exclusion, at least 0.

    Returns:
        A scalar, or the shape of `target` for `"none"`, in the dtype that `F.cross_entropy` would give.

    Raises:
        ValueError: If shapes, dtypes or settings do not fit together.

    Example:
        >>> import torch
        >>> logits, target = torch.zeros(1, 3), torch.tensor([0])
        >>> round(cpc(logits, target).item(), 4)  # log(3) + 0.1 log(2) + log(2) / 2
        1.5145

    Reference:
        Cheng and Vasconcelos 2022, Calibrating Deep Neural Networks by Pairwise Constraints, CVPR.
    """
    rows = rows_of(input, target, weight, ignore_index, reduction, "cpc")
    check_at_least_0(lambda1=lambda1, lambda2=lambda2)
    # Differences of log p are those of the logits, and never that of two infinities.
    log_p = rows.log_probs()
    label, others = rows.of_label(log_p), log_p.gather(1, _other_classes(rows.labels, log_p.shape[1]))
    count = others.shape[1]
    discrimination = -F.logsigmoid(label[:, None] - others).sum(1) / max(count, 1)
    pairs = -F.logsigmoid(others[:, :, None] - others[:, None, :]).sum((1, 2))
    # The pairs of a class with itself are among them, log 2 each.
    exclusion = (pairs - count * math.log(2.0)) / (2 * max(count * (count - 1), 1))
    return rows.reduce(-label + lambda1 * discrimination + lambda2 * exclusion)


def _other_classes(labels: Tensor, num_classes: int) -> Tensor:
    """`(R, C - 1)`, the class numbers without the label, in order."""
    numbers = torch.arange(num_classes - 1, device=labels.device)
    return numbers + (numbers >= labels[:, None]).long()
