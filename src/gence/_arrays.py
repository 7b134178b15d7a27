"""What metrics and calibrators share at the door: torch or numpy in, and class numbers that fit their columns."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def as_tensor(values: Tensor | np.ndarray) -> Tensor:
    """A tensor without gradient; numpy arrays are copied, so that read-only, reversed and foreign-endian ones do."""
    if isinstance(values, np.ndarray):
        return torch.from_numpy(np.array(values, dtype=values.dtype.newbyteorder("="), order="C"))
    return torch.as_tensor(values).detach()


def check_logits(logits: Tensor) -> None:
    """ValueError if they are no floating-point `(rows, classes)` of two classes or more."""
    if logits.dim() != 2 or logits.shape[1] < 2:
        raise ValueError(f"logits must have shape (rows, classes) with at least 2 classes; got {tuple(logits.shape)}")
    check_floating(logits, "logits")


def check_floating(values: Tensor, name: str) -> None:
    """ValueError if `values` are of another dtype."""
    if not values.is_floating_point():
        raise ValueError(f"{name} must be floating-point; got {values.dtype}")


def check_finite(values: Tensor, name: str) -> None:
    """ValueError naming the first row of `values` `(rows, columns)` that holds NaN or infinity."""
    if not bool(torch.isfinite(values).all()):
        row = int((~torch.isfinite(values)).any(1).nonzero()[0])
        raise ValueError(f"{name} must be finite; row {row} holds NaN or infinity: leave such rows out")


def class_numbers(target: Tensor | np.ndarray, scores: Tensor, name: str) -> Tensor:
    """`target` as int64 `(rows,)`, checked against `scores` `(rows, classes)`, which messages call `name`.

    Raises:
        ValueError: If the shape does not fit, the numbers are no integers, or one is out of range.
    """
    target = as_tensor(target)
    rows, classes = scores.shape
    if target.shape != (rows,):
        raise ValueError(f"target must hold one class number a row, shape ({rows},); got shape {tuple(target.shape)}")
    if target.is_floating_point() or target.dtype == torch.bool:
        raise ValueError(f"target must hold class numbers as integers; got {target.dtype}")
    target = target.to(scores.device, torch.int64)
    if not bool(((target >= 0) & (target < classes)).all()):
        raise ValueError(
            f"target must lie in 0..{classes - 1} for {classes} columns of {name}; "
            f"got {target.min().item()}..{target.max().item()}"
        )
    return target
