"""Proper scores: smallest in expectation for the true probabilities, so they see accuracy and honesty at once."""

from __future__ import annotations

import torch
from torch import Tensor

from gence.metrics._predictions import Array, check_predictions


def negative_log_likelihood(probs: Array, target: Array) -> Tensor:
    r"""The mean of :math:`-\log p_y`, in nats.

    A probability of 0 for the true class counts as the smallest normal float64 (708 nats), so the mean stays finite.

    Args:
        probs: Class probabilities, `(rows, classes)`, each row summing to 1.
        target: Class numbers, integers `(rows,)`.

    Returns:
        A float64 scalar, at least 0.

    Raises:
        ValueError: If the shapes do not fit, a value lies outside [0, 1] or is NaN, or a class number is out of range.

    Example:
        >>> round(negative_log_likelihood(torch.tensor([[0.5, 0.5]]), torch.tensor([1])).item(), 4)
        0.6931
    """
    return nll_of_rows(*check_predictions(probs, target)).mean()


def brier_score(probs: Array, target: Array) -> Tensor:
    r"""The mean over rows of :math:`\sum_k (p_k - 1\{k = y\})^2`, summed over the classes.

    For two classes it is twice the score of `sklearn.metrics.brier_score_loss`.

    Args:
        probs: Class probabilities, `(rows, classes)`, each row summing to 1.
        target: Class numbers, integers `(rows,)`.

    Returns:
        A float64 scalar in [0, 2].

    Raises:
        ValueError: If the shapes do not fit, a value lies outside [0, 1] or is NaN, or a class number is out of range.

    Example:
        >>> round(brier_score(torch.tensor([[0.8, 0.2]]), torch.tensor([0])).item(), 4)
        0.08

    Reference:
        Brier 1950, Verification of forecasts expressed in terms of probability, equation 2.
    """
    return brier_of_rows(*check_predictions(probs, target)).mean()


def nll_of_rows(probs: Tensor, target: Tensor) -> Tensor:
    """The negative log-likelihood of each row of checked predictions, `(rows,)`."""
    true = probs.gather(1, target[:, None]).squeeze(1)
    return -true.clamp(min=torch.finfo(torch.float64).tiny).log()


def brier_of_rows(probs: Tensor, target: Tensor) -> Tensor:
    """The Brier score of each row of checked predictions, `(rows,)`."""
    gap = probs.scatter_add(1, target[:, None], probs.new_full((len(target), 1), -1.0))
    return gap.square_().sum(1)
