"""Accuracy."""

from __future__ import annotations

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
