"""Accuracy."""

from __future__ import annotations

import torch
from torch import Tensor

from gence.metrics._predictions import Array, check_predictions, top_label


def accuracy(probs: Array, target: Array) -> Tensor:
    """The share of rows whose most probable class is the true one; of tied classes the first is taken.

    Args:
        probs: Class probabilities, `(rows, classes)`, each row summing to 1.
        target: Class numbers, integers `(rows,)`.

    Returns:
        A float64 scalar in [0, 1].

    Raises:
        ValueError: If the shapes do not fit, a value lies outside [0, 1] or is NaN, or a class number is out of range.

    Example:
        >>> import torch
        >>> accuracy(torch.tensor([[0.9, 0.1], [0.4, 0.6]]), torch.tensor([0, 0])).item()
        0.5
    """
    _, correct = top_label(*check_predictions(probs, target))
    return correct.mean()


def balanced_accuracy(probs: Array, target: Array) -> Tensor:
    """The mean over the classes of the share of their rows that is given the right class: the mean recall.

    A class that has no rows in `target` does not count.

    Args:
        probs: Class probabilities, `(rows, classes)`, each row summing to 1.
        target: Class numbers, integers `(rows,)`.

    Returns:
        A float64 scalar in [0, 1].

    Raises:
        ValueError: If the shapes do not fit, a value lies outside [0, 1] or is NaN, or a class number is out of range.

    Example:
        >>> import torch
        >>> probs = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3]])
        >>> balanced_accuracy(probs, torch.tensor([0, 0, 1])).item()
        0.5

    Reference:
        Brodersen et al. 2010, The balanced accuracy and its posterior distribution.
    """
    probs, target = check_predictions(probs, target)
    _, correct = top_label(probs, target)
    rows = torch.zeros(probs.shape[1], dtype=torch.float64, device=probs.device).index_add_(
        0, target, torch.ones_like(correct)
    )
    right = torch.zeros_like(rows).index_add_(0, target, correct)
    present = rows > 0
    return (right[present] / rows[present]).mean()
