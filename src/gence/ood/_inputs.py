"""What every score asks of its logits or features."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from gence import _arrays
from gence._arrays import as_tensor, check_finite, check_floating

Array = Tensor | np.ndarray

_SEVERAL_ROWS = 8


def check_logits(logits: Array) -> Tensor:
    """Logits as float64 `(rows, classes)`, or ValueError saying why not."""
    logits = as_tensor(logits)
    _arrays.check_logits(logits)
    logits = _finite(logits, "logits")
    # One row of logits may look like probabilities, and a row's score must not depend on its company.
    looks = bool(((logits >= 0.0) & (logits <= 1.0)).all()) and bool(((logits.sum(1) - 1.0).abs() < 1e-2).all())
    if len(logits) >= _SEVERAL_ROWS and looks:
        raise ValueError(
            "logits are expected, these rows are probabilities (in [0, 1], each summing to 1): a softmax has already "
            "lost the size of the logits and, in float32, the order of sure rows; give the scores before the softmax"
        )
    return logits


def check_features(features: Array, *, columns: int | None = None) -> Tensor:
    """Features as float64 `(rows, features)`, `columns` of them where a fit fixed their number, or ValueError."""
    features = as_tensor(features)
    if features.dim() != 2 or features.shape[1] < 1:
        raise ValueError(f"features must have shape (rows, features); got {tuple(features.shape)}")
    if columns is not None and features.shape[1] != columns:
        raise ValueError(
            f"features must have the {columns} columns that the score was fitted on; got {features.shape[1]}"
        )
    return _finite(features, "features")


def check_training_features(features: Array) -> Tensor:
    """The same, of at least one row."""
    features = check_features(features)
    if len(features) == 0:
        raise ValueError("features has no rows; the score is fitted on the features of the training rows")
    return features


def check_class_numbers(target: Array, rows: int) -> Tensor:
    """Class numbers as int64 `(rows,)`, or ValueError; they are names here, so none has to be present."""
    target = as_tensor(target)
    if target.shape != (rows,):
        raise ValueError(f"target must hold one class number a row, shape ({rows},); got shape {tuple(target.shape)}")
    if target.is_floating_point() or target.dtype == torch.bool:
        raise ValueError(f"target must hold class numbers as integers; got {target.dtype}")
    if bool((target < 0).any()):
        raise ValueError(f"target must hold class numbers from 0 on; got {int(target.min())}: leave such rows out")
    return target.to(torch.int64)


def _finite(values: Tensor, name: str) -> Tensor:
    check_floating(values, name)
    values = values.to(torch.float64)
    check_finite(values, name)
    return values
