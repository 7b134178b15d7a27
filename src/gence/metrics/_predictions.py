"""What every metric asks of its two arguments, and the reduction of many classes to the one that was predicted."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from gence._arrays import as_tensor, class_numbers

Array = Tensor | np.ndarray

_SUM_TOLERANCE = 1e-2  # the rounding of a thousand bfloat16 probabilities stays below this; logits do not


def check_predictions(probs: Array, target: Array) -> tuple[Tensor, Tensor]:
    """Probabilities as float64 `(rows, classes)` and class numbers as int64 `(rows,)`, or ValueError saying why not."""
    probs = as_tensor(probs)
    if probs.dim() != 2 or probs.shape[1] < 2 or probs.shape[0] < 1:
        raise ValueError(f"probs must have shape (rows, classes), at least (1, 2); got {tuple(probs.shape)}")
    if not probs.is_floating_point():
        raise ValueError(f"probs must be floating-point probabilities; got {probs.dtype}")
    target, probs = class_numbers(target, probs, "probs"), probs.to(torch.float64)
    if not bool(((probs >= 0.0) & (probs <= 1.0)).all()):
        low, high = probs.min().item(), probs.max().item()
        raise ValueError(
            f"probs must lie in [0, 1] without NaN; got values from {low:.4g} to {high:.4g}: "
            "for logits use torch.softmax(logits, dim=1)"
        )
    off = (probs.sum(1) - 1.0).abs().max().item()
    if off > _SUM_TOLERANCE:
        raise ValueError(f"every row of probs must sum to 1; got a row that is off by {off:.4g}")
    return probs, target


def top_label(probs: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """The confidence in the predicted class and whether it was right (1.0 or 0.0), both float64 `(rows,)`.

    Of several classes with the same top probability the first is the predicted one.
    """
    confidence, predicted = probs.max(1)
    return confidence, (predicted == target).to(torch.float64)


def averaged_over_ties(score: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """Both sorted by score, highest first, with the values of equal scores replaced by their mean.

    So a statistic of the order cannot depend on how the rows happened to be stored.
    """
    score, order = score.sort(descending=True)
    _, group, size = score.unique_consecutive(return_inverse=True, return_counts=True)
    mean = torch.zeros_like(size, dtype=value.dtype).index_add(0, group, value[order]) / size
    return score, mean[group]
