"""What every fit and every fitted calibrator asks of its logits, and numpy in, numpy out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from gence._arrays import as_tensor, check_finite, check_logits, class_numbers

Array = TypeVar("Array", Tensor, np.ndarray)
AnyArray = Tensor | np.ndarray

_SEVERAL_ROWS = 8


def check_fit(logits: AnyArray, target: AnyArray) -> tuple[Tensor, Tensor]:
    """Logits as float64 `(rows, classes)` and class numbers as int64 `(rows,)`, or ValueError saying why not."""
    logits = check_rows(logits)
    return logits, class_numbers(target, logits, "logits")


def check_rows(logits: AnyArray) -> Tensor:
    """Logits to learn from as float64 `(rows, classes)`, or ValueError saying why not."""
    logits = as_tensor(logits)
    check_logits(logits)
    logits = logits.to(torch.float64)
    if logits.shape[0] == 0:
        raise ValueError("logits has no rows; calibration needs rows that the model was not trained on")
    check_finite(logits, "logits")
    # Over several rows even the rounding of half precision cannot be a coincidence.
    off = 1e-4 if len(logits) < _SEVERAL_ROWS else 1e-2
    if bool(((logits >= 0.0) & (logits <= 1.0)).all()) and bool(((logits.sum(1) - 1.0).abs() < off).all()):
        raise ValueError(
            "logits are expected, these rows are probabilities (in [0, 1], each summing to 1): a softmax in float32 "
            "has already lost what a temperature needs; give the scores before the softmax"
        )
    return logits


def apply(calibrate: Callable[[Tensor], Tensor], logits: Array) -> Array:
    """Run `calibrate` on float64 logits and give the result the kind, device and dtype of what came in.

    Half precision comes back as float32: a quotient of its logits may be beyond its range, or round two into one.
    """
    if isinstance(logits, np.ndarray):
        return apply(calibrate, as_tensor(logits)).numpy()
    check_logits(logits)
    return calibrate(logits.to(torch.float64)).to(torch.promote_types(logits.dtype, torch.float32))
