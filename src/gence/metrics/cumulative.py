"""Calibration error of cumulated gaps: no bins, no bandwidth."""

from __future__ import annotations

from torch import Tensor

from gence.metrics._predictions import Array, averaged_over_ties, check_predictions, top_label


def ks_calibration_error(probs: Array, target: Array) -> Tensor:
    r"""Kolmogorov-Smirnov error: :math:`\max_t \frac{1}{N} \left| \sum_{i: c_i \le t} (c_i - a_i) \right|`.

    c is the top-label confidence and a whether it was right. It is the largest difference between the expected and the
    observed number of right rows among the least confident, over N. Errors of both signs cancel across thresholds, so
    it is at most the ECE without bins.

    Args:
        probs: Class probabilities, `(rows, classes)`, each row summing to 1.
        target: Class numbers, integers `(rows,)`.

    Returns:
        A float64 scalar in [0, 1].

    Raises:
        ValueError: If the shapes do not fit, a value lies outside [0, 1] or is NaN, or a class number is out of range.

    Example:
        >>> import torch
        >>> probs = torch.tensor([[0.75, 0.25], [0.75, 0.25]], dtype=torch.float64)
        >>> ks_calibration_error(probs, torch.tensor([0, 0])).item()
        0.25

    Reference:
        Gupta et al. 2021, arXiv 2006.12800, section 3.
    """
    confidence, correct = top_label(*check_predictions(probs, target))
    # Inside a group of equal confidence the averaged gaps all have one sign, so the maximum stands at a group's end.
    _, gap = averaged_over_ties(-confidence, confidence - correct)
    return gap.cumsum(0).abs().max() / len(gap)
