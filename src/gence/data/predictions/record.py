"""Predictions in memory, checked once: what every reader returns and the audit and the calibrators receive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from gence._errors import InputError
from gence.data.wording import counted

Kind = Literal["logits", "probs"]

_SUM_TOLERANCE = 1e-2  # the rounding of a thousand bfloat16 probabilities stays below this; logits do not


@dataclass(frozen=True)
class Predictions:
    """Scores of a classifier on some rows, either logits or probabilities, never to be guessed from the numbers.

    Attributes:
        logits: Scores before the softmax, `(rows, classes)` float64 or float32, finite; None if there are `probs`.
        probs: Probabilities, `(rows, classes)` float64 or float32, rows summing to 1; None if there are `logits`.
        labels: True class numbers, `(rows,)` int64, or None.
        class_names: One name a column.
        source: Where they come from; messages begin with it.
        notes: Sentences about what was done on the way in.

    Raises:
        InputError: If the arrays do not fit each other, or the numbers are not what their name says.

    Example:
        >>> Predictions(None, np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([0, 1]), ("cat", "dog"), "mine").scores.shape
        (2, 2)
    """

    logits: np.ndarray | None
    probs: np.ndarray | None
    labels: np.ndarray | None
    class_names: tuple[str, ...]
    source: str
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if (self.logits is None) == (self.probs is None):
            raise InputError(f"{self.source}: either logits or probabilities are expected; give one of the two")
        kind: Kind = "logits" if self.logits is not None else "probs"
        check_columns(self.scores, self.class_names, kind, self.source)
        if self.labels is not None:
            _check_labels(self.labels, self.scores, kind, self.source)
        (_check_logits if self.probs is None else _check_probs)(self.scores, self.source)

    @property
    def scores(self) -> np.ndarray:
        """The logits or the probabilities, whichever there are."""
        scores = self.probs if self.logits is None else self.logits
        assert scores is not None
        return scores


def check_columns(scores: np.ndarray, class_names: Sequence[str], kind: Kind, source: str) -> None:
    """Refuse scores that are no `(rows, classes)` of floats with a row, two classes, and a class name a column."""
    if scores.ndim == 1 or (scores.ndim == 2 and scores.shape[1] == 1):
        other = "np.column_stack([np.zeros_like(z), z])" if kind == "logits" else "np.column_stack([1 - p, p])"
        raise InputError(
            f"{source}: one column of {kind}; one column a class is expected: for two classes give {other}"
        )
    if scores.ndim != 2 or scores.shape[1] == 0:
        raise InputError(f"{source}: the {kind} have the shape {scores.shape}; (rows, classes) is expected")
    if scores.dtype not in (np.float64, np.float32):
        raise InputError(f"{source}: the {kind} have the type {scores.dtype}; float64 or float32 is expected")
    if len(scores) == 0:
        raise InputError(f"{source}: there are no rows; at least one is expected")
    if len(class_names) != scores.shape[1]:
        raise InputError(
            f"{source}: {counted(len(class_names), 'class name')} for {scores.shape[1]} columns of {kind}; give one "
            "name a column"
        )


def _check_labels(labels: np.ndarray, scores: np.ndarray, kind: Kind, source: str) -> None:
    if labels.ndim != 1 or labels.dtype != np.int64:
        raise InputError(f"{source}: the labels are {labels.dtype} of shape {labels.shape}; int64 (rows,) is expected")
    if len(labels) != len(scores):
        raise InputError(
            f"{source}: {len(scores)} rows of {kind} but {counted(len(labels), 'label')}; one label for every row is "
            "expected"
        )
    if labels.min() < 0 or labels.max() >= scores.shape[1]:
        raise InputError(
            f"{source}: labels from {labels.min()} to {labels.max()}; class numbers from 0 to {scores.shape[1] - 1} "
            "are expected"
        )


def _check_logits(logits: np.ndarray, source: str) -> None:
    _check_finite(logits, "logits", source)
    if logits.min() >= 0 and logits.max() <= 1 and np.abs(_row_sums(logits) - 1).max() <= _SUM_TOLERANCE:
        raise InputError(
            f"{source}: the logits are probabilities: all lie in [0, 1] and every row sums to 1. A softmax has lost "
            "what calibration needs: give the scores before it; gence audit takes probabilities that are named so. A "
            "model without such scores (a forest): save the logarithm of its float64 probabilities as logits"
        )


def _check_probs(probs: np.ndarray, source: str) -> None:
    _check_finite(probs, "probs", source)
    cure = "are these logits (scores before the softmax)? name them so: --logits NAME"
    if probs.min() < 0 or probs.max() > 1:
        row, column = np.argwhere((probs < 0) | (probs > 1))[0]
        raise InputError(
            f"{source}: row {row} (counted from 0) of the probabilities holds {probs[row, column]:.4g}; numbers in "
            f"[0, 1] are expected; {cure}"
        )
    sums = _row_sums(probs)
    off = np.abs(sums - 1) > _SUM_TOLERANCE
    if off.any():
        row = np.flatnonzero(off)[0]
        raise InputError(
            f"{source}: row {row} (counted from 0) of the probabilities sums to {sums[row]:.4g} ({off.sum()} of "
            f"{len(sums)} rows are off); 1 is expected, within {_SUM_TOLERANCE:g}; {cure}"
        )


def _check_finite(scores: np.ndarray, kind: Kind, source: str) -> None:
    # The sum of a row is finite exactly when its numbers are, unless they are huge; so few rows need the closer look.
    doubtful = np.flatnonzero(~np.isfinite(_row_sums(scores)))
    bad = doubtful[~np.isfinite(scores[doubtful]).all(axis=1)]
    if len(bad):
        raise InputError(
            f"{source}: {len(bad)} of {len(scores)} rows of the {kind} have NaN, infinity or no number, the first is "
            f"row {bad[0]} (counted from 0); finite numbers are expected: mend those rows or take them out"
        )


def _row_sums(scores: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore", invalid="ignore"):
        return scores.sum(axis=1, dtype=np.float64)
