"""Selective prediction: does confidence put the right rows first?"""

from __future__ import annotations

import torch
from torch import Tensor

from gence.metrics._predictions import Array, averaged_over_ties, check_predictions, top_label


def aurc(probs: Array, target: Array) -> Tensor:
    r"""Area under the risk-coverage curve: :math:`\frac{1}{N} \sum_{i=1}^{N} \frac{\text{errors in the top } i}{i}`.

    Rows are ordered by top confidence, highest first. Rows of equal confidence share their mean error, which is the
    expectation over their orders, so the order of storage does not matter.

    Args:
        probs: Class probabilities, `(rows, classes)`, each row summing to 1.
        target: Class numbers, integers `(rows,)`.

    Returns:
        A float64 scalar in [0, 1]; low is good.

    Raises:
        ValueError: If the shapes do not fit, a value lies outside [0, 1] or is NaN, or a class number is out of range.

    Example:
        >>> probs = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3]])
        >>> round(aurc(probs, torch.tensor([0, 0, 1])).item(), 4)  # the error comes last: (0 + 0 + 1/3) / 3
        0.1111

    Reference:
        Geifman, Uziel and El-Yaniv 2019, arXiv 1805.08206, section 2.
    """
    confidence, correct = top_label(*check_predictions(probs, target))
    _, error = averaged_over_ties(confidence, 1.0 - correct)
    covered = torch.arange(1, len(error) + 1, dtype=torch.float64, device=error.device)
    return (error.cumsum(0) / covered).mean()
